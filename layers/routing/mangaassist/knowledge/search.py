"""What the store can say about a question: begun before the turn's tables are asked, and finished within its limit.

Names, embedding and products go out at once; the nearest vectors follow when the embedding is there, and the products
that they lead to are read from the table, so that price and stock are those of this moment. Whatever is late or fails
is left out: without the index the works that the dictionary knows remain, without the table their facts without prices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge import catalogue, ranking
from mangaassist.knowledge.product import Product
from mangaassist.knowledge.shelf import MOST_AT_ONCE
from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mangaassist.knowledge.calls import Call
    from mangaassist.knowledge.embeddings import Embedded, Embedder, Vector
    from mangaassist.knowledge.index import Hit, Index
    from mangaassist.knowledge.shelf import Shelf
    from mangaassist.knowledge.wanted import Wanted

SHELF_SHARE = 0.25  # of the limit is kept for the table, whose word on price and stock is the last
SENDING_SHARE = 0.3
CANDIDATES = 24


@dataclass(frozen=True, slots=True)
class Found:
    """What a question found, best first; `missing` names the parts that were late or failed."""

    products: tuple[Product, ...] = ()
    priced: bool = False  # the table was asked: prices and stock are those of this moment
    vector: Vector | None = None  # of the question as it was embedded
    embedded: Embedded | None = None
    missing: tuple[str, ...] = ()


@dataclass
class Lookup:
    """One question's search under way; made by `Search.begin`."""

    search: Search
    wanted: Wanted
    by: float  # monotonic
    limit_s: float
    named: Call[tuple[Hit, ...]] | None = None
    of_kinds: Call[tuple[Hit, ...]] | None = None
    embedding: Call[Embedded] | None = None
    sent: tuple[str, int] | None = None  # model and estimated tokens of an embedding that may be charged
    missing: list[str] = field(default_factory=list)

    def finish(self, limit: int) -> Found:
        """The best `limit` products, waited for up to the limit; never raises."""
        try:
            embedded = self._waited("embedding", self.embedding, self.search_left_s)
            near = self._nearest(embedded) if embedded else ()
            named = self._waited("search", self.named, self.search_left_s) or ()
            of_kinds = self._waited("search", self.of_kinds, self.search_left_s)
        finally:
            self.close()
        found = ranking.candidates(self.wanted, named, near, self._ids(of_kinds))
        products = self._products(found.ids())
        priced = products is not None
        if products is None:
            works = catalogue.works()
            products = {one: Product(works[one]) for one in found.ids() if one in works}
        best = ranking.best(self.wanted, found, products, limit)
        vector = embedded.vector if embedded else None
        return Found(best, priced, vector, embedded, tuple(dict.fromkeys(self.missing)))

    def _ids(self, of_kinds: Sequence[Hit] | None) -> tuple[str, ...]:
        """Products of the wanted kinds: those that the index knows, else those of the catalogue that ships."""
        if of_kinds is not None:
            return tuple(hit.id for hit in of_kinds)
        return catalogue.of_kinds(self.wanted.kinds | self.wanted.like, CANDIDATES)

    def close(self) -> None:
        """Give up what is still under way. Safe to call twice."""
        for call in (self.named, self.of_kinds, self.embedding):
            if call is not None:
                call.close()

    def _nearest(self, embedded: Embedded) -> Sequence[Hit]:
        if self.search.index is None:
            return ()
        try:
            left_s = self.search_left_s()
            call = self.search.index.begin_near(embedded.vector, CANDIDATES, left_s, self.wanted.status)
        except KnowledgeUnavailable:
            self.missing.append("search")
            return ()
        return self._waited("search", call, self.search_left_s) or ()

    def _products(self, ids: Sequence[str]) -> dict[str, Product] | None:
        if not ids:
            return {}
        try:
            some = tuple(ids)[:MOST_AT_ONCE]
            return self._waited("products", self.search.shelf.begin(some, self._left_s()), self._left_s)
        except KnowledgeUnavailable:
            self.missing.append("products")
            return None

    def _waited[T](self, part: str, call: Call[T] | None, left_s: Callable[[], float]) -> T | None:
        if call is None:
            return None
        try:
            return call.wait(left_s())
        except KnowledgeUnavailable:
            self.missing.append(part)
            return None

    def _left_s(self) -> float:
        return max(0.0, self.by - self.search.monotonic())

    def sending_s(self) -> float:
        """How long one call may take to be sent: connecting to who does not answer must leave time for the others."""
        return min(SENDING_SHARE * self.limit_s, self.search_left_s())

    def search_left_s(self) -> float:
        """How long the index and the embedding may still take."""
        return max(0.0, self.by - SHELF_SHARE * self.limit_s - self.search.monotonic())


class Search:
    """Begins lookups; `index` and `embedder` are None where the deployment has no collection."""

    def __init__(
        self,
        shelf: Shelf,
        embedder: Embedder | None,
        index: Index | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shelf = shelf
        self.embedder = embedder
        self.index = index
        self.monotonic = monotonic

    def begin(self, wanted: Wanted, limit_s: float, *, may_spend: bool) -> Lookup:
        """Send what can be sent at once; an embedding costs money, so only if the turn `may_spend`. Never raises."""
        lookup = Lookup(self, wanted, self.monotonic() + limit_s, limit_s)
        if self.index is None or self.embedder is None:
            return lookup
        try:
            if wanted.names:
                lookup.named = self.index.begin_named(wanted.names, CANDIDATES, lookup.sending_s())
            if kinds := wanted.kinds | wanted.like:
                lookup.of_kinds = self.index.begin_of_kinds(kinds, CANDIDATES, lookup.sending_s(), wanted.status)
        except KnowledgeUnavailable:
            lookup.missing.append("search")
            return lookup  # whose nearest vectors would not come either
        try:
            if may_spend:
                lookup.embedding = self.embedder.begin(wanted.text, lookup.sending_s())
                lookup.sent = (self.embedder.model, estimate(wanted.text))
        except KnowledgeUnavailable:
            lookup.missing.append("embedding")
        return lookup
