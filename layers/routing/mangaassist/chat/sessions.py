"""What a session remembers: the last exchanges that fit a token budget, for its owner alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import InvalidRequest
from mangaassist.routing.backends import Message
from mangaassist.stores import condition_failed, from_item, store_errors, to_item
from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

APPEND_TRIES = 10  # all turns of a user's burst may end at the same time, and each lost race is another's success
DAY_S = 86_400
FORGETTING_S = 300  # longer than any turn lasts that may have begun before its session was forgotten


@dataclass(frozen=True, slots=True)
class Session:
    """A session's memory as read at one moment; `history` alternates user and assistant, oldest first."""

    id: str
    owner: str
    history: tuple[Message, ...] = ()
    version: int = 0  # 0: not stored yet
    forgotten: int = 0  # how often it was


class SessionStore:
    """Sessions in the turns table. Every method raises StoreUnavailable."""

    def __init__(
        self, client: DynamoDBClient, table: str, *, ttl_days: int, now_s: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._table = table
        self._ttl_days = ttl_days
        self._now_s = now_s

    def load(self, session_id: str, owner: str, history_tokens: int) -> Session:
        """A session, empty when there is none yet.

        Raises InvalidRequest when it belongs to somebody else, in words that do not tell so.
        """
        with store_errors():
            answer = self._client.get_item(TableName=self._table, Key=_key(session_id), ConsistentRead=True)
        item = from_item(answer.get("Item", {}))
        if not item or item["expires_at"] <= self._now_s():
            mine = item if item.get("owner") == owner else {}
            return Session(session_id, owner, version=mine.get("version", 0), forgotten=mine.get("forgotten", 0))
        if item["owner"] != owner:
            raise InvalidRequest("session_unavailable")
        history = tuple(Message(entry["role"], entry["text"]) for entry in item["history"])
        kept = trim(history, history_tokens)
        return Session(session_id, owner, kept, item["version"], item.get("forgotten", 0))

    def append(
        self,
        session: Session,
        question: str,
        answer: str,
        history_tokens: int,
        *,
        in_time: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Remember an exchange, beside whatever other turns of the session have remembered meanwhile.

        False when the session was forgotten, or has become somebody else's, since it was loaded: nothing is remembered
        then, nor when it is no longer `in_time` for another try.
        """
        loaded = session
        exchange = (Message("user", question), Message("assistant", answer))
        for _ in range(APPEND_TRIES):
            if not in_time() or self._write(session, trim((*session.history, *exchange), history_tokens)):
                return True
            try:
                session = self.load(session.id, session.owner, history_tokens)
            except InvalidRequest:
                return False
            if session.forgotten != loaded.forgotten:
                return False
        return True

    def was_forgotten(self, session: Session) -> bool:
        """Whether a session was forgotten, or has become somebody else's, since it was loaded."""
        try:
            return self.load(session.id, session.owner, 0).forgotten != session.forgotten
        except InvalidRequest:
            return True

    def forget(self, session_id: str, owner: str) -> None:
        """Delete a session's memory, also the one that a turn may be about to begin; somebody else's is left alone.

        An empty row stays for minutes, by which those turns know that they are late.
        """
        now_s = int(self._now_s())
        values = {":owner": owner, ":nothing": [], ":until": now_s + FORGETTING_S, ":now": now_s, ":one": 1}
        try:
            with store_errors():
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(session_id),
                    UpdateExpression="SET #owner = :owner, history = :nothing, expires_at = :until "
                    "ADD version :one, forgotten :one",
                    ConditionExpression="attribute_not_exists(pk) OR expires_at <= :now OR #owner = :owner",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues=to_item(values),
                )
        except ClientError as error:
            if not condition_failed(error):
                raise

    def _write(self, session: Session, history: Sequence[Message]) -> bool:
        now_s = int(self._now_s())
        fields = {
            "owner": session.owner,
            "history": [{"role": message.role, "text": message.text} for message in history],
            "version": session.version + 1,
            "forgotten": session.forgotten,
            "expires_at": now_s + self._ttl_days * DAY_S,
        }
        try:
            with store_errors():
                self._client.put_item(
                    TableName=self._table,
                    Item=_key(session.id) | to_item(fields),
                    ConditionExpression="attribute_not_exists(pk) OR expires_at <= :now "
                    "OR (#owner = :owner AND version = :seen)",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues=to_item(
                        {":owner": session.owner, ":seen": session.version, ":now": now_s}
                    ),
                )
        except ClientError as error:
            if condition_failed(error):
                return False
            raise
        return True


def trim(history: Sequence[Message], most_tokens: int) -> tuple[Message, ...]:
    """The newest whole exchanges that fit, of the newest one at least a part; a history always begins with the user."""
    kept = len(history)
    left = most_tokens
    for start in range(len(history) - 2, -1, -2):
        tokens = sum(estimate(message.text) for message in history[start : start + 2])
        if tokens > left:
            return tuple(history[kept:]) or _shortened(history[start : start + 2], left, tokens)
        left -= tokens
        kept = start
    return tuple(history[kept:])


def _shortened(exchange: Sequence[Message], most_tokens: int, tokens: int) -> tuple[Message, ...]:
    """An exchange whose texts are cut to their share of the budget."""
    share = most_tokens / tokens
    cut = tuple(Message(message.role, message.text[: int(len(message.text) * share)]) for message in exchange)
    return cut if all(message.text.strip() for message in cut) else ()


def _key(session_id: str) -> dict[str, Any]:
    return to_item({"pk": f"SESSION#{session_id}", "sk": "SESSION"})
