"""A twin in a process of its own, and the few words that tests speak with it."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import httpx
from botocore.config import Config
from websockets.sync.client import ClientConnection, connect

from mangaassist.routing.policy import preset_document

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60
CALLS = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)

FIRST_PORT, PORTS_EACH = 20_000, 2_000
PAIRS = itertools.count()


@dataclass(frozen=True)
class Running:
    """A twin that is ready; its ports are `port` and the next."""

    port: int
    process: subprocess.Popen[str]
    ready_line: str

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def aws(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"

    def get(self, path: str, **query: str | int) -> Any:
        """Read a control."""
        answer = httpx.get(f"{self.page}/twin/{path}", params=query, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def put(self, path: str, document: Any) -> Any:
        """Set a control."""
        answer = httpx.put(f"{self.page}/twin/{path}", json=document, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def delete(self, path: str) -> Any:
        """Reset a control."""
        answer = httpx.delete(f"{self.page}/twin/{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def put_policy(self, **changes: Any) -> None:
        """Put the preset with these parts changed in force."""
        document = json.dumps(json.loads(preset_document("current")) | changes)
        row = {"pk": {"S": "NOW"}, "sk": {"S": "POLICY"}, "version": {"N": "1"}, "document": {"S": document}}
        self.client("dynamodb").put_item(TableName="SituationTable", Item=row)

    def token(self, user: str) -> str:
        """A token for a shopper."""
        return str(self.get("token", user=user)["token"])

    def connect(self, user: str = "alice", **options: Any) -> ClientConnection:
        """Open a WebSocket as a shopper."""
        return self.connect_with(f"?token={self.token(user)}", **options)

    def connect_with(self, query: str = "", **options: Any) -> ClientConnection:
        """Open a WebSocket with a query string of one's own."""
        connection: ClientConnection = connect(f"ws://127.0.0.1:{self.port}/live{query}", compression=None, **options)
        return connection

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the emulated AWS; scripted faults meet it as they meet handlers."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=options.pop("endpoint_url", self.aws),
            region_name=options.pop("region", "ap-northeast-1"),
            aws_access_key_id="TESTS",
            aws_secret_access_key="tests",
            config=CALLS.merge(options.pop("config", None) or Config()),
            **options,
        )

    def session(self) -> boto3.Session:
        """A session whose credentials the emulators take."""
        return boto3.Session("TESTS", "tests", region_name="ap-northeast-1")

    def buy(self, name: str, model: str = "amazon.nova-pro-v1:0:24k", units: int = 1, region: str = "us-east-1") -> str:
        """Buy provisioned throughput and move the clock until it serves; its ARN."""
        control = self.client("bedrock", region=region)
        bought = control.create_provisioned_model_throughput(
            provisionedModelName=name, modelId=model, modelUnits=units
        )["provisionedModelArn"]
        until = time.monotonic() + READY_S
        while control.get_provisioned_model_throughput(provisionedModelId=bought)["status"] != "InService":
            assert time.monotonic() < until, f"{name} never gets ready"
            self.put("clock", {"advance_s": 300})
        return str(bought)

    def give_up(self, arn: str) -> None:
        """Delete provisioned throughput, so that its units can be bought again."""
        control = self.client("bedrock", region=arn.split(":")[3])
        control.delete_provisioned_model_throughput(provisionedModelId=arn)

    def management(self) -> Any:
        """A client of `@connections`."""
        return self.client("apigatewaymanagementapi", endpoint_url=f"{self.aws}/live")


@contextmanager
def running(*arguments: str, environment: dict[str, str] | None = None, daily: bool = False) -> Iterator[Running]:
    """Start a twin on free ports and stop it as Ctrl-C does; what starts `daily` takes calls and faults."""
    port = free_pair()
    chosen = arguments if daily else ("--no-daily", *arguments)
    command = [sys.executable, "-m", "local", "--port", str(port), "--seed", "1", *chosen]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield Running(port, process, _ready(process))
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        finally:
            process.kill()
            if process.stdout:
                process.stdout.close()


def free_pair() -> int:
    """A port that is free together with the next one, from a range of this test process alone.

    The ranges lie below those from which systems take ports for connections: nobody else comes in between.
    """
    first = FIRST_PORT + PORTS_EACH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = first + 2 * (next(PAIRS) % (PORTS_EACH // 2))
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def frames(connection: ClientConnection, *, seconds: float = 30) -> Iterator[dict[str, Any]]:
    """The frames that arrive, up to the `end` or `error` of a turn."""
    until = time.monotonic() + seconds
    while True:
        frame = json.loads(connection.recv(timeout=max(0.01, until - time.monotonic())))
        yield frame
        if frame.get("type") in ("end", "error"):
            return


def text_of(received: list[dict[str, Any]]) -> str:
    """What a client shows after these frames: the deltas, from the last restart on."""
    text = ""
    for frame in received:
        if frame["type"] == "restart":
            text = ""
        elif frame["type"] == "delta":
            text += frame["text"]
    return text


def path_of(model_id: str) -> str:
    """A model id as it stands in a path."""
    return quote(model_id, safe="")


def _ready(process: subprocess.Popen[str]) -> str:
    """Wait for the ready line; what was said instead is the failure's text."""
    said = []
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.stdout is not None:
        line = process.stdout.readline()
        said.append(line)
        if "ready in" in line:
            return line
        if not line:
            break
    raise AssertionError("the twin did not get ready: " + "".join(said))
