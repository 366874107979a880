"""What published capacity is used for, minute by minute and over all environments: one addition per turn that met it.

The rows (`USE#<day>#<window>`, one per minute) answer how full it is now, and how large the next one should be.
"""

from __future__ import annotations

import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mangaassist.capacity.use import Minute, Use
from mangaassist.jst import jst
from mangaassist.stores import from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.routing.situation import Capacity

USE_DAYS = 40


class Utilisation:
    """The rows in the situation table; every method raises StoreUnavailable.

    `unrepeated` is a client whose SDK tries once: an addition that is repeated counts twice.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        unrepeated: DynamoDBClient,
        situation_table: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._unrepeated = unrepeated
        self._table = situation_table
        self._now_s = now_s

    def note(self, capacity: Capacity, use: Use) -> None:
        """Add to the present minute."""
        amounts = {it.name: getattr(use, it.name) for it in fields(Use) if getattr(use, it.name)}
        expires = int(self._now_s()) + USE_DAYS * 86_400
        with store_errors():
            self._unrepeated.update_item(
                TableName=self._table,
                Key=to_item({"pk": _partition(capacity.window, capacity.day), "sk": _minute(self._now_s())}),
                UpdateExpression="SET expires_at = :expires ADD " + ", ".join(f"{name} :{name}" for name in amounts),
                ExpressionAttributeValues=to_item({":expires": expires, **{f":{n}": it for n, it in amounts.items()}}),
            )

    def minutes(self, window: str, day: str, since_s: float = 0.0) -> tuple[Minute, ...]:
        """The minutes of a window's day in which it was asked for, oldest first, from an instant on."""
        with store_errors():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :window AND sk >= :since",
                ExpressionAttributeValues=to_item({":window": _partition(window, day), ":since": _minute(since_s)}),
            )
            return tuple(_read(from_item(item)) for page in pages for item in page["Items"])


def _read(item: Mapping[str, Any]) -> Minute:
    return Minute(item["sk"], Use(**{it.name: int(item.get(it.name, 0)) for it in fields(Use)}))


def _partition(window: str, day: str) -> str:
    return f"USE#{day}#{window}"


def _minute(instant_s: float) -> str:
    return jst(instant_s).strftime("%Y-%m-%dT%H:%M")
