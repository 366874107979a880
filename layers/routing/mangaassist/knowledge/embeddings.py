"""Texts as vectors: what Bedrock's two embedding models are asked and answer, and the polled call for a question.

Request and response: Bedrock user guide, "Amazon Titan Text Embeddings V2" and "Cohere Embed v3".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mangaassist.knowledge.calls import Call, Caller

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-multilingual-v3"
DIMENSIONS = 1024  # both models give them
TEXTS_AT_ONCE = {TITAN: 1, COHERE: 96}
MOST_CHARACTERS = 2_048  # of one text to Cohere; Titan takes more, and says no more with them

type Vector = list[float]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A question as a vector of unit length, and the tokens that it cost."""

    model: str
    vector: Vector
    tokens: int
    estimated: bool = False  # Cohere tells the count in a header alone


def request(model: str, texts: Sequence[str], *, question: bool = False) -> dict[str, Any]:
    """The body of InvokeModel for at most TEXTS_AT_ONCE[model] texts."""
    if model == TITAN:
        (text,) = texts
        return {"inputText": text[:MOST_CHARACTERS], "dimensions": DIMENSIONS, "normalize": True}
    kind = "search_query" if question else "search_document"
    return {"texts": [text[:MOST_CHARACTERS] for text in texts], "input_type": kind, "truncate": "END"}


def vectors(model: str, reply: Any) -> list[Vector]:
    """The vectors of InvokeModel's answer; raises KeyError, TypeError or ValueError for what is not one."""
    found = [reply["embedding"]] if model == TITAN else reply["embeddings"]
    if any(len(vector) != DIMENSIONS for vector in found):
        raise ValueError("a vector has a wrong length")
    return [[float(number) for number in vector] for vector in found]


class Embedder:
    """Embeds one question for the search."""

    def __init__(self, caller: Caller, model: str) -> None:
        self._caller = caller
        self.model = model

    def begin(self, text: str, limit_s: float) -> Call[Embedded]:
        """Send the question; raises KnowledgeUnavailable."""

        def read(reply: Any) -> Embedded:
            (vector,) = vectors(self.model, reply)
            told = reply.get("inputTextTokenCount")
            known = isinstance(told, int)
            return Embedded(self.model, vector, told if known else estimate(text), estimated=not known)

        path = f"/model/{quote(self.model, safe='')}/invoke"
        return self._caller.post(path, request(self.model, [text], question=True), read, limit_s)
