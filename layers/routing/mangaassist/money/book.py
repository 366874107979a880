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

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self._entries = entries

    def quote(self, name: str, region: str, day: date) -> Quote:
        """What a unit costs on a JST day; the oldest known price for days before it. Raises PriceUnknown."""
        known = sorted(
            (entry for entry in self._entries if (entry.name, entry.region) == (name, region)),
            key=lambda entry: entry.effective_from,
        )
        if not known:
            raise PriceUnknown(f"the price book has no {name} in {region or 'no region'}")
        entry = next((entry for entry in reversed(known) if entry.effective_from <= day), known[0])
        return Quote(name, region, entry.unit, float(entry.usd), entry.source, entry.verified)

    def but(self, quoted: Mapping[str, Decimal], region: str) -> PriceBook:
        """The book with prices that an operator was quoted for a region; raises PriceUnknown for names it has not."""
        if unknown := set(quoted) - self.names():
            raise PriceUnknown(f"the price book has no {', '.join(sorted(unknown))}")
        units = {entry.name: entry.unit for entry in self._entries}
        told = tuple(
            Entry(
                name=name,
                region=region,
                unit=units[name],
                usd=usd,
                effective_from=date.min,
                source="quoted to the operator",
                verified=True,
            )
            for name, usd in quoted.items()
        )
        kept = (entry for entry in self._entries if entry.region != region or entry.name not in quoted)
        return PriceBook((*kept, *told))

    def regions(self) -> tuple[str, ...]:
        """The regions that it has prices of."""
        return tuple(sorted({entry.region for entry in self._entries}))

    def names(self) -> frozenset[str]:
        """What it has prices of."""
        return frozenset(entry.name for entry in self._entries)


@cache
def price_book() -> PriceBook:
    """The book that ships with the layer."""
    document = (resources.files(__package__) / "price_book.json").read_text(encoding="utf-8")
    return PriceBook(Pages.model_validate_json(document).entries)
