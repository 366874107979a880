"""The accounts of the JST day: reserve before a model is called, settle after, one line per attempt.

The lines are the books; the day's counter `committed` = spent + reserved is the guard, and errs only upward. A
reservation is one conditional addition, so that any number of concurrent turns cannot pass the limit. Settling puts the
line, whose key is the run's own, and corrects the counter at most once: a correction whose fate is unknown, like a turn
that dies before it, leaves the reservation committed. There is no transaction, because on the day's one item it would
collide with every other turn.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import StoreUnavailable
from mangaassist.jst import jst
from mangaassist.stores import condition_failed, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.money.prices import Usage

SHARDS = 16  # of a day's ledger lines: 1M turns a day are 100 writes/s at peak, a partition takes 1,000
LEDGER_DAYS = 400
SPEND_DAYS = 8


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
class Charge:
    """What looking a question up cost: the tokens of its embedding, on a JST day (YYYY-MM-DD)."""

    model: str
    tokens: int
    estimated: bool
    cost_nano_usd: int
    day: str


@dataclass(frozen=True, slots=True)
class TurnAccount:
    """What the ledger keeps of one run of a turn: no word of what was said.

    A message whose answer was lost may be asked again; then its turn runs, and is paid, a second time.
    """

    turn_id: str
    run_id: str
    user_id: str
    reason: str
    finish: str
    first_text_ms: int | None
    total_ms: int
    attempts: Sequence[Attempt]
    lookup: Charge | None = None  # not reserved beforehand: it is less than a thousandth of a cent
    kept: str = ""  # how a kept answer was found, when one was served
    tier: str = ""  # of the budget that the turn was under
    user_class: str = ""  # as the shopper's token told it
    kind: str = ""  # of question, as the router saw it

    @property
    def is_empty(self) -> bool:
        """Whether nothing was called, looked up or served: no money is lost with its line."""
        return not (self.attempts or self.lookup or self.kept)

    @property
    def cost_nano_usd(self) -> int:
        """What the run cost in all."""
        return sum(attempt.cost_nano_usd for attempt in self.attempts) + (
            self.lookup.cost_nano_usd if self.lookup else 0
        )


class Ledger:
    """The day's counter in the situation table and the lines in the turns table.

    `unrepeated` is a client whose SDK tries once: an addition that is repeated counts twice.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        unrepeated: DynamoDBClient,
        situation_table: str,
        turns_table: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._unrepeated = unrepeated
        self._situation_table = situation_table
        self._turns_table = turns_table
        self._now_s = now_s

    def reserve(self, nano_usd: int, limit_nano_usd: int) -> Reservation | None:
        """Set money aside on today's account; None when it would pass the limit. Raises StoreUnavailable."""
        now = jst(self._now_s())
        day = now.date().isoformat()
        if nano_usd > limit_nano_usd:
            return None
        try:
            with store_errors():
                self._client.update_item(
                    TableName=self._situation_table,
                    Key=_spend_key(day),
                    UpdateExpression="SET expires_at = :expires ADD committed_nano_usd :amount",
                    ConditionExpression="attribute_not_exists(committed_nano_usd) OR committed_nano_usd <= :most",
                    ExpressionAttributeValues=to_item(
                        {
                            ":amount": nano_usd,
                            ":most": limit_nano_usd - nano_usd,
                            ":expires": int(now.timestamp()) + SPEND_DAYS * 86_400,
                        }
                    ),
                )
        except ClientError as error:
            if condition_failed(error):
                return None
            raise
        return Reservation(day, nano_usd)

    def settle(self, account: TurnAccount, *, in_time: Callable[[], bool] = lambda: True) -> None:
        """Write the turn's line, and put what its attempts cost in place of what was reserved; to be called once.

        No call begins that would not be `in_time`. Raises StoreUnavailable when a part may not have happened.
        """
        self._put(self._line(account), in_time)
        with store_errors():
            for day, (reserved, spent, attempts) in _by_day(account).items():
                _require(in_time)
                self._unrepeated.update_item(
                    TableName=self._situation_table,
                    Key=_spend_key(day),
                    UpdateExpression="ADD committed_nano_usd :change, spent_nano_usd :spent, attempts :attempts",
                    ExpressionAttributeValues=to_item(
                        {":change": spent - reserved, ":spent": spent, ":attempts": attempts}
                    ),
                )

    def _put(self, line: dict[str, Any], in_time: Callable[[], bool]) -> None:
        """Write a line, if need be twice, over the connection that the correction uses next.

        A kept connection may have died while the environment was frozen: the line finds out, and may be repeated.
        """
        _require(in_time)
        try:
            with store_errors():
                self._unrepeated.put_item(TableName=self._turns_table, Item=line)
        except StoreUnavailable:
            _require(in_time)
            with store_errors():
                self._unrepeated.put_item(TableName=self._turns_table, Item=line)

    def _line(self, account: TurnAccount) -> dict[str, Any]:
        now = jst(self._now_s())
        paid_on = [attempt.reservation.day for attempt in account.attempts if attempt.reservation]
        if account.lookup:
            paid_on.append(account.lookup.day)
        day = min(paid_on, default=now.date().isoformat())  # the first: a day's books look back by one
        return to_item(
            {
                "pk": f"LEDGER#{day}#{shard_of(account.turn_id):02d}",
                "sk": f"{account.turn_id}#{account.run_id}",
                "turn_id": account.turn_id,
                "user_id": account.user_id,
                "user_class": account.user_class,
                "reason": account.reason,
                "kind": account.kind,
                "finish": account.finish,
                "first_text_ms": account.first_text_ms,
                "total_ms": account.total_ms,
                "cost_nano_usd": account.cost_nano_usd,
                "attempts": [attempt_fields(attempt) for attempt in account.attempts],
                "lookup": asdict(account.lookup) if account.lookup else None,
                "kept": account.kept,
                "tier": account.tier,
                "settled_at": now.isoformat(timespec="milliseconds"),
                "expires_at": int(now.timestamp()) + LEDGER_DAYS * 86_400,
            }
        )


def attempt_fields(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain values, exact to the nano-dollar."""
    usage = attempt.usage
    return {
        "target": attempt.target,
        "day": attempt.reservation.day if attempt.reservation else None,
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


def _by_day(account: TurnAccount) -> dict[str, tuple[int, int, int]]:
    """Sums of reserved, spent and attempts for each day on which money was set aside: a turn may cross midnight."""
    reserved: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    count: Counter[str] = Counter()
    if account.lookup and account.lookup.cost_nano_usd:
        spent[account.lookup.day] += account.lookup.cost_nano_usd
    for attempt in account.attempts:
        if attempt.reservation:
            day = attempt.reservation.day
            reserved[day] += attempt.reservation.nano_usd
            spent[day] += attempt.cost_nano_usd
            count[day] += 1
    return {day: (reserved[day], spent[day], count[day]) for day in sorted({*count, *spent})}


def _require(in_time: Callable[[], bool]) -> None:
    if not in_time():
        raise StoreUnavailable("no time is left to settle")


def _spend_key(day: str) -> Any:
    return to_item({"pk": "NOW", "sk": f"SPEND#{day}"})
