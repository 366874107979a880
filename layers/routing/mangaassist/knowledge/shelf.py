"""The products table: what the store sells, at the price and stock of this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.product import Product, product
from mangaassist.stores import from_item, to_attribute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mangaassist.knowledge.calls import Call, TableCaller

MOST_AT_ONCE = 100  # keys of BatchGetItem


class Shelf:
    """Reads products while a turn waits."""

    def __init__(self, caller: TableCaller, table: str) -> None:
        self._caller = caller
        self._table = table

    def begin(self, ids: Sequence[str], limit_s: float) -> Call[dict[str, Product]]:
        """Ask for at most MOST_AT_ONCE products; what is not sold is left out. Raises KnowledgeUnavailable."""
        keys = [{"id": to_attribute(one)} for one in dict.fromkeys(ids)]

        def read(answer: Any) -> dict[str, Product]:
            if answer.get("UnprocessedKeys"):  # a product that was not read must not look like one that is not sold
                raise KnowledgeUnavailable("dynamodb", "throttled")
            items = (from_item(item) for item in answer["Responses"][self._table])
            return {found.id: found for found in map(product, items)}

        return self._caller.ask("BatchGetItem", {"RequestItems": {self._table: {"Keys": keys}}}, read, limit_s)
