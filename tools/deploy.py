"""Deploy an environment of samconfig.toml: what is committed, under a sound policy, and proved by a question.

Refused are a working tree with changes, and a routing policy that the new code would not accept: the preset that the
environment names, or the one that is stored in its stack; with --forward also what is older than what is there, which
the stack's output Commit tells. Afterwards a question is asked as a shopper would, with the token in MANGAASSIST_TOKEN.
The exit code is 2 when nothing was deployed because something was refused.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
from botocore.exceptions import ClientError

from mangaassist.errors import PolicyInvalid
from mangaassist.routing import policy
from tools import artifact, smoke
from tools.place import INVALID, TWIN, Place, ToldCommand, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BUILD = artifact.ROOT / ".aws-sam" / "build"
URL, COMMIT = "WebSocketUrl", "Commit"  # outputs of the stack
DEFAULT_PRESET = "current"
HEARERS = ("NoticesEmail", "AlarmTopicArn", "PagingTopicArn")  # parameters that say who hears of alarms


class Workshop(Protocol):
    """This machine: the working tree, and what builds and deploys it."""

    def changes(self) -> list[str]:
        """Files that are not as committed."""
        ...

    def commit(self) -> str:
        """The commit that the tree is of."""
        ...

    def follows(self, commit: str) -> bool:
        """Whether that commit is an earlier one of the tree's, or its own."""
        ...

    def is_built(self) -> bool:
        """Whether what is built is what is in the tree."""
        ...

    def build(self, architecture: str) -> None:
        """Build; raises ClickException."""
        ...

    def deploy(self, arguments: Sequence[str]) -> None:
        """Run `sam deploy`; raises ClickException."""
        ...


class Target(Protocol):
    """The stack that is deployed to."""

    def stored_policy(self) -> tuple[str, str] | None:
        """Name and document of the policy stored there; None where there is none, or no stack yet."""
        ...

    def commit(self) -> str:
        """The commit that is deployed there; nothing where nobody knows, or there is no stack yet."""
        ...

    def outputs(self) -> dict[str, str]:
        """What the stack says of itself now."""
        ...


@dataclass(frozen=True)
class Tree:
    """The working tree around this file."""

    root: Path = artifact.ROOT

    def changes(self) -> list[str]:
        """As the port says."""
        return [line[3:] for line in self._told("status", "--porcelain").splitlines()]

    def commit(self) -> str:
        """As the port says."""
        return self._told("rev-parse", "HEAD").strip()

    def follows(self, commit: str) -> bool:
        """As the port says; a commit that this clone does not know is none of its own."""
        return not self._git("merge-base", "--is-ancestor", commit, "HEAD").returncode

    def is_built(self) -> bool:
        """As the port says."""
        return artifact.built_from(BUILD) == artifact.code_sha(artifact.ROOT, {})

    def build(self, architecture: str) -> None:
        """As the port says."""
        self._run("make", "--no-print-directory", "build", f"ARCH={architecture}")

    def deploy(self, arguments: Sequence[str]) -> None:
        """As the port says."""
        self._run(str(Path(sys.executable).with_name("sam")), "deploy", *arguments)

    def _told(self, *arguments: str) -> str:
        told = self._git(*arguments)
        if told.returncode:
            raise click.ClickException(f"git does not tell what is committed: {told.stderr.strip()}")
        return told.stdout

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=False)

    @staticmethod
    def _run(*command: str) -> None:
        ended = subprocess.run(command, cwd=artifact.ROOT, check=False)
        if ended.returncode:
            raise click.ClickException(f"{Path(command[0]).name} failed with exit code {ended.returncode}")


class DeployedStack:
    """A stack of CloudFormation; `place` makes a fresh look at it."""

    def __init__(self, place: Callable[[], Place]) -> None:
        self._place = place

    def stored_policy(self) -> tuple[str, str] | None:
        """As the port says."""
        try:
            found = self._place().store.in_force()
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        return None if found.document is None else (f"version {found.version}", found.document)

    def commit(self) -> str:
        """As the port says."""
        try:
            return self.outputs().get(COMMIT, "")
        except ClientError as error:
            if _is_missing(error):
                return ""
            raise

    def outputs(self) -> dict[str, str]:
        """As the port says."""
        return self._place().outputs


@dataclass(frozen=True)
class Environment:
    """An environment of samconfig.toml, with the parameters that it is deployed with."""

    name: str
    stack: str
    region: str
    parameters: Mapping[str, str]

    @classmethod
    def read(cls, name: str, extra: Sequence[str], config: Path) -> Environment:
        """Read it; raises UsageError when there is no such environment."""
        parameters = artifact.deployed_with(name, extra, config)
        told: dict[str, Any] = tomllib.loads(config.read_text("utf-8"))[name]
        return cls(name, told["deploy"]["parameters"]["stack_name"], told["global"]["parameters"]["region"], parameters)


@dataclass(frozen=True)
class Wishes:
    """How somebody wants it deployed."""

    built: bool = False
    dirty: bool = False
    forward: bool = False
    yes: bool = False
    bucket: str = ""
    role: str = ""
    token: str = ""


@dataclass(frozen=True)
class Rollout:
    """One deployment, from the refusals to the answer."""

    environment: Environment
    wishes: Wishes
    workshop: Workshop
    target: Target
    ask: Callable[[str, str], None]  # a question at a WebSocket with a token; raises ClickException
    say: Callable[[str], None] = field(default=click.echo)

    def run(self) -> None:
        """Deploy; raises ClickException, with exit code 2 when something was refused."""
        self._refuse_changes()
        self._refuse_going_back()
        self._refuse_invalid_policies()
        self._build()
        self.workshop.deploy(self._arguments())
        outputs = self.target.outputs()
        for name, value in sorted(outputs.items()):
            self.say(f"{name}: {value}")
        self._warn_of_silence()
        self._prove(outputs)

    def ask_alone(self) -> None:
        """Ask the question of what is deployed; raises ClickException, also when there is no token for it."""
        if not self.wishes.token:
            raise failure("the question takes a shopper's token in MANGAASSIST_TOKEN", INVALID)
        self._prove(self.target.outputs())

    def _refuse_changes(self) -> None:
        if self.wishes.dirty:
            if self.environment.name != "dev":
                raise failure("--dirty is for dev alone", INVALID)
            return
        if changes := self.workshop.changes():
            raise failure(f"not committed: {', '.join(changes)}", INVALID)

    def _refuse_going_back(self) -> None:
        deployed = self.target.commit() if self.wishes.forward else ""
        if deployed and not self.workshop.follows(deployed):
            raise failure(f"{self.environment.stack} is at {deployed}, which this commit does not follow", INVALID)

    def _refuse_invalid_policies(self) -> None:
        preset = self.environment.parameters.get("PolicyPreset", DEFAULT_PRESET)
        documents = [(f"preset {preset}", policy.preset_document(preset))]
        if stored := self.target.stored_policy():
            documents.append(stored)
        for name, document in documents:
            try:
                policy.load(document)
            except PolicyInvalid as error:
                raise failure(f"the routing policy ({name}) is invalid for this code: {error}", INVALID) from error

    def _build(self) -> None:
        if not self.wishes.built:
            self.workshop.build(self.environment.parameters["Architecture"])
        if not self.workshop.is_built():
            raise failure(f"{BUILD} is not built from this tree", INVALID)

    def _arguments(self) -> list[str]:
        wishes = self.wishes
        commit = {} if wishes.dirty else {COMMIT: self.workshop.commit()}
        pairs = [f"{name}={value}" for name, value in {**self.environment.parameters, **commit}.items()]
        arguments = ["--config-env", self.environment.name, "--parameter-overrides", *pairs]
        if wishes.yes:
            arguments.append("--no-confirm-changeset")
        if wishes.bucket:
            arguments += ["--no-resolve-s3", "--s3-bucket", wishes.bucket]
        if wishes.role:
            arguments += ["--role-arn", wishes.role]
        return arguments

    def _warn_of_silence(self) -> None:
        """Say so when alarms reach nobody; in dev that is nothing to say."""
        told = any(self.environment.parameters.get(name) for name in HEARERS)
        if self.environment.name != "dev" and not told:
            self.say(f"alarms ring for nobody: set one of {', '.join(HEARERS)} in samconfig.toml")

    def _prove(self, outputs: Mapping[str, str]) -> None:
        if not self.wishes.token:
            self.say("no question was asked: that takes a shopper's token in MANGAASSIST_TOKEN")
            return
        try:
            self.ask(outputs[URL], self.wishes.token)
        except click.ClickException as error:
            raise click.ClickException(
                f"{self.environment.stack} is deployed, and does not answer as it should: {error.message}"
                " (docs/operations.md: Roll back)"
            ) from error


@click.command(cls=ToldCommand, help=__doc__)
@click.argument("env")
@click.argument("extra", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--architecture", type=click.Choice(["arm64", "x86_64"]), default="arm64", show_default=True)
@click.option("--built", is_flag=True, help="Deploy what is in .aws-sam/build already, if it is of this tree.")
@click.option("--dirty", is_flag=True, help="Deploy what is not committed, to dev.")
@click.option("--forward", is_flag=True, help="Refuse to go back, to what does not follow the commit deployed there.")
@click.option("--question", is_flag=True, help="Deploy nothing: ask the question alone.")
@click.option("--yes", is_flag=True, help="Do not ask before the changes are made.")
@click.option("--bucket", envvar="MANGAASSIST_ARTIFACTS", default="", help="Bucket for the artifacts; else SAM's own.")
@click.option("--role", envvar="MANGAASSIST_STACK_ROLE", default="", help="ARN of the role for CloudFormation.")
@click.option("--token", envvar="MANGAASSIST_TOKEN", default="", help="A shopper's, for the question afterwards.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=artifact.CONFIG)
@click.pass_context
def main(
    context: click.Context,
    /,
    env: str,
    extra: tuple[str, ...],
    architecture: str,
    config: Path,
    *,
    question: bool,
    **wishes: Any,
) -> None:
    """Deploy ENV with its parameters and EXTRA ones."""
    environment = Environment.read(env, (f"Architecture={architecture}", *extra), config)

    def look() -> Place:
        return Place(environment.stack, TWIN, environment.region)

    context.obj = look()
    rollout = Rollout(environment, Wishes(**wishes), Tree(), DeployedStack(look), smoke.prove)
    rollout.ask_alone() if question else rollout.run()


def _is_missing(error: ClientError) -> bool:
    """Whether CloudFormation knows no such stack, which it tells by its text alone."""
    told = error.response["Error"]
    return told["Code"] == "ValidationError" and "does not exist" in told["Message"]


if __name__ == "__main__":
    main()
