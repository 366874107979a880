"""The bookkeeper: reads a JST day's books and Bedrock's meter, and tells by how much they differ."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mangaassist.document import Part
from mangaassist.jst import jst
from mangaassist.money.reconciliation import reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mangaassist.money.books import Books
    from mangaassist.money.reconciliation import Reconciliation, Used
    from mangaassist.routing.policy import Policy


class Ordered(Part):
    """Which day to reconcile."""

    day: date | Literal["yesterday"] = "yesterday"

    def of(self, today: date) -> date:
        """The JST day that is meant."""
        return today - timedelta(days=1) if self.day == "yesterday" else self.day


class Reader(Protocol):
    """Where a day's books are read."""

    def books(self, day: date) -> Books: ...


class Sight(Protocol):
    """What is in force."""

    @property
    def policy(self) -> Policy: ...


class Situations(Protocol):
    """Where it is read."""

    def view(self) -> Sight: ...


@dataclass(frozen=True, slots=True)
class Bookkeeper:
    """Every failure is StoreUnavailable or ControlPlaneError."""

    reader: Reader
    situation: Situations
    meter: Used
    now_s: Callable[[], float] = time.time

    def take(self, order: Mapping[str, Any]) -> Reconciliation:
        """Compare the day that an event names; raises pydantic's ValidationError for one that names none."""
        day = Ordered.model_validate(order).of(jst(self.now_s()).date())
        return reconcile(self.reader.books(day), self.situation.view().policy, self.meter)
