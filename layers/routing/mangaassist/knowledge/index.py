"""The search index: what a product's document is, and the questions that a turn asks of it.

OpenSearch Serverless, vector search collection: exact matches on the spellings of titles and authors, and the nearest
vectors. Prices and stock are not in it: they would be stale.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mangaassist.knowledge import catalogue, names
from mangaassist.knowledge.embeddings import DIMENSIONS, MOST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mangaassist.knowledge.calls import Call, Caller
    from mangaassist.knowledge.product import Product

KEYWORD = {"type": "keyword"}
MAPPING: dict[str, Any] = {
    "id": KEYWORD,
    "title_names": KEYWORD,
    "author_names": KEYWORD,
    "status": KEYWORD,
    "kinds": KEYWORD,
    "text_hash": KEYWORD,
    "embedding": {"type": "knn_vector", "dimension": DIMENSIONS, "space_type": "cosinesimil"},
}
TOLD = ["id", "title_names", "author_names", "status", "kinds"]
KIND_WORDS = 3  # of each kind and language go into the text


@dataclass(frozen=True, slots=True)
class Hit:
    """A product that the index found; `score` is comparable within one answer only."""

    id: str
    titles: tuple[str, ...]
    authors: tuple[str, ...]
    score: float


class Index:
    """Asks the index."""

    def __init__(self, caller: Caller, name: str) -> None:
        self._caller = caller
        self._path = f"/{name}/_search"

    def begin_named(self, spans: Sequence[str], size: int, limit_s: float) -> Call[tuple[Hit, ...]]:
        """Ask for products with one of these solid names; raises KnowledgeUnavailable."""
        by_title, by_author = ({"terms": {field: list(spans)}} for field in ("title_names", "author_names"))
        should = [
            {"constant_score": {"filter": by_title, "boost": 2}},
            {"constant_score": {"filter": by_author, "boost": 1}},
        ]
        return self._begin({"bool": {"should": should, "minimum_should_match": 1}}, size, limit_s)

    def begin_of_kinds(
        self, kinds: Collection[str], size: int, limit_s: float, status: str | None = None
    ) -> Call[tuple[Hit, ...]]:
        """Ask for products of these genres and demographics, of most of them first; raises KnowledgeUnavailable."""
        should = [{"constant_score": {"filter": {"term": {"kinds": kind}}, "boost": 1}} for kind in sorted(kinds)]
        query: dict[str, Any] = {"should": should, "minimum_should_match": 1}
        if status:
            query["filter"] = [{"term": {"status": status}}]
        return self._begin({"bool": query}, size, limit_s)

    def begin_near(
        self, vector: Sequence[float], size: int, limit_s: float, status: str | None = None
    ) -> Call[tuple[Hit, ...]]:
        """Ask for the products with the nearest vectors, of one status if wanted; raises KnowledgeUnavailable."""
        near: dict[str, Any] = {"vector": list(vector), "k": size}
        if status:
            near["filter"] = {"bool": {"must": [{"term": {"status": status}}]}}
        return self._begin({"knn": {"embedding": near}}, size, limit_s)

    def _begin(self, query: dict[str, Any], size: int, limit_s: float) -> Call[tuple[Hit, ...]]:
        return self._caller.post(self._path, {"size": size, "_source": TOLD, "query": query}, _hits, limit_s)


def document(product: Product, vector: Sequence[float], hashed: str) -> dict[str, Any]:
    """A product as the index holds it."""
    titles, authors = names.search_keys(product.work)
    return {
        "id": product.id,
        "title_names": list(titles),
        "author_names": list(authors),
        "status": product.work.status or "unknown",
        "kinds": [*product.work.genres, product.work.demographic],
        "text_hash": hashed,
        "embedding": [round(number, 7) for number in vector],
    }


def text(product: Product) -> str:
    """What is embedded of a product: its story, and its kinds in the words of both languages.

    Names are matched exactly: in every spelling they would only blur the vector.
    """
    work, words = product.work, catalogue.kinds()
    kinds = [
        word
        for kind in (*work.genres, work.demographic)
        for word in (*words.get(kind, (kind,))[:KIND_WORDS], *words.get(kind, ())[-KIND_WORDS:])
    ]
    parts = (
        f"{work.title_ja} {work.title_en}".strip(),
        product.synopsis_ja,
        product.synopsis_en,
        " ".join(dict.fromkeys(kinds)),
    )
    return "\n".join(part for part in parts if part)[:MOST_CHARACTERS]


def text_hash(product: Product, model: str) -> str:
    """A digest of all that the index holds of a product: while it stays, nothing need be embedded or indexed again."""
    work = product.work
    titles, authors = names.search_keys(work)
    kinds = (*work.genres, "", work.demographic)  # long stories leave no room for them in the text
    told = "\x1f".join((model, text(product), work.status or "", *titles, "", *authors, "", *kinds))
    return hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _hits(answer: Any) -> tuple[Hit, ...]:
    found = []
    for hit in answer["hits"]["hits"]:
        source = hit["_source"]
        titles, authors = (tuple(source.get(field, ())) for field in ("title_names", "author_names"))
        found.append(Hit(str(source["id"]), titles, authors, float(hit["_score"] or 0)))
    return tuple(found)
