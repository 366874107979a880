"""The wall clock of the whole process, which can be moved; monotonic time and with it every limit stays as it is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from time_machine import travel

JST = timezone(timedelta(hours=9), "JST")


class ClockBound(Exception):
    """The clock cannot be moved because a real service would refuse what is signed with it."""


class Clock:
    """What time it is in Japan, for handlers, tables and tokens alike."""

    def __init__(self, real_services: tuple[str, ...] = ()) -> None:
        self._real_services = real_services
        self._moved: travel | None = None

    @property
    def moved(self) -> bool:
        """Whether it is not the machine's own time."""
        return self._moved is not None

    def now(self) -> datetime:
        """The instant in JST."""
        return datetime.now(JST)

    def move(self, to: datetime) -> None:
        """Set the clock; time goes on from there. Raises ClockBound when real services are in use."""
        if self._real_services:
            raise ClockBound(
                f"the clock cannot be moved while real endpoints are in use ({', '.join(self._real_services)}): "
                "they refuse requests signed at another time"
            )
        import time_machine  # only now: it is slow to import and most days need no other time

        self.reset()
        self._moved = time_machine.travel(to, tick=True)
        self._moved.start()

    def reset(self) -> None:
        """Go back to the machine's own time."""
        if self._moved is not None:
            self._moved.stop()
            self._moved = None


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant; without an offset it is Japan's. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=JST)
