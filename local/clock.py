"""The wall clock of the whole process, which can be moved; monotonic time and with it every limit stays as it is."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from time_machine import Traveller, travel

JST = timezone(timedelta(hours=9), "JST")
LOOK_EVERY_S = 0.25  # how soon one who waits notices that nobody wants the wait any more


class ClockBound(Exception):
    """The clock cannot be moved because a real service would refuse what is signed with it."""


class Clock:
    """What time it is in Japan, for handlers, tables and tokens alike, and how to wait for a later time."""

    def __init__(self, real_services: tuple[str, ...] = ()) -> None:
        self._real_services = real_services
        self._travel: travel | None = None
        self._traveller: Traveller | None = None
        self._skipped_s = 0.0
        self._moved_to: tuple[float, float] | None = None
        self._changed = threading.Condition()
        self.moves = 0

    @property
    def moved(self) -> bool:
        """Whether it is not the machine's own time."""
        return self._travel is not None

    def now(self) -> datetime:
        """The instant in JST."""
        with self._changed:
            return datetime.now(JST)

    def reading(self) -> tuple[float, float] | None:
        """Epoch seconds that it was moved to and the monotonic instant of that; None while it was not."""
        return self._moved_to

    def follow(self, reading: Sequence[float] | None) -> None:
        """Go as another process's clock goes, by its reading."""
        with self._changed:
            told = None if reading is None else (reading[0], reading[1])
            if told == self._moved_to:
                return
        if told is None:
            self.reset()
        else:
            epoch_s, at = told
            self.move(datetime.fromtimestamp(epoch_s + time.monotonic() - at, JST))
            self._moved_to = told

    def passed_s(self) -> float:
        """Seconds that never run backwards: those that pass, and those that the clock is moved forward by."""
        with self._changed:
            return time.monotonic() + self._skipped_s

    def move(self, to: datetime) -> None:
        """Set the clock; time goes on from there. Raises ClockBound when real services are in use."""
        if self._real_services:
            raise ClockBound(
                f"the clock cannot be moved while real endpoints are in use ({', '.join(self._real_services)}): "
                "they refuse requests signed at another time"
            )
        import time_machine  # only now: it is slow to import and most days need no other time

        with self._changed:
            before = self.now()
            if self._traveller is None:
                self._travel = time_machine.travel(to, tick=True)
                self._traveller = self._travel.start()
            else:
                self._traveller.move_to(to)
            self._moved_to = to.timestamp(), time.monotonic()
            self._tell_since(before)

    def advance(self, seconds: float) -> None:
        """Move the clock forward from where it is; raises ClockBound."""
        self.move(self.now() + timedelta(seconds=seconds))

    def reset(self) -> None:
        """Go back to the machine's own time."""
        with self._changed:
            before = self.now()
            if self._travel is not None:
                self._travel.stop()
                self._travel = self._traveller = self._moved_to = None
            self._tell_since(before)

    def sleep(self, seconds: float, wanted: Callable[[], bool] = lambda: True) -> None:
        """Wait until so much time has passed, be it because the clock was moved, or until nobody wants it any more."""
        with self._changed:
            end = self.passed_s() + seconds
            while (left := end - self.passed_s()) > 0 and wanted():
                self._changed.wait(min(left, LOOK_EVERY_S))

    def until_moved(self, moves: int, seconds: float) -> None:
        """Wait until the clock has been moved more than `moves` times, but no longer than so many real seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.moves != moves, seconds)

    def _tell_since(self, before: datetime) -> None:
        self._skipped_s += max(0.0, (self.now() - before).total_seconds())
        self.moves += 1
        self._changed.notify_all()


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant; without an offset it is Japan's. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=JST)
