"""The routing table of the architecture, rule by rule."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from mangaassist.jst import JST
from mangaassist.routing import policy
from mangaassist.routing.question import Question
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Capacity, Health, Situation

POLICY = policy.preset("current")
NIGHT, BUSINESS, PEAK = (datetime(2026, 11, 23, hour, 30, tzinfo=JST) for hour in (3, 10, 20))
DAY_NANO_USD = POLICY.budget.daily_nano_usd
ARN = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl"
FOREVER = 4e9


def question(*, score: float = 0.1, catalogue: bool = False) -> Question:
    return Question(text="?", language="en", score=score, catalogue=catalogue, works=())


SIMPLE, COMPLEX, CATALOGUE = question(), question(score=0.9), question(catalogue=True)
PUBLISHED = {name: Capacity(ARN, 1, FOREVER) for name in ("provisioned-sonnet", "provisioned-haiku")}
SATURATED = {name: Capacity(ARN, 1, FOREVER, saturated_until_s=FOREVER) for name in PUBLISHED}
WITH_CUSTOM = frozenset(("bedrock", "sagemaker"))


@pytest.mark.parametrize(
    ("now", "asked", "situation", "reason", "chain"),
    [
        (NIGHT, SIMPLE, {}, "offpeak_simple", ["ondemand-haiku"]),
        (NIGHT, COMPLEX, {}, "offpeak_complex", ["ondemand-sonnet", "ondemand-haiku"]),
        (NIGHT, CATALOGUE, {}, "offpeak_simple", ["ondemand-haiku"]),
        (BUSINESS, SIMPLE, {}, "offpeak_simple", ["ondemand-haiku"]),
        (BUSINESS, SIMPLE, {"capacity": PUBLISHED}, "business_simple", ["provisioned-haiku", "ondemand-haiku"]),
        (BUSINESS, SIMPLE, {"capacity": SATURATED}, "offpeak_simple", ["ondemand-haiku"]),
        (BUSINESS, COMPLEX, {"capacity": PUBLISHED}, "offpeak_complex", ["ondemand-sonnet", "ondemand-haiku"]),
        (PEAK, SIMPLE, {}, "peak_simple", ["ondemand-haiku"]),
        (PEAK, SIMPLE, {"capacity": PUBLISHED}, "peak_simple", ["provisioned-sonnet", "ondemand-haiku"]),
        (PEAK, SIMPLE, {"capacity": SATURATED}, "offpeak_simple", ["ondemand-haiku"]),
        (PEAK, COMPLEX, {}, "peak_complex", ["ondemand-sonnet", "ondemand-haiku"]),
        (
            PEAK,
            COMPLEX,
            {"capacity": PUBLISHED},
            "peak_complex",
            ["provisioned-sonnet", "ondemand-sonnet", "ondemand-haiku"],
        ),
        (
            PEAK,
            COMPLEX,
            {"capacity": SATURATED},
            "peak_complex",
            ["provisioned-sonnet", "ondemand-sonnet", "ondemand-haiku"],
        ),
        (PEAK, COMPLEX, {"committed_nano_usd": DAY_NANO_USD * 95 // 100}, "budget_guard", ["ondemand-haiku"]),
        (PEAK, COMPLEX, {"committed_nano_usd": DAY_NANO_USD * 94 // 100}, "peak_complex", None),
        (NIGHT, SIMPLE, {"committed_nano_usd": DAY_NANO_USD}, "budget_guard", []),
    ],
)
def test_the_first_rule_that_holds_chooses_the_chain(
    now: datetime, asked: Question, situation: dict[str, Any], reason: str, chain: list[str] | None
) -> None:
    route = decide(asked, Situation(**situation), POLICY, now)
    assert route.reason == reason
    assert route.chain[-1] == "catalogue", "every chain ends without a model"
    if chain is not None:
        assert list(route.chain[:-1]) == chain


def ahead(share: float, now: datetime, **more: Any) -> Situation:
    """The situation with so much committed, as a share of what the day's curve allows by now."""
    allowed = POLICY.budget.allowed(now.hour * 60 + now.minute)
    return Situation(committed_nano_usd=int(share * allowed * DAY_NANO_USD) + 1, **more)


def test_ahead_of_the_days_curve_answers_get_shorter_before_models_get_cheaper() -> None:
    route = decide(COMPLEX, ahead(0.75, BUSINESS), POLICY, BUSINESS)
    assert (route.tier, route.chain[0], route.reason) == ("shorter_answers", "ondemand-sonnet", "offpeak_complex")
    assert route.answer_share == 0.6
    before = decide(COMPLEX, ahead(0.74, BUSINESS), POLICY, BUSINESS)
    assert (before.tier, before.answer_share) == ("", 1.0)


def test_far_ahead_of_it_the_quality_class_is_left_to_the_evening() -> None:
    route = decide(COMPLEX, ahead(0.9, BUSINESS), POLICY, BUSINESS)
    assert (route.tier, route.chain) == ("fast_class", ("ondemand-haiku", "catalogue"))


def test_capacity_that_is_paid_for_by_the_hour_serves_on() -> None:
    route = decide(COMPLEX, ahead(0.9, PEAK, capacity=PUBLISHED), POLICY, PEAK)
    assert route.chain == ("provisioned-sonnet", "ondemand-haiku", "catalogue")


def test_what_a_tier_gives_up_is_the_policys() -> None:
    document = json.loads(policy.canonical(POLICY))
    document["budget"]["tiers"] = [{"name": "frugal", "at": 0.1, "of": "day", "models": "fast", "answer_share": 0.5}]
    frugal = policy.load(json.dumps(document))
    route = decide(COMPLEX, Situation(committed_nano_usd=DAY_NANO_USD // 10), frugal, NIGHT)
    assert (route.tier, route.chain, route.answer_share) == ("frugal", ("ondemand-haiku", "catalogue"), 0.5)


def test_catalogue_questions_go_to_the_custom_model_when_it_is_deployed() -> None:
    route = decide(CATALOGUE, Situation(backends=WITH_CUSTOM), POLICY, PEAK)
    assert (route.reason, route.chain) == ("manga_specific_query", ("sagemaker-custom", "ondemand-haiku", "catalogue"))


def test_a_dead_custom_model_costs_catalogue_questions_nothing() -> None:
    health = {"sagemaker-custom": Health(failures=3, open_until_s=FOREVER)}
    assert decide(CATALOGUE, Situation(health=health, backends=WITH_CUSTOM), POLICY, NIGHT).reason == "offpeak_simple"


def test_an_operator_can_take_the_custom_model_out_of_service() -> None:
    custom = POLICY.targets["sagemaker-custom"].model_copy(update={"deployed": False})
    without = POLICY.model_copy(update={"targets": {**POLICY.targets, "sagemaker-custom": custom}})
    assert decide(CATALOGUE, Situation(backends=WITH_CUSTOM), without, NIGHT).reason == "offpeak_simple"


def test_an_open_target_is_passed_over_and_a_half_open_one_is_offered() -> None:
    open_ = Situation(health={"ondemand-sonnet": Health(failures=3, open_until_s=FOREVER)})
    assert decide(COMPLEX, open_, POLICY, NIGHT).chain == ("ondemand-haiku", "catalogue")
    half_open = Situation(health={"ondemand-sonnet": Health(failures=3, open_until_s=1.0)})
    assert decide(COMPLEX, half_open, POLICY, NIGHT).chain[0] == "ondemand-sonnet"
    probing = Situation(health={"ondemand-sonnet": Health(failures=3, open_until_s=1.0, probe_until_s=FOREVER)})
    assert decide(COMPLEX, probing, POLICY, NIGHT).chain == ("ondemand-haiku", "catalogue")


def test_capacity_is_not_used_from_its_announced_end_on() -> None:
    ends = Capacity(ARN, 2, until_s=PEAK.timestamp())
    route = decide(COMPLEX, Situation(capacity={"provisioned-sonnet": ends}), POLICY, PEAK)
    assert route.chain[0] == "ondemand-sonnet"


@pytest.mark.parametrize(
    ("now", "asked", "situation", "spilled"),
    [
        (BUSINESS, SIMPLE, {"capacity": SATURATED}, "provisioned-haiku"),
        (PEAK, SIMPLE, {"capacity": SATURATED}, "provisioned-sonnet"),
        (BUSINESS, SIMPLE, {"capacity": PUBLISHED}, None),
        (BUSINESS, SIMPLE, {}, None),
        (NIGHT, SIMPLE, {"capacity": SATURATED}, None),
        (BUSINESS, COMPLEX, {"capacity": SATURATED}, None),
        (PEAK, COMPLEX, {"capacity": SATURATED}, None),
        (PEAK, SIMPLE, {"capacity": SATURATED, "committed_nano_usd": DAY_NANO_USD}, None),
        (BUSINESS, SIMPLE, {"capacity": {"provisioned-sonnet": SATURATED["provisioned-sonnet"]}}, None),
    ],
)
def test_a_question_spills_over_when_only_fullness_keeps_it_off_its_windows_capacity(
    now: datetime, asked: Question, situation: dict[str, Any], spilled: str | None
) -> None:
    assert decide(asked, Situation(**situation), POLICY, now).spilled == spilled


def test_full_capacity_that_is_down_or_over_spills_nothing_over() -> None:
    down = Situation(capacity=SATURATED, health={"provisioned-haiku": Health(failures=3, open_until_s=FOREVER)})
    assert decide(SIMPLE, down, POLICY, BUSINESS).spilled is None
    over = Capacity(ARN, 1, BUSINESS.timestamp(), saturated_until_s=FOREVER)
    assert decide(SIMPLE, Situation(capacity={"provisioned-haiku": over}), POLICY, BUSINESS).spilled is None


@pytest.mark.parametrize(
    ("clock", "name"),
    [
        ((8, 59), None),
        ((9, 0), "business"),
        ((17, 59), "business"),
        ((18, 0), "peak"),
        ((23, 59), "peak"),
        ((0, 0), None),
    ],
)
def test_windows_begin_and_end_on_the_japanese_clock(clock: tuple[int, int], name: str | None) -> None:
    window = POLICY.window_at(datetime(2026, 11, 23, *clock, tzinfo=JST))
    assert (window.name if window else None) == name
