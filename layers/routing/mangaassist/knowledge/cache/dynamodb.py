"""Kept answers in DynamoDB: one item for each wording, all wordings of one question in one partition."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.cache.answers import MOST_WORDINGS, Answer, from_fields, to_fields
from mangaassist.stores import CONDITION_FAILED, from_item, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mangaassist.knowledge.calls import TableCaller


class TableAnswers:
    """An AnswerStore in the answers table."""

    def __init__(self, caller: TableCaller, table: str, now_s: Callable[[], float] = time.time) -> None:
        self._caller = caller
        self._table = table
        self._now_s = now_s

    def read(self, bucket: str, limit_s: float) -> Sequence[Answer]:
        """The answers of a bucket."""
        query = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :bucket",
            "ExpressionAttributeValues": to_item({":bucket": f"ANSWER#{bucket}"}),
            "Limit": MOST_WORDINGS,
        }
        return self._ask("Query", query, lambda answer: [_answer(item) for item in answer["Items"]], limit_s)

    def write(self, bucket: str, answer: Answer, limit_s: float) -> None:
        """Keep an answer."""
        fields = to_fields(answer) | {"vector": base64.b64encode(answer.vector).decode()}
        item = _key("ANSWER", bucket, answer.wording) | to_item(fields)
        self._ask("PutItem", {"TableName": self._table, "Item": item}, _anything, limit_s)

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

    def _ask[T](self, operation: str, body: dict[str, Any], read: Callable[[Any], T], limit_s: float) -> T:
        left_s = self._caller.countdown(limit_s)
        return self._caller.ask(operation, body, read, left_s()).wait(left_s())


def _answer(item: dict[str, Any]) -> Answer:
    fields = from_item(item)
    return from_fields(fields | {"vector": base64.b64decode(fields["vector"])})


def _key(kind: str, bucket: str, wording: str) -> dict[str, Any]:
    return to_item({"pk": f"{kind}#{bucket}", "sk": wording})


def _anything(answer: Any) -> bool:
    return True
