"""Portkey's gateway as its users run it: a process of its own, which is asked over HTTP and calls Bedrock."""

from __future__ import annotations

import atexit
import http.client
import json
import socket
import subprocess
import sys
import time
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "ap-northeast-1"
SCRIPT = Path(sys.prefix, "gateway", "node_modules", "@portkey-ai", "gateway", "build", "start-server.js")
READY_S = 20.0
DATA, DONE = b"data: ", b"[DONE]"


class Refused(Exception):
    """The gateway answered with an error, or did not start; `name` is what to call it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Gateway:
    """Its process on a free port, ready to be asked; raises FileNotFoundError where it, or node, is not installed."""

    def __init__(self) -> None:
        if not SCRIPT.exists():
            raise FileNotFoundError(SCRIPT)
        self.port = _free_port()
        command = ["node", str(SCRIPT), f"--port={self.port}", "--headless"]
        quiet = subprocess.DEVNULL
        node = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        atexit.register(node.kill)
        self._process = psutil.Process(node.pid)
        until = time.monotonic() + READY_S
        while not self._listens():
            if node.poll() is not None or time.monotonic() > until:
                raise Refused("it does not start")
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def cpu_s(self) -> float:
        """Processor seconds that it has used so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        """What it holds, in MB."""
        return float(self._process.memory_info().rss / 1024 / 1024)


@cache
def _gateway() -> Gateway:
    return Gateway()


class Portkey:
    """The gateway with the chain as its fallbacks, by its own configuration; the limit is its `request_timeout`.

    It is a `contender.Client`, which it cannot import: that is the program that imports it.
    """

    def __init__(self, address: str, chain: list[str], limit_s: float) -> None:
        self._gateway = _gateway()
        targets = [
            {
                "provider": "bedrock",
                "aws_access_key_id": "peer",
                "aws_secret_access_key": "none",
                "aws_region": REGION,
                "custom_host": address,
                "request_timeout": round(limit_s * 1000),
                "override_params": {"model": model},
            }
            for model in chain
        ]
        config = {"strategy": {"mode": "fallback"}, "targets": targets}
        self._headers = {"Content-Type": "application/json", "x-portkey-config": json.dumps(config)}

    def ask(self, question: str) -> Iterator[str]:
        """The pieces of an answer, over a connection of its own: the one before may hang or be broken."""
        messages = [{"role": "user", "content": question}]
        body = json.dumps({"model": "any", "messages": messages, "stream": True, "max_tokens": 1024})
        with closing(http.client.HTTPConnection("127.0.0.1", self._gateway.port)) as connection:
            connection.request("POST", "/v1/chat/completions", body, self._headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise Refused(f"HTTP {answer.status}")
            for line in _lines(answer):
                if line.startswith(DATA) and not line.startswith(DATA + DONE):
                    yield from _texts(json.loads(line.removeprefix(DATA)))

    def ask_whole(self, question: str) -> None:
        """One answer to its end."""
        for _ in self.ask(question):
            pass

    def gateway_cpu_s(self) -> float:
        """Processor seconds of the gateway so far."""
        return self._gateway.cpu_s()

    def gateway_memory_mb(self) -> float:
        """What the gateway holds."""
        return self._gateway.memory_mb()


def _texts(chunk: dict[str, Any]) -> Iterator[str]:
    """The texts of a chunk; raises Refused for one that tells of an error."""
    if error := chunk.get("error"):
        raise Refused(str(error.get("type", "error")) if isinstance(error, dict) else "error")
    for choice in chunk.get("choices", ()):
        yield choice.get("delta", {}).get("content") or ""


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Whole lines as they come; raises IncompleteRead where the answer breaks off, which readline() keeps to itself."""
    rest = b""
    while piece := answer.read1(65_536):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])
