"""The products table as a file is loaded into it: what is there by id, and whole items in batches."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Any

from mangaassist.errors import StoreUnavailable
from mangaassist.knowledge.loading.changes import Known
from mangaassist.stores import from_item, store_errors, to_attribute, to_item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.knowledge.loading.backoff import Backoff
    from mangaassist.knowledge.product import Product

READ_AT_ONCE, WRITTEN_AT_ONCE = 100, 25  # BatchGetItem, BatchWriteItem
KNOWN = "id, stamp, text_hash, indexed_in, index_id"


class ProductTable:
    """The table; every method raises StoreUnavailable."""

    def __init__(self, client: DynamoDBClient, products_table: str, backoff: Backoff) -> None:
        self._client = client
        self._table = products_table
        self._backoff = backoff

    def known(self, ids: Iterable[str]) -> dict[str, Known]:
        """What is there of these products, by id."""
        found: dict[str, Known] = {}
        for some in batched(dict.fromkeys(ids), READ_AT_ONCE, strict=False):
            for item in self._read([{"id": to_attribute(one)} for one in some]):
                found[item["id"]] = _known(item)
        return found

    def put(self, products: Sequence[tuple[Product, Known]]) -> set[str]:
        """Write products with what is known of their index; gives the ids that the table had no room for."""
        items = [product.facts() | _as_fields(known) for product, known in products]
        return self._write([{"PutRequest": {"Item": to_item(item)}} for item in items])

    def delete(self, ids: Iterable[str]) -> set[str]:
        """Delete products; gives the ids that the table had no room for."""
        return self._write([{"DeleteRequest": {"Key": {"id": to_attribute(one)}}} for one in ids])

    def all_known(self) -> Iterator[tuple[str, Known]]:
        """Everything that is there."""
        with store_errors():
            pages = self._client.get_paginator("scan").paginate(
                TableName=self._table, ProjectionExpression=KNOWN, ConsistentRead=True
            )
            for page in pages:
                for item in map(from_item, page["Items"]):
                    yield item["id"], _known(item)

    def _read(self, keys: list[Any]) -> Iterator[dict[str, Any]]:
        for _ in self._backoff.tries():
            with store_errors():
                answer: Any = self._client.batch_get_item(
                    RequestItems={self._table: {"Keys": keys, "ProjectionExpression": KNOWN, "ConsistentRead": True}}
                )
            yield from map(from_item, answer["Responses"].get(self._table, []))
            keys = list(answer["UnprocessedKeys"].get(self._table, {}).get("Keys", []))
            if not keys:
                return
        raise StoreUnavailable("BatchGetItem: keys stay unprocessed")

    def _write(self, requests: list[Any]) -> set[str]:
        """Do all of it, in batches; gives the ids of what was left undone."""
        undone: set[str] = set()
        for some in batched(requests, WRITTEN_AT_ONCE, strict=False):
            undone |= {_id_of(request) for request in self._written(list(some))}
        return undone

    def _written(self, requests: list[Any]) -> list[Any]:
        for _ in self._backoff.tries():
            with store_errors():
                answer: Any = self._client.batch_write_item(RequestItems={self._table: requests})
            requests = answer["UnprocessedItems"].get(self._table, [])
            if not requests:
                break
        return requests


def _known(item: Mapping[str, Any]) -> Known:
    """Of a row that somebody else has written nothing is known but that it is there."""
    told = {name: str(item.get(name) or "") for name in ("stamp", "text_hash", "indexed_in", "index_id")}
    return Known(**told)


def _as_fields(known: Known) -> dict[str, object]:
    fields = {"text_hash": known.text_hash, "indexed_in": known.indexed_in, "index_id": known.index_id}
    return {"stamp": known.stamp, **{name: value for name, value in fields.items() if value}}


def _id_of(request: Mapping[str, Any]) -> str:
    key = request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]
    return str(key["id"]["S"])
