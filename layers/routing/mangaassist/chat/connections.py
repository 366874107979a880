"""Shoppers' connections: who holds how many, how fast each may ask, and the way back to them."""

from __future__ import annotations

import math
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import ConnectionGone, TooFast
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure
from mangaassist.stores import (
    NO_ANSWER,
    condition_failed,
    error_code,
    found_item,
    from_item,
    http_status,
    store_errors,
    to_item,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient
    from mypy_boto3_dynamodb import DynamoDBClient

CONNECTION_LIFE_S = 2 * 60 * 60  # API Gateway closes a connection at this age
MARGIN_S = 10 * 60
HANDSHAKE_S = 30  # in which a connection opens, or fails: the gateway gives $connect 29 s
OPEN_ATTEMPTS = 4  # each failed one means that another connection of the same user came or went meanwhile
LOOKS = 5  # at the gateway, each half a second at worst, of a handshake that finds no room
CLEARED_AT_ONCE = 50  # places in one write: an expression may have 300 operators
MINUTE_MS = 60_000
CLOCKS_DIFFER_MS = 60_000  # far more than those of two environments ever do

TAKE_ONLY_PLACE = "SET connections = :only, expires_at = :expires_at"
HOLDS_NOTHING = "attribute_not_exists(connections) OR size(connections) = :none"
TAKE_PLACE = "SET connections.#id = :expires_at, expires_at = :expires_at"
HAS_ROOM = "attribute_exists(connections) AND size(connections) < :room"
CHARGE_FULL_BUCKET = "SET next_allowed_ms = :charged, expires_at = if_not_exists(expires_at, :expires_at)"
CHARGE_BUCKET = "SET next_allowed_ms = next_allowed_ms + :interval"
IS_FULL = "attribute_not_exists(next_allowed_ms) OR NOT (next_allowed_ms BETWEEN :soonest AND :latest)"
HAS_ENOUGH = "next_allowed_ms <= :latest"


class ConnectionStore:
    """The connections table: one row per connection, and one per user that carries both of the user's limits.

    `now_s` gives epoch seconds. Every method raises StoreUnavailable when the table cannot serve.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        now_s: Callable[[], float] = time.time,
        *,
        is_gone: Callable[[str], bool],
    ) -> None:
        """`is_gone` asks the gateway whether a connection is known to have ended."""
        self._client = client
        self._table = table
        self._now_s = now_s
        self._is_gone = is_gone

    def open(self, connection_id: str, user_id: str, limit: int) -> bool:
        """Record a connection; False when its user holds `limit` live connections already.

        The connection's row goes first: should the second write fail, an orphaned row only expires, while a place would
        count against its user. As $disconnect is sent at best effort, some places are nobody's all the same: before a
        user is refused, the gateway is asked about a few of the connections, the oldest first.
        """
        now_s = int(self._now_s())
        expires_at = now_s + CONNECTION_LIFE_S + MARGIN_S
        row = {"user_id": user_id, "connected_at": now_s, "expires_at": expires_at}
        with store_errors():
            self._client.put_item(TableName=self._table, Item=to_item(_connection(connection_id) | row))
            if self._take_place(connection_id, user_id, limit, now_s, expires_at):
                return True
            self._client.delete_item(TableName=self._table, Key=to_item(_connection(connection_id)))
            return False

    def close(self, connection_id: str, user_id: str | None) -> None:
        """Forget a connection and give back its place; safe to repeat and when nothing is there.

        Connection ids are never used twice and places are keyed by them, so a late close takes away nothing newer.
        """
        with store_errors():
            reply = self._client.delete_item(
                TableName=self._table, Key=to_item(_connection(connection_id)), ReturnValues="ALL_OLD"
            )
            owner = user_id or from_item(reply.get("Attributes", {})).get("user_id")
            if owner:
                self._update(
                    owner, "REMOVE connections.#id", "attribute_exists(connections.#id)", names={"#id": connection_id}
                )

    def admit_turn(self, user_id: str, per_minute: int, burst: int) -> float:
        """Admit one more turn of a user: 0.0 when it may go on, else the seconds after which it could.

        This is a token bucket of `burst` tokens that gains `per_minute` of them, kept as one number (the generic cell
        rate algorithm): N, the instant at which the bucket will be full again. A token takes I = 60000 / per_minute ms
        to come back (rounded up: never faster than promised), and N - now, if positive, is what was spent and is not
        back yet. A turn needs one token, so N - now + I <= burst * I, and is charged: N becomes max(N, now) + I.

        * Bucket full (N <= now or no N): one write, N = now + I, on that condition. An N that only a clock that was
          moved back can explain (later than now + burst * I by more than clocks differ) counts as full too.
        * Otherwise the refusal of that write tells N. With too little left the turn is refused until N + I - burst * I;
          with enough, a second write sets N = N + I on condition that N + I <= now + burst * I still holds.

        Exact under concurrency: each condition is judged together with its write, and N only grows, so N > now stays
        true once a refusal has said it.
        """
        now_ms = int(self._now_s() * 1000)
        interval_ms = math.ceil(MINUTE_MS / per_minute)
        latest_ms = now_ms + (burst - 1) * interval_ms
        kept_until = now_ms // 1000 + CONNECTION_LIFE_S + MARGIN_S
        believable = {":soonest": now_ms + 1, ":latest": now_ms + burst * interval_ms + CLOCKS_DIFFER_MS}
        charged = {":charged": now_ms + interval_ms, ":expires_at": kept_until}
        with store_errors():
            found = self._update(user_id, CHARGE_FULL_BUCKET, IS_FULL, believable | charged)
            if found and found["next_allowed_ms"] <= latest_ms:
                found = self._update(
                    user_id, CHARGE_BUCKET, HAS_ENOUGH, {":interval": interval_ms, ":latest": latest_ms}
                )
        return 0.0 if found is None else (found["next_allowed_ms"] - latest_ms) / 1000

    def _take_place(self, connection_id: str, user_id: str, limit: int, now_s: int, expires_at: int) -> bool:
        """Add a connection to its user's map: one write for a user's only connection, as a rule two for a further one.

        A map that is full is cleared of places that hold nothing by the write that adds the new one, on condition that
        they are there still.
        """
        places: dict[str, int] = {}  # nothing is known yet, and most users hold nothing
        look = _Looks(self._is_gone)
        for _ in range(OPEN_ATTEMPTS):
            if not places:
                only = {":only": {connection_id: expires_at}, ":expires_at": expires_at, ":none": 0}
                found = self._update(user_id, TAKE_ONLY_PLACE, HOLDS_NOTHING, only)
            else:
                empty = _empty(places, limit, now_s, look)
                if len(places) - len(empty) >= limit:
                    return False
                found = self._take_further_place(connection_id, user_id, limit, expires_at, empty[:CLEARED_AT_ONCE])
            if found is None:
                return True
            places = found.get("connections", {})
            if connection_id in places:  # the SDK repeated a write whose answer was lost
                return True
        return False

    def _take_further_place(
        self, connection_id: str, user_id: str, limit: int, expires_at: int, empty: list[str]
    ) -> dict[str, Any] | None:
        cleared = {f"#empty{number}": place for number, place in enumerate(empty)}
        return self._update(
            user_id,
            TAKE_PLACE + (" REMOVE " + ", ".join(f"connections.{name}" for name in cleared) if cleared else ""),
            HAS_ROOM + "".join(f" AND attribute_exists(connections.{name})" for name in cleared),
            {":expires_at": expires_at, ":room": limit + len(cleared)},
            {"#id": connection_id} | cleared,
        )

    def _update(
        self,
        user_id: str,
        change: str,
        condition: str,
        values: Mapping[str, object] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """Change a user's row: None when done, the row as it was found when the condition refused it."""
        expressions: dict[str, Any] = {"UpdateExpression": change, "ConditionExpression": condition}
        if values:
            expressions["ExpressionAttributeValues"] = to_item(values)
        if names:
            expressions["ExpressionAttributeNames"] = dict(names)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=to_item({"pk": f"USER#{user_id}"}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **expressions,
            )
        except ClientError as error:
            if not condition_failed(error):
                raise
            return found_item(error)
        return None


class Channel:
    """The way back to the shoppers: the gateway's management API."""

    def __init__(self, client: ApiGatewayManagementApiClient) -> None:
        self._client = client

    def post(self, connection_id: str, data: bytes) -> None:
        """Send one frame of at most 32 KB.

        Raises ConnectionGone when no frame can reach this connection any more, and TooFast when a later post may: the
        gateway is throttling, its buffer for this client is full, it failed (5xx) or did not answer in time. In the
        last two cases the frame may have arrived all the same: repeat it unchanged, clients drop a `seq` they have.

        A 403 means that this deployment may not post at all (wrong endpoint, missing permission, a VPC endpoint in
        between): it is logged as an error, and for the turn it is the same as a shopper who has left.
        """
        try:
            self._client.post_to_connection(ConnectionId=connection_id, Data=data)
        except ClientError as error:
            status = http_status(error)
            if status == 410:
                raise ConnectionGone(connection_id) from error
            if status == 403:
                measure(Metric.PostsForbidden)
                logger.error("the gateway forbids posting to connections", extra={"fault": error_code(error)})
                raise ConnectionGone(connection_id) from error
            if status == 429 or status >= 500:
                raise TooFast(error_code(error)) from error
            raise
        except NO_ANSWER as error:
            raise TooFast(type(error).__name__) from error

    def is_gone(self, connection_id: str) -> bool:
        """Whether a connection is known to have ended; not while the gateway cannot tell."""
        try:
            self._client.get_connection(ConnectionId=connection_id)
        except ClientError as error:
            if http_status(error) == 410:
                return True
            if http_status(error) == 403:
                logger.error("the gateway forbids looking at connections", extra={"fault": error_code(error)})
                return False
            fault = error_code(error)
        except NO_ANSWER as error:
            fault = type(error).__name__
        else:
            return False
        logger.warning("the gateway does not tell whether a connection is there", extra={"fault": fault})
        return False


class _Looks:
    """Asks about a few connections, and about each once."""

    def __init__(self, is_gone: Callable[[str], bool]) -> None:
        self._is_gone = is_gone
        self._known: dict[str, bool] = {}

    def __call__(self, connection_id: str) -> bool:
        if connection_id not in self._known and len(self._known) < LOOKS:
            self._known[connection_id] = self._is_gone(connection_id)
        return self._known.get(connection_id, False)


def _empty(places: Mapping[str, int], limit: int, now_s: int, is_gone: Callable[[str], bool]) -> list[str]:
    """Of a full map the places that hold no connection: the expired ones, and as many more as are wanted."""
    surplus = len(places) + 1 - limit
    if surplus <= 0:
        return []
    expired = [place for place, until in places.items() if until <= now_s]
    latest = now_s - HANDSHAKE_S + CONNECTION_LIFE_S + MARGIN_S  # of one that is open: for the gateway it is there
    opened = (place for place, until in places.items() if now_s < until <= latest)
    by_age = sorted(opened, key=lambda place: (places[place], place))
    return [*expired, *islice(filter(is_gone, by_age), max(0, surplus - len(expired)))]


def _connection(connection_id: str) -> dict[str, object]:
    return {"pk": f"CONNECTION#{connection_id}"}
