"""The record of a turn: how a running turn hears of cancel and resume, and what it leaves for those who come late.

All of it goes through one item, so its writes have one order: a wish written before the turn's last write is seen by
that write's answer, and one written after it finds the frames. A record that was deleted because its session is
forgotten stays so: its turn stops, and leaves nothing. A second item lists the turn under its session, to be found by.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.stores import condition_failed, from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef

TURN_LIFE_S = 24 * 60 * 60
LISTED = "TURN#"  # begins the sort key by which a session's turns are found
MOST_WRITES = 25  # in one BatchWriteItem


@dataclass(frozen=True, slots=True)
class Wish:
    """What a shopper asked of a turn while it ran; `resume` is where to send the frames, and from which `seq` on."""

    cancel: bool = False
    resume_id: str = ""
    resume_connection: str = ""
    resume_after: int = -1


@dataclass(frozen=True, slots=True)
class Record:
    """A turn as its record tells it."""

    done: bool
    frames: Sequence[str]
    deadline_s: float  # epoch; a turn still running after it has died


class TurnStore:
    """Turn records in the turns table. Every method raises StoreUnavailable."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        now_s: Callable[[], float] = time.time,
        *,
        brief: DynamoDBClient | None = None,
    ) -> None:
        """Take the table's client, and one that gives up sooner for what a running turn reads while a model speaks."""
        self._client = client
        self._brief = brief or client
        self._table = table
        self._now_s = now_s

    def begin(self, turn_id: str, *, owner: str, session_id: str, connection_id: str, left_s: float) -> None:
        """Make a turn known, so that it can be cancelled, resumed and forgotten."""
        now_s = self._now_s()
        expires_at = int(now_s) + TURN_LIFE_S
        fields = {
            "owner": owner,
            "session_id": session_id,
            "connection_id": connection_id,
            "status": "running",
            "deadline_s": now_s + left_s,
            "expires_at": expires_at,
        }
        record = _key(turn_id) | to_item(fields)
        listed = _listed(session_id, turn_id) | to_item({"owner": owner, "expires_at": expires_at})
        self._write([{"PutRequest": {"Item": record}}, {"PutRequest": {"Item": listed}}])

    def wish(self, turn_id: str) -> Wish:
        """What the shopper has asked of the turn since it began; a record that is gone wants it stopped."""
        with store_errors():
            answer = self._brief.get_item(
                TableName=self._table,
                Key=_key(turn_id),
                ConsistentRead=True,
                ProjectionExpression="deadline_s, cancelled, resume_wish",
            )
        return _wish(from_item(answer["Item"])) if "Item" in answer else Wish(cancel=True)

    def finish(self, turn_id: str, frames: Sequence[str]) -> Wish:
        """Leave the frames for whoever resumes later, and hear the last wish that came before.

        A turn that was forgotten meanwhile leaves nothing.
        """
        try:
            with store_errors():
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=_key(turn_id),
                    UpdateExpression="SET #status = :done, frames = :frames",
                    ConditionExpression="attribute_exists(pk)",
                    ExpressionAttributeNames={"#status": "status"},
                    ExpressionAttributeValues=to_item({":done": "done", ":frames": list(frames)}),
                    ReturnValues="ALL_NEW",
                )
        except ClientError as error:
            if condition_failed(error):
                return Wish(cancel=True)
            raise
        attributes = from_item(answer.get("Attributes", {}))
        attributes.pop("frames", None)
        return _wish(attributes)

    def cancel(self, turn_id: str, owner: str) -> None:
        """Ask a turn to stop; raises InvalidRequest for a turn that is not the owner's."""
        self._of_owner(turn_id, owner, "SET cancelled = :value", {":value": True})

    def resume(self, turn_id: str, owner: str, *, wish_id: str, connection_id: str, after: int) -> Record:
        """Ask for a turn's frames after `after`; the record tells whether they are here or the turn will send them.

        Raises InvalidRequest for a turn that is not the owner's.
        """
        wish = {"id": wish_id, "connection_id": connection_id, "after": after}
        found = self._of_owner(turn_id, owner, "SET resume_wish = :value", {":value": wish})
        return Record(
            done=found["status"] == "done", frames=found.get("frames", []), deadline_s=float(found["deadline_s"])
        )

    def rate(self, turn_id: str, owner: str, rating: str) -> None:
        """Keep the shopper's rating; raises InvalidRequest for a turn that is not the owner's."""
        self._of_owner(turn_id, owner, "SET rating = :value", {":value": rating})

    def forget(self, session_id: str, owner: str, *, in_time: Callable[[], bool]) -> None:
        """Delete the owner's turns of a session; those that still run find their records gone.

        Raises StoreUnavailable when it is not done in time; called again it goes on where it stopped.
        """
        with store_errors():
            for page in self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :session AND begins_with(sk, :turns)",
                FilterExpression="#owner = :owner",
                ProjectionExpression="sk",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=to_item(
                    {":session": f"SESSION#{session_id}", ":turns": LISTED, ":owner": owner}
                ),
                ConsistentRead=True,
            ):
                turns = [item["sk"]["S"].removeprefix(LISTED) for item in page["Items"]]
                self._delete((_key(turn_id) for turn_id in turns), in_time)
                self._delete((_listed(session_id, turn_id) for turn_id in turns), in_time)

    def drop(self, turn_id: str, session_id: str) -> None:
        """Delete one turn, which was begun while its session was being forgotten."""
        self._write([{"DeleteRequest": {"Key": key}} for key in (_key(turn_id), _listed(session_id, turn_id))])

    def _delete(self, keys: Iterable[dict[str, Any]], in_time: Callable[[], bool]) -> None:
        for some in batched(keys, MOST_WRITES, strict=False):
            if not in_time():
                raise StoreUnavailable("no time is left to forget")
            self._write([{"DeleteRequest": {"Key": key}} for key in some])

    def _write(self, requests: Sequence[WriteRequestTypeDef]) -> None:
        """Write items without an order between them; what the table puts off counts as out of reach."""
        with store_errors():
            answer = self._client.batch_write_item(RequestItems={self._table: requests})
        if answer["UnprocessedItems"]:
            raise StoreUnavailable("some items were not written")

    def _of_owner(self, turn_id: str, owner: str, change: str, values: dict[str, Any]) -> dict[str, Any]:
        try:
            with store_errors():
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=_key(turn_id),
                    UpdateExpression=change,
                    ConditionExpression="#owner = :owner",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues=to_item({**values, ":owner": owner}),
                    ReturnValues="ALL_NEW",
                )
        except ClientError as error:
            if condition_failed(error):
                raise InvalidRequest("turn_unknown") from error
            raise
        return from_item(answer["Attributes"])


def _wish(item: dict[str, Any]) -> Wish:
    resume = item.get("resume_wish") or {}
    return Wish(
        cancel=bool(item.get("cancelled")),
        resume_id=resume.get("id", ""),
        resume_connection=resume.get("connection_id", ""),
        resume_after=int(resume.get("after", -1)),
    )


def _key(turn_id: str) -> dict[str, Any]:
    return to_item({"pk": f"TURN#{turn_id}", "sk": "TURN"})


def _listed(session_id: str, turn_id: str) -> dict[str, Any]:
    return to_item({"pk": f"SESSION#{session_id}", "sk": f"{LISTED}{turn_id}"})
