"""When the twin's schedules are due, and that its clock can be waited for."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from local.clock import JST, Clock
from local.schedules import Schedules, read
from local.template import Schedule, TemplateUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=JST)


@pytest.mark.parametrize(
    ("expression", "zone", "last", "next_"),
    [
        ("cron(50 17 * * ? *)", "Asia/Tokyo", "2026-11-22T17:50", "2026-11-23T17:50"),
        ("cron(50 17 * * ? *)", "UTC", "2026-11-23T02:50", "2026-11-24T02:50"),
        ("cron(0 9 * * ? *)", "Asia/Tokyo", "2026-11-23T09:00", "2026-11-24T09:00"),
        ("cron(0 0 ? * 1 *)", "Asia/Tokyo", "2026-11-22T00:00", "2026-11-29T00:00"),
        ("cron(0 0 ? * 2-6 *)", "Asia/Tokyo", "2026-11-23T00:00", "2026-11-24T00:00"),
        ("cron(0 0 ? * 6L *)", "Asia/Tokyo", "2026-10-30T00:00", "2026-11-27T00:00"),
        ("cron(0 0 ? * MON#1 *)", "Asia/Tokyo", "2026-11-02T00:00", "2026-12-07T00:00"),
        ("cron(0 0 L * ? *)", "Asia/Tokyo", "2026-10-31T00:00", "2026-11-30T00:00"),
        ("cron(0/15 8-10 * * ? *)", "Asia/Tokyo", "2026-11-23T09:00", "2026-11-23T09:15"),
        ("cron(0 0 1 1 ? 2027-2028)", "Asia/Tokyo", None, "2027-01-01T00:00"),
        ("rate(1 hour)", "UTC", "2026-11-23T08:30", "2026-11-23T09:30"),
        ("rate(7 days)", "UTC", "2026-11-23T08:30", "2026-11-30T08:30"),
    ],
)
def test_expressions_mean_what_they_mean_on_aws(expression: str, zone: str, last: str | None, next_: str) -> None:
    timing = read(expression, zone, MONDAY - timedelta(minutes=30))
    found, due = timing.last(MONDAY), timing.next(MONDAY)
    assert (found.astimezone(JST).isoformat()[:16] if found else None) == last
    assert due is not None
    assert due.astimezone(JST).isoformat()[:16] == next_


@pytest.mark.parametrize("microseconds", [-500_000, -1, 0, 1, 500_000, 999_999])
def test_a_time_is_due_from_its_second_on_and_not_before(microseconds: int) -> None:
    timing, now = read("cron(0 9 * * ? *)", "Asia/Tokyo", MONDAY), MONDAY + timedelta(microseconds=microseconds)
    yesterday = MONDAY - timedelta(days=1)
    assert timing.last(now) == (MONDAY if microseconds >= 0 else yesterday)
    assert timing.next(now) == (MONDAY + timedelta(days=1) if microseconds >= 0 else MONDAY)


@pytest.mark.parametrize(
    "expression",
    ["cron(50 17 * * *)", "cron(61 * * * ? *)", "rate(soon)", "at(2026-11-23T09:00:00)", "cron(0 0 * * ? x)"],
)
def test_what_cannot_be_read_stops_the_start_with_the_reason(expression: str) -> None:
    schedule = Schedule("Odd", expression, "UTC", True, "arn", "{}")
    with pytest.raises(TemplateUnusable, match="Odd"):
        Schedules((schedule,), Clock(), lambda *_: None, print)


def test_a_schedule_that_cannot_be_started_is_reported_and_goes_on() -> None:
    clock, reported = StandingClock(), list[str]()

    def refuse(*_: str) -> None:
        raise LookupError("no such machine")

    schedule = Schedule("Hourly", "cron(0 * * * ? *)", "UTC", True, "arn", "{}")
    schedules = Schedules((schedule,), clock, refuse, reported.append)
    for _ in range(2):
        clock.at += timedelta(hours=1)
        schedules.look()
        schedules.look()
    assert reported == ["Hourly could not be started: LookupError: no such machine"] * 2


def test_who_moves_the_clock_can_see_that_what_was_due_has_been_started() -> None:
    clock, seen = StandingClock(), list[str]()
    schedule = Schedule("Hourly", "cron(0 * * * ? *)", "UTC", True, "arn", "{}")
    schedules = Schedules((schedule,), clock, lambda *_: seen.append(schedules.state()[0]["looked_at"]), print)
    before = clock.at.isoformat(timespec="seconds")
    clock.at += timedelta(hours=1)
    assert schedules.state()[0]["looked_at"] == before
    schedules.look()
    assert seen == [before]
    assert schedules.state()[0]["looked_at"] == clock.at.isoformat(timespec="seconds")


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.reset()


def test_a_sleep_ends_when_the_clock_skips_it_and_when_nobody_wants_it(clock: Clock) -> None:
    began = clock.passed_s()
    sleeper = threading.Thread(target=clock.sleep, args=(3600,), daemon=True)
    sleeper.start()
    clock.advance(1800)
    clock.move(clock.now() - timedelta(days=2))
    assert sleeper.is_alive()
    clock.advance(1801)
    sleeper.join(5)
    assert not sleeper.is_alive()
    assert 3601 <= clock.passed_s() - began < 3700
    clock.sleep(3600, wanted=lambda: False)


class StandingClock(Clock):
    """A clock that stands until a test moves it."""

    at = MONDAY

    def now(self) -> datetime:
        return self.at
