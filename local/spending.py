"""What each hour of a JST day cost, by all of the day's ledger lines, each of which is added up once.

Lines are only ever added, so that the sums are kept up by what is new, and only when the day's counter has changed.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from datetime import date

    type Unread = Callable[[str, Container[str]], Iterable[dict[str, Any]]]


class Spending:
    """The sums of one day at a time; `unread` gives the lines of a partition whose sort keys are not known yet."""

    def __init__(self, unread: Unread) -> None:
        self._unread = unread
        self._one_at_a_time = threading.Lock()
        self._day: date | None = None
        self._counted: object = None

    def by_hour(self, day: date, counted: object) -> list[int]:
        """Nano-dollars of each hour; `counted` is what the day's counter says, and changes with every line."""
        with self._one_at_a_time:
            if day != self._day:
                self._day, self._counted = day, None
                self._known: set[str] = set()
                self._spent = [0] * 24
            if counted != self._counted:
                self._read_on(day)
                self._counted = counted
            return list(self._spent)

    def _read_on(self, day: date) -> None:
        from mangaassist.money.books import calls

        for partition in _partitions(day):
            for line in self._unread(partition, self._known):
                self._known.add(line["sk"])
                for call in calls(line, day):
                    self._spent[int(call.hour)] += call.cost_nano_usd


def _partitions(day: date) -> list[str]:
    """Where the day's lines lie: also under the day before, for turns that crossed midnight."""
    from mangaassist.money.ledger import SHARDS

    days = (day - timedelta(days=1), day)
    return [f"LEDGER#{it.isoformat()}#{shard:02d}" for it in days for shard in range(SHARDS)]
