"""The contenders as this command sees them: processes that are told what to do, one after the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.start import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
OURS = "MangaAssist"


@dataclass(frozen=True, slots=True)
class Peer:
    """A contender: its name for people, and for `contender.py`; ours has none of the latter."""

    name: str
    code: str = ""

    def command(self, python: Path) -> list[str]:
        """How its process is started; `python` is that of the peers' environment."""
        if self.code:
            return [str(python), str(HERE / "contender.py"), self.code]
        return [sys.executable, str(HERE / "ours.py")]


PEERS = (
    Peer(OURS),
    Peer("raw boto3", "boto3"),
    Peer("LiteLLM Router", "litellm"),
    Peer("LiteLLM Router, async", "litellm-async"),
    Peer("LiteLLM Router, retries off", "litellm-no-retries"),
    Peer("Portkey gateway", "portkey"),
)


class PeerFailed(Exception):
    """A contender's process ended; the text is what it said."""


class Talk:
    """A running contender; `started` is what it told of its own start."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.started = self._heard()

    def tell(self, do: str, **told: Any) -> dict[str, Any]:
        """Have it do something; raises PeerFailed."""
        if self._process.stdin is None:
            raise PeerFailed("it cannot be told anything")
        self._process.stdin.write(json.dumps({"do": do, **told}) + "\n")
        self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise PeerFailed(f"{' '.join(map(str, self._process.args))} ended")  # type: ignore[arg-type]
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def talking(peer: Peer, python: Path) -> Iterator[Talk]:
    """A contender's process, ended with the block; what it logs is nobody's business."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    if not peer.code:
        environment["MESSAGE_ENVIRONMENT"] = json.dumps(ENVIRONMENT)
    with subprocess.Popen(
        peer.command(python),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,  # so that what it starts can be ended with it
    ) as process:
        try:
            yield Talk(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
