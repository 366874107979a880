"""Kept answers in DynamoDB: one item for each wording, all wordings of one question in one partition."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.cache.answers import MOST_WORDINGS, Answer, from_fields, making_room, to_fields
from mangaassist.stores import CONDITION_FAILED, from_item, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mangaassist.knowledge.calls import TableCaller

MOST_REMOVED = 24  # of a bucket's at once: a BatchWriteItem does 25 things


class TableAnswers:
    """An AnswerStore in the answers table."""

    def __init__(self, caller: TableCaller, table: str, now_s: Callable[[], float] = time.time) -> None:
        self._caller = caller
        self._table = table
        self._now_s = now_s

    def read(self, bucket: str, limit_s: float) -> Sequence[Answer]:
        """The answers of a bucket; what is none (another version's, say) is left out."""
        query = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :bucket",
            "ExpressionAttributeValues": to_item({":bucket": f"ANSWER#{bucket}"}),
            "Limit": MOST_WORDINGS,
        }
        return self._ask("Query", query, _answers, limit_s)

    def write(self, bucket: str, answer: Answer, limit_s: float) -> None:
        """Keep an answer, and remove what would stand before it in `read`: DynamoDB itself removes after days."""
        left_s = self._caller.countdown(limit_s)
        gone = making_room(self._ends(bucket, left_s()), answer.wording, self._now_s())
        fields = to_fields(answer) | {"vector": base64.b64encode(answer.vector).decode()}
        requests: list[dict[str, Any]] = [
            {"PutRequest": {"Item": _key("ANSWER", bucket, answer.wording) | to_item(fields)}},
            *({"DeleteRequest": {"Key": _key("ANSWER", bucket, wording)}} for wording in gone[:MOST_REMOVED]),
        ]
        self._ask("BatchWriteItem", {"RequestItems": {self._table: requests}}, _all_done, left_s())

    def drop(self, bucket: str, wording: str, limit_s: float) -> None:
        """Forget an answer."""
        key = _key("ANSWER", bucket, wording)
        self._ask("DeleteItem", {"TableName": self._table, "Key": key}, _anything, limit_s)

    def claim(self, bucket: str, wording: str, lease_s: float, limit_s: float) -> bool:
        """Claim a wording, unless somebody else's claim still holds."""
        now_s = self._now_s()
        put = {
            "TableName": self._table,
            "Item": _key("CLAIM", bucket, wording)
            | to_item({"until_s": now_s + lease_s, "expires_at": int(now_s + lease_s) + 1}),
            "ConditionExpression": "attribute_not_exists(pk) OR until_s < :now",
            "ExpressionAttributeValues": to_item({":now": now_s}),
        }
        try:
            self._ask("PutItem", put, _anything, limit_s)
        except KnowledgeUnavailable as error:
            if error.why == CONDITION_FAILED:
                return False
            raise
        return True

    def release(self, bucket: str, wording: str, limit_s: float) -> None:
        """Give up a claim."""
        key = _key("CLAIM", bucket, wording)
        self._ask("DeleteItem", {"TableName": self._table, "Key": key}, _anything, limit_s)

    def _ends(self, bucket: str, limit_s: float) -> dict[str, float]:
        """When each answer of a bucket ends; what is none has ended."""
        query = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :bucket",
            "ExpressionAttributeValues": to_item({":bucket": f"ANSWER#{bucket}"}),
        }
        answers = self._ask(
            "Query", query, lambda found: {item["sk"]["S"]: _answer(item) for item in found["Items"]}, limit_s
        )
        return {wording: answer.expires_at if answer else 0 for wording, answer in answers.items()}

    def _ask[T](self, operation: str, body: dict[str, Any], read: Callable[[Any], T], limit_s: float) -> T:
        left_s = self._caller.countdown(limit_s)
        return self._caller.ask(operation, body, read, left_s()).wait(left_s())


def _answers(found: Any) -> list[Answer]:
    return [answer for item in found["Items"] if (answer := _answer(item)) is not None]


def _answer(item: dict[str, Any]) -> Answer | None:
    try:
        fields = from_item(item)
        return from_fields(fields | {"vector": base64.b64decode(fields["vector"])})
    except (ValueError, KeyError, TypeError):
        return None


def _key(kind: str, bucket: str, wording: str) -> dict[str, Any]:
    return to_item({"pk": f"{kind}#{bucket}", "sk": wording})


def _all_done(answer: Any) -> bool:
    if answer.get("UnprocessedItems"):
        raise KnowledgeUnavailable("dynamodb", "throttled")
    return True


def _anything(answer: Any) -> bool:
    return True
