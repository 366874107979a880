"""How full capacity was, how many units the next window should have, and what a turn adds to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.capacity.sizing import FULL_SHARE, fullness
from mangaassist.capacity.use import Minute, Use, of_turn, total
from mangaassist.money.ledger import Attempt
from mangaassist.money.prices import Usage
from mangaassist.routing.situation import Capacity

UNIT = 50_000  # tokens a minute
SONNET = Capacity("arn-s", 2, 4e9, window="peak", day="2026-11-25")
HAIKU = Capacity("arn-h", 1, 4e9, window="business", day="2026-11-25")
PUBLISHED = {"provisioned-sonnet": SONNET, "provisioned-haiku": HAIKU}


def minute(number: int, tokens: int = 0, requests: int = 1, **fields: int) -> Minute:
    use = Use(requests=requests, input_tokens=tokens - tokens // 4, output_tokens=tokens // 4, **fields)
    return Minute(f"2026-11-25T18:{number:02d}", use)


def attempt(target: str, outcome: str = "answered", usage: Usage | None = None) -> Attempt:
    return Attempt(target, "a-model", outcome, 400, 2000, usage or Usage(100, 20), 0)


# -- shares ------------------------------------------------------------------------------------------------------------


def test_shares_are_of_what_all_units_carry() -> None:
    seen = fullness([minute(number, 50_000) for number in range(10)], 10, 2, UNIT)
    assert (seen.mean_share, seen.busy_share, seen.busiest_share) == (0.5, 0.5, 0.5)
    assert (seen.tokens_per_minute, seen.requests_per_minute) == (50_000, 1)


def test_minutes_without_any_turn_count() -> None:
    seen = fullness([minute(0, 100_000)], 100, 2, UNIT)
    assert seen.mean_share == 0.01
    assert seen.busy_share == 0, "99 of 100 minutes were idle"
    assert seen.busiest_share == 1
    assert seen.units_needed == 1


def test_units_are_counted_for_a_busy_minute_and_not_for_the_busiest() -> None:
    calm, storm = [minute(number, 30_000) for number in range(59)], [minute(59, 400_000)]
    assert fullness(calm + storm, 60, 2, UNIT).units_needed == 1
    assert fullness([minute(number, 100_000) for number in range(60)], 60, 2, UNIT).units_needed == 3


def test_what_spilled_over_was_wanted_too() -> None:
    spilled = [minute(number, 40_000, requests=40, spilled=60) for number in range(10)]
    seen = fullness(spilled, 10, 1, UNIT)
    assert seen.mean_share == 0.8, "what was carried"
    assert seen.busy_share == 2.0, "what would have been"
    assert seen.units_needed == 3


def test_with_everything_spilled_there_is_no_telling_how_much_was_wanted() -> None:
    seen = fullness([minute(0, requests=0, spilled=9)], 10, 1, UNIT)
    assert (seen.busy_share, seen.units_needed, seen.use.spilled) == (0, 1, 9)


def test_an_unused_window_is_empty_and_still_one_unit() -> None:
    seen = fullness([], 360, 2, UNIT)
    assert (seen.mean_share, seen.busy_share, seen.busiest_share, seen.units_needed) == (0, 0, 0, 1)


def test_the_first_moments_of_a_window_are_judged_as_a_whole_minute() -> None:
    assert fullness([minute(0, 50_000)], 0.1, 1, UNIT).mean_share == 1.0


def test_units_of_unknown_size_are_not_judged() -> None:
    seen = fullness([minute(0, 50_000)], 1, 3, 0)
    assert (seen.mean_share, seen.units_needed) == (0, 3)


@given(st.lists(st.integers(0, 10**6), max_size=40), st.integers(1, 10))
def test_the_units_needed_carry_the_busy_minute_with_room_to_spare(tokens: list[int], units: int) -> None:
    seen = fullness([minute(number, it) for number, it in enumerate(tokens)], len(tokens), units, UNIT)
    busy_tokens = seen.busy_share * units * UNIT
    assert busy_tokens <= seen.units_needed * UNIT * FULL_SHARE + 1e-3
    assert seen.units_needed == 1 or busy_tokens > (seen.units_needed - 1) * UNIT * FULL_SHARE - 1e-3
    assert 0 <= seen.mean_share <= seen.busiest_share or not tokens


def test_uses_add_up_field_by_field() -> None:
    one, other = Use(1, 2, 3, 4, 5, 6), Use(10, 20, 30, 40, 50, 60)
    assert total([Minute("a", one), Minute("b", other)]) == Use(11, 22, 33, 44, 55, 66)
    assert total([]) == Use()


# -- what a turn took --------------------------------------------------------------------------------------------------


def test_a_turn_that_capacity_answered_takes_its_tokens_of_every_kind() -> None:
    usage = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=7, cache_write_tokens=3)
    ((capacity, use),) = of_turn([attempt("provisioned-sonnet", usage=usage)], PUBLISHED, None)
    assert capacity is SONNET
    assert use == Use(requests=1, input_tokens=110, output_tokens=20)


def test_a_throttled_attempt_is_one_that_spilled_over_and_took_nothing() -> None:
    attempts = [attempt("provisioned-sonnet", "throttled", Usage(500, 0)), attempt("ondemand-sonnet")]
    assert list(of_turn(attempts, PUBLISHED, None)) == [(SONNET, Use(throttled=1, spilled=1))]


@pytest.mark.parametrize("outcome", ["unavailable", "silent", "stalled", "cut", "denied", "invalid", "retired"])
def test_a_failed_attempt_is_counted_as_failed_with_what_it_used(outcome: str) -> None:
    ((_, use),) = of_turn([attempt("provisioned-sonnet", outcome)], PUBLISHED, None)
    assert use == Use(requests=1, input_tokens=100, output_tokens=20, failed=1)


@pytest.mark.parametrize("outcome", ["answered", "cancelled", "deadline", "filtered"])
def test_what_ended_for_the_turns_own_sake_is_no_failure_of_capacity(outcome: str) -> None:
    ((_, use),) = of_turn([attempt("provisioned-sonnet", outcome)], PUBLISHED, None)
    assert use.failed == 0


def test_a_turn_that_was_kept_off_full_capacity_spilled_over_once() -> None:
    uses = list(of_turn([attempt("ondemand-haiku")], PUBLISHED, "provisioned-haiku"))
    assert uses == [(HAIKU, Use(spilled=1))]


def test_a_turn_that_never_met_capacity_leaves_nothing() -> None:
    assert list(of_turn([attempt("ondemand-haiku")], PUBLISHED, None)) == []
    assert list(of_turn([attempt("ondemand-haiku")], {}, "provisioned-haiku")) == []
    assert list(of_turn([], PUBLISHED, None)) == []


def test_all_attempts_of_a_turn_add_up_by_capacity() -> None:
    attempts = [attempt("provisioned-sonnet", "cut"), attempt("provisioned-haiku"), attempt("provisioned-sonnet")]
    assert dict(of_turn(attempts, PUBLISHED, None)) == {
        SONNET: Use(requests=2, input_tokens=200, output_tokens=40, failed=1),
        HAIKU: Use(requests=1, input_tokens=100, output_tokens=20),
    }
