"""`make invoke`: run a built function on a sample event, as Lambda would, against the twin's emulators and no Docker.

The runtime interface emulator comes with aws-sam-cli and plays Lambda; awslambdaric is the client that Lambda's own
runtime starts. The function sees its built folder, the built layer and that client, and nothing of this environment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import httpx

from local import template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "host"
VARIABLES = ROOT / "events" / "env.json"
HOST = "127.0.0.1"
TWIN_PORT = 8080
SPOKEN_OF = re.compile(rf"http://(127\.0\.0\.1|host\.docker\.internal):{TWIN_PORT + 1}\b")  # emulated AWS, in env.json
SHOPPER = "sample-shopper"
RUNTIME = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")  # what Lambda has in /var/runtime
START_LIMIT_S = 60.0
INVOKE_LIMIT_S = 40.0


class CannotInvoke(click.ClickException):
    """The function cannot be run here; the text says why and what helps."""


@dataclass(frozen=True)
class Invocation:
    """What came of an invocation: the function's answer, what it logged, and the frames that it posted."""

    answer: Any
    log: str
    frames: list[Any]


@dataclass(frozen=True)
class Twin:
    """A running twin; AWS is emulated on its next port."""

    port: int

    @property
    def aws(self) -> str:
        return f"http://{HOST}:{self.port + 1}"

    def ask(self, path: str) -> dict[str, Any]:
        """Get one of the twin's controls."""
        answer: dict[str, Any] = (
            httpx.get(f"http://{HOST}:{self.port}/twin/{path}", timeout=5).raise_for_status().json()
        )
        return answer

    def is_up(self) -> bool:
        """Whether a twin answers."""
        try:
            return bool(self.ask("health")["status"] == "ok")
        except (httpx.HTTPError, ValueError, KeyError):
            return False

    def frames(self, connection_id: str) -> list[Any]:
        """What was posted to a sample event's connection, oldest first."""
        frames: list[Any] = self.ask(f"mailbox/{connection_id}")["frames"]
        return frames


class Lambda:
    """One execution environment: the first invocation initialises it, and later ones find it warm."""

    def __init__(self, address: str, log: Path) -> None:
        self._address = address
        self._log = log
        self._read = 0

    def invoke(self, event: dict[str, Any], twin: Twin) -> Invocation:
        """Run the function once; raises CannotInvoke when it does not answer."""
        connection_id = event.get("requestContext", {}).get("connectionId")
        before = len(twin.frames(connection_id)) if connection_id else 0
        try:
            reply = httpx.post(self._address, content=json.dumps(event), timeout=INVOKE_LIMIT_S)
        except httpx.HTTPError as error:
            raise CannotInvoke(f"the emulator does not answer ({error!r}):\n{self._new_log()}") from error
        try:
            answer = reply.json()
        except ValueError:
            answer = reply.text  # the emulator's own words, such as those for a timeout
        return Invocation(answer, self._new_log(), twin.frames(connection_id)[before:] if connection_id else [])

    def _new_log(self) -> str:
        text = self._log.read_text("utf-8", "replace")
        new, self._read = text[self._read :], len(text)
        return new


@contextmanager
def twin_at(port: int) -> Iterator[Twin]:
    """The twin at that port, started for this call when none answers there; raises CannotInvoke."""
    twin = Twin(port)
    if twin.is_up():
        yield twin
        return
    with started(twin) as own:
        yield own


@contextmanager
def own_twin(*arguments: str) -> Iterator[Twin]:
    """A twin of one's own on free ports, with these arguments; raises CannotInvoke."""
    with started(Twin(free_ports()[0]), *arguments) as twin:
        yield twin


@contextmanager
def started(twin: Twin, *arguments: str) -> Iterator[Twin]:
    """Start a twin, and stop it when the block ends; raises CannotInvoke."""
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "local", "--port", str(twin.port), *arguments]
        with running(command, cwd=ROOT, env=dict(os.environ), output=output.fileno()) as process:
            wait(twin.is_up, process, lambda: f"the twin does not start:\n{_all_of(output)}")
            yield twin


@contextmanager
def lambda_of(
    name: str, twin: Twin, build: Path = BUILD, variables: Mapping[str, str] | None = None
) -> Iterator[Lambda]:
    """An execution environment of a built function, by its folder's name or its logical id; raises CannotInvoke.

    `variables` are set over those of the template and of env.json.
    """
    function = find(name)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mangaassist-")))
        port, api_port = free_ports()
        command = [
            str(emulator()),
            f"--runtime-interface-emulator-address={HOST}:{port}",
            f"--runtime-api-address={HOST}:{api_port}",
            "--log-level=error",
            f"{sys.base_prefix}/bin/python3",
            "-m",
            "awslambdaric",
            function.handler,
        ]
        log = folder / "log"
        output = stack.enter_context(log.open("wb"))
        environment = surroundings(function, build, runtime_client(folder / "runtime"), twin) | dict(variables or {})
        process = stack.enter_context(
            running(command, cwd=build / function.name, env=environment, output=output.fileno())
        )
        wait(lambda: listens(port), process, lambda: f"the emulator does not start:\n{log.read_text()}")
        yield Lambda(f"http://{HOST}:{port}/2015-03-31/functions/function/invocations", log)


def find(name: str) -> template.Function:
    """A function of the template; raises CannotInvoke with the names there are."""
    functions = template.read(ROOT / "template.yaml").functions.values()
    for function in functions:
        if name in (function.name, function.folder.name):
            return function
    raise CannotInvoke(f"no function {name!r}; there are {', '.join(f.folder.name for f in functions)}")


def surroundings(function: template.Function, build: Path, client: Path, twin: Twin) -> dict[str, str]:
    """The function's whole environment: what Lambda sets, the template's variables, and env.json's over them."""
    variables: dict[str, dict[str, str]] = json.loads(VARIABLES.read_text("utf-8"))
    overridden = variables.get("Parameters", {}) | variables.get(function.name, {})
    here = {name: SPOKEN_OF.sub(twin.aws, value) for name, value in overridden.items()}
    path = (build / function.name, build / "RoutingLayer" / "python", client)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(folder) for folder in path),
        "LAMBDA_TASK_ROOT": str(build / function.name),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(function.timeout_s)),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_REGION": "ap-northeast-1",
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "AWS_ACCESS_KEY_ID": "sample",
        "AWS_SECRET_ACCESS_KEY": "opens nothing",
        **function.environment,
        **here,
    }


def emulator() -> Path:
    """The emulator's binary for this machine; raises CannotInvoke where it cannot run."""
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    spec = importlib.util.find_spec("samcli.local.rapid")
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / f"aws-lambda-rie-{machine}"
        if sys.platform == "linux" and binary.exists():
            return binary
    raise CannotInvoke(f"Lambda's emulator needs Linux on x86_64 or arm64; on {sys.platform} use sam local invoke")


def runtime_client(folder: Path) -> Path:
    """A folder with links to Lambda's runtime client and what it needs, and nothing else of this environment."""
    folder.mkdir()
    for package in RUNTIME:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise CannotInvoke(f"{package} is not installed: run make test or make run once")
        found = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        (folder / found.name).symlink_to(found)
    return folder


@contextmanager
def running(command: list[str], cwd: Path, env: dict[str, str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program with all its children, ended when the block ends."""
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(condition: Callable[[], bool], process: subprocess.Popen[bytes], otherwise: Callable[[], str]) -> None:
    """Wait until a condition holds; raises CannotInvoke when the program has ended or time is up."""
    until = time.monotonic() + START_LIMIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            raise CannotInvoke(otherwise())
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether something accepts connections at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def free_ports() -> tuple[int, int]:
    """Two ports in a row that nobody uses now."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind((HOST, 0))
            port: int = first.getsockname()[1]
            try:
                second.bind((HOST, port + 1))
            except OSError:
                continue
            return port, port + 1


def read_event(path: Path, twin: Twin) -> dict[str, Any]:
    """A sample event with this twin's page as its origin and a valid token where it says TOKEN; raises CannotInvoke."""
    text = path.read_text("utf-8").replace(f"http://{HOST}:{TWIN_PORT}", f"http://{HOST}:{twin.port}")
    if "TOKEN" in text:
        text = text.replace("TOKEN", twin.ask(f"token?user={SHOPPER}")["token"])
    try:
        event = json.loads(text)
    except ValueError as error:
        raise CannotInvoke(f"{path} is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise CannotInvoke(f"{path} is no event: an object is expected")
    return event


def _all_of(output: IO[str]) -> str:
    output.seek(0)
    return output.read()


@click.command()
@click.argument("function")
@click.argument("event", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--port", default=TWIN_PORT, show_default=True, help="The twin's; one is started when none answers there."
)
@click.option("--build", type=click.Path(exists=True, file_okay=False, path_type=Path), default=BUILD, help="A build.")
@click.option("--log/--no-log", default=True, help="Print what the function logs, to stderr.")
def main(function: str, event: Path, port: int, build: Path, log: bool) -> None:
    """Run the built FUNCTION (authorizer, connect, message, disconnect, capacity, ingest, advisor) on the sample EVENT.

    Prints what it answered, then the frames that it posted to the connection.
    """
    with twin_at(port) as twin, lambda_of(function, twin, build.resolve()) as environment:
        invocation = environment.invoke(read_event(event, twin), twin)
    if log:
        click.echo(invocation.log, err=True, nl=False)
    click.echo(json.dumps(invocation.answer, ensure_ascii=False))
    for frame in invocation.frames:
        click.echo(json.dumps(frame, ensure_ascii=False))


if __name__ == "__main__":
    main()
