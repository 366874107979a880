"""What a row of a file asks for, decided from what the table says of its product: the least that makes both alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Known:
    """What the table has of a product.

    `text_hash` says which text the index holds, and `indexed_in` in which index; both are empty until it does.
    """

    stamp: str
    text_hash: str = ""
    indexed_in: str = ""
    index_id: str = ""  # the document's, if it is not the product's


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the table should have; `indexed_in` is empty where there is no search."""

    stamp: str
    text_hash: str
    indexed_in: str


class Change(Enum):
    """What has to be done for a product."""

    NOTHING = "nothing"
    FACTS = "facts"  # price, stock or other facts: the table alone
    TEXT = "text"  # to embed, index and write


def decide(known: Known | None, wanted: Wanted, *, again: bool = False) -> Change:
    """Decide what to do; `again` trusts nothing that the table says of the index."""
    has_text = known is not None and known.text_hash == wanted.text_hash and known.indexed_in == wanted.indexed_in
    if wanted.indexed_in and (again or not has_text):
        return Change.TEXT
    return Change.NOTHING if known is not None and known.stamp == wanted.stamp else Change.FACTS


def after_facts(known: Known | None, wanted: Wanted) -> Known:
    """What the table has once facts are written without the index: of an index's text only what is still true."""
    if known is None:
        return Known(wanted.stamp)
    is_true = known.text_hash == wanted.text_hash
    return Known(wanted.stamp, known.text_hash if is_true else "", known.indexed_in, known.index_id)
