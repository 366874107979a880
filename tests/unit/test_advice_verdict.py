"""The verdict: the flowchart's way, what excludes a pattern, where two cost the same, and when the verdict changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mangaassist.advice import framework
from mangaassist.advice.advice import advise
from mangaassist.advice.break_even import cost_at, unit_break_evens, volume_break_evens
from mangaassist.advice.brief import claims, closest
from mangaassist.advice.framework import CRITERIA
from mangaassist.advice.patterns import PATTERNS
from mangaassist.advice.projection import project
from mangaassist.advice.sensitivity import variations
from mangaassist.advice.verdict import CLOSE, judge
from tests.unit.advising import BRIEF, CURRENT, DAY, asked


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        ("sagemaker", {"custom_model": True}),
        ("provisioned-1-month", {"commitment": "OneMonth"}),
        ("provisioned-6-months", {"commitment": "SixMonths"}),
        ("provisioned", {"monthly_usd": 5_001}),
        ("on-demand", {"monthly_usd": 5_000}),
        ("on-demand", {"predictable": False}),
        ("hybrid-scheduled", {"messages_per_day": 500_000}),
        ("on-demand", {"messages_per_day": 500_000, "complex_share": 0.0}),
    ],
)
def test_the_flowchart_leads_where_the_brief_draws_it(leaf: str, said: dict[str, Any]) -> None:
    walk = framework.walk(asked(**{"messages_per_day": 1_000_000, **said}))
    assert walk.leaf == leaf
    assert all(step.because for step in walk.steps)


def test_every_row_of_the_criteria_can_count() -> None:
    said: list[dict[str, Any]] = [
        {"messages_per_day": 1_000, "predictable": False, "team_size": 1},
        {"custom_model": True, "fine_tuned": True, "first_text_ms": 400},
    ]
    rows = {row.name for it in said for row in framework.applying(asked(**{"messages_per_day": 1_000_000, **it}))}
    assert rows == {row.name for row in CRITERIA}


def verdict_of(terms: Any = CURRENT, **said: Any) -> Any:
    its = asked(**{"messages_per_day": 1_000_000, **said})
    return judge(project(its, terms), its)


def judgement(verdict: Any, key: str) -> Any:
    return next(it for it in verdict.judgements if it.key == key)


def test_a_leaf_that_costs_much_more_gives_way_to_the_cheapest() -> None:
    found = verdict_of()
    assert (found.walk.leaf, found.recommended) == ("provisioned", "on-demand")
    assert "costs 5.0 times as much as on-demand" in found.because


def test_a_custom_model_is_never_advised_where_none_is_hosted() -> None:
    found = verdict_of(custom_model=True)
    assert found.recommended in ("hybrid", "hybrid-scheduled")
    assert "hosts none" in judgement(found, "on-demand").excluded[0]
    alone = verdict_of(custom_model=True, complex_share=0.0, catalogue_share=1.0)
    assert alone.recommended == alone.walk.leaf == "sagemaker"


def test_a_commitment_that_cannot_be_entered_into_is_not_advised() -> None:
    found = verdict_of(commitment="OneMonth")
    assert not judgement(found, "provisioned-1-month").excluded
    assert "SixMonths" in judgement(found, "provisioned-6-months").excluded[0]


def test_what_is_too_slow_is_not_advised() -> None:
    found = verdict_of(first_text_ms=900)
    assert "wait up to" in judgement(found, "on-demand").excluded[0]
    assert found.recommended not in ("on-demand", "hybrid")
    nothing = verdict_of(first_text_ms=100)
    assert (nothing.recommended, nothing.because) == (None, "no pattern can meet this profile")


def test_each_pattern_has_what_speaks_for_and_against_it() -> None:
    found = verdict_of()
    assert [it.key for it in found.judgements] == [pattern.key for pattern in PATTERNS]
    assert all(it.adverse for it in found.judgements)
    assert any("idle" in reason for reason in judgement(found, "provisioned").adverse)
    assert "nothing costs while nobody asks" in judgement(found, "on-demand").favourable
    assert any("SageMakerMaximumInstances" in reason for reason in judgement(found, "sagemaker").adverse)
    assert any("not confirmed" in reason for reason in judgement(found, "on-demand").adverse)


@given(
    messages=st.integers(1_000, 20_000_000),
    complex_share=st.floats(0, 0.6),
    commitment=st.sampled_from(["none", "OneMonth", "SixMonths"]),
    custom_model=st.booleans(),
    predictable=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_advised_can_be_had_and_is_near_the_cheapest(
    messages: int, complex_share: float, commitment: str, custom_model: bool, predictable: bool
) -> None:
    its = asked(
        messages,
        complex_share=complex_share,
        commitment=commitment,
        custom_model=custom_model,
        predictable=predictable,
    )
    projections = project(its, BRIEF)
    found = judge(projections, its)
    months = {it.pattern.key: it.monthly_usd for it in projections}
    assert found.recommended is not None
    assert not judgement(found, found.recommended).excluded
    fitting = [months[it.key] for it in found.judgements if not it.excluded]
    assert months[found.recommended] <= CLOSE * min(fitting) * (1 + 1e-9)


def test_models_that_are_gone_are_recommended_to_nobody() -> None:
    found = judge(project(asked(), replace(BRIEF, day=DAY)), asked())
    assert found.recommended is None
    assert "reached its end of life on 2026-" in found.judgements[0].excluded[0]


def test_units_of_another_model_in_another_region_are_told_as_such() -> None:
    found = judge(project(asked(), CURRENT), asked())
    adverse = " ".join(judgement(found, "provisioned").adverse)
    assert "nova" in adverse
    assert "us-east-1" in adverse
    assert "quota 0" in adverse


# -- break-even --------------------------------------------------------------------------------------------------------


def test_one_unit_at_the_briefs_prices_breaks_even_at_3_83_million_tokens_an_hour() -> None:
    three_to_one = asked(input_tokens=375, output_tokens=125)
    found = {(it.target, it.commitment): it for it in unit_break_evens(three_to_one, BRIEF)}
    sonnet = found["provisioned-sonnet", "none"]
    assert sonnet.on_demand_usd_per_million == pytest.approx(6.0)
    assert sonnet.tokens_per_hour == pytest.approx(23 / 6e-6)
    assert sonnet.use_needed == pytest.approx(23 / 6 / 3)
    assert not sonnet.pays, "a unit that is full all the time does not pay for itself"
    assert found["provisioned-sonnet", "SixMonths"].tokens_per_hour == pytest.approx(11.5 / 6e-6)


def test_a_unit_is_held_against_what_it_stands_in_for_and_against_its_own_model() -> None:
    quality = {it.against: it for it in unit_break_evens(asked(), CURRENT) if it.target == "provisioned-sonnet"}
    assert set(quality) == {"ondemand-sonnet", "provisioned-sonnet"}
    instead, own = quality["ondemand-sonnet"].tokens_per_hour, quality["provisioned-sonnet"].tokens_per_hour
    assert instead is not None
    assert own is not None
    assert own > 4 * instead, "Nova is cheaper by the token than Claude"


@given(
    tokens=st.tuples(st.integers(1, 4_000), st.integers(1, 2_000)),
    which=st.integers(0, 5),
    hours=st.floats(0.5, 2),
)
@settings(max_examples=50, deadline=None)
def test_at_the_break_even_a_unit_costs_what_its_tokens_do(tokens: tuple[int, int], which: int, hours: float) -> None:
    its = asked(input_tokens=tokens[0], output_tokens=tokens[1])
    unit = unit_break_evens(its, BRIEF)[which]
    assert unit.tokens_per_hour is not None
    on_demand_usd = unit.tokens_per_hour / sum(tokens) * BRIEF.message_usd(unit.against, *tokens)
    assert on_demand_usd == pytest.approx(unit.unit_hour_usd)
    assert (on_demand_usd * hours > unit.unit_hour_usd) == (hours > 1) or hours == pytest.approx(1)


@pytest.mark.parametrize("terms", [BRIEF, CURRENT])
@pytest.mark.parametrize("complex_share", [0.1, 1.0])
def test_on_either_side_of_a_volume_break_even_another_pattern_is_cheaper(terms: Any, complex_share: float) -> None:
    its = asked(1_000_000, complex_share=complex_share, catalogue_share=0.0 if complex_share == 1 else 0.3)
    found = volume_break_evens(its, terms)
    assert any(it.crossings for it in found)
    for it in found:
        for crossing in it.crossings:
            there, before = (
                cost_at(it.key, volume, its, terms) - cost_at("on-demand", volume, its, terms)
                for volume in (crossing.messages_per_day, crossing.messages_per_day - 1)
            )
            assert (there < 0) != (before < 0)
            assert (there < 0) == (crossing.becomes == "cheaper")


# -- how sure, and the brief -------------------------------------------------------------------------------------------


def test_variations_change_what_they_say() -> None:
    its = asked(1_000_000)
    months = {it.name: it.months for it in variations(its, CURRENT)}
    plain = {it.pattern.key: it.models_usd for it in project(its, CURRENT)}
    around = project(its, CURRENT)[0].monthly_usd - plain["on-demand"]
    assert months["tokens on demand x 2"]["on-demand"] == pytest.approx(2 * plain["on-demand"] + around)
    assert months["tokens on demand x 2"]["provisioned"] == months["instances x 2"]["provisioned"]
    assert months["model units x 0.5"]["provisioned"] < months["model units x 2"]["provisioned"]
    assert months["ten times the messages"]["on-demand"] > 9 * months["instances x 2"]["on-demand"]
    assert "hybrid" not in months["no question about the catalogue"]


def test_the_verdict_is_told_to_change_where_it_does() -> None:
    found = {it.name: it for it in variations(asked(1_000_000), CURRENT)}
    assert found["instances x 0.5"].changes_verdict
    assert not found["model units x 0.5"].changes_verdict


def test_the_briefs_figures_are_judged_by_its_own_prices() -> None:
    found = {(it.where, it.what): it for it in claims(BRIEF)}
    rule = found["6.2", "300K tokens an hour pay for one unit"]
    assert rule.claimed_usd == 23
    assert rule.found_usd == pytest.approx(1.8)
    assert "3.83 million" in rule.verdict
    committed = found["3.3", "peak 18:00-24:00, a month of the window's hours, if they could be committed"]
    assert committed.claimed_usd == pytest.approx(8_280)
    assert committed.found_usd == pytest.approx(33_120)
    peak = found["3.3", "peak 18:00-24:00, the same tokens on demand"]
    assert peak.found_usd == pytest.approx(28.8)
    assert "not confirmed" in found["4.2", "ml.g5.2xlarge, an hour"].verdict
    assert "shifted" in found["4.2", "ml.inf2.xlarge, an hour"].verdict
    assert sum(where == "6.1" for where, _ in found) == 16


def test_the_assumptions_that_come_closest_explain_the_on_demand_column() -> None:
    assumed = closest(BRIEF)
    assert assumed.worst_error < 0.01
    column = [it for it in claims(BRIEF) if it.where == "6.1" and it.what.endswith("on demand")]
    assert {it.verdict for it in column} == {"reproduced"}
    assert all(it.ratio == pytest.approx(1, abs=0.01) for it in column)


def test_a_figure_that_no_volume_moves_is_called_what_it_is() -> None:
    found = {it.what: it.verdict for it in claims(BRIEF) if it.where == "6.1"}
    for volume in ("1,000,000", "100,000"):
        assert "3 units of the fast class" in found[f"{volume} messages a day, simple: provisioned"]
        assert "cannot be reconciled" in found[f"{volume} messages a day, simple: SageMaker"]


def test_the_document_holds_everything_and_nothing_that_json_cannot() -> None:
    document = advise(asked(100_000), replace(CURRENT)).document()
    assert json.dumps(document, allow_nan=False)
    assert {it["key"] for it in document["patterns"]} == {pattern.key for pattern in PATTERNS}
    assert set(document) >= {"recommended", "flowchart", "windows", "break_even", "sensitivity", "assumed"}
