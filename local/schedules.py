"""EventBridge Scheduler: starts the template's state machines on the twin's clock, however that is moved."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from local.clock import JST, LOOK_EVERY_S
from local.intrinsics import ACCOUNT, REGION
from local.template import TemplateUnusable

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.clock import Clock
    from local.template import Schedule

    type Start = Callable[[str, str, str], None]  # a state machine by its ARN, under a name, on an input

UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
YEARS_AHEAD = 5


class Timing(Protocol):
    """When a schedule is due."""

    def last(self, now: datetime) -> datetime | None:
        """The last time that is not after now."""

    def next(self, now: datetime) -> datetime | None:
        """The first time after now."""


@dataclass(frozen=True)
class Rate:
    """Every so often since the twin began."""

    every: timedelta
    began: datetime

    def last(self, now: datetime) -> datetime | None:
        return self.began + (now - self.began) // self.every * self.every

    def next(self, now: datetime) -> datetime | None:
        return self.began + ((now - self.began) // self.every + 1) * self.every


@dataclass(frozen=True)
class Cron:
    """At the times of a cron expression in a time zone; the years are kept apart, which no other cron knows."""

    expression: str
    zone: ZoneInfo
    years: frozenset[int] | None

    def last(self, now: datetime) -> datetime | None:
        return self._first(now, reverse=True)

    def next(self, now: datetime) -> datetime | None:
        return self._first(now, reverse=False)

    def _first(self, now: datetime, *, reverse: bool) -> datetime | None:
        here = now.astimezone(self.zone)
        if reverse:  # it looks strictly before its start, and now itself counts as due
            here += timedelta(microseconds=1)
        for moment in CronSim(self.expression, here, reverse):
            if abs(moment.year - here.year) > YEARS_AHEAD:
                return None
            if self.years is None or moment.year in self.years:
                return moment
        return None


@dataclass
class _Entry:
    schedule: Schedule
    timing: Timing
    last_at: datetime | None = None


@dataclass
class Schedules:
    """All of them; each fires once for whatever it missed in a jump of the clock, and not for what came before."""

    schedules: tuple[Schedule, ...]
    clock: Clock
    start: Start
    report: Callable[[str], None]
    _entries: list[_Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._looked_at = self.clock.now()
        for schedule in self.schedules:
            try:
                timing = read(schedule.expression, schedule.timezone, self._looked_at)
            except ValueError as error:
                raise TemplateUnusable(f"{schedule.name}: {error}") from error
            self._entries.append(_Entry(schedule, timing))

    def begin(self) -> None:
        """Look at the clock from now on, on a thread of its own."""
        self._looked_at = self.clock.now()
        if self._entries:
            threading.Thread(target=self._go_on, name="schedules", daemon=True).start()

    def look(self) -> None:
        """Fire what has become due since the last look."""
        since, now = self._looked_at, self.clock.now()
        for entry in self._entries:
            due = entry.timing.last(now) if entry.schedule.enabled else None
            if due is not None and due > since:
                entry.last_at = due
                self._fire(entry.schedule, due)
        self._looked_at = now

    def state(self) -> list[dict[str, Any]]:
        """When each was and will be due, and up to when everything due was started, for people and tests."""
        now = self.clock.now()
        return [
            {
                "name": entry.schedule.name,
                "expression": entry.schedule.expression,
                "timezone": entry.schedule.timezone,
                "enabled": entry.schedule.enabled,
                "next_at": _told(entry.timing.next(now)) if entry.schedule.enabled else None,
                "last_at": _told(entry.last_at),
                "looked_at": _told(self._looked_at),
            }
            for entry in self._entries
        ]

    def _go_on(self) -> None:
        while True:
            moves = self.clock.moves
            self.look()
            self.clock.until_moved(moves, LOOK_EVERY_S)

    def _fire(self, schedule: Schedule, due: datetime) -> None:
        """Start the target; its name says which time it was started for."""
        execution = str(uuid.uuid4())
        told = {
            "scheduled-time": due.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "schedule-arn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{schedule.name}",
            "execution-id": execution,
            "attempt-number": "1",
        }
        given = schedule.input
        for name, value in told.items():
            given = given.replace(f"<aws.scheduler.{name}>", value)
        name = f"{schedule.name[:40]}-{due.astimezone(JST):%Y%m%dT%H%M%S}-{execution[:8]}"
        try:
            self.start(schedule.target, name, given)
        except Exception as error:  # whatever it is, the next time comes; who watches must know
            self.report(f"{schedule.name} could not be started: {type(error).__name__}: {error}")


def read(expression: str, timezone: str, now: datetime) -> Timing:
    """The timing that an expression of EventBridge Scheduler means; raises ValueError."""
    kind, _, rest = expression.partition("(")
    fields = rest.removesuffix(")").split()
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{timezone} is no time zone") from error
    if kind == "rate" and len(fields) == 2 and fields[0].isdecimal() and fields[1].removesuffix("s") in UNITS:
        return Rate(max(1, int(fields[0])) * UNITS[fields[1].removesuffix("s")], now)
    if kind == "cron" and len(fields) == 6:
        *parts, weekday, years = fields
        translated = " ".join(["*" if part == "?" else part for part in parts] + [_weekday(weekday)])
        try:
            CronSim(translated, now)
        except CronSimError as error:
            raise ValueError(f"{expression} cannot be read: {error}") from error
        return Cron(translated, zone, _years(years))
    raise ValueError(f"{expression} is neither cron(…) with six fields nor rate(…)")


def _weekday(field: str) -> str:
    """AWS counts from 1, Sunday; cron from 0."""
    if field in ("?", "*"):
        return "*"
    head, mark, tail = field.partition("#")
    counted = "".join(str(int(sign) - 1) if sign.isdecimal() else sign for sign in head)
    return counted + mark + tail


def _years(field: str) -> frozenset[int] | None:
    if field in ("*", "?"):
        return None
    years: set[int] = set()
    for part in field.split(","):
        first, _, last = part.partition("-")
        years |= set(range(int(first), int(last or first) + 1))
    return frozenset(years)


def _told(moment: datetime | None) -> str | None:
    return moment.astimezone(JST).isoformat(timespec="seconds") if moment else None
