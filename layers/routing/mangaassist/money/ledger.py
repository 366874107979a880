"""The accounts of the JST day: reserve before a model is called, settle after, one line per attempt.

The day's counter is `committed` = spent + reserved. A reservation is one conditional addition, so that any number of
concurrent turns cannot pass the limit. Settling is one transaction whose ledger line may exist only once, so a
repeated settlement changes nothing. A turn that dies between the two leaves its reservation committed: what it cost is
unknown, and the upper bound is the honest figure.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import StoreUnavailable
from mangaassist.jst import jst
from mangaassist.stores import condition_failed, error_code, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.money.prices import Usage

SHARDS = 16  # of a day's ledger lines: 1M turns a day are 100 writes/s at peak, a partition takes 1,000
LEDGER_DAYS = 400
SPEND_DAYS = 8
DISTURBANCES = 4  # that a write to the day's counter survives; each costs a round trip of some milliseconds


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money set aside for one attempt on a JST day (YYYY-MM-DD)."""

    day: str
    nano_usd: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of one target and what became of it; times in milliseconds since its call."""

    target: str
    model: str
    outcome: str
    first_text_ms: int | None
    total_ms: int
    usage: Usage
    cost_nano_usd: int
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True)
class TurnAccount:
    """What the ledger keeps of a turn: no word of what was said."""

    turn_id: str
    user_id: str
    reason: str
    finish: str
    first_text_ms: int | None
    total_ms: int
    attempts: Sequence[Attempt]


class Ledger:
    """The day's counter in the situation table and the lines in the turns table."""

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        situation_table: str,
        turns_table: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._situation_table = situation_table
        self._turns_table = turns_table
        self._now_s = now_s

    def reserve(self, nano_usd: int, limit_nano_usd: int) -> Reservation | None:
        """Set money aside on today's account; None when it would pass the limit. Raises StoreUnavailable."""
        now = jst(self._now_s())
        day = now.date().isoformat()
        if nano_usd > limit_nano_usd:
            return None
        addition: Any = {
            "TableName": self._situation_table,
            "Key": _spend_key(day),
            "UpdateExpression": "SET expires_at = :expires ADD committed_nano_usd :amount",
            "ConditionExpression": "attribute_not_exists(committed_nano_usd) OR committed_nano_usd <= :most",
            "ExpressionAttributeValues": to_item(
                {
                    ":amount": nano_usd,
                    ":most": limit_nano_usd - nano_usd,
                    ":expires": int(now.timestamp()) + SPEND_DAYS * 86_400,
                }
            ),
        }
        try:
            with store_errors():
                _until_undisturbed(lambda: self._client.update_item(**addition))
        except ClientError as error:
            if condition_failed(error):
                return None
            raise
        return Reservation(day, nano_usd)

    def settle(self, account: TurnAccount) -> None:
        """Put what the attempts cost in place of what was reserved, and write the line. Raises StoreUnavailable."""
        if not account.attempts:
            return
        now = jst(self._now_s())
        writes: list[Any] = [self._line(account, now)]
        writes += [self._correction(day, *amounts) for day, amounts in _by_day(account.attempts).items()]
        try:
            with store_errors():
                _until_undisturbed(lambda: self._client.transact_write_items(TransactItems=writes))
        except ClientError as error:
            if _disturbed(error):
                raise StoreUnavailable(f"the account of {account.turn_id} is too busy") from error
            if not _already_settled(error):
                raise

    def _line(self, account: TurnAccount, now: datetime) -> dict[str, Any]:
        day = next((a.reservation.day for a in account.attempts if a.reservation), now.date().isoformat())
        item = to_item(
            {
                "pk": f"LEDGER#{day}#{shard_of(account.turn_id):02d}",
                "sk": account.turn_id,
                "user_id": account.user_id,
                "reason": account.reason,
                "finish": account.finish,
                "first_text_ms": account.first_text_ms,
                "total_ms": account.total_ms,
                "cost_nano_usd": sum(attempt.cost_nano_usd for attempt in account.attempts),
                "attempts": [attempt_fields(attempt) for attempt in account.attempts],
                "settled_at": now.isoformat(timespec="milliseconds"),
                "expires_at": int(now.timestamp()) + LEDGER_DAYS * 86_400,
            }
        )
        put = {"TableName": self._turns_table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
        return {"Put": put}

    def _correction(self, day: str, reserved: int, spent: int, attempts: int) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._situation_table,
                "Key": _spend_key(day),
                "UpdateExpression": "ADD committed_nano_usd :change, spent_nano_usd :spent, attempts :attempts",
                "ExpressionAttributeValues": to_item(
                    {":change": spent - reserved, ":spent": spent, ":attempts": attempts}
                ),
            }
        }


def attempt_fields(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain values, exact to the nano-dollar."""
    usage = attempt.usage
    return {
        "target": attempt.target,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "first_text_ms": attempt.first_text_ms,
        "total_ms": attempt.total_ms,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "estimated": usage.estimated,
        "cost_nano_usd": attempt.cost_nano_usd,
    }


def shard_of(turn_id: str) -> int:
    """The partition of a day's ledger that a turn's line lies in."""
    return zlib.crc32(turn_id.encode()) % SHARDS


def _by_day(attempts: Sequence[Attempt]) -> dict[str, tuple[int, int, int]]:
    """Sums of reserved, spent and attempts for each day on which money was set aside: a turn may cross midnight."""
    reserved: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for attempt in attempts:
        if attempt.reservation:
            day = attempt.reservation.day
            reserved[day] += attempt.reservation.nano_usd
            spent[day] += attempt.cost_nano_usd
            count[day] += 1
    return {day: (reserved[day], spent[day], count[day]) for day in count}


def _until_undisturbed(write: Callable[[], object]) -> None:
    """Write to the day's counter again, a few times, when a transaction met another write to it.

    Such refusals name no fault of ours, and the SDK does not repeat them.
    """
    for _ in range(DISTURBANCES):
        try:
            write()
        except ClientError as error:
            if not _disturbed(error):
                raise
        else:
            return
    write()


def _disturbed(error: ClientError) -> bool:
    if error_code(error) == "TransactionConflictException":
        return True
    reasons = _reasons(error)
    return "TransactionConflict" in reasons and "ConditionalCheckFailed" not in reasons


def _already_settled(error: ClientError) -> bool:
    """Whether the transaction was refused because the line exists: an earlier try got through unheard."""
    return _reasons(error)[:1] == ["ConditionalCheckFailed"]


def _reasons(error: ClientError) -> list[str]:
    """Why a transaction was cancelled, one word for each of its writes; empty for any other failure."""
    reasons: list[dict[str, str]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return [reason.get("Code", "None") for reason in reasons]


def _spend_key(day: str) -> Any:
    return to_item({"pk": "NOW", "sk": f"SPEND#{day}"})
