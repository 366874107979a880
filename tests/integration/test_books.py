"""A day's books: to the nano-dollar what the turns were charged, on the day on which each call was paid for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.capacity.register import Register
from mangaassist.money.books import BY, BookReader
from mangaassist.money.ledger import Attempt, Charge, Ledger, TurnAccount
from mangaassist.money.prices import Usage
from tests.integration.tables import SITUATION, TURNS
from tools.ledger import main
from tools.place import Place

if TYPE_CHECKING:
    from click.testing import Result
    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.money.books import Books
    from tests.unit.fakes import FakeClock

DAY, NEXT = date(2026, 11, 25), date(2026, 11, 26)
MIDNIGHT_S = 1_795_618_800.0  # 2026-11-26T00:00:00+09:00
LIMIT = 10**15


@pytest.fixture
def ledger(dynamodb: DynamoDBClient, clock: FakeClock) -> Ledger:
    """A ledger shortly before midnight in Japan."""
    clock.elapsed_s += MIDNIGHT_S - 10 - clock.now_s()
    return Ledger(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, turns_table=TURNS, now_s=clock.now_s)


@pytest.fixture
def reader(dynamodb: DynamoDBClient) -> BookReader:
    return BookReader(dynamodb, situation_table=SITUATION, turns_table=TURNS)


def call(ledger: Ledger, nano_usd: int, target: str = "ondemand-haiku", outcome: str = "answered") -> Attempt:
    usage = Usage(100, 10, estimated=outcome != "answered")
    return Attempt(target, f"model of {target}", outcome, 400, 900, usage, nano_usd, ledger.reserve(nano_usd, LIMIT))


def turn(number: int, *attempts: Attempt, **more: Any) -> TurnAccount:
    return replace(
        TurnAccount(f"turn-{number}", "run-1", "alice", "offpeak_simple", "complete", 400, 900, attempts), **more
    )


def sums(books: Books, name: str) -> dict[str, int]:
    return {key: it.cost_nano_usd for key, it in books.by[name].items()}


def test_failed_and_cancelled_calls_are_in_the_books(ledger: Ledger, reader: BookReader) -> None:
    ledger.settle(turn(1, call(ledger, 70, "ondemand-sonnet", "silent"), call(ledger, 30)))
    ledger.settle(
        turn(2, call(ledger, 5, outcome="cancelled"), finish="cancelled", tier="fast_class", user_class="member")
    )
    books = reader.books(DAY)
    assert books.all.cost_nano_usd == 105
    assert sums(books, "target") == {"ondemand-sonnet": 70, "ondemand-haiku": 35}
    assert sums(books, "outcome") == {"silent": 70, "answered": 30, "cancelled": 5}
    assert sums(books, "tier") == {"": 100, "fast_class": 5}
    assert sums(books, "user_class") == {"": 100, "member": 5}
    assert sums(books, "hour") == {"23": 105}
    assert (books.all.calls, books.all.estimated, books.all.input_tokens) == (3, 2, 300)
    assert dict(books.turns) == {"complete": 1, "cancelled": 1}


def test_a_turn_across_midnight_is_on_both_days_and_lost_on_neither(
    ledger: Ledger, reader: BookReader, clock: FakeClock
) -> None:
    before = call(ledger, 300, "ondemand-sonnet", "stalled")
    clock.sleep(20)
    ledger.settle(turn(1, before, call(ledger, 150)))
    today, next_day = reader.books(DAY), reader.books(NEXT)
    assert (today.all.cost_nano_usd, next_day.all.cost_nano_usd) == (300, 150)
    assert (today.turns.total(), next_day.turns.total()) == (1, 0), "it began once"
    assert reader.counted(DAY).spent_nano_usd == 300
    assert reader.counted(NEXT).spent_nano_usd == 150


def test_a_kept_answer_costs_what_looking_it_up_did(ledger: Ledger, reader: BookReader) -> None:
    charge = Charge("amazon.titan-embed-text-v2:0", 12, estimated=False, cost_nano_usd=240, day=DAY.isoformat())
    ledger.settle(turn(1, lookup=charge, kept="near"))
    books = reader.books(DAY)
    assert sums(books, "target") == {"lookup": 240}
    assert dict(books.kept) == {"near": 1}
    assert books.all.input_tokens == 12


def test_a_lookup_before_midnight_and_a_call_after_it_are_each_on_their_day(
    ledger: Ledger, reader: BookReader, clock: FakeClock
) -> None:
    looked_up = Charge("titan", 12, False, 240, DAY.isoformat())
    clock.elapsed_s += 20
    ledger.settle(turn(1, call(ledger, 150), lookup=looked_up))
    assert [reader.books(day).all.cost_nano_usd for day in (DAY, NEXT)] == [240, 150]
    assert reader.books(DAY).turns.total() == 1


def test_what_is_settled_after_midnight_is_in_the_last_hour_of_the_day_that_paid_it(
    ledger: Ledger, reader: BookReader, clock: FakeClock
) -> None:
    paid = call(ledger, 100)
    clock.elapsed_s += 20
    ledger.settle(turn(1, paid))
    books = reader.books(DAY)
    assert (sums(books, "hour"), dict(books.asked)) == ({"23": 100}, {23: 1})


def test_a_turn_that_cost_nothing_is_counted(ledger: Ledger, reader: BookReader) -> None:
    """A day whose money is spent still had its shoppers."""
    ledger.settle(turn(1, finish="catalogue", tier="budget_spent"))
    books = reader.books(DAY)
    assert (dict(books.turns), books.all.calls, reader.counted(DAY).attempts) == ({"catalogue": 1}, 0, 0)


def test_the_days_curve_is_what_a_policy_takes(ledger: Ledger, reader: BookReader, clock: FakeClock) -> None:
    assert reader.books(DAY).curve() is None
    ledger.settle(turn(1, call(ledger, 100)))
    clock.elapsed_s -= 2 * 3600
    ledger.settle(turn(2, call(ledger, 300)))
    curve = reader.books(DAY).curve()
    assert curve is not None
    assert (curve[21], curve[23], sum(curve)) == (0.75, 0.25, 1)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["ondemand-sonnet", "ondemand-haiku", "provisioned-sonnet"]),
                st.sampled_from(["answered", "silent", "cut", "cancelled"]),
                st.integers(0, 10**9),
            ),
            max_size=4,
        ),
        max_size=8,
    ),
    lookups=st.lists(st.none() | st.integers(0, 1000), min_size=8, max_size=8),
    crossing=st.sets(st.integers(0, 7)),
)
def test_every_table_adds_up_to_what_was_charged(
    ledger: Ledger,
    reader: BookReader,
    clock: FakeClock,
    days: list[list[tuple[str, str, int]]],
    lookups: list[int | None],
    crossing: set[int],
) -> None:
    """Of two days together, with turns that look something up before midnight and call models after it."""
    clock.elapsed_s += 3 * 86_400  # days of its own for each example
    began_s, number = clock.elapsed_s, int(clock.now_s())
    day = date.fromtimestamp(clock.now_s() + 9 * 3600)
    for place, (attempts, tokens) in enumerate(zip(days, lookups, strict=False)):
        looked_up = None if tokens is None else Charge("titan", tokens, False, 20 * tokens, day.isoformat())
        clock.elapsed_s = began_s + (20 if place in crossing else 0)
        calls = (call(ledger, cost, name, outcome) for name, outcome, cost in attempts)
        ledger.settle(turn(number + place, *calls, lookup=looked_up))
    charged = sum(cost for attempts in days for _, _, cost in attempts)
    looked = sum(20 * (tokens or 0) for _, tokens in zip(days, lookups, strict=False))
    both = [reader.books(it) for it in (day, day + timedelta(days=1))]
    assert sum(books.all.cost_nano_usd for books in both) == charged + looked
    assert sum(reader.counted(books.day).spent_nano_usd for books in both) == charged + looked
    assert all(sum(sums(books, name).values()) == books.all.cost_nano_usd for books in both for name in BY)
    assert sum(books.turns.total() for books in both) == len(days)


# -- make ledger -------------------------------------------------------------------------------------------------------


class Shop(Place):
    """Has the tests' tables."""

    def __init__(self, dynamodb: DynamoDBClient) -> None:
        super().__init__(None, "http://127.0.0.1:8080", None)
        self.situation_table, self.turns_table = SITUATION, TURNS
        self.dynamodb = dynamodb

    def client(self, service: Any, region: str | None = None) -> Any:
        assert service == "dynamodb"
        return self.dynamodb

    def now_s(self) -> float:
        return MIDNIGHT_S - 10

    def endpoint_of_ours(self) -> None:
        """It hosts no model of its own."""


def shown(dynamodb: DynamoDBClient, *arguments: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, arguments, obj=Shop(dynamodb))


def test_the_books_of_today_are_shown_and_what_is_still_set_aside(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    ledger.settle(turn(1, call(ledger, 70_000_000, "ondemand-sonnet", "silent"), call(ledger, 30_000_000)))
    ledger.reserve(1_000_000, LIMIT)
    told = shown(dynamodb)
    assert told.exit_code == 0, told.output
    assert "2026-11-25 JST: 1 complete" in told.stdout
    assert "$0.100000 in 2 calls" in told.stdout
    assert "70.0%" in told.stdout
    assert "$0.001000 more is set aside" in told.stdout
    assert "counter has" not in told.stdout
    only = shown(dynamodb, "--by", "outcome").stdout
    assert "silent" in only
    assert "ondemand-sonnet" not in only


def test_programs_get_whole_nano_dollars(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    ledger.settle(turn(1, call(ledger, 123)))
    document = json.loads(shown(dynamodb, "--json").stdout)
    assert document["by"]["target"]["ondemand-haiku"]["cost_nano_usd"] == 123
    assert document["counter"]["spent_nano_usd"] == 123
    assert json.loads(shown(dynamodb, "--curve").stdout)[23] == 1.0


def test_a_line_that_was_not_written_is_missed(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    ledger.settle(turn(1, call(ledger, 123_000)))
    key = {"pk": {"S": "NOW"}, "sk": {"S": "SPEND#2026-11-25"}}
    add = {":more": {"N": "5000"}}
    dynamodb.update_item(
        TableName=SITUATION,
        Key=key,
        UpdateExpression="ADD spent_nano_usd :more, committed_nano_usd :more",
        ExpressionAttributeValues=add,
    )
    assert (
        "The day's counter has $0.000005 more: lines that could not be written are in the log" in shown(dynamodb).stdout
    )


def test_hours_that_were_bought_are_shared_by_their_answers_and_the_rest_is_idle(dynamodb: DynamoDBClient) -> None:
    began_s = MIDNIGHT_S - 6 * 3600
    Register(dynamodb, SITUATION, now_s=lambda: MIDNIGHT_S).note(
        "peak",
        DAY.isoformat(),
        state="closed",
        number=1,
        units=2,
        unit_hour_nano_usd=23 * 10**9,
        unit_tokens_per_minute=1000,
        created_s=began_s,
        serving_s=began_s,
        gone_s=MIDNIGHT_S,
    )
    (hours,) = json.loads(shown(dynamodb, "--json").stdout)["hours"]
    assert hours["cost_usd"] == pytest.approx(276)
    assert hours["idle_usd"] == pytest.approx(276), "nothing was asked of it"
    assert "$276.00" in shown(dynamodb).stdout


def test_a_day_without_a_turn_says_so(dynamodb: DynamoDBClient) -> None:
    assert "2026-11-20 JST: no turn" in shown(dynamodb, "--day", "2026-11-20").stdout
    assert shown(dynamodb, "--day", "2026-11-20", "--curve").exit_code == 1
    assert shown(dynamodb, "--day", "yesterday").exit_code == 2
