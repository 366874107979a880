"""The price book: what everything but the models costs, by region and day, and where each price was read.

Prices of models belong to the routing policy, because an operator changes the two together. A price that was not
confirmed for its region says so, and whoever quotes it passes that on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mangaassist.document import Part
from mangaassist.errors import PriceUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTING = "sagemaker."  # before the instance type


class Entry(Part):
    """A price in force from a JST day on."""

    name: str = Field(pattern=r"^[a-z0-9_.-]{1,64}$")
    region: str
    unit: str
    usd: Annotated[Decimal, Field(ge=0)]
    effective_from: date
    source: str
    verified: bool


class Pages(Part):
    """The shipped document."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """A price as it is used: US dollars for one unit."""

    name: str
    region: str
    unit: str
    usd: float
    source: str
    verified: bool


class PriceBook:
    """Prices by name, region and day."""

    def __init__(self, entries: tuple[Entry, ...], given: Mapping[str, float] | None = None) -> None:
        """Take the entries; a price that is `given` by name, in US dollars, takes the place of the book's."""
        self._entries = entries
        self._given = dict(given or {})

    def quote(self, name: str, region: str, day: date) -> Quote:
        """What a unit costs on a JST day; the oldest known price for days before it. Raises PriceUnknown."""
        known = sorted(
            (entry for entry in self._entries if (entry.name, entry.region) == (name, region)),
            key=lambda entry: entry.effective_from,
        )
        if not known:
            raise PriceUnknown(f"the price book has no {name} in {region or 'no region'}")
        entry = next((entry for entry in reversed(known) if entry.effective_from <= day), known[0])
        if name in self._given:
            return Quote(name, region, entry.unit, self._given[name], "given by whoever asks", verified=True)
        return Quote(name, region, entry.unit, float(entry.usd), entry.source, entry.verified)

    def instance_types(self, region: str) -> tuple[str, ...]:
        """The instance types whose hours the book knows, cheapest first."""
        hours = [entry for entry in self._entries if entry.name.startswith(HOSTING) and entry.region == region]
        return tuple(entry.name.removeprefix(HOSTING) for entry in sorted(hours, key=lambda entry: entry.usd))

    def regions(self) -> tuple[str, ...]:
        """The regions that it has prices of."""
        return tuple(sorted({entry.region for entry in self._entries}))

    def names(self) -> frozenset[str]:
        """What can be given another price."""
        return frozenset(entry.name for entry in self._entries)

    def but(self, given: Mapping[str, float]) -> PriceBook:
        """The same book with other prices for some names. Raises PriceUnknown for a name that it does not have."""
        if strange := sorted(set(given) - self.names()):
            raise PriceUnknown(
                f"the price book has no {', '.join(strange)}: it knows {', '.join(sorted(self.names()))}"
            )
        return PriceBook(self._entries, self._given | dict(given))


@cache
def price_book() -> PriceBook:
    """The book that ships with the layer."""
    document = (resources.files(__package__) / "price_book.json").read_text(encoding="utf-8")
    return PriceBook(Pages.model_validate_json(document).entries)
