"""The emulated endpoint's parts that need no socket: scaling, places, parts of a stream, metrics over time."""

from __future__ import annotations

import random
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import profiles
from local.clock import Clock
from local.endpoint import Fleet, Full, NoInstance
from local.endpoint_metrics import CONCURRENCY, Invocation, Metrics
from local.payload_parts import Call

if TYPE_CHECKING:
    from datetime import datetime as Moment

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
SETTINGS = {"requests_per_instance": "2", "queue_per_instance": "1", "target": "1", "maximum": "4"}


class HandClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.s = 0.0

    def now(self) -> Moment:
        return MIDNIGHT + timedelta(seconds=self.s)

    def passed_s(self) -> float:
        return self.s


def fleet(**settings: str) -> tuple[Fleet, HandClock]:
    clock = HandClock()
    return Fleet(profiles.load().endpoint.changed(SETTINGS | settings), clock), clock


def served(seconds: list[float], load: int) -> tuple[int, int]:
    """What becomes of an endpoint under a load that it can take, looked at after each of these spans."""
    watched, clock = fleet(requests_per_instance="9")
    clock.s = 300
    with ExitStack() as places:
        for _ in range(load):
            places.enter_context(watched.place())
        for span in seconds:
            clock.s += span
            watched.settle()
    for span in seconds:
        clock.s += span
        watched.settle()
    return watched.in_service, watched.desired


@given(st.lists(st.floats(0, 400), min_size=1, max_size=12), st.integers(0, 9))
def test_it_does_not_matter_how_often_somebody_looks(seconds: list[float], load: int) -> None:
    assert served(seconds, load) == served([sum(seconds)], load)


def test_who_came_first_is_served_first() -> None:
    full, clock = fleet()
    clock.s = 300
    with ExitStack() as others, full.place() as last:
        first, second = (others.enter_context(full.place()) for _ in range(2))
        assert not full.serves(first)  # the one that came before it has not begun
        assert [full.serves(place) for place in (last, first, second)] == [True, True, False]
        assert (full.serving, full.waiting) == (2, 1)
        with pytest.raises(Full), full.place():
            pass
        assert full.pace() == pytest.approx(1 + full.profile.slowdown)


def test_who_finds_nobody_wakes_one_and_only_one() -> None:
    asleep, clock = fleet(minimum="0", starting_s="300", out_after_s="60", in_after_s="900")
    clock.s = 300 + 900
    for _ in range(3):
        with pytest.raises(NoInstance), asleep.place():
            pass
    assert (asleep.in_service, asleep.desired, asleep.starting_in_s()) == (0, 1, [360])
    clock.s += 360
    with asleep.place() as place:
        assert asleep.serves(place)


def test_concurrency_is_told_every_ten_seconds_while_an_instance_serves() -> None:
    watched, clock = fleet(starting_s="20", minimum="2", target="9")
    metrics = Metrics("a", "", watched)
    clock.s = 42
    with watched.place(), watched.place(), watched.place():
        clock.s = 43  # and gone before the next sample
    clock.s = 65
    start_s = MIDNIGHT.timestamp()
    told = metrics.points(CONCURRENCY, {"EndpointName": "a", "VariantName": "main"}, start_s, start_s + 3600)
    assert [(at_s - start_s, value) for at_s, value in told] == [(20, 0), (30, 0), (40, 1.5), (50, 0), (60, 0)]


def test_latencies_are_only_those_of_calls_that_were_answered() -> None:
    metrics = Metrics("a", "copy", fleet()[0])
    metrics.invoked(Invocation(100, 1, 200, model_us=5.0))
    metrics.invoked(Invocation(101, 1, 503))
    whose = {"InferenceComponentName": "copy"}
    assert metrics.points("ModelLatency", whose, 0, 200) == [(100, 5.0)]
    assert metrics.points("Invocation5XXErrors", whose, 0, 200) == [(100, 0.0), (101, 1.0)]
    assert metrics.points("CPUUtilization", whose, 0, 200) == []


@given(st.lists(st.text(max_size=30), max_size=12), st.integers(0, 1000))
def test_parts_are_what_was_said(said: list[str], seed: int) -> None:
    dice = random.Random(seed)
    call = Call(None, 0, 0, lambda: 1, dice, lambda: 1, 60)
    framed = [call.parts(text.encode("utf-8", "replace")) for text in said] + [call.parts(b"", last=True)]
    received = b"".join(_payloads(b"".join(framed)))
    assert received == "".join(said).encode("utf-8", "replace")
    assert call.kept == b""


def _payloads(messages: bytes) -> list[bytes]:
    found = []
    while messages:
        length, headers = int.from_bytes(messages[:4]), int.from_bytes(messages[4:8])
        found.append(messages[12 + headers : length - 4])
        messages = messages[length:]
    return found
