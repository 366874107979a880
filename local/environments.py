"""Execution environments: processes in which functions run apart from the twin, as they do on Lambda.

The twin starts without any: functions then share its process, which is quick to start and to edit under. With some, a
load uses more than one processor, and one can be killed in the middle of its events, as Lambda's are when they crash.
An environment takes many events at a time, each on a thread, where Lambda's take one: a hundred turns under way would
need a hundred processes. As on Lambda, an environment keeps the code that it started with.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.functions import HandlerFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.clock import Clock

EXITED = "Runtime.ExitError"  # Lambda's words for a process that is gone
READY_S = 60
AGAIN_S = 1.0  # between two that do not start


@dataclass(eq=False)
class Environment(asyncio.Protocol):
    """One process and the events that it has under way."""

    template: Path
    log: Path | None
    told: Callable[[Environment, dict[str, Any]], None]
    ended: Callable[[Environment], None]
    waiting: dict[str, tuple[str, Future[Any]]] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    served: bool = False  # whether events were ever sent to it

    async def start(self) -> None:
        """Start the process and wait until its handlers are loaded; raises TimeoutError and ConnectionError."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "local.environment", str(theirs.fileno()), str(self.template)]
        if self.log:
            command.append(str(self.log))
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._received = b""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_accepted_socket(lambda: self, ours)
        try:
            async with asyncio.timeout(READY_S):
                await self.ready.wait()
        except TimeoutError:
            self.kill()
            raise
        if self.process.poll() is not None:
            raise ConnectionError(f"it ended with exit code {self.process.returncode}")

    def send(self, message: dict[str, Any]) -> None:
        """Tell the process something."""
        self._transport.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")

    def data_received(self, data: bytes) -> None:
        """Pass on what the process tells, line by line."""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self.told(self, json.loads(line))

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end of the process."""
        self.process.wait()
        self.ready.set()  # who waits for the start has waited long enough
        self.ended(self)

    def kill(self) -> None:
        """End the process without a word."""
        self.process.send_signal(signal.SIGKILL)


class Environments:
    """So many processes; one that ends is followed by another. To be used on the event loop alone.

    An event that finds none waits for the next one, as Lambda lets it wait for a cold start.
    """

    def __init__(
        self, count: int, template: Path, log: Path | None, clock: Clock, report: Callable[[str], None]
    ) -> None:
        self.count = count
        self._template = template
        self._log = log
        self._clock = clock
        self._report = report
        self._running: list[Environment] = []
        self._waiting: list[tuple[str, dict[str, Any], Future[Any]]] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def begin(self) -> None:
        """Start them all."""
        await asyncio.gather(*(self._begin_one() for _ in range(self.count)))

    def start(self, name: str, event: dict[str, Any]) -> Future[Any]:
        """Begin an invocation where the fewest are under way; the future fails with HandlerFailed."""
        future: Future[Any] = Future()
        if self._running:
            self._send(name, event, future)
        else:
            self._waiting.append((name, event, future))
        return future

    def listed(self) -> list[dict[str, int]]:
        """The processes, and how many events each has under way."""
        return [{"pid": it.process.pid, "events": len(it.waiting)} for it in self._running]

    def kill(self) -> dict[str, int] | None:
        """Kill the one that has the most events under way, and say which; None while none is ready."""
        if not self._running:
            return None
        busiest = max(self._running, key=lambda it: len(it.waiting))
        killed = {"pid": busiest.process.pid, "events": len(busiest.waiting)}
        self._running.remove(busiest)  # its end is heard of later; until then nobody else may be sent there
        busiest.kill()
        return killed

    def stop(self) -> None:
        """End them all."""
        self._stopped = True
        for environment in self._running:
            environment.kill()
        self._fail_waiting("the twin stops")

    async def _begin_one(self) -> None:
        environment = Environment(self._template, self._log, self._told, self._ended)
        await environment.start()
        environment.served = True
        self._running.append(environment)
        waiting, self._waiting = self._waiting, []
        for name, event, future in waiting:
            self._send(name, event, future)

    async def _replace(self) -> None:
        """Start another, as often as it takes; what waits for one is told that none starts."""
        while not self._stopped:
            try:
                await self._begin_one()
            except (TimeoutError, ConnectionError) as error:
                self._report(f"an environment does not start: {str(error) or 'it takes too long'}")
                self._fail_waiting("no environment starts")
                await asyncio.sleep(AGAIN_S)
            else:
                return

    def _fail_waiting(self, why: str) -> None:
        for name, _, future in self._waiting:
            future.set_exception(HandlerFailed.of(name, EXITED, why))
        self._waiting.clear()

    def _send(self, name: str, event: dict[str, Any], future: Future[Any]) -> None:
        environment = min(self._running, key=lambda it: len(it.waiting))
        number = uuid.uuid4().hex
        environment.waiting[number] = name, future
        environment.send({"id": number, "function": name, "event": event, "clock": self._clock.reading()})

    def _told(self, environment: Environment, message: dict[str, Any]) -> None:
        if "said" in message:
            self._report(message["said"])
        elif "ready" in message:
            environment.ready.set()
        elif waiting := environment.waiting.pop(message["id"], None):
            name, future = waiting
            if failure := message.get("failure"):
                future.set_exception(HandlerFailed.of(name, *failure))
            else:
                future.set_result(message["answer"])

    def _ended(self, environment: Environment) -> None:
        """Fail what was under way in it, as Lambda does, and start another where it had started."""
        if environment in self._running:
            self._running.remove(environment)
        for name, future in environment.waiting.values():
            future.set_exception(HandlerFailed.of(name, EXITED, "the environment exited unexpectedly"))
        environment.waiting.clear()
        if environment.served and not self._stopped:
            task = asyncio.get_running_loop().create_task(self._replace())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
