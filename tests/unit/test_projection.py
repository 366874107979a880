"""What each pattern would cost, by hand; and that no message is lost between its targets."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mangaassist.advice.latency import LATENCY_SPREAD, OVERHEAD_MS
from mangaassist.advice.load import load_of
from mangaassist.advice.patterns import PATTERNS, units_for
from mangaassist.advice.unit_sizing import by_the_brief, window_sizes
from mangaassist.money.prices import usd
from mangaassist.routing import policy
from simulator.arrivals import Traffic, arrivals
from simulator.day import Day, Setting
from tests.unit.advising import BRIEF, CURRENT, DAY, FLAT, asked, costs, projection

KEYS = [pattern.key for pattern in PATTERNS]
# Of the brief's prices, 350 tokens in and 150 out: 0.00105 + 0.00225 and 0.0000875 + 0.0001875 dollars.
SONNET_USD, HAIKU_USD = 0.0033, 0.000275
EVEN = asked(
    24_000, curve=FLAT, complex_share=0.5, catalogue_share=0.25, burst=1.0, instance_places=8, commitment="SixMonths"
)


def with_windows(*windows: dict[str, Any]) -> policy.Policy:
    told = json.loads(policy.canonical(BRIEF.policy)) | {"windows": windows}
    return policy.load(json.dumps(told))


def test_on_demand_pays_each_message_by_its_class() -> None:
    found = costs(projection("on-demand", EVEN))
    assert found["tokens of ondemand-sonnet"] == pytest.approx(12_000 * 30 * SONNET_USD)
    assert found["tokens of ondemand-haiku"] == pytest.approx(12_000 * 30 * HAIKU_USD)


def test_units_around_the_clock_are_enough_for_the_busiest_minute() -> None:
    # 500 complex messages an hour of 500 tokens: 4,167 tokens a minute; a unit may be asked for 40,000 of its 50,000.
    found = projection("provisioned", EVEN)
    assert costs(found)["1 model unit of provisioned-sonnet"] == pytest.approx(23 * 720)
    assert costs(found)["1 model unit of provisioned-haiku"] == pytest.approx(5 * 720)
    assert found.plan.units[0].used_share == pytest.approx(500 * 500 / 60 / 50_000)
    tenfold = projection("provisioned", asked(240_000, curve=FLAT, complex_share=0.5, burst=1.0))
    assert tenfold.plan.units[0].units == 2  # 41,667 tokens a minute


@pytest.mark.parametrize(("key", "hour_usd"), [("provisioned-1-month", 16.1), ("provisioned-6-months", 11.5)])
def test_a_commitment_lowers_the_hour_and_not_the_hours(key: str, hour_usd: float) -> None:
    found = projection(key, EVEN)
    assert costs(found)["1 model unit of provisioned-sonnet"] == pytest.approx(hour_usd * 720)
    assert {units.hours_per_day for units in found.plan.units} == {24.0}


def test_an_endpoint_has_the_instances_that_each_hour_needs() -> None:
    # 1,000 messages an hour take 0.5 + 150 x 0.02 = 3.5 s each: 0.97 places of 8, so one instance, around the clock.
    found = projection("sagemaker", EVEN)
    assert costs(found)["ml.g5.2xlarge for sagemaker-custom"] == pytest.approx(1.89 * 720)
    assert found.plan.instances is not None
    assert found.plan.instances.used_share == pytest.approx(1000 / 3600 * 3.5 / 8)
    # All in one hour: 23.3 places, of which an instance is asked for 6.4: four instances then, one else.
    rush = asked(24_000, curve=[1.0] + [0.0] * 23, burst=1.0)
    found = projection("sagemaker", rush)
    assert found.plan.instances is not None
    assert (found.plan.instances.least, found.plan.instances.most, found.plan.instances.hours_per_day) == (1, 4, 27)


def test_hybrid_sends_the_catalogue_to_the_endpoint_and_pays_for_the_rest() -> None:
    found = projection("hybrid", EVEN)
    assert found.plan.served == pytest.approx(
        {"ondemand-sonnet": 12_000, "ondemand-haiku": 6_000, "sagemaker-custom": 6_000}
    )
    assert costs(found)["tokens of ondemand-haiku"] == pytest.approx(6_000 * 30 * HAIKU_USD)
    assert costs(found)["ml.g5.2xlarge for sagemaker-custom"] == pytest.approx(1.89 * 720)


def test_hybrid_without_a_question_for_the_endpoint_is_no_pattern_of_its_own() -> None:
    assert "same as on demand" in projection("hybrid", asked(catalogue_share=0.0)).obstacle


def test_the_schedule_pays_units_by_the_window_and_its_lead() -> None:
    found = projection("hybrid-scheduled", EVEN)
    assert costs(found)["2 model units of provisioned-sonnet"] == pytest.approx(2 * 6.5 * 30 * 23)
    assert costs(found)["1 model unit of provisioned-haiku"] == pytest.approx(9.5 * 30 * 5)
    assert found.plan.spilled == 0
    # Peak, 6 h: complex and simple to the units. Business, 9 h: simple to the units. All else on demand.
    assert found.plan.served["provisioned-sonnet"] == pytest.approx(6 * (500 + 250))
    assert found.plan.served["provisioned-haiku"] == pytest.approx(9 * 250)
    assert found.plan.served["ondemand-sonnet"] == pytest.approx(18 * 500)
    assert found.plan.served["ondemand-haiku"] == pytest.approx(9 * 250)


def test_full_units_keep_the_complex_questions_and_spill_the_rest() -> None:
    # An hour of the peak: 6,000 complex and 3,000 simple messages of 500 tokens; two units carry 12,000 messages.
    crowd = asked(288_000, curve=FLAT, complex_share=0.5, catalogue_share=0.25, burst=1.0)
    assert projection("hybrid-scheduled", crowd).plan.served["ondemand-sonnet"] == pytest.approx(18 * 6_000)
    # Four times that: 24,000 complex ones find room for 12,000, no simple one does.
    more = projection("hybrid-scheduled", asked(1_152_000, curve=FLAT, complex_share=0.5, catalogue_share=0.25))
    assert more.plan.served["provisioned-sonnet"] == pytest.approx(6 * 12_000)
    assert more.plan.served["ondemand-sonnet"] == pytest.approx(18 * 24_000 + 6 * 12_000)


def test_a_window_within_an_hour_counts_by_the_minute() -> None:
    window = {"name": "peak", "start": "18:30", "end": "19:00", "target": "provisioned-sonnet", "units": 1}
    terms = replace(BRIEF, policy=with_windows(window))
    found = projection("hybrid-scheduled", EVEN, terms)
    assert found.plan.served["provisioned-sonnet"] == pytest.approx(0.5 * 750)
    assert costs(found)["1 model unit of provisioned-sonnet"] == pytest.approx(1.0 * 30 * 23)


@pytest.mark.parametrize("terms", [BRIEF, CURRENT])
@given(
    messages=st.integers(1, 20_000_000),
    complex_share=st.floats(0, 0.6),
    catalogue_share=st.floats(0, 0.4),
    kept_share=st.floats(0, 0.9),
    tokens=st.tuples(st.integers(1, 5_000), st.integers(1, 2_000)),
)
@settings(max_examples=40, deadline=None)
def test_every_message_is_somebodys(
    terms: Any, messages: int, complex_share: float, catalogue_share: float, kept_share: float, tokens: tuple[int, int]
) -> None:
    its = asked(
        messages,
        complex_share=complex_share,
        catalogue_share=catalogue_share,
        kept_share=kept_share,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
    )
    for key in KEYS:
        found = projection(key, its, terms)
        if not found.obstacle:
            assert sum(found.plan.served.values()) == pytest.approx(load_of(its).messages)
            assert all(part.monthly_usd >= 0 for part in found.costs)
            assert all(units.used_share <= 1 + 1e-9 for units in found.plan.units)


@pytest.mark.parametrize("key", KEYS)
@given(fewer=st.integers(1, 10_000_000), more=st.integers(1, 10_000_000))
@settings(max_examples=40, deadline=None)
def test_more_messages_never_cost_less(key: str, fewer: int, more: int) -> None:
    low, high = sorted((fewer, more))
    assert projection(key, asked(low)).monthly_usd <= projection(key, asked(high)).monthly_usd * (1 + 1e-9)


def test_the_simulated_day_costs_what_is_projected() -> None:
    """Without a budget, a fault or a full unit the simulator and the projection are two ways to the same sum."""
    told = json.loads(policy.canonical(CURRENT.policy))
    told["budget"]["daily_usd"] = "100000"
    traffic = Traffic(messages=50_000, complex_share=0.2, catalogue_share=0.3)
    day = Day(Setting(policy.load(json.dumps(told)), DAY), arrivals(traffic, 7)).run()
    its = asked(50_000, complex_share=0.2, catalogue_share=0.3)
    plain = replace(CURRENT, policy=CURRENT.policy.model_copy(update={"windows": ()}))
    bare = Day(Setting(plain.policy, DAY), arrivals(traffic, 7)).run()
    found = costs(projection("on-demand", its, plain))
    expected = sum(month for name, month in found.items() if name.startswith("tokens")) / 30
    assert usd(bare.tokens_nano_usd) == pytest.approx(expected, rel=0.03)
    scheduled = projection("hybrid-scheduled", replace_catalogue(its), CURRENT)
    served = day.by_target(day.turns)
    assert served["provisioned-sonnet"] == pytest.approx(scheduled.plan.served["provisioned-sonnet"], rel=0.03)


def replace_catalogue(its: Any) -> Any:
    """Without an endpoint questions about the catalogue go where simple ones do."""
    return its.model_copy(update={"catalogue_share": 0.0})


def test_latency_is_a_mixture_of_its_targets() -> None:
    alone = projection("sagemaker", EVEN)
    assert alone.latency is not None
    late_ms = 500 * math.exp(1.6449 * LATENCY_SPREAD)
    assert alone.latency.first_text_p50_ms == pytest.approx(OVERHEAD_MS + 500, abs=0.1)
    assert alone.latency.first_text_p95_ms == pytest.approx(OVERHEAD_MS + late_ms, rel=1e-4)
    assert alone.latency.answer_ms == pytest.approx(OVERHEAD_MS + 500 + 150 * 20)
    mixed = projection("on-demand", EVEN)
    assert mixed.latency is not None
    assert mixed.latency.first_text_p50_ms < mixed.latency.first_text_p95_ms


def test_what_is_not_sold_by_the_unit_is_no_pattern() -> None:
    bare = {name: model.model_copy(update={"provisioned": None}) for name, model in BRIEF.policy.models.items()}
    terms = replace(BRIEF, policy=BRIEF.policy.model_copy(update={"models": bare}))
    assert "not sold by the model unit" in projection("provisioned", EVEN, terms).obstacle
    assert "window business" in projection("hybrid-scheduled", EVEN, terms).obstacle
    assert not projection("on-demand", EVEN, terms).obstacle


def test_a_region_without_prices_of_instances_has_no_endpoint_projection() -> None:
    found = projection("sagemaker", asked(region="us-east-1"))
    assert found.obstacle == "the price book has no sagemaker.ml.g5.2xlarge in us-east-1"
    quoted = replace(BRIEF, book=BRIEF.book.but({"sagemaker.ml.g5.2xlarge": Decimal(2)}, "us-east-1"))
    found = projection("sagemaker", asked(24_000, curve=FLAT, region="us-east-1"), quoted)
    assert costs(found)["ml.g5.2xlarge for sagemaker-custom"] == pytest.approx(2 * 720)


def test_what_is_around_the_models_is_counted() -> None:
    found = costs(projection("on-demand", asked(1_000_000, search=True)))
    assert found["websocket.messages"] == pytest.approx(30 * 11 * 1.26)
    assert found["dynamodb.writes"] == pytest.approx(30 * 10 * 0.715)
    assert found["opensearch.ocu"] == pytest.approx(2 * 720 * 0.334)
    assert "opensearch.ocu" not in costs(projection("on-demand", asked(1_000_000)))


@pytest.mark.parametrize(
    ("tokens_per_minute", "units"), [(0, 1), (1, 1), (40_000, 1), (40_001, 2), (80_000, 2), (400_000, 10)]
)
def test_units_are_planned_to_be_four_fifths_full(tokens_per_minute: float, units: int) -> None:
    assert units_for(tokens_per_minute, 50_000) == units


@pytest.mark.parametrize(
    ("tokens_per_minute", "rung"),
    [(49_999, "1 unit"), (50_000, "2 or 3 units"), (149_999, "2 or 3 units"), (150_000, "4 units or more: ask AWS")],
)
def test_the_briefs_ladder(tokens_per_minute: float, rung: str) -> None:
    assert by_the_brief(tokens_per_minute) == rung


def test_a_window_is_sized_by_its_busiest_hour() -> None:
    # 24,000 messages flat, half complex, a quarter about the catalogue: 750 an hour for the peak's units.
    sizes = {size.window: size for size in window_sizes(EVEN, BRIEF) if size.with_endpoint}
    assert sizes["peak"].tokens_per_minute == pytest.approx(750 * 500 / 60)
    assert (sizes["peak"].units, sizes["peak"].units_needed) == (2, 1)
    assert sizes["peak"].daily_usd == pytest.approx(1 * 6.5 * 23)
    assert sizes["business"].tokens_per_minute == pytest.approx(250 * 500 / 60)


def test_without_an_endpoint_the_windows_units_get_the_catalogues_questions_too() -> None:
    sizes = {(size.window, size.with_endpoint): size.tokens_per_minute for size in window_sizes(EVEN, BRIEF)}
    assert sizes["peak", False] == pytest.approx(1000 * 500 / 60)
    assert sizes["business", False] == pytest.approx(500 * 500 / 60)
