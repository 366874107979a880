"""The window's row, which turns read, and its record of the day, in the situation table.

The row (`NOW`, `CAPACITY#<window>`) says what is published, and orders all who would change that: whoever acts on a
window takes the next number of its fence, and a publication carries the number it began with, so that an opening that
comes late never publishes over a newer closing. An ARN that was withdrawn stays under `draining` until it is gone, and
is never published again: between withdrawal and deletion nobody can bring it back.

The record (`CAPACITY`, `<day>#<window>`) says what was bought for a window of a day, and how it went.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.stores import condition_failed, from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

NOW, RECORDS = "NOW", "CAPACITY"
RECORD_DAYS = 400


@dataclass(frozen=True, slots=True)
class Row:
    """A window as turns see it; `draining` gives for each withdrawn ARN when its last reader is done with it."""

    fence: int = 0
    arn: str = ""
    until_s: float = 0.0
    draining: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """What was bought for a window of a day; `unit_s` are the unit-seconds of purchases that are gone."""

    window: str
    day: str
    state: str = ""  # dry_run | refused | creating | serving | closed | failed | given_up | retained
    reason: str = ""
    name: str = ""
    arn: str = ""
    model: str = ""
    target: str = ""
    units: int = 0
    unit_hour_nano_usd: int = 0
    price_verified: bool = False
    unit_tokens_per_minute: int = 0
    number: int = 0
    created_s: float = 0.0
    serving_s: float = 0.0
    gone_s: float = 0.0
    ends_s: float = 0.0
    unit_s: float = 0.0
    planned_nano_usd: int = 0
    committed_until_s: float = 0.0
    tended_until_s: float = 0.0  # an execution is at it until then
    changes: int = 0  # of its state so far
    told: str = ""  # the last notice about it

    def unit_hours(self, now_s: float) -> float:
        """What has been billed so far: from its creation until it was gone, as nothing finer is published."""
        alive_s = (self.gone_s or now_s) - self.created_s if self.created_s else 0.0
        return (self.unit_s + self.units * max(0.0, alive_s)) / 3600

    def anew(self) -> dict[str, object]:
        """What it starts again with for another purchase once its own is gone; its unit-seconds are kept."""
        billed_s = self.unit_hours(self.gone_s) * 3600
        return {"unit_s": billed_s, "arn": "", "created_s": 0, "serving_s": 0, "gone_s": 0}


class Register:
    """The rows and records; every method raises StoreUnavailable."""

    def __init__(self, client: DynamoDBClient, situation_table: str, now_s: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = situation_table
        self._now_s = now_s

    def row(self, window: str) -> Row:
        """The window's row, made if need be."""
        with store_errors():
            answer = self._client.update_item(
                TableName=self._table,
                Key=_row_key(window),
                UpdateExpression="SET fence = if_not_exists(fence, :zero), draining = if_not_exists(draining, :none)",
                ExpressionAttributeValues=to_item({":zero": 0, ":none": {}}),
                ReturnValues="ALL_NEW",
            )
        item = from_item(answer["Attributes"])
        return Row(item["fence"], item.get("arn", ""), float(item.get("until_s", 0)), item["draining"])

    def claim(self, window: str, seen_fence: int) -> int | None:
        """Take the next number of the fence; None when somebody has acted on the window since it was seen."""
        taken = self._change_row(
            window,
            "SET fence = :mine",
            "fence = :seen",
            {":mine": seen_fence + 1, ":seen": seen_fence},
        )
        return seen_fence + 1 if taken else None

    def overtake(self, window: str) -> None:
        """Take the next number of the fence whoever has the last: what others have begun ends without a publication."""
        self._change_row(window, "SET fence = fence + :one", "attribute_exists(fence)", {":one": 1})

    def publish(self, window: str, fence: int, published: Mapping[str, object]) -> bool:
        """Send turns to `published` (its arn, target, units, until_s and day); False when that came too late."""
        arn = str(published["arn"])
        values = {f":{name}": value for name, value in published.items()}
        return self._change_row(
            window,
            "SET " + ", ".join(f"#{name} = :{name}" for name in published) + ", #window = :window",
            "fence = :fence AND attribute_not_exists(draining.#it) AND (attribute_not_exists(#arn) OR #arn = :arn)",
            values | {":window": window, ":fence": fence},
            {f"#{name}": name for name in published} | {"#window": "window", "#it": arn},
        )

    def withdraw(self, window: str, arn: str, drain_s: float) -> float:
        """Send no more turns to an ARN, ever; gives the instant from which nobody is on it any more.

        What was never published has no readers. An instant that was given once stays as it is.
        """
        while True:
            row = self.row(window)
            if arn in row.draining:
                return row.draining[arn]
            if row.arn == arn:
                safe_s, change, condition = self._now_s() + drain_s, " REMOVE #arn", "#arn = :arn"
            else:
                safe_s, change, condition = self._now_s(), "", "attribute_not_exists(#arn) OR #arn <> :arn"
            if self._change_row(
                window,
                f"SET fence = fence + :one, draining.#it = :safe{change}",
                f"attribute_not_exists(draining.#it) AND ({condition})",
                {":one": 1, ":safe": safe_s, ":arn": arn},
                {"#it": arn, "#arn": "arn"},
            ):
                return safe_s

    def forget(self, window: str, arn: str) -> None:
        """Strike an ARN that is gone off the draining ones."""
        self._change_row(window, "REMOVE draining.#it", "attribute_exists(draining.#it)", {}, {"#it": arn})

    def record(self, window: str, day: str) -> Record:
        """What is known of a window's day; an empty record when nothing is."""
        with store_errors():
            answer = self._client.get_item(TableName=self._table, Key=_record_key(window, day), ConsistentRead=True)
        return _record(window, day, from_item(answer.get("Item", {})))

    def records(self, first_day: str, last_day: str) -> tuple[Record, ...]:
        """The records of the days from first to last, oldest first."""
        with store_errors():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :records AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues=to_item({":records": RECORDS, ":first": first_day, ":last": f"{last_day}#~"}),
            )
            items = [from_item(item) for page in pages for item in page["Items"]]
        return tuple(_record(item["sk"][11:], item["sk"][:10], item) for item in items)

    def note(self, window: str, day: str, **changes: object) -> None:
        """Change some fields of a record."""
        self._change(_record_key(window, day), self._noting(changes))

    def note_after(self, seen: Record, **changes: object) -> bool:
        """Change some fields of a record, its state among them, unless somebody has changed its state meanwhile.

        A closing by hand that meets an opening must not be overwritten by it: nothing else says that it was wanted.
        """
        request = self._noting(changes)
        request["ConditionExpression"] = "#changes = :seen" if seen.changes else "attribute_not_exists(#changes)"
        if seen.changes:
            request["ExpressionAttributeValues"] |= to_item({":seen": seen.changes})
        if self._change(_record_key(seen.window, seen.day), request):
            return True
        found = self.record(seen.window, seen.day)  # as it should be already, if the answer to a first try was lost
        return all(getattr(found, name) == value for name, value in changes.items())

    def _noting(self, changes: Mapping[str, object]) -> dict[str, Any]:
        fields = {**changes, "expires_at": int(self._now_s()) + RECORD_DAYS * 86_400}
        request: dict[str, Any] = {
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in fields),
            "ExpressionAttributeNames": {f"#{name}": name for name in fields},
            "ExpressionAttributeValues": to_item({f":{name}": value for name, value in fields.items()}),
        }
        if "state" in changes:  # closed twice is not the same as closed once: what was seen in between is old
            request["UpdateExpression"] += " ADD #changes :one"
            request["ExpressionAttributeNames"]["#changes"] = "changes"
            request["ExpressionAttributeValues"] |= to_item({":one": 1})
        return request

    def _change_row(
        self,
        window: str,
        change: str,
        condition: str,
        values: Mapping[str, object],
        names: Mapping[str, str] | None = None,
    ) -> bool:
        request: dict[str, Any] = {"UpdateExpression": change, "ConditionExpression": condition}
        if values:
            request["ExpressionAttributeValues"] = to_item(values)
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        return self._change(_row_key(window), request)

    def _change(self, key: Any, request: Mapping[str, Any]) -> bool:
        """Whether the condition held."""
        try:
            with store_errors():
                self._client.update_item(TableName=self._table, Key=key, **request)
        except ClientError as error:
            if condition_failed(error):
                return False
            raise
        return True


def _record(window: str, day: str, item: Mapping[str, Any]) -> Record:
    known = {name: item[name] for name in Record.__slots__ if name in item}
    return Record(**{**known, "window": window, "day": day})


def _row_key(window: str) -> Any:
    return to_item({"pk": NOW, "sk": f"CAPACITY#{window}"})


def _record_key(window: str, day: str) -> Any:
    return to_item({"pk": RECORDS, "sk": f"{day}#{window}"})
