"""One index of the emulated search: its documents, and a view of them that queries look through."""

from __future__ import annotations

import math
from collections import Counter, deque
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from local import search_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from local.search_mapping import Document, Field, Mapping
    from local.search_values import Term, Vector

    type Mask = NDArray[np.bool_]
    type Scores = NDArray[np.float64]
    type Matches = tuple[Mask, Scores]  # of every document, whether it matches and how well
    type Postings = dict[Term, tuple[NDArray[np.intp], Scores]]

K1, B = 1.2, 0.75  # Lucene's, of BM25


class Index:
    """The documents of an index; what is written is found `refresh_s` later by the seconds of `clock`."""

    def __init__(
        self, name: str, settings: dict[str, Any], mapping: Mapping, refresh_s: float, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.settings = settings
        self.mapping = mapping
        self.documents: dict[str, Document] = {}
        self.writes = 0
        self._refresh_s = refresh_s
        self._clock = clock
        self._journal: deque[tuple[float, str, Document | None]] = deque()
        self._found: dict[str, Document] = {}
        self._view = View([], mapping)

    def put(self, document: Document) -> None:
        """Write a document in the place of the one with its id."""
        self.documents[document.id] = document
        self._log(document.id, document)

    def remove(self, document_id: str) -> None:
        """Delete a document that is there."""
        del self.documents[document_id]
        self._log(document_id, None)

    def view(self) -> View:
        """What can be found now."""
        changed = False
        while self._journal and self._journal[0][0] <= self._clock():
            _, name, document = self._journal.popleft()
            self._found.pop(name, None)  # one that is written anew is the youngest
            if document is not None:
                self._found[name] = document
            changed = True
        if changed:
            self._view = View(list(self._found.values()), self.mapping)
        return self._view

    def _log(self, name: str, document: Document | None) -> None:
        self.writes += 1
        self._journal.append((self._clock() + self._refresh_s, name, document))


class View:
    """Documents that do not change any more, in the order in which they were written; what it knows, it learns once."""

    def __init__(self, documents: list[Document], mapping: Mapping) -> None:
        self.documents = documents
        self._mapping = mapping
        self._postings: dict[str, Postings] = {}
        self._lengths: dict[str, Scores] = {}
        self._matrices: dict[str, Matrix] = {}

    @property
    def size(self) -> int:
        return len(self.documents)

    @cached_property
    def places(self) -> dict[str, int]:
        """Where the document with an id is."""
        return {document.id: place for place, document in enumerate(self.documents)}

    def none(self) -> Mask:
        """A mask that lets nothing through."""
        return np.zeros(self.size, dtype=np.bool_)

    def having(self, field: str) -> Mask:
        """Which documents have a value in a field, or in a field below it."""
        below = field + "."
        return np.fromiter(
            (_has(one.terms, field, below) or _has(one.vectors, field, below) for one in self.documents),
            dtype=np.bool_,
            count=self.size,
        )

    def containing(self, field: Field, term: Term) -> Mask:
        """Which documents have a term."""
        mask = self.none()
        if (found := self._of(field).get(term)) is not None:
            mask[found[0]] = True
        return mask

    def relevance(self, field: Field, term: Term) -> Matches:
        """Which documents have a term, and its weight in each by BM25; numbers weigh one."""
        mask, scores = self.none(), np.zeros(self.size)
        found = self._of(field).get(term)
        if found is None:
            return mask, scores
        places, counts = found
        mask[places] = True
        if field.type not in ("text", "keyword"):
            scores[places] = 1
            return mask, scores
        lengths = self._lengths[field.name]
        with_field = int((lengths > 0).sum())
        rarity = math.log(1 + (with_field - len(places) + 0.5) / (len(places) + 0.5))
        norm: Scores | float = 1.0
        if field.type == "text":
            norm = 1 - B + B * lengths[places] / (lengths.sum() / with_field)
        scores[places] = rarity * counts / (counts + K1 * norm)
        return mask, scores

    def nearest(self, field: Field, vector: Vector, allowed: Mask | None, k: int) -> Matches:
        """The k documents whose vectors are nearest, among those allowed."""
        mask, scores = self.none(), np.zeros(self.size)
        matrix = self._matrices.get(field.name)
        if matrix is None:
            matrix = self._matrices[field.name] = Matrix(self.documents, field)
        if not len(matrix.places):
            return mask, scores
        close = matrix.scores(vector)
        rows = np.arange(len(close)) if allowed is None else np.flatnonzero(allowed[matrix.places])
        best = rows[np.argsort(-close[rows], kind="stable")[:k]]
        mask[matrix.places[best]] = True
        scores[matrix.places[best]] = close[best]
        return mask, scores

    def _of(self, field: Field) -> Postings:
        """Where each term of a field stands, and how often."""
        if field.name in self._postings:
            return self._postings[field.name]
        lengths = np.zeros(self.size)
        found: dict[Term, list[tuple[int, int]]] = {}
        for place, document in enumerate(self.documents):
            terms: list[Term] = list(document.terms.get(field.name, ()))
            if field.type == "text":
                terms = [word for value in terms for word in search_values.words(str(value))]
            lengths[place] = len(terms)
            for term, count in Counter(terms).items():
                found.setdefault(term, []).append((place, count))
        self._lengths[field.name] = lengths
        postings = {
            term: (np.array([place for place, _ in pairs]), np.array([float(count) for _, count in pairs]))
            for term, pairs in found.items()
        }
        self._postings[field.name] = postings
        return postings


class Matrix:
    """All vectors of one field in one array, so that a search is one multiplication."""

    def __init__(self, documents: list[Document], field: Field) -> None:
        self._space = field.space
        rows = [(place, one.vectors[field.name]) for place, one in enumerate(documents) if field.name in one.vectors]
        self.places = np.array([place for place, _ in rows], dtype=np.intp)
        self._vectors = np.stack([vector for _, vector in rows]) if rows else np.empty((0, field.dimension), np.float32)
        self._squares = np.einsum("ij,ij->i", self._vectors, self._vectors).astype(np.float64)

    def scores(self, vector: Vector) -> Scores:
        """How close each vector is, as OpenSearch scores it: 1 and less, or more for inner products."""
        products: Scores = (self._vectors @ vector).astype(np.float64)
        square = float(vector @ vector)
        if self._space == "cosinesimil":
            cosines = np.clip(products / np.sqrt(self._squares * square), -1, 1)
            return np.asarray((1 + cosines) / 2)
        if self._space == "innerproduct":
            return np.where(products >= 0, products + 1, 1 / (1 - np.minimum(products, 0)))
        return np.asarray(1 / (1 + np.maximum(self._squares + square - 2 * products, 0)))


def _has(values: dict[str, Any], field: str, below: str) -> bool:
    return any((name == field or name.startswith(below)) and len(found) > 0 for name, found in values.items())
