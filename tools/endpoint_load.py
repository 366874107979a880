"""Load on a model: so many who each ask again as soon as they are answered, and what they saw.

Whoever asks is busy all the time, so the rate of answers is what came of all their busy seconds; that the last answers
come after the time is up takes nothing from it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from bench import timing
from mangaassist.capacity.endpoint_sizing import Step
from mangaassist.errors import BackendError, Unavailable
from mangaassist.routing.backends import TextDelta, UsageReport
from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mangaassist.routing.backends import Backend, ModelCall, ModelStream, StreamEvent

OPEN_LIMIT_S = 5.0
ANSWER_LIMIT_S = 65.0  # the service gives up after 60
LOOK_EVERY_S = 0.1  # how soon who asks notices that nobody wants to know any more
FAILURE_PAUSE_S = 0.2  # a refusal comes at once, and its repetition would be no load but a flood
ARRIVING_SHARE = 0.1  # of the time in which those who ask come, one after the other: together they would stay in step


class Stopped(Exception):
    """Nobody wants the answer any more."""


@dataclass
class Heard:
    """One answer."""

    text: str = ""
    first_text_ms: float | None = None
    total_ms: float = 0.0
    input_tokens: int | None = None  # None: the container does not tell
    output_tokens: int = 0
    estimated: bool = True
    outcome: str = ""  # of what failed


def ask(
    backend: Backend,
    call: ModelCall,
    stop: Event,
    *,
    say: Callable[[str], object] = lambda text: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Heard:
    """Ask once and listen to the end; raises Stopped, and BackendError when there is no answer."""
    heard, began = Heard(), monotonic()
    stream = backend.open(call, OPEN_LIMIT_S)
    try:
        while (events := _polled(stream, stop, monotonic() - began)) is not None:
            said = _take(heard, events)
            if said and heard.first_text_ms is None:
                heard.first_text_ms = (monotonic() - began) * 1000
            say(said)
    finally:
        stream.close()
    heard.total_ms = (monotonic() - began) * 1000
    if heard.estimated:
        heard.output_tokens = estimate(heard.text)
    return heard


def _polled(stream: ModelStream, stop: Event, elapsed_s: float) -> tuple[StreamEvent, ...] | None:
    if stop.is_set():
        raise Stopped
    if elapsed_s > ANSWER_LIMIT_S:
        raise Unavailable("stalled")
    return stream.poll(LOOK_EVERY_S)


def _take(heard: Heard, events: tuple[StreamEvent, ...]) -> str:
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    heard.text += said
    for event in events:
        if isinstance(event, UsageReport):
            heard.input_tokens, heard.output_tokens = event.usage.input_tokens, event.usage.output_tokens
            heard.estimated = False
    return said


@dataclass
class Load:
    """All who ask at a time; `calls` gives the next one's question and may be asked by any thread."""

    backend: Backend
    calls: Callable[[], ModelCall]
    concurrency: int
    seconds: float
    monotonic: Callable[[], float] = time.monotonic
    heard: list[Heard] = field(default_factory=list)
    _busy_s: float = 0.0
    _stop: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def run(self, progress: Callable[[float], object]) -> None:
        """Ask for the time, telling how much of it has passed, and hear the last answers out.

        Whatever interrupts it ends those who ask at once.
        """
        began = self.monotonic()
        askers = [
            Thread(target=self._ask_on, args=(began, began + self._arrival_s(number)), daemon=True)
            for number in range(self.concurrency)
        ]
        for asker in askers:
            asker.start()
        try:
            for asker in askers:
                while asker.is_alive():
                    asker.join(LOOK_EVERY_S)
                    progress(min(self.seconds, self.monotonic() - began))
        finally:
            self._stop.set()
            for asker in askers:
                asker.join()

    def failures(self) -> dict[str, int]:
        """How often each failure was met."""
        counts: dict[str, int] = {}
        with self._lock:
            for heard in self.heard:
                if heard.outcome:
                    counts[heard.outcome] = counts.get(heard.outcome, 0) + 1
        return counts

    def step(self, instances: int = 1) -> Step:
        """What each of so many instances did."""
        with self._lock:
            heard, busy_s = [*self.heard], self._busy_s
        answers = [one for one in heard if not one.outcome]
        first = [one.first_text_ms for one in answers if one.first_text_ms is not None]
        each = self.concurrency / instances / busy_s if busy_s else 0.0
        return Step(
            concurrency=self.concurrency // instances,
            answers=len(answers),
            errors=len(heard) - len(answers),
            first_text_p50_ms=percentile(first, 0.5),
            first_text_p95_ms=percentile(first, 0.95),
            total_p95_ms=percentile([one.total_ms for one in answers], 0.95),
            answers_per_s=len(answers) * each,
            tokens_per_s=sum(one.output_tokens for one in answers) * each,
        )

    def _arrival_s(self, number: int) -> float:
        return self.seconds * ARRIVING_SHARE * number / self.concurrency

    def _ask_on(self, began: float, arrives: float) -> None:
        self._stop.wait(max(0.0, arrives - self.monotonic()))
        while not self._stop.is_set() and self.monotonic() < began + self.seconds:
            heard, at = Heard(), self.monotonic()
            try:
                heard = ask(self.backend, self.calls(), self._stop, monotonic=self.monotonic)
            except Stopped:
                return
            except BackendError as error:
                heard.outcome = str(error)
                self._stop.wait(FAILURE_PAUSE_S)
            if not (heard.outcome or heard.text):
                heard.outcome = "empty"
            with self._lock:
                self.heard.append(heard)
                self._busy_s += self.monotonic() - at


def percentile(values: Sequence[float], share: float) -> float | None:
    """That of `bench.timing`, None where nothing was timed."""
    return timing.percentile(values, share) if values else None
