"""When capacity is wanted: the windows of the policy as they occur on JST days. Pure: no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from mangaassist.jst import JST

if TYPE_CHECKING:
    from mangaassist.routing.policy import Window


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A window on the JST day on which it starts: bought from `opens` on, in use from `starts` to `ends`."""

    window: Window
    day: date
    opens: datetime
    starts: datetime
    ends: datetime

    @property
    def hours(self) -> float:
        """How long it is paid for when all goes as planned."""
        return (self.ends - self.opens).total_seconds() / 3600


def occurrence(window: Window, day: date, lead: timedelta) -> Occurrence:
    """The window that starts on a day."""
    midnight = datetime.combine(day, time(), JST)
    starts = midnight + timedelta(minutes=window.start_minute)
    return Occurrence(window, day, starts - lead, starts, starts + timedelta(minutes=len(window.minutes())))


def occurrence_at(window: Window, now: datetime, lead: timedelta) -> Occurrence | None:
    """The occurrence that a JST instant falls into, its lead included; windows and leads are short enough for one."""
    return next((it for it in _around(window, now, lead) if it.opens <= now < it.ends), None)


def next_occurrence(window: Window, now: datetime, lead: timedelta) -> Occurrence:
    """The occurrence under way, else the next one."""
    return next(it for it in _around(window, now, lead) if now < it.ends)


def _around(window: Window, now: datetime, lead: timedelta) -> tuple[Occurrence, ...]:
    days = (now.date() + timedelta(days=step) for step in (-1, 0, 1, 2))
    return tuple(occurrence(window, day, lead) for day in days)
