"""The emulated embedding models: deterministic vectors in which texts that share words lie close together."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import Any

from local.answers import tokens
from local.converse import invalid

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-multilingual-v3"
MODELS = (TITAN, COHERE)
NGRAM_LENGTHS = (1, 2, 3)
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
    """A text's hashed character n-grams, longer ones weighing more."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    values = [0.0] * dimensions
    for length in NGRAM_LENGTHS:
        for start in range(len(folded) - length + 1):
            digest = hashlib.blake2b(folded[start : start + length].encode("utf-8", "replace"), digest_size=8).digest()
            number = int.from_bytes(digest)
            values[number % dimensions] += length if number >> 63 else -length
    if not normalised:
        return values
    norm = sum(value * value for value in values) ** 0.5 or 1.0
    return [value / norm for value in values]


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
