"""Load on a model: what one answer shows, how many are asked for at a time, and what comes of it for each instance."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING

import pytest

from mangaassist.errors import Unavailable
from mangaassist.money.prices import Usage
from mangaassist.routing import policy
from mangaassist.routing.backends import Alive, Message, ModelCall, Stopped, TextDelta, UsageReport
from tests.unit.fakes import After, FakeClock, ScriptedBackend, answer, cut, hangs
from tools import endpoint_load
from tools.endpoint_load import Heard, Load, ask, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mangaassist.routing.backends import StreamEvent


def call() -> ModelCall:
    current = policy.preset("current")
    model = current.models["custom"]
    return ModelCall(current.targets["sagemaker-custom"], model, model.id, "", (Message("user", "?"),), 20)


def scripted(script: Sequence[After]) -> ScriptedBackend:
    return ScriptedBackend(FakeClock(), {"sagemaker-custom": [list(script)]})


def hear(script: Sequence[After], said: list[str] | None = None) -> Heard:
    backend, pieces = scripted(script), [] if said is None else said
    heard = ask(backend, call(), Event(), say=pieces.append, monotonic=backend.clock.monotonic)
    assert backend.streams[0].closed
    return heard


def test_an_answer_is_heard_with_its_times_and_tokens() -> None:
    said: list[str] = []
    heard = hear([After(0.3, Alive()), *answer("海", "賊", first_s=0.1, each_s=0.25, tokens=7)], said=said)
    assert (heard.text, "".join(said)) == ("海賊", "海賊")
    assert heard.first_text_ms == pytest.approx(400), "a sign of life is no text"
    assert heard.total_ms == pytest.approx(650)
    assert (heard.input_tokens, heard.output_tokens, heard.estimated) == (50, 7, False)


def test_tokens_that_nobody_tells_are_estimated() -> None:
    heard = hear([After(0.1, TextDelta("海賊王")), After(0.1, Stopped("complete")), After(0.0, None)])
    assert (heard.input_tokens, heard.output_tokens, heard.estimated) == (None, 4, True)


def test_what_breaks_is_an_error_and_closed() -> None:
    backend = scripted(cut("海"))
    with pytest.raises(Unavailable):
        ask(backend, call(), Event(), monotonic=backend.clock.monotonic)
    assert backend.streams[0].closed


def test_an_answer_that_never_ends_is_given_up() -> None:
    backend = scripted(hangs())
    with pytest.raises(Unavailable, match="stalled"):
        ask(backend, call(), Event(), monotonic=backend.clock.monotonic)
    assert endpoint_load.ANSWER_LIMIT_S < backend.clock.monotonic() - 1000 < endpoint_load.ANSWER_LIMIT_S + 1


def test_who_is_stopped_leaves_the_answer() -> None:
    stop = Event()
    stop.set()
    backend = scripted(answer("海"))
    with pytest.raises(endpoint_load.Stopped):
        ask(backend, call(), stop, monotonic=backend.clock.monotonic)
    assert backend.streams[0].closed


@dataclass
class Busy:
    """Takes its time for each answer, and counts how many there are at a time."""

    seconds: float = 0.05
    text: str = "海賊"
    fails_every: int = 0
    now: int = 0
    most: int = 0
    opened: int = 0
    lock: Lock = field(default_factory=Lock)

    def open(self, call: ModelCall, limit_s: float) -> BusyStream:
        with self.lock:
            self.opened += 1
            if self.fails_every and self.opened % self.fails_every == 0:
                raise Unavailable("throttled")
            self.now += 1
            self.most = max(self.most, self.now)
        return BusyStream(self)


@dataclass
class BusyStream:
    of: Busy
    said: bool = False

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        if self.said:
            return None
        time.sleep(self.of.seconds)
        self.said = True
        return (TextDelta(self.of.text), Stopped("complete"), UsageReport(Usage(10, 5)))

    def close(self) -> None:
        with self.of.lock:
            self.of.now -= 1


def loaded(busy: Busy, concurrency: int, instances: int = 1) -> Load:
    load = Load(busy, call, concurrency, 0.4)
    told: list[float] = []
    load.run(told.append)
    assert told == sorted(told)
    assert max(told) <= 0.4
    assert busy.now == 0
    return load


def test_so_many_ask_at_a_time_and_again_as_soon_as_they_are_answered() -> None:
    busy = Busy()
    step = loaded(busy, 4).step()
    assert (busy.most, step.concurrency, step.errors) == (4, 4, 0)
    assert step.answers == busy.opened
    assert step.answers > 8
    assert 0 < step.answers_per_s <= 80  # 4 x 1 / 0.05 s
    assert step.tokens_per_s == pytest.approx(5 * step.answers_per_s)
    assert (step.first_text_p50_ms or 0) >= 50
    assert (step.first_text_p95_ms or 0) <= (step.total_p95_ms or 0)


def test_what_all_did_is_shared_by_the_instances() -> None:
    load = loaded(Busy(), 4)
    one, each = load.step(1), load.step(2)
    assert (one.concurrency, each.concurrency) == (4, 2)
    assert each.answers_per_s == pytest.approx(one.answers_per_s / 2)
    assert each.first_text_p95_ms == one.first_text_p95_ms


def test_failures_are_counted_by_name_and_an_empty_answer_is_one() -> None:
    failing = loaded(Busy(fails_every=2), 2)
    assert [*failing.failures()] == ["throttled"]
    assert failing.step().errors == failing.failures()["throttled"] > 0
    empty = loaded(Busy(text=""), 1)
    assert empty.step().answers == 0
    assert empty.failures() == {"empty": empty.step().errors}
    assert empty.step().first_text_p95_ms is None


def test_an_interruption_ends_all_who_ask() -> None:
    busy = Busy(seconds=0.02)
    load = Load(busy, call, 3, 60.0)

    def interrupt(passed_s: float) -> None:
        if load.heard:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load.run(interrupt)
    assert busy.now == 0


def test_nothing_heard_is_no_rate() -> None:
    step = Load(Busy(), call, 2, 1.0).step()
    assert (step.answers, step.answers_per_s, step.first_text_p50_ms) == (0, 0, None)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 21)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile([7.0], 0.95)) == (10, 19, 7)
    assert percentile([], 0.95) is None
