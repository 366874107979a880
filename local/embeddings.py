"""The emulated embedding models: deterministic vectors in which texts that share words lie close together."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from local.answers import tokens
from local.converse import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-multilingual-v3"
MODELS = (TITAN, COHERE)
NGRAM_LENGTHS = (1, 2)
WORD = re.compile(r"[a-z0-9]+|[ぁ-ヿ㐀-鿿々ー]+|\S")
STEM = 5
SLIGHT = 0.15  # what function words weigh
SLIGHT_WORDS = frozenset(
    WORD.findall(
        "a about an and any are as at by do does for from have i in is it me of on or some that the this to what where "
        "which who with you"
    )
)
TITAN_DIMENSIONS = (256, 512, 1024)
COHERE_DIMENSIONS = 1024
COHERE_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering")
MAX_TEXTS = 96
MAX_TITAN_CHARACTERS = 50_000


def answer(model_id: str, body: bytes) -> tuple[dict[str, Any], int]:
    """A model's answer and the tokens charged for it; raises ServiceError for what it would refuse."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise invalid("Malformed input request, please reformat your input and try again.") from error
    if not isinstance(fields, dict):
        raise invalid("Malformed input request, expected a JSON object.")
    return _titan(fields) if model_id == TITAN else _cohere(fields)


def vector(text: str, dimensions: int, *, normalised: bool = True) -> list[float]:
    """A text's hashed words and character n-grams: those that carry meaning weigh more, repetition little."""
    values = [0.0] * dimensions
    folded = unicodedata.normalize("NFKC", text).casefold()
    for feature, times in Counter(_features(folded) if folded.strip() else ["blank"]).items():
        number = int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest())
        weight = _weight(feature) * (1 + math.log(times))
        values[number % dimensions] += weight if number >> 63 else -weight
    if not normalised:
        return values
    norm = sum(value * value for value in values) ** 0.5 or 1.0
    return [value / norm for value in values]


def _features(text: str) -> Iterator[str]:
    """Latin words by their stems; of Japanese, characters alone and in pairs."""
    for word in WORD.findall(text):
        if word.isascii():
            yield f"{word[:STEM]} "  # the space tells a word from a run of characters
            continue
        yield from (word[start : start + length] for length in NGRAM_LENGTHS for start in range(len(word) - length + 1))


def _weight(feature: str) -> float:
    if feature.endswith(" "):
        return SLIGHT if feature.strip() in SLIGHT_WORDS else 3.0
    hiragana = sum("ぁ" <= character <= "ゟ" for character in feature)
    if hiragana:
        return SLIGHT * (1 + len(feature) - hiragana)
    return 1.0 if len(feature) == 1 else 2.0


def _titan(fields: dict[str, Any]) -> tuple[dict[str, Any], int]:
    text, dimensions = fields.get("inputText"), fields.get("dimensions", 1024)
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TITAN_CHARACTERS:
        raise invalid(f"#/inputText: expected 1 to {MAX_TITAN_CHARACTERS} characters")
    if dimensions not in TITAN_DIMENSIONS:
        raise invalid(f"#/dimensions: {dimensions} is not one of {TITAN_DIMENSIONS}")
    numbers = vector(text, dimensions, normalised=fields.get("normalize", True))
    by_type: dict[str, list[float] | list[int]] = {}
    for kind in fields.get("embeddingTypes", ["float"]):
        by_type[kind] = [int(number > 0) for number in numbers] if kind == "binary" else numbers
    count = len(tokens(text))
    reply: dict[str, Any] = {"embeddingsByType": by_type, "inputTextTokenCount": count}
    if "float" in by_type:
        reply["embedding"] = numbers
    return reply, count


def _cohere(fields: dict[str, Any]) -> tuple[dict[str, Any], int]:
    texts, input_type = fields.get("texts"), fields.get("input_type")
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
        raise invalid(f"#/texts: expected 1 to {MAX_TEXTS} items")
    if input_type not in COHERE_INPUT_TYPES:
        raise invalid(f"#/input_type: {input_type} is not a valid enum value")
    numbers = [vector(str(text), COHERE_DIMENSIONS) for text in texts]
    typed = fields.get("embedding_types")
    embeddings: Any = dict.fromkeys(typed, numbers) if typed else numbers
    reply = {
        "embeddings": embeddings,
        "id": hashlib.sha256("\n".join(map(str, texts)).encode("utf-8", "replace")).hexdigest()[:36],
        "response_type": "embeddings_by_type" if typed else "embeddings_floats",
        "texts": texts,
    }
    return reply, sum(len(tokens(str(text))) for text in texts)
