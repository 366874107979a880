"""`python -m local.environment`: one execution environment, which the twin starts and speaks with (environments.py)."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import log, template
from local.clock import Clock
from local.functions import NEVER_AGAIN_S, Functions, HandlerFailed

if TYPE_CHECKING:
    from concurrent.futures import Future


class Channel:
    """The way to the twin: one JSON document a line, in both directions."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()

    def __iter__(self) -> Any:
        with self._socket.makefile("rb") as lines:
            yield from map(json.loads, lines)

    def send(self, **message: Any) -> None:
        """Tell the twin something; when it is gone, so is the use of this process."""
        line = json.dumps(message, ensure_ascii=False, default=str).encode() + b"\n"
        with self._lock:
            self._socket.sendall(line)


def main(descriptor: int, template_path: Path, log_path: Path | None) -> None:
    """Load the handlers, then run what the twin asks for, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the twin's, which ends this process in its own way
    channel, clock = Channel(descriptor), Clock()
    functions = Functions(template.read(template_path), lambda line: channel.send(said=line), NEVER_AGAIN_S)
    tell = functions.report
    with log.kept(log_path, tell, afresh=False) if log_path else nullcontext():
        functions.load()
        channel.send(ready=True)
        for message in channel:
            clock.follow(message["clock"])
            future = functions.start(message["function"], message["event"])
            future.add_done_callback(lambda done, number=message["id"]: _tell(channel, number, done))  # type: ignore[misc]


def _tell(channel: Channel, number: str, done: Future[Any]) -> None:
    failure = done.exception()
    if isinstance(failure, HandlerFailed):
        channel.send(id=number, failure=[failure.kind, failure.text])
    else:
        channel.send(id=number, answer=done.result())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
