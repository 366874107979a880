"""What the router knows about a question: language, complexity, catalogue intent and the works it names."""

from __future__ import annotations

from dataclasses import dataclass

from mangaassist.knowledge import spelling
from mangaassist.routing import complexity, intent, wording

_READ_CHARACTERS = 2_000  # of a longer text its beginning and its end are read, so that the time is bounded
_CHARACTERS_PER_LATIN_WORD = 2


@dataclass(frozen=True, slots=True)
class Question:
    """A shopper's question and what decides its route."""

    text: str  # as asked, NFKC-normalised, stripped
    language: str  # "ja" | "en"; anything else counts as "en"
    score: float  # complexity in [0, 1]
    catalogue: bool  # asks for something of the store's catalogue
    works: tuple[str, ...]  # ids of the works that it names, by title or author
    spans: tuple[wording.Span, ...] = ()  # where it names them
    families: frozenset[str] = frozenset()  # the families of cues in it
    service: bool = False  # about an order, an account, the shop: not about works


def read(text: str, hint: float | None = None) -> Question:
    """Read a question; the client's `hint` of its complexity (0 to 1) may only raise the score."""
    normal = spelling.normalised(text)
    found = wording.read(_bounded(normal))
    score = complexity.score(found)
    catalogue = intent.asks_catalogue(found, is_complex=score >= complexity.COMPLEX)
    if hint is not None and hint > score:
        score = min(1.0, hint)
    families = frozenset(found.counts)
    return Question(normal, _language(found), score, catalogue, found.works, found.spans, families, found.service)


def _bounded(text: str) -> str:
    if len(text) <= _READ_CHARACTERS:
        return text
    half = _READ_CHARACTERS // 2
    return f"{text[:half]}\n{text[-half:]}"


def _language(found: wording.Wording) -> str:
    """Japanese when more is said in Japanese than in Latin words, names of works aside."""
    if found.japanese or found.latin:
        return "ja" if found.japanese > _CHARACTERS_PER_LATIN_WORD * found.latin else "en"
    return "ja" if found.in_japanese else "en"
