"""Whether money may be spent: every reason against it, alone and together, and what an operator should know anyway."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mangaassist.capacity.control_plane import Lifecycle
from mangaassist.capacity.guard import Market, refusals, warnings
from tests.unit.purchases import UNIT_HOUR_NANO_USD, opening

LAST_DAY = date(2026, 11, 25)
MARKET = Market(
    region="us-east-1",
    sold=Lifecycle("ACTIVE"),
    quota=2.0,
    units_in_use=0,
    planned_today_nano_usd=0,
    most_today_nano_usd=400_000_000_000,
    policy_end_of_life=None,
    last_day=LAST_DAY,
)
AGAINST: dict[str, tuple[dict[str, Any], str]] = {
    "not sold": ({"sold": None}, "amazon.nova-pro-v1:0:300k is not sold as provisioned throughput in us-east-1"),
    "legacy": ({"sold": Lifecycle("LEGACY")}, "is legacy: AWS sells no new provisioned throughput of it"),
    "legacy with its end": (
        {"sold": Lifecycle("LEGACY", date(2027, 3, 1))},
        "is legacy, its end of life is 2027-03-01: AWS sells no new",
    ),
    "ends, says the service": (
        {"sold": Lifecycle("ACTIVE", LAST_DAY)},
        "reaches its end of life on 2026-11-25, before this window is over",
    ),
    "ends, says the policy": ({"policy_end_of_life": LAST_DAY}, "reaches its end of life on 2026-11-25"),
    "over quota": (
        {"units_in_use": 1},
        "2 units are wanted, 1 are in use and the quota in us-east-1 is 2: ask AWS Support",
    ),
    "no quota at all": ({"quota": 0.0}, "2 units are wanted, 0 are in use and the quota in us-east-1 is 0"),
    "too dear": (
        {"planned_today_nano_usd": 101_000_000_001},
        "this purchase makes the day cost $400.00, and provisioning.daily_usd of the policy is $400.00",
    ),
}


def market(**changes: Any) -> Market:
    return replace(MARKET, **changes)


def test_what_is_sold_fits_and_is_allowed_may_be_bought() -> None:
    assert refusals(opening(), MARKET) == ()
    assert warnings(opening(), MARKET) == ()


@pytest.mark.parametrize("name", AGAINST)
def test_each_reason_alone_keeps_money_from_being_spent(name: str) -> None:
    changes, told = AGAINST[name]
    (reason,) = refusals(opening(planned_nano_usd=299_000_000_000), market(**changes))
    assert told in reason


def test_all_reasons_are_told_at_once_so_that_all_can_be_mended_at_once() -> None:
    against = refusals(
        opening(planned_nano_usd=13 * UNIT_HOUR_NANO_USD),
        market(sold=None, policy_end_of_life=LAST_DAY, quota=1.0, most_today_nano_usd=1),
    )
    assert len(against) == 4
    for reason, told in zip(against, ("is not sold", "end of life", "quota", "daily_usd"), strict=True):
        assert told in reason


def test_a_model_may_be_bought_until_the_day_of_its_end() -> None:
    tomorrow = date(2026, 11, 26)
    assert refusals(opening(), market(sold=Lifecycle("ACTIVE", tomorrow), policy_end_of_life=tomorrow)) == ()


def test_the_earlier_one_of_two_ends_counts() -> None:
    (reason,) = refusals(opening(), market(sold=Lifecycle("ACTIVE", date(2027, 1, 1)), policy_end_of_life=LAST_DAY))
    assert "2026-11-25" in reason


def test_the_days_limit_may_be_used_up_to_the_last_nano_dollar() -> None:
    wanted = opening(planned_nano_usd=299_000_000_000)
    assert refusals(wanted, market(planned_today_nano_usd=101_000_000_000)) == ()
    assert refusals(wanted, market(planned_today_nano_usd=101_000_000_001)) != ()


def test_a_price_that_nobody_verified_is_a_warning_that_says_it() -> None:
    (warning,) = warnings(opening(price_verified=False), MARKET)
    assert "the price of amazon.nova-pro-v1:0:300k ($23 per unit and hour) is not verified" in warning


def test_a_quota_that_cannot_be_read_forbids_nothing_and_is_told() -> None:
    unknown = market(quota=None, units_in_use=50)
    assert refusals(opening(), unknown) == ()
    assert warnings(opening(), unknown) == (
        "the quota of model units is not known; AWS refuses the purchase if it does not suffice",
    )


def test_all_warnings_are_told_at_once() -> None:
    assert len(warnings(opening(price_verified=False), market(quota=None))) == 2
