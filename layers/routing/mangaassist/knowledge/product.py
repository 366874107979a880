"""What the store sells: a manga's identity, and what the store knows and asks for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Work:
    """One manga and the facts that are known for certain; what is not certain is None."""

    id: str
    title_ja: str
    title_kana: str
    title_romaji: str
    title_en: str
    author_ja: str  # several are parted by 、
    author_kana: str
    author_en: str  # several are parted by a comma
    genres: tuple[str, ...]
    demographic: str
    aliases: tuple[str, ...] = ()
    ordinary: tuple[str, ...] = ()  # names that are also everyday words
    status: str | None = None  # completed | ongoing | hiatus
    first_year: int | None = None


@dataclass(frozen=True, slots=True)
class Product:
    """A work as the store sells it; what is None is not known, and never guessed."""

    work: Work
    publisher: str | None = None
    volumes: int | None = None  # of a completed work
    latest_volume: int | None = None
    latest_date: str | None = None  # YYYY, YYYY-MM or YYYY-MM-DD
    price_yen: int | None = None  # of one volume, tax included
    stock: int | None = None
    synopsis_ja: str = ""
    synopsis_en: str = ""
    sample: bool = False  # price and stock are made up

    @property
    def id(self) -> str:
        """The id, which is the work's."""
        return self.work.id

    def facts(self) -> dict[str, object]:
        """Everything of it as one flat mapping of plain values: a row, an item, a line of JSON."""
        flat = asdict(self.work) | {name: value for name, value in asdict(self).items() if name != "work"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in flat.items()}


_OF_WORK = frozenset(field.name for field in fields(Work))
_OF_PRODUCT = frozenset(field.name for field in fields(Product)) - {"work"}
_LISTS = ("genres", "aliases", "ordinary")


def product(facts: dict[str, object]) -> Product:
    """The product of a flat mapping; what it does not know of is left out, and TypeError says what is missing."""
    known = {name: tuple(value) if name in _LISTS else value for name, value in facts.items()}  # type: ignore[arg-type]
    work = Work(**{name: value for name, value in known.items() if name in _OF_WORK})  # type: ignore[arg-type]
    return Product(work, **{name: value for name, value in known.items() if name in _OF_PRODUCT})  # type: ignore[arg-type]


def stamp(one: Product) -> str:
    """A short digest of all that an answer may quote: it changes whenever price, stock or any fact does."""
    written = json.dumps(one.facts(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(written.encode(), digest_size=12).hexdigest()
