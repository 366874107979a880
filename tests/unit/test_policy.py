"""The policy document: what an operator may write, and how a mistake is told."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import date

import pytest

from mangaassist.errors import PolicyInvalid
from mangaassist.money.prices import Usage, cost_nano_usd
from mangaassist.routing import policy
from mangaassist.routing.policy import Window

CURRENT = json.loads(policy.preset_document("current"))


def changed(path: str, value: object) -> str:
    """The current preset with one value changed or, with ..., taken away."""
    document = deepcopy(CURRENT)
    *steps, last = path.split("/")
    place = document
    for step in steps:
        place = place[int(step) if isinstance(place, list) else step]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(document)


@pytest.mark.parametrize("name", ["current", "claude-3"])
def test_both_presets_are_valid_and_their_canonical_text_is_stable(name: str) -> None:
    loaded = policy.preset(name)
    assert loaded.name == name
    again = policy.load(policy.canonical(loaded))
    assert again == loaded
    assert policy.canonical(again) == policy.canonical(loaded)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("targets/ondemand-haiku/model", "nobody", "targets.ondemand-haiku.model: there is no model 'nobody'"),
        ("targets/ondemand-haiku", ..., "check ondemand-haiku"),
        ("targets/ondemand-haiku/max_tokens", 0, "targets.ondemand-haiku.max_tokens"),
        ("targets/ondemand-haiku/colour", "red", "targets.ondemand-haiku.colour"),
        ("targets/ondemand-haiku/region", "tokyo", "targets.ondemand-haiku.region"),
        ("models/haiku-5-5/temperature", 0.5, "no sampling parameters"),
        ("models/haiku-5-5/prices/0/input", "0.1105", "models.haiku-5-5.prices.0.input"),
        ("models/haiku-5-5/prices/0/input", "-1", "models.haiku-5-5.prices.0.input"),
        ("models/haiku-5-5/prices", [], "models.haiku-5-5.prices"),
        ("windows/0/end", "19:00", "'business' and 'peak' overlap"),
        ("windows/0/target", "ondemand-haiku", "is not a provisioned target"),
        ("windows/0/start", "9:00", "windows.0.start"),
        ("budget", {"daily_usd": 0}, "budget.daily_usd"),
        ("windows/0/name", "lunch", "windows.0.name: Input should be 'business' or 'peak'"),
        ("limits", {"turn_ms": 30_000}, "limits.turn_ms"),
        ("limits", {"first_text_ms": 28_000}, "limits: first_text_ms must be less than turn_ms"),
        ("limits", {"first_text_ms": 1_499}, "limits: first_text_least_ms must not be more than first_text_ms"),
        ("limits", {"first_text_reserve_ms": 1_500}, "limits: first_text_reserve_ms must be less than first_text_le"),
        ("limits", {"closing_reserve_ms": 14_000}, "limits: closing_reserve_ms must be less than half of turn_ms"),
        ("answer/least_tokens", 513, "answer.least_tokens"),
        ("answer/expected_tokens", 250, "answer.expected_tokens"),
        ("complexity_threshold", 1.5, "complexity_threshold"),
        ("windows/1/units", 0, "windows.1.units"),
        ("provisioning", {"daily_usd": 0}, "provisioning.daily_usd"),
        ("provisioning", {"give_up_minutes": 4}, "provisioning.give_up_minutes"),
        ("models/nova-pro/provisioned/unit_hour_usd", "0", "models.nova-pro.provisioned.unit_hour_usd"),
        ("models/nova-pro/provisioned/unit_hour_usd", "23.0000001", "models.nova-pro.provisioned.unit_hour_usd"),
        ("models/nova-pro/provisioned/unit_tokens_per_minute", 0, "models.nova-pro.provisioned.unit_tokens_per_min"),
        ("models/nova-pro/provisioned/verified", ..., "models.nova-pro.provisioned.verified"),
        ("models/nova-pro/provisioned/id", "a model", "models.nova-pro.provisioned.id"),
    ],
)
def test_a_mistake_is_named_by_field_and_reason(path: str, value: object, told: str) -> None:
    with pytest.raises(PolicyInvalid, match=told.replace("(", r"\(")):
        policy.load(changed(path, value))


@pytest.mark.parametrize(
    "limits",
    [
        {"first_text_ms": 27_999},
        {"first_text_ms": 1_500},
        {"first_text_reserve_ms": 1_499},
        {"closing_reserve_ms": 13_999},
    ],
)
def test_limits_may_go_as_far_as_they_fit_into_each_other(limits: dict[str, int]) -> None:
    loaded = policy.load(changed("limits", limits)).limits
    assert loaded.model_dump().items() >= limits.items()


@pytest.mark.parametrize("document", ["", "{", "[]", "null", '{"name": "x"}'])
def test_something_that_is_no_policy_is_refused(document: str) -> None:
    with pytest.raises(PolicyInvalid):
        policy.load(document)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="no preset"):
        policy.preset("claude-9")


def test_a_window_may_cross_midnight() -> None:
    late = Window(name="peak", start="22:00", end="02:00", target="provisioned-sonnet", units=1)
    assert late.contains(23 * 60 + 59)
    assert late.contains(1 * 60 + 59)
    assert not late.contains(2 * 60)
    assert len(late.minutes()) == 240


@pytest.mark.parametrize("commitment", ["OneMonth", "SixMonths"])
def test_a_commitment_on_a_window_is_refused_with_what_it_would_cost(commitment: str) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        policy.load(changed("windows/1/commitment", commitment))
    told = str(refusal.value)
    assert told.startswith(f"windows.1: commitment: {commitment} cannot be scheduled")
    assert "billed around the clock and cannot be deleted before its term ends" in told
    assert "buy it by hand" in told


def test_no_commitment_is_what_a_window_has_and_may_say() -> None:
    assert policy.load(changed("windows/1/commitment", "none")) == policy.preset("current")


@pytest.mark.parametrize(("start", "end"), [("00:00", "22:01"), ("12:00", "10:01"), ("09:00", "09:00")])
def test_a_window_longer_than_22_hours_is_refused_because_the_next_one_is_bought_before_it_starts(
    start: str, end: str
) -> None:
    with pytest.raises(ValueError, match="a window lasts at most 22 hours") as refusal:
        Window.model_validate({"name": "peak", "start": start, "end": end, "target": "provisioned-sonnet", "units": 1})
    assert "around the clock is bought by hand" in str(refusal.value)


@pytest.mark.parametrize(("start", "end"), [("00:00", "22:00"), ("12:00", "10:00")])
def test_a_window_may_last_22_hours(start: str, end: str) -> None:
    longest = Window(name="peak", start=start, end=end, target="provisioned-sonnet", units=1)
    assert len(longest.minutes()) == 22 * 60


@pytest.mark.parametrize("name", ["current", "claude-3"])
def test_every_window_of_a_preset_has_an_offer_whose_price_nobody_has_verified(name: str) -> None:
    loaded = policy.preset(name)
    for window in loaded.windows:
        offer = loaded.model_of(window.target).provisioned
        assert offer is not None
        assert offer.unit_hour_nano_usd > 0
        assert not offer.verified, "AWS publishes none"
        assert offer.source


def test_an_offer_is_priced_to_the_nano_dollar() -> None:
    loaded = policy.load(changed("models/nova-pro/provisioned/unit_hour_usd", "23.000001"))
    offer = loaded.models["nova-pro"].provisioned
    assert offer is not None
    assert offer.unit_hour_nano_usd == 23_000_001_000


def test_a_model_without_an_offer_is_a_policy_all_the_same() -> None:
    loaded = policy.load(changed("models/nova-pro/provisioned", ...))
    assert loaded.models["nova-pro"].provisioned is None


def test_the_price_of_the_day_is_charged() -> None:
    document = deepcopy(CURRENT)
    prices = document["models"]["sonnet-4-6"]["prices"]
    prices.append({**prices[0], "effective_from": "2027-01-01", "input": "3"})
    model = policy.load(json.dumps(document)).models["sonnet-4-6"]
    assert model.price_on(date(2026, 12, 31)).input_nano_usd == 3300
    assert model.price_on(date(2027, 1, 1)).input_nano_usd == 3000
    assert model.price_on(date(2020, 1, 1)).input_nano_usd == 3300


def test_a_region_or_tier_with_a_price_of_its_own_has_that_price() -> None:
    document = deepcopy(CURRENT)
    prices = document["models"]["sonnet-4-6"]["prices"]
    prices.append({**prices[0], "region": "us-east-1", "input": "3"})
    prices.append({**prices[0], "tier": "priority", "input": "5.775"})
    document["targets"]["ondemand-sonnet"]["service_tier"] = "priority"
    loaded = policy.load(json.dumps(document))
    model, day = loaded.models["sonnet-4-6"], date(2026, 12, 31)
    assert model.price_on(day, "us-east-1").input_nano_usd == 3000
    assert model.price_on(day, "ap-northeast-1").input_nano_usd == 3300
    assert loaded.price_of("ondemand-sonnet", day).input_nano_usd == 5775


def test_a_target_of_a_tier_without_a_price_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match=r"targets\.ondemand-sonnet: sonnet-4-6 has no price of tier flex in"):
        policy.load(changed("targets/ondemand-sonnet/service_tier", "flex"))


def test_what_is_dearer_with_a_commitment_is_a_mistake() -> None:
    with pytest.raises(PolicyInvalid, match="OneMonth is dearer than no commitment"):
        policy.load(changed("models/nova-pro/provisioned/committed_unit_hour_usd", {"OneMonth": "24"}))


def test_costs_are_exact_and_a_long_prompt_is_dearer_as_a_whole() -> None:
    price = policy.preset("current").models["haiku-5-5"].prices[0]
    usage = Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=10, cache_write_tokens=20)
    assert cost_nano_usd(usage, price) == 1000 * 110 + 100 * 550 + 10 * 11 + 20 * 138
    assert cost_nano_usd(Usage(input_tokens=100_000), price) == 100_000 * 110
    assert cost_nano_usd(Usage(input_tokens=90_000, cache_read_tokens=10_001), price) == 90_000 * 550 + 10_001 * 55
