"""What the twin tells of the day's spend by the hour: all of the day's lines, and each of them read once."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from local.clock import JST
from local.spending import Spending
from local.world import World
from mangaassist.money.ledger import Attempt, Charge, Ledger, TurnAccount
from mangaassist.money.prices import Usage
from tests.e2e.running import Running, running
from tests.integration.tables import SITUATION, TURNS

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

DAY, NEXT = date(2026, 11, 25), date(2026, 11, 26)
LIMIT = 10**15


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running() as twin:
        yield twin


class Till:
    """Settles turns at the times that it is told."""

    def __init__(self, dynamodb: DynamoDBClient, **tables: str) -> None:
        self._now: datetime
        self._turns = 0
        self._ledger = Ledger(dynamodb, unrepeated=dynamodb, now_s=lambda: self._now.timestamp(), **tables)

    def at(self, hour: int, minute: int, day: date = DAY) -> None:
        self._now = datetime(day.year, day.month, day.day, hour, minute, tzinfo=JST)

    def attempt(self, nano_usd: int) -> Attempt:
        reservation = self._ledger.reserve(2 * nano_usd, LIMIT)
        return Attempt("ondemand-haiku", "haiku", "answered", 400, 900, Usage(100, 10), nano_usd, reservation)

    def settle(self, *attempts: Attempt, lookup: Charge | None = None) -> None:
        self._turns += 1
        turn = f"turn-{self._turns}"
        self._ledger.settle(
            TurnAccount(turn, "run-1", "alice", "offpeak_simple", "complete", 400, 900, attempts, lookup)
        )


def fill(till: Till) -> None:
    """A day of turns; the last crosses midnight with a call on either side."""
    for hour in (0, 9, 9, 23):
        till.at(hour, 30)
        till.settle(till.attempt(100), till.attempt(1), lookup=Charge("titan", 9, False, 5, DAY.isoformat()))
    before = till.attempt(7000)
    till.at(0, 0, NEXT)
    till.settle(before, till.attempt(300))


def by_hour(**amounts: int) -> list[int]:
    return [amounts.get(f"at_{hour}", 0) for hour in range(24)]


def assert_told(spend_at: Callable[[date, int], dict[str, Any]], till: Till) -> None:
    """What is told of either day is what was paid on it, also when more is paid between two looks."""
    fill(till)
    told = spend_at(DAY, 23)
    assert told["spent_by_hour_nano_usd"] == by_hour(at_0=106, at_9=212, at_23=7106)
    till.at(9, 59)
    till.settle(till.attempt(50))
    told = spend_at(DAY, 23)
    assert told["spent_by_hour_nano_usd"] == by_hour(at_0=106, at_9=262, at_23=7106)
    assert told["spent_nano_usd"] == sum(told["spent_by_hour_nano_usd"])
    assert spend_at(NEXT, 1)["spent_by_hour_nano_usd"] == by_hour(at_0=300)


def test_the_twin_tells_spend_by_hour(twin: Running) -> None:
    def spend_at(day: date, hour: int) -> dict[str, Any]:
        twin.put("clock", {"now": f"{day.isoformat()}T{hour:02d}:40:00+09:00"})
        spend: dict[str, Any] = twin.get("state")["spend"]
        return spend

    assert_told(spend_at, Till(twin.client("dynamodb"), situation_table="SituationTable", turns_table="TurnsTable"))


def test_so_it_does_of_tables_elsewhere(dynamodb: DynamoDBClient) -> None:
    world = World(dynamodb, {"SITUATION_TABLE": SITUATION, "TURNS_TABLE": TURNS})

    def spend_at(day: date, hour: int) -> dict[str, Any]:
        spend: dict[str, Any] = world.state(datetime(day.year, day.month, day.day, hour, 40, tzinfo=JST))["spend"]
        return spend

    assert_told(spend_at, Till(dynamodb, situation_table=SITUATION, turns_table=TURNS))


def line(number: int) -> dict[str, Any]:
    lookup = {"day": DAY.isoformat(), "model": "titan", "tokens": 9, "estimated": False, "cost_nano_usd": 5}
    settled = f"{DAY.isoformat()}T09:00:00.000+09:00"
    pk, sk = f"LEDGER#{DAY.isoformat()}#00", f"turn-{number}#run-1"
    return {"pk": pk, "sk": sk, "reason": "kept_answer", "settled_at": settled, "attempts": [], "lookup": lookup}


def test_a_line_is_read_once_and_none_while_nothing_is_counted() -> None:
    lines = [line(1), line(2)]
    read: list[str] = []

    def unread(partition: str, known: Container[str]) -> list[dict[str, Any]]:
        new = [it for it in lines if it["pk"] == partition and it["sk"] not in known]
        read.extend(it["sk"] for it in new)
        return new

    spending = Spending(unread)
    assert spending.by_hour(DAY, 1) == by_hour(at_9=10)
    lines.append(line(3))
    assert spending.by_hour(DAY, 1) == by_hour(at_9=10), "nothing was counted since"
    assert spending.by_hour(DAY, 2) == by_hour(at_9=15)
    assert read == [it["sk"] for it in lines]
    assert spending.by_hour(NEXT, 2) == by_hour()
    assert spending.by_hour(DAY, 2) == by_hour(at_9=15), "whoever moves the clock back begins anew"
