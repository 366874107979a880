"""The accounts of a JST day: however many turns reserve at once, and whatever is lost on the way."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.errors import StoreUnavailable
from mangaassist.money.ledger import LEDGER_DAYS, SPEND_DAYS, Attempt, Ledger, Reservation, TurnAccount, shard_of
from mangaassist.money.prices import Usage
from tests.integration import tables
from tests.integration.tables import SITUATION, TURNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door
    from tests.unit.fakes import FakeClock

TODAY, TOMORROW = "2026-11-25", "2026-11-26"
MIDNIGHT_S = 1_795_618_800.0  # 2026-11-26T00:00:00+09:00
USAGE = Usage(input_tokens=812, output_tokens=246, cache_read_tokens=5, cache_write_tokens=7)


@pytest.fixture
def ledger(dynamodb: DynamoDBClient, clock: FakeClock) -> Ledger:
    """A ledger shortly before midnight in Japan."""
    clock.elapsed_s += MIDNIGHT_S - 10 - clock.now_s()
    return Ledger(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, turns_table=TURNS, now_s=clock.now_s)


def spend(dynamodb: DynamoDBClient, day: str = TODAY) -> tuple[int, int, int]:
    """Committed and spent nano-dollars, and attempts, of a day."""
    row = tables.get(dynamodb, SITUATION, "NOW", f"SPEND#{day}")
    return row.get("committed_nano_usd", 0), row.get("spent_nano_usd", 0), row.get("attempts", 0)


def lines(dynamodb: DynamoDBClient) -> list[dict[str, Any]]:
    return [item for item in tables.everything(dynamodb, TURNS) if item["pk"].startswith("LEDGER#")]


def attempt(reservation: Reservation | None, cost_nano_usd: int, outcome: str = "answered") -> Attempt:
    return Attempt("ondemand-haiku", "a-model", outcome, 412, 2345, USAGE, cost_nano_usd, reservation)


def account(*attempts: Attempt, turn_id: str = "turn-1") -> TurnAccount:
    return TurnAccount(turn_id, "run-1", "alice", "offpeak_simple", "complete", 512, 2600, attempts)


def reserved(ledger: Ledger, nano_usd: int) -> Reservation:
    reservation = ledger.reserve(nano_usd, 10**12)
    assert reservation is not None
    return reservation


# -- reserving ---------------------------------------------------------------------------------------------------------


def test_a_thousand_reservations_at_once_never_pass_the_budget_and_use_it_up(
    ledger: Ledger, dynamodb: DynamoDBClient
) -> None:
    amount, fitting = 1_234_567, 617
    limit = amount * fitting + amount - 1
    with ThreadPoolExecutor(50) as pool:
        granted = list(pool.map(lambda _: ledger.reserve(amount, limit), range(1000)))
    assert Counter(granted) == {Reservation(TODAY, amount): fitting, None: 1000 - fitting}
    assert spend(dynamodb) == (fitting * amount, 0, 0)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(st.integers(0, 400), min_size=1, max_size=12), limit=st.integers(0, 1000))
def test_only_what_no_longer_fits_is_refused(
    ledger: Ledger, dynamodb: DynamoDBClient, clock: FakeClock, amounts: list[int], limit: int
) -> None:
    clock.sleep(86_400)  # every example has a day of its own
    committed = 0
    for amount in amounts:
        fits = committed + amount <= limit
        assert (ledger.reserve(amount, limit) is not None) == fits
        committed += amount if fits else 0
    day = (ledger.reserve(0, limit) or Reservation("", 0)).day
    assert spend(dynamodb, day)[0] == committed <= limit


def test_a_refused_reservation_leaves_nothing(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    assert ledger.reserve(101, 100) is None
    assert tables.everything(dynamodb, SITUATION) == []
    assert ledger.reserve(60, 100) is not None
    before = tables.everything(dynamodb, SITUATION)
    assert ledger.reserve(41, 100) is None
    assert tables.everything(dynamodb, SITUATION) == before


def test_what_is_free_is_accounted_too_until_the_budget_is_overdrawn(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    reservation = reserved(ledger, 100)
    assert ledger.reserve(0, 100) == Reservation(TODAY, 0)
    ledger.settle(account(attempt(reservation, 130)))
    assert spend(dynamodb)[0] == 130
    assert ledger.reserve(0, 100) is None


def test_the_days_counter_is_kept_for_a_while(ledger: Ledger, dynamodb: DynamoDBClient, clock: FakeClock) -> None:
    reserved(ledger, 1)
    row = tables.get(dynamodb, SITUATION, "NOW", f"SPEND#{TODAY}")
    assert row["expires_at"] == int(clock.now_s()) + SPEND_DAYS * 86_400


def test_a_reservation_whose_answer_is_lost_stays_committed(
    ledger: Ledger, dynamodb: DynamoDBClient, door: Door
) -> None:
    door.after = tables.lost
    with pytest.raises(StoreUnavailable):
        ledger.reserve(100, 1000)
    door.open()
    assert spend(dynamodb) == (100, 0, 0), "nobody knows of it, and the upper bound is the honest figure"


def test_an_unreachable_table_reserves_nothing(ledger: Ledger, door: Door) -> None:
    door.close()
    with pytest.raises(StoreUnavailable):
        ledger.reserve(100, 1000)


# -- settling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0, 299, 1000, 1500])
def test_what_was_spent_takes_the_place_of_what_was_reserved(
    ledger: Ledger, dynamodb: DynamoDBClient, cost: int
) -> None:
    other = reserved(ledger, 5000)
    reservation = reserved(ledger, 1000)
    ledger.settle(account(attempt(reservation, cost)))
    assert spend(dynamodb) == (other.nano_usd + cost, cost, 1)


def test_every_attempt_of_a_turn_is_settled(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    attempts = [
        attempt(reserved(ledger, 1000), 70, "cut"),
        attempt(reserved(ledger, 500), 0, "throttled"),
        attempt(reserved(ledger, 800), 333),
    ]
    ledger.settle(account(*attempts))
    assert spend(dynamodb) == (403, 403, 3)


def test_a_settlement_whose_line_cannot_be_written_leaves_the_reservation(
    ledger: Ledger, dynamodb: DynamoDBClient, door: Door
) -> None:
    settled = account(attempt(reserved(ledger, 1000), 300))
    door.close()
    with pytest.raises(StoreUnavailable):
        ledger.settle(settled)
    door.open()
    assert spend(dynamodb) == (1000, 0, 0), "the upper bound is the honest figure"


def test_a_correction_whose_answer_is_lost_is_not_repeated(
    ledger: Ledger, dynamodb: DynamoDBClient, door: Door
) -> None:
    settled = account(attempt(reserved(ledger, 1000), 300))
    door.after = lambda name: tables.lost(name) if name == "UpdateItem" else None
    with pytest.raises(StoreUnavailable):
        ledger.settle(settled)
    door.open()
    assert spend(dynamodb) == (300, 300, 1)
    assert len(lines(dynamodb)) == 1


def test_two_runs_of_one_turn_are_two_lines(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    first = account(attempt(reserved(ledger, 1000), 300))
    second = replace(first, run_id="run-2", attempts=(attempt(reserved(ledger, 1000), 200),))
    ledger.settle(first)
    ledger.settle(second)
    assert spend(dynamodb) == (500, 500, 2)
    assert [line["turn_id"] for line in lines(dynamodb)] == ["turn-1", "turn-1"]


def test_settlements_and_reservations_at_once_end_in_exact_sums(ledger: Ledger, dynamodb: DynamoDBClient) -> None:
    def turn(number: int) -> None:
        reservation = reserved(ledger, 1000 + number)
        ledger.settle(account(attempt(reservation, 7 * number), turn_id=f"turn-{number}"))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(turn, range(100)))
    spent = 7 * sum(range(100))
    assert spend(dynamodb) == (spent, spent, 100)
    assert sum(line["cost_nano_usd"] for line in lines(dynamodb)) == spent


def test_a_turn_without_attempts_has_a_line_and_leaves_the_counter_alone(
    ledger: Ledger, dynamodb: DynamoDBClient
) -> None:
    ledger.settle(account())
    assert [(line["attempts"], line["cost_nano_usd"]) for line in lines(dynamodb)] == [([], 0)]
    assert spend(dynamodb) == (0, 0, 0)


# -- midnight ----------------------------------------------------------------------------------------------------------


def test_what_was_reserved_before_midnight_is_settled_on_that_day(
    ledger: Ledger, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    reservation = reserved(ledger, 1000)
    clock.sleep(20)
    ledger.settle(account(attempt(reservation, 300)))
    assert spend(dynamodb) == (300, 300, 1)
    assert tables.get(dynamodb, SITUATION, "NOW", f"SPEND#{TOMORROW}") == {}
    (line,) = lines(dynamodb)
    assert line["pk"].startswith(f"LEDGER#{TODAY}#")
    assert line["settled_at"] == "2026-11-26T00:00:10.000+09:00"


def test_attempts_of_one_turn_on_two_days_are_settled_on_their_own(
    ledger: Ledger, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    before = attempt(reserved(ledger, 1000), 300, "stalled")
    clock.sleep(20)
    after = attempt(reserved(ledger, 2000), 150)
    ledger.settle(account(before, after))
    assert spend(dynamodb) == (300, 300, 1)
    assert spend(dynamodb, TOMORROW) == (150, 150, 1)
    (line,) = lines(dynamodb)
    assert line["cost_nano_usd"] == 450


def test_a_new_day_has_its_whole_budget(ledger: Ledger, clock: FakeClock) -> None:
    assert ledger.reserve(100, 100) is not None
    assert ledger.reserve(1, 100) is None
    clock.sleep(10)
    assert ledger.reserve(100, 100) == Reservation(TOMORROW, 100)


# -- lines -------------------------------------------------------------------------------------------------------------


def test_a_line_tells_everything_of_a_turn_but_what_was_said(
    ledger: Ledger, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    cut = Attempt(
        "ondemand-sonnet", "b", "silent", None, 2200, Usage(800, 0, estimated=True), 2640, reserved(ledger, 9)
    )
    ledger.settle(account(cut, attempt(reserved(ledger, 1000), 299)))
    (line,) = lines(dynamodb)
    assert line == {
        "pk": f"LEDGER#{TODAY}#{shard_of('turn-1'):02d}",
        "sk": "turn-1#run-1",
        "turn_id": "turn-1",
        "user_id": "alice",
        "user_class": "",
        "tier": "",
        "reason": "offpeak_simple",
        "kind": "",
        "finish": "complete",
        "first_text_ms": 512,
        "total_ms": 2600,
        "cost_nano_usd": 2939,
        "settled_at": "2026-11-25T23:59:50.000+09:00",
        "lookup": None,
        "kept": "",
        "expires_at": int(clock.now_s()) + LEDGER_DAYS * 86_400,
        "attempts": [
            {
                "target": "ondemand-sonnet",
                "day": TODAY,
                "model": "b",
                "outcome": "silent",
                "first_text_ms": None,
                "total_ms": 2200,
                "input_tokens": 800,
                "output_tokens": 0,
                "cache_read_tokens": 0,
                "cache_write_tokens": 0,
                "estimated": True,
                "cost_nano_usd": 2640,
            },
            {
                "target": "ondemand-haiku",
                "day": TODAY,
                "model": "a-model",
                "outcome": "answered",
                "first_text_ms": 412,
                "total_ms": 2345,
                "input_tokens": 812,
                "output_tokens": 246,
                "cache_read_tokens": 5,
                "cache_write_tokens": 7,
                "estimated": False,
                "cost_nano_usd": 299,
            },
        ],
    }


def test_lines_of_a_day_are_spread_over_its_shards() -> None:
    shards: Sequence[int] = [shard_of(f"turn-{number}") for number in range(2000)]
    share = Counter(shards)
    assert set(share) == set(range(16))
    assert max(share.values()) < 2 * min(share.values())
