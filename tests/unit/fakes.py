"""Doubles at the ports, and scripted time: nothing here sleeps, every wait moves the clock."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mangaassist.errors import (
    BackendError,
    ConnectionGone,
    KnowledgeUnavailable,
    StoreUnavailable,
    TooFast,
    Unavailable,
)
from mangaassist.money.ledger import Reservation
from mangaassist.money.prices import Usage
from mangaassist.routing.backends import Alive, ModelCall, Stopped, StreamEvent, TextDelta, UsageReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mangaassist.knowledge.cache.answers import Answer
    from mangaassist.knowledge.product import Product


class FakeClock:
    """Monotonic and wall time that move only when told."""

    def __init__(self, epoch_s: float = 1_795_369_400.0) -> None:  # 03:00 JST on 2026-11-23
        self.elapsed_s = 1000.0
        self._epoch_s = epoch_s

    def monotonic(self) -> float:
        return self.elapsed_s

    def now_s(self) -> float:
        return self._epoch_s + self.elapsed_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.elapsed_s += seconds


@dataclass(frozen=True)
class After:
    """Something that a scripted model does `delay_s` after the thing before it; None ends the stream."""

    delay_s: float
    what: StreamEvent | BackendError | None


def answer(*texts: str, first_s: float = 0.4, each_s: float = 0.02, tokens: int | None = None) -> list[After]:
    """A whole answer, as Bedrock streams it."""
    words = [After(first_s if place == 0 else each_s, TextDelta(text)) for place, text in enumerate(texts)]
    usage = Usage(input_tokens=50, output_tokens=len(texts) if tokens is None else tokens)
    return [*words, After(0.0, Stopped("complete")), After(0.0, UsageReport(usage)), After(0.0, None)]


def fails(outcome: str = "unavailable", after_s: float = 0.01) -> list[After]:
    """A call that is refused."""
    return [After(after_s, Unavailable(outcome))]


def cut(*texts: str, outcome: str = "cut") -> list[After]:
    """An answer that breaks after some words."""
    return [*answer(*texts)[: len(texts)], After(0.05, Unavailable(outcome))]


def hangs() -> list[After]:
    """Silence."""
    return [After(10_000.0, None)]


def stalls(*texts: str) -> list[After]:
    """Some words, then silence."""
    return [*answer(*texts)[: len(texts)], *hangs()]


def thinks(seconds: float, *texts: str) -> list[After]:
    """Signs of life every 100 ms, then an answer."""
    return [*(After(0.1, Alive()) for _ in range(int(seconds * 10))), *answer(*texts)]


class ScriptedStream:
    """Plays a script against the fake clock."""

    def __init__(self, clock: FakeClock, script: Sequence[After]) -> None:
        self._clock = clock
        self._script = list(script)
        self._at = clock.monotonic()
        self.closed = False
        self.finished = False
        self.idle_polls = 0

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        assert not self.closed
        assert wait_s >= 0
        self.idle_polls = self.idle_polls + 1 if wait_s == 0 else 0
        assert self.idle_polls < 100, "the caller spins"
        step = self._script[0]
        due = self._at + step.delay_s
        if due > self._clock.monotonic() + wait_s:
            self._clock.sleep(wait_s)
            return ()
        self._clock.elapsed_s = max(self._clock.elapsed_s, due)
        self._at = due
        self._script.pop(0)
        if isinstance(step.what, BackendError):
            raise step.what
        if step.what is None:
            self.finished = True
            return None
        return (step.what,)

    def close(self) -> None:
        self.closed = True


@dataclass
class ScriptedBackend:
    """Answers each call of a target with its next script; the last one stays."""

    clock: FakeClock
    scripts: dict[str, list[list[After]]]
    calls: list[ModelCall] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)
    open_s: float = 0.0

    def open(self, call: ModelCall, limit_s: float) -> ScriptedStream:
        self.calls.append(call)
        self.clock.sleep(min(self.open_s, limit_s))
        if self.open_s > limit_s:
            raise Unavailable("unavailable")
        scripts = self.scripts[call.target.name]
        stream = ScriptedStream(self.clock, scripts.pop(0) if len(scripts) > 1 else scripts[0])
        self.streams.append(stream)
        return stream

    @property
    def asked(self) -> list[str]:
        return [call.target.name for call in self.calls]


@dataclass
class Ready:
    """A small call that answers after a while, or fails."""

    clock: FakeClock
    answer: Any
    at: float

    def poll(self, wait_s: float) -> Any:
        if self.at > self.clock.monotonic() + wait_s:
            self.clock.sleep(wait_s)
            return None
        self.clock.elapsed_s = max(self.clock.elapsed_s, self.at)
        if isinstance(self.answer, KnowledgeUnavailable):
            raise self.answer
        return self.answer

    def wait(self, limit_s: float) -> Any:
        answer = self.poll(limit_s)
        if answer is None:
            raise KnowledgeUnavailable("fake", "late")
        return answer

    def close(self) -> None:
        pass


@dataclass
class FakeShelf:
    """The products of a store in memory."""

    clock: FakeClock
    products: dict[str, Product] = field(default_factory=dict)
    answer_s: float = 0.005
    down: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def begin(self, ids: Sequence[str], limit_s: float) -> Ready:
        self.asked.append(tuple(ids))
        found = {one: self.products[one] for one in ids if one in self.products}
        answer = KnowledgeUnavailable("products", "down") if self.down else found
        return Ready(self.clock, answer, self.clock.monotonic() + self.answer_s)


@dataclass
class MemoryAnswers:
    """Kept answers in memory; `down` makes every call last its limit and fail."""

    clock: FakeClock
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)
    claims: dict[tuple[str, str], float] = field(default_factory=dict)
    down: bool = False
    calls: int = 0
    claimed: list[tuple[str, str]] = field(default_factory=list)
    arriving: Callable[[str], dict[str, Answer]] = lambda bucket: {}  # what other turns keep meanwhile

    def _called(self, limit_s: float) -> None:
        self.calls += 1
        self.clock.sleep(limit_s if self.down else 0.003)
        if self.down:
            raise KnowledgeUnavailable("cache", "late")

    def read(self, bucket: str, limit_s: float) -> list[Answer]:
        self._called(limit_s)
        return list((self.answers.get(bucket, {}) | self.arriving(bucket)).values())

    def write(self, bucket: str, answer: Answer, limit_s: float) -> None:
        self._called(limit_s)
        self.answers.setdefault(bucket, {})[answer.wording] = answer

    def drop(self, bucket: str, wording: str, limit_s: float) -> None:
        self._called(limit_s)
        self.answers.get(bucket, {}).pop(wording, None)

    def claim(self, bucket: str, wording: str, lease_s: float, limit_s: float) -> bool:
        self._called(limit_s)
        if self.claims.get((bucket, wording), 0) > self.clock.now_s():
            return False
        self.claims[bucket, wording] = self.clock.now_s() + lease_s
        self.claimed.append((bucket, wording))
        return True

    def release(self, bucket: str, wording: str, limit_s: float) -> None:
        self._called(limit_s)
        self.claims.pop((bucket, wording), None)


@dataclass
class FakePurse:
    """A day's money in memory."""

    limit_nano_usd: int | None = None
    committed_nano_usd: int = 0
    down: bool = False

    def reserve(self, nano_usd: int, limit_nano_usd: int) -> Reservation | None:
        if self.down:
            raise StoreUnavailable("ledger")
        limit = self.limit_nano_usd if self.limit_nano_usd is not None else limit_nano_usd
        if self.committed_nano_usd + nano_usd > limit:
            return None
        self.committed_nano_usd += nano_usd
        return Reservation("2026-11-23", nano_usd)


@dataclass
class FakeProbes:
    """Grants the probe or not."""

    grant: bool = True
    asked: list[str] = field(default_factory=list)

    def acquire(self, target: str) -> bool:
        self.asked.append(target)
        return self.grant


@dataclass
class FakePoster:
    """A shopper's client and the gateway before it."""

    clock: FakeClock
    post_s: float = 0.01
    refusals: int = 0
    gone: bool = False
    gone_after: int | None = None
    inbox: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def post(self, connection_id: str, data: bytes) -> None:
        self.clock.sleep(self.post_s)
        if self.gone or (self.gone_after is not None and len(self.sizes) >= self.gone_after):
            raise ConnectionGone(connection_id)
        if self.refusals:
            self.refusals -= 1
            raise TooFast("429")
        self.sizes.append(len(data))
        self.at.append(self.clock.monotonic())
        self.inbox.setdefault(connection_id, []).append(json.loads(data))


def text_of(frames: Sequence[dict[str, Any]]) -> str:
    """The answer as a client that follows the frames has it, whatever arrives twice."""
    text, seen = "", -1
    for frame in frames:
        if frame["seq"] <= seen:
            continue
        assert frame["seq"] == seen + 1, "a gap"
        seen = frame["seq"]
        if frame["type"] == "restart":
            text = ""
        elif frame["type"] == "delta":
            text += frame["text"]
    return text
