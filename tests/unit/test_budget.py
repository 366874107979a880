"""The day's money: it lasts until the evening, its limit holds, and a wrong document says where it is wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mangaassist.money.budget import MINUTES_PER_DAY, MODELS, STORE_CURVE, Budget, Tier

USD = 1_000_000_000
BUDGET = Budget(daily_usd=Decimal(100))
FLAT = Budget(daily_usd=Decimal(100), curve=(1 / 24,) * 24, ahead_minutes=60)

minutes = st.integers(0, MINUTES_PER_DAY - 1)
amounts = st.integers(0, 120 * USD)


def name(budget: Budget, usd: float, hour: float) -> str | None:
    tier = budget.tier(int(usd * USD), int(hour * 60))
    return tier.name if tier else None


@pytest.mark.parametrize(
    ("hour", "usd", "tier"),
    [
        (0, 3.1, None),  # an hour ahead of midnight 1/24 of the money may be gone, 4.17 dollars
        (0, 3.2, "shorter_answers"),
        (0, 3.8, "fast_class"),
        (11, 37.4, None),  # half of it
        (11, 37.6, "shorter_answers"),
        (11, 45.1, "fast_class"),
        (11, 94.9, "fast_class"),
        (11, 95, "budget_guard"),
        (11, 100, "budget_spent"),
        (23, 74.9, None),
        (23, 90, "fast_class"),
    ],
)
def test_each_tier_begins_where_it_says(hour: int, usd: float, tier: str | None) -> None:
    assert name(FLAT, usd, hour) == tier


def test_what_a_morning_may_spend_is_not_the_evenings() -> None:
    assert name(BUDGET, 60, 11) == "fast_class", "half the questions come after 18:00, and cost money too"
    assert name(BUDGET, 60, 21) is None


def test_the_day_ends_with_all_of_it_allowed() -> None:
    assert BUDGET.allowed(23 * 60) == pytest.approx(1)
    assert BUDGET.allowed(MINUTES_PER_DAY - 1) == pytest.approx(1)


@given(minutes, minutes)
def test_later_never_allows_less(one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    assert BUDGET.allowed(earlier) <= BUDGET.allowed(later) + 1e-12


@given(minutes, amounts, amounts)
def test_more_spent_never_gives_more(minute: int, one: int, other: int) -> None:
    less, more = sorted((one, other))

    def strictness(committed: int) -> int:
        tier = BUDGET.tier(committed, minute)
        return MODELS.index(tier.models) if tier else -1

    assert strictness(less) <= strictness(more)


@given(minutes, st.integers(100 * USD, 200 * USD))
def test_a_day_whose_money_is_spent_asks_no_model(minute: int, committed: int) -> None:
    tier = BUDGET.tier(committed, minute)
    assert tier is not None
    assert tier.models == "none"


def test_a_curve_that_begins_with_nothing_divides_by_nothing() -> None:
    budget = Budget(curve=(*(0.0,) * 23, 1.0), ahead_minutes=1)
    assert budget.tier(0, 0) is None
    assert name(budget, 499, 3) == "budget_guard"


def test_the_stores_curve_is_a_day() -> None:
    assert sum(STORE_CURVE) == pytest.approx(1)
    assert sum(STORE_CURVE[18:]) == pytest.approx(0.485)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"curve": (0.5, 0.5)}, "24 shares are expected, one an hour, not 2"),
        ({"curve": (0.05,) * 24}, "sum to 1.2000, not 1"),
        ({"curve": (-1.0, 2.0, *(0.0,) * 22)}, "greater than or equal to 0"),
        ({"tiers": (Tier(name="one", at=0.5), Tier(name="one", at=0.6))}, "two share a name"),
        ({"tiers": (Tier(name="one", at=0.5, models="fast"), Tier(name="two", at=0.6))}, "two gives up less than one"),
        ({"tiers": (Tier(name="one", at=0.5, answer_share=0.5), Tier(name="two", at=0.6))}, "gives up less"),
        ({"tiers": (Tier(name="one", at=0.5), Tier(name="two", at=0.5))}, "two has to come later than one"),
        ({"ahead_minutes": 0}, "greater than or equal to 1"),
        ({"daily_usd": 0}, "greater than 0"),
    ],
)
def test_a_wrong_budget_says_where_it_is_wrong(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Budget.model_validate(fields)
