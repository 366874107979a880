"""The operators' side of the routing policy: every version is kept, and one of them, or none, overrides the preset.

A version's number is never used twice: an environment that has seen it knows its document. Whoever writes says which
version they found in force, so that of two operators who write at the same time one is told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import PolicyConflict, PolicyInvalid
from mangaassist.jst import jst
from mangaassist.routing import policy
from mangaassist.stores import from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

PRESET_VERSION = 0  # what is in force while nothing overrides the preset
MOST_BYTES = 400_000  # DynamoDB takes 409,600 for an item with all its names and short values
LOST_RACE = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


@dataclass(frozen=True, slots=True)
class InForce:
    """What overrides the preset: version 0 and no document while nothing does."""

    version: int = PRESET_VERSION
    document: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A policy as it was written; instants are JST in ISO 8601, `withdrawn_at` and `withdrawn_by` empty as a rule."""

    number: int
    document: str
    name: str
    written_at: str
    written_by: str
    note: str
    withdrawn_at: str
    withdrawn_by: str


class PolicyStore:
    """Policies in the situation table. Every method raises StoreUnavailable."""

    def __init__(self, client: DynamoDBClient, situation_table: str, now_s: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = situation_table
        self._now_s = now_s

    def in_force(self) -> InForce:
        """The override that every environment takes up within seconds."""
        with store_errors():
            answer = self._client.get_item(TableName=self._table, Key=_override_key(), ConsistentRead=True)
        item = from_item(answer.get("Item", {}))
        return InForce(int(item["version"]), str(item.get("document", ""))) if item else InForce()

    def versions(self) -> tuple[Version, ...]:
        """Everything that was ever in force, newest first."""
        with store_errors():
            pages = self._client.get_paginator("query").paginate(**self._newest_first())
            return tuple(_version(from_item(item)) for page in pages for item in page["Items"])

    def version(self, number: int) -> Version:
        """One kept version; raises PolicyInvalid when there is none of that number."""
        with store_errors():
            answer = self._client.get_item(TableName=self._table, Key=_version_key(number), ConsistentRead=True)
        if "Item" not in answer:
            raise PolicyInvalid(f"there is no version {number}")
        return _version(from_item(answer["Item"]))

    def put(self, document: str, expected_version: int, by: str, note: str = "") -> int:
        """Keep a document and put it into force; gives its version.

        Raises PolicyInvalid, and PolicyConflict when not `expected_version` is in force any more.
        """
        name = policy.load(document).name
        if (size := len(f"{document}{name}{by}{note}".encode())) > MOST_BYTES:
            raise PolicyInvalid(f"document: with its note it has {size:,} bytes, and the table takes {MOST_BYTES:,}")
        number = max(self._newest(), expected_version) + 1
        kept = {
            "document": document,
            "name": name,
            "written_at": self._now(),
            "written_by": by,
            "note": note,
        }
        override = _override_key() | to_item({"version": number, "document": document})
        self._write(
            {
                "Put": {
                    "TableName": self._table,
                    "Item": _version_key(number) | to_item(kept),
                    "ConditionExpression": "attribute_not_exists(pk)",
                }
            },
            {"Put": {"TableName": self._table, "Item": override, **_still_in_force(expected_version)}},
        )
        return number

    def rollback(self, number: int, expected_version: int, by: str, note: str = "") -> int:
        """Put a kept version into force again, as a new one; raises as `put` does, and for a number that is not kept.

        A version from long ago may be invalid by now.
        """
        return self.put(self.version(number).document, expected_version, by, note or f"version {number} again")

    def withdraw(self, expected_version: int, by: str) -> None:
        """Go back to the preset, and note at the version who did it.

        Raises PolicyConflict when not `expected_version`, which is never the preset's, is in force any more.
        """
        if expected_version == PRESET_VERSION:
            raise PolicyConflict("nothing overrides the preset")
        self._write(
            {"Delete": {"TableName": self._table, "Key": _override_key(), **_still_in_force(expected_version)}},
            {
                "Update": {
                    "TableName": self._table,
                    "Key": _version_key(expected_version),
                    "UpdateExpression": "SET withdrawn_at = :at, withdrawn_by = :by",
                    "ExpressionAttributeValues": to_item({":at": self._now(), ":by": by}),
                }
            },
        )

    def _write(self, *writes: Any) -> None:
        try:
            with store_errors():
                self._client.transact_write_items(TransactItems=writes)
        except ClientError as error:
            reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
            if not any(reason.get("Code") in LOST_RACE for reason in reasons):
                raise
            raise PolicyConflict("the policy in force has changed meanwhile") from error

    def _newest(self) -> int:
        with store_errors():
            answer = self._client.query(**self._newest_first(), Limit=1)
        return max((_version(from_item(item)).number for item in answer["Items"]), default=PRESET_VERSION)

    def _newest_first(self) -> Any:
        return {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :kept",
            "ExpressionAttributeValues": to_item({":kept": "POLICY"}),
            "ScanIndexForward": False,
            "ConsistentRead": True,
        }

    def _now(self) -> str:
        return jst(self._now_s()).isoformat(timespec="seconds")


def _version(item: Mapping[str, Any]) -> Version:
    return Version(
        number=int(item["sk"]),
        document=item.get("document", ""),
        name=item.get("name", ""),
        written_at=item.get("written_at", ""),
        written_by=item.get("written_by", ""),
        note=item.get("note", ""),
        withdrawn_at=item.get("withdrawn_at", ""),
        withdrawn_by=item.get("withdrawn_by", ""),
    )


def _still_in_force(version: int) -> dict[str, Any]:
    if version == PRESET_VERSION:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "version = :expected",
        "ExpressionAttributeValues": to_item({":expected": version}),
    }


def _override_key() -> Any:
    return to_item({"pk": "NOW", "sk": "POLICY"})


def _version_key(number: int) -> Any:
    return to_item({"pk": "POLICY", "sk": f"{number:010d}"})
