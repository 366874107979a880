"""The shop's shelves at the start: the sample catalogue, loaded by the application's own loader.

Only the embeddings take a short way: the emulated model is asked in this process, or 270 calls would keep a person
waiting for seconds. What is loaded is the same as after `make ingest FILE=samples/catalogue.jsonl`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from local import embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from mangaassist.knowledge.loading.embedding import Vectors
    from mangaassist.knowledge.loading.report import Report

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "catalogue.jsonl"
REGION = "ap-northeast-1"
TEXTS_AT_ONCE = 32


class NearEmbeddings:
    """The emulated embedding model, without a network between."""

    texts_at_once = TEXTS_AT_ONCE

    def __init__(self, model: str) -> None:
        self.model = model

    def of(self, texts: Sequence[str]) -> Vectors:
        """The vectors of some texts; nothing is charged for what the shop opens with."""
        from mangaassist.knowledge.loading.embedding import Vectors

        return Vectors([embeddings.vector(text, embeddings.COHERE_DIMENSIONS) for text in texts], 0)


def open_with(
    sample: Path,
    dynamodb: Any,
    endpoint: str,
    key: str,
    generation: Literal["nextgen", "classic"],
    variables: dict[str, str],
) -> Report:
    """Load a catalogue into the emulated table and collection, under the twin's own access `key`."""
    from botocore.credentials import Credentials

    from mangaassist.knowledge.loading import rows
    from mangaassist.knowledge.loading.backoff import Backoff
    from mangaassist.knowledge.loading.loader import Loader
    from mangaassist.knowledge.loading.search import SearchIndex, signed
    from mangaassist.knowledge.loading.table import ProductTable

    credentials = Credentials(key, key)
    backoff = Backoff()
    index = SearchIndex(signed(credentials, REGION), endpoint, variables["SEARCH_INDEX"], generation, backoff)
    table = ProductTable(dynamodb, variables["PRODUCTS_TABLE"], backoff)
    near: Any = NearEmbeddings(variables["EMBEDDING_MODEL"])
    with sample.open("rb") as source:
        return Loader(table, near, index, backoff).load(rows.read(source, sample.name))
