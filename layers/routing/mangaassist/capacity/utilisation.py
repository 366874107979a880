"""What published capacity is used for, minute by minute and over all environments: one addition per turn that met it.

The rows (`USE#<day>#<window>`, one per minute) answer how full it is now, and how large the next one should be.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mangaassist.jst import jst
from mangaassist.stores import from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.money.ledger import Attempt
    from mangaassist.routing.situation import Capacity

USE_DAYS = 40


@dataclass(frozen=True, slots=True)
class Use:
    """Calls that capacity served or refused, their tokens, and turns that had to go elsewhere because it was full."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    throttled: int = 0
    failed: int = 0
    spilled: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, it.name) + getattr(other, it.name) for it in fields(Use)))


@dataclass(frozen=True, slots=True)
class Minute:
    """The use in one minute; `at` is JST as YYYY-MM-DDTHH:MM."""

    at: str
    use: Use


def of_turn(
    attempts: Iterable[Attempt], capacity: Mapping[str, Capacity], spilled: str | None
) -> Iterator[tuple[Capacity, Use]]:
    """What a turn took of each capacity; `spilled` is the target that it was kept off because that was full."""
    uses: dict[str, Use] = {spilled: Use(spilled=1)} if spilled and spilled in capacity else {}
    for attempt in attempts:
        if attempt.target in capacity:
            uses[attempt.target] = uses.get(attempt.target, Use()) + _of_attempt(attempt)
    return ((capacity[target], use) for target, use in uses.items())


def total(minutes: Iterable[Minute]) -> Use:
    """All of it together."""
    return sum((minute.use for minute in minutes), Use())


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


def _of_attempt(attempt: Attempt) -> Use:
    if attempt.outcome == "throttled":
        return Use(throttled=1, spilled=1)
    usage = attempt.usage
    return Use(
        requests=1,
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        failed=int(attempt.outcome not in ("answered", "cancelled", "deadline", "filtered")),
    )


def _read(item: Mapping[str, Any]) -> Minute:
    return Minute(item["sk"], Use(**{it.name: int(item.get(it.name, 0)) for it in fields(Use)}))


def _partition(window: str, day: str) -> str:
    return f"USE#{day}#{window}"


def _minute(instant_s: float) -> str:
    return jst(instant_s).strftime("%Y-%m-%dT%H:%M")
