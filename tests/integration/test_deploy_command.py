"""`make deploy`: what it refuses before anything is made, what it runs, and that a question has the last word."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from moto import mock_aws

from mangaassist.routing import policy
from mangaassist.routing.policies import PolicyStore
from tests.integration.tables import SITUATION
from tools import artifact, deploy
from tools.deploy import DeployedStack, Environment, Rollout, Tree, Wishes
from tools.place import INVALID, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

URL = "wss://example.execute-api.ap-northeast-1.amazonaws.com/live"
OLDER, OURS, NEWER = "a" * 40, "b" * 40, "c" * 40
OUTPUTS = {"Commit": OURS, "SituationTable": SITUATION, "WebSocketUrl": URL}
INVALID_POLICY = json.dumps({"budget": {"guard_share": 0.9}})


@dataclass
class FakeWorkshop:
    """A working tree that writes down what is done in it."""

    changed: list[str] = field(default_factory=list)
    fits: bool = True
    done: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def changes(self) -> list[str]:
        return self.changed

    def commit(self) -> str:
        return OURS

    def follows(self, commit: str) -> bool:
        return commit in (OLDER, OURS)

    def is_built(self) -> bool:
        return self.fits

    def build(self, architecture: str) -> None:
        self.done.append(f"build {architecture}")

    def deploy(self, arguments: Sequence[str]) -> None:
        self.done.append("deploy")
        self.arguments += arguments


@dataclass
class FakeTarget:
    """A stack with a policy stored in it, or none."""

    stored: tuple[str, str] | None = None
    deployed: str = ""

    def stored_policy(self) -> tuple[str, str] | None:
        return self.stored

    def commit(self) -> str:
        return self.deployed

    def outputs(self) -> dict[str, str]:
        return {"WebSocketUrl": URL, "TurnsTable": "turns"}


@dataclass
class FakeShopper:
    """Asks, and finds the answer right or wrong."""

    fault: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, url: str, token: str) -> None:
        self.asked.append((url, token))
        if self.fault:
            raise click.ClickException(self.fault)


@dataclass
class House:
    """A deployment over doubles of all that it touches."""

    env: str = "staging"
    extra: tuple[str, ...] = ()
    workshop: FakeWorkshop = field(default_factory=FakeWorkshop)
    target: FakeTarget = field(default_factory=FakeTarget)
    shopper: FakeShopper = field(default_factory=FakeShopper)
    said: list[str] = field(default_factory=list)

    def run(self, **wishes: Any) -> None:
        self.rollout(**wishes).run()

    def rollout(self, **wishes: Any) -> Rollout:
        environment = Environment.read(self.env, ("Architecture=arm64", *self.extra), artifact.CONFIG)
        return Rollout(
            environment,
            Wishes(**{"token": "token"} | wishes),
            self.workshop,
            self.target,
            self.shopper,
            self.said.append,
        )

    def refused(self, **wishes: Any) -> str:
        """Why nothing was deployed."""
        with pytest.raises(click.ClickException) as refusal:
            self.run(**wishes)
        assert refusal.value.exit_code == INVALID
        assert "deploy" not in self.workshop.done
        assert self.shopper.asked == []
        return refusal.value.message


def test_it_builds_deploys_tells_the_outputs_and_asks() -> None:
    house = House()
    house.run()
    assert house.workshop.done == ["build arm64", "deploy"]
    assert house.said[:2] == ["TurnsTable: turns", f"WebSocketUrl: {URL}"]
    assert house.shopper.asked == [(URL, "token")]


@pytest.mark.parametrize(
    ("env", "extra", "warns"),
    [("prod", (), True), ("staging", (), True), ("dev", (), False), ("prod", ("NoticesEmail=ops@example.com",), False)],
)
def test_who_deploys_for_shoppers_hears_when_alarms_ring_for_nobody(
    env: str, extra: tuple[str, ...], *, warns: bool
) -> None:
    house = House(env=env, extra=extra)
    house.run()
    assert any("alarms ring for nobody" in line for line in house.said) is warns


def test_sam_is_told_the_environment_with_its_parameters_and_the_hash_of_it_all() -> None:
    house = House(env="prod", extra=("ReservedConcurrency=7",))
    house.run()
    told = house.workshop.arguments
    assert told[:3] == ["--config-env", "prod", "--parameter-overrides"]
    assert {"Stage=prod", "Architecture=arm64", "ReservedConcurrency=7"} <= set(told)
    assert (
        f"CodeSha={artifact.deployed_with('prod', ('Architecture=arm64', 'ReservedConcurrency=7'))['CodeSha']}" in told
    )
    assert not {"--no-confirm-changeset", "--s3-bucket", "--role-arn"} & set(told)


def test_a_pipeline_is_not_asked_and_names_its_bucket_and_role() -> None:
    house = House()
    house.run(yes=True, bucket="artifacts", role="arn:aws:iam::123456789012:role/stacks")
    told = " ".join(house.workshop.arguments)
    assert "--no-confirm-changeset" in told
    assert "--no-resolve-s3 --s3-bucket artifacts" in told
    assert "--role-arn arn:aws:iam::123456789012:role/stacks" in told


def test_what_is_not_committed_is_not_deployed() -> None:
    house = House(workshop=FakeWorkshop(changed=["template.yaml", "new.py"]))
    assert house.refused() == "not committed: template.yaml, new.py"
    assert house.workshop.done == []


def test_only_dev_may_have_it_all_the_same() -> None:
    changed = FakeWorkshop(changed=["template.yaml"])
    assert House(workshop=changed).refused(dirty=True) == "--dirty is for dev alone"
    House(env="dev", workshop=changed).run(dirty=True)
    assert "deploy" in changed.done


def test_a_stored_policy_that_the_new_code_would_not_accept_stops_the_deployment() -> None:
    house = House(target=FakeTarget(("version 7", INVALID_POLICY)))
    why = house.refused()
    assert "version 7" in why
    assert "budget" in why
    assert house.workshop.done == []


def test_a_stored_policy_that_is_sound_does_not() -> None:
    house = House(target=FakeTarget(("version 7", policy.preset_document("current"))))
    house.run()
    assert "deploy" in house.workshop.done


def test_an_older_build_never_goes_over_a_newer_one_by_the_pipeline() -> None:
    house = House(env="prod", target=FakeTarget(deployed=NEWER))
    assert house.refused(forward=True) == f"mangaassist-prod is at {NEWER}, which this commit does not follow"
    assert house.workshop.done == []


@pytest.mark.parametrize("deployed", [OLDER, OURS, ""])
def test_what_follows_the_deployed_commit_or_comes_first_goes_on(deployed: str) -> None:
    house = House(target=FakeTarget(deployed=deployed))
    house.run(forward=True)
    assert "deploy" in house.workshop.done


def test_who_goes_back_by_hand_may() -> None:
    house = House(target=FakeTarget(deployed=NEWER))
    house.run()
    assert "deploy" in house.workshop.done


@pytest.mark.parametrize(("dirty", "told"), [(False, f"Commit={OURS}"), (True, 'Commit=""')])
def test_the_stack_is_told_its_commit_and_none_for_what_is_not_committed(told: str, *, dirty: bool) -> None:
    house = House(env="dev")
    house.run(dirty=dirty)
    assert [it for it in house.workshop.arguments if it.startswith("Commit=")] == [told]


def test_the_question_can_be_asked_again_of_what_is_deployed() -> None:
    house = House()
    house.rollout().ask_alone()
    assert house.shopper.asked == [(URL, "token")]
    assert house.workshop.done == []


def test_a_question_that_cannot_be_asked_is_no_proof() -> None:
    with pytest.raises(click.ClickException, match="MANGAASSIST_TOKEN"):
        House().rollout(token="").ask_alone()


def test_a_tree_tells_what_it_follows(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        told = ["git", "-C", str(tmp_path), "-c", "user.name=akira", "-c", "user.email=akira@example.com", *arguments]
        return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()

    def commit() -> str:
        git("commit", "--quiet", "--allow-empty", "--message", "work")
        return git("rev-parse", "HEAD")

    git("init", "--quiet")
    first, second = commit(), commit()
    tree = Tree(tmp_path)
    assert tree.commit() == second
    assert tree.follows(first)
    assert tree.follows(second)
    git("checkout", "--quiet", first)
    assert not tree.follows(second)
    assert not tree.follows(OLDER)  # nobody here knows it


def test_what_is_built_is_deployed_as_it_is_if_it_is_of_this_tree() -> None:
    house = House()
    house.run(built=True)
    assert house.workshop.done == ["deploy"]
    assert "not built from this tree" in House(workshop=FakeWorkshop(fits=False)).refused(built=True)


def test_without_a_token_it_says_that_nothing_was_proved() -> None:
    house = House()
    house.run(token="")
    assert house.shopper.asked == []
    assert "MANGAASSIST_TOKEN" in house.said[-1]


def test_a_wrong_answer_fails_and_says_that_it_is_deployed() -> None:
    house = House(shopper=FakeShopper("the answer is not complete: catalogue"))
    with pytest.raises(click.ClickException) as failure:
        house.run()
    assert failure.value.exit_code == 1
    assert failure.value.message.startswith(
        "mangaassist-staging is deployed, and does not answer as it should: the answer"
    )


def test_an_unknown_environment_is_refused() -> None:
    ended = CliRunner().invoke(deploy.main, ["production"])
    assert ended.exit_code == 2
    assert "dev, staging, prod" in ended.output


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> DeployedStack:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    return DeployedStack(lambda: Place("mangaassist-staging", "", "ap-northeast-1"))


def make_stack() -> None:
    resources = {"Topic": {"Type": "AWS::SNS::Topic"}}
    outputs = {it: {"Value": value} for it, value in OUTPUTS.items()}
    Place("", "", "ap-northeast-1", SITUATION).client("cloudformation").create_stack(
        StackName="mangaassist-staging", TemplateBody=json.dumps({"Resources": resources, "Outputs": outputs})
    )


def test_a_stack_that_is_not_there_yet_has_no_policy_and_no_commit(stack: DeployedStack) -> None:
    with mock_aws():
        assert stack.stored_policy() is None
        assert stack.commit() == ""


def test_a_stack_tells_its_outputs_and_the_policy_stored_in_it(stack: DeployedStack, dynamodb: DynamoDBClient) -> None:
    make_stack()
    assert stack.outputs() == OUTPUTS
    assert stack.commit() == OURS
    assert stack.stored_policy() is None
    document = policy.preset_document("current")
    PolicyStore(dynamodb, SITUATION).put(document, 0, "akira")
    found = stack.stored_policy()
    assert found is not None
    assert found[0] == "version 1"
    policy.load(found[1])
