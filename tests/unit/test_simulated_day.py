"""A simulated day: repeatable, exact to the nano-dollar, within its budget, and told in a page that stands alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mangaassist.money.prices import Usage, cost_nano_usd
from mangaassist.routing import policy
from simulator import plots, report
from simulator.__main__ import _without_pace, main
from simulator.arrivals import CATALOGUE, COMPLEX, SIMPLE, Traffic, arrivals, questions
from simulator.capacity import Places, Units
from simulator.day import Day, Fault, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from mangaassist.routing.policy import Policy
    from simulator.outcome import Outcome

POLICY = policy.preset("current")
DAY = date(2026, 11, 26)
SMALL = Traffic(messages=20_000)


def budgeted(usd: str, document: str | None = None) -> Policy:
    told = json.loads(document or policy.canonical(POLICY))
    told["budget"]["daily_usd"] = usd
    return policy.load(json.dumps(told))


def simulated(
    chosen: Policy = POLICY,
    traffic: Traffic = SMALL,
    *,
    seed: int = 1,
    faults: tuple[Fault, ...] = (),
    bought: bool = True,
) -> Outcome:
    setting = Setting(chosen, DAY, faults, units_are_bought=bought)
    return Day(setting, arrivals(traffic, seed)).run()


def test_the_questions_are_of_the_kinds_that_they_stand_for() -> None:
    simple, complex_, catalogue = (questions()[kind] for kind in (SIMPLE, COMPLEX, CATALOGUE))
    assert complex_.score >= POLICY.complexity_threshold > max(simple.score, catalogue.score)
    assert catalogue.catalogue
    assert not simple.catalogue


def test_the_same_seed_is_the_same_day() -> None:
    assert simulated().document() == simulated().document()
    assert simulated().document() != simulated(seed=2).document()


def test_messages_come_along_the_curve() -> None:
    came = arrivals(Traffic(messages=100_000), 1)
    evening = ((came.second >= 18 * 3600) & (came.second < 86_400)).mean()
    assert evening == pytest.approx(0.485, abs=0.01)
    assert (came.second[1:] >= came.second[:-1]).all()
    assert came.input_tokens.mean() == pytest.approx(350, rel=0.02)


def test_where_one_model_answers_the_day_costs_its_tokens() -> None:
    outcome = simulated(traffic=replace(SMALL, complex_share=0.0, catalogue_share=0.0), bought=False)
    came = arrivals(replace(SMALL, complex_share=0.0, catalogue_share=0.0), 1)
    price = POLICY.price_of("ondemand-haiku", DAY).model_copy(update={"long_context": None})
    every = Usage(int(came.input_tokens.sum()), int(came.output_tokens.sum()))
    assert outcome.by_target(outcome.turns) == {"ondemand-haiku": SMALL.messages}
    assert outcome.tokens_nano_usd == cost_nano_usd(every, price) == outcome.committed_nano_usd


@pytest.mark.parametrize(
    "faults", [(), (Fault("ondemand-sonnet", "silent", 0.3),), (Fault("ondemand-haiku", "throttled", 0.5),)]
)
def test_every_table_adds_up_to_the_day(faults: tuple[Fault, ...]) -> None:
    outcome = simulated(faults=faults)
    told = outcome.document()
    assert sum(told["cost_nano_usd_by_target"].values()) == outcome.tokens_nano_usd == outcome.committed_nano_usd
    assert sum(amount for hour in told["cost_nano_usd_by_hour"] for amount in hour.values()) == outcome.tokens_nano_usd
    assert sum(told["turns_by_target"].values()) == told["turns"] == SMALL.messages == len(outcome.first_text_ms)
    assert outcome.first_text()["within_3s_share"] == 1


@pytest.mark.parametrize("usd", ["0.01", "0.5", "2"])
def test_no_day_passes_its_budget(usd: str) -> None:
    chosen = budgeted(usd)
    outcome = simulated(chosen, bought=False)
    assert max(outcome.committed) <= chosen.budget.daily_nano_usd
    assert outcome.tokens_nano_usd <= chosen.budget.daily_nano_usd


def test_pacing_leaves_the_evening_its_quality_class_where_a_cliff_edge_leaves_none() -> None:
    paced = budgeted("5")
    cliff = budgeted("5", _without_pace(policy.canonical(POLICY)))
    kept, lost = (
        simulated(it, replace(SMALL, complex_share=0.2), bought=False).quality_share() for it in (paced, cliff)
    )
    assert kept is not None
    assert lost is not None
    assert kept > 0.15
    assert lost < kept / 3


def test_full_units_spill_over_and_idle_ones_cost_all_the_same() -> None:
    outcome = simulated(traffic=Traffic(messages=1_500_000 // 50, input_tokens=20_000))
    assert outcome.fallbacks["provisioned-sonnet", "throttled"] > 0
    assert outcome.by_target(outcome.turns)["ondemand-haiku"] > 0
    quiet = simulated(traffic=Traffic(messages=10))
    assert sum(it.cost_usd for it in quiet.hours) == pytest.approx(9.5 * 5 + 6.5 * 2 * 23)
    assert sum(it.idle_usd for it in quiet.hours) == pytest.approx(quiet.hours_usd, rel=0.01)
    assert simulated(bought=False).hours_usd == 0


def test_a_silent_model_is_charged_for_what_it_read_and_left_alone_by_the_breaker() -> None:
    outcome = simulated(faults=(Fault("ondemand-sonnet", "silent", 1.0),), bought=False)
    assert outcome.quality_share(range(24)) == 0
    assert outcome.fallbacks["ondemand-sonnet", "breaker_open"] > 0
    assert outcome.by_target(outcome.cost)["ondemand-sonnet"] > 0


def test_units_refill_by_the_minute_and_places_are_given_back() -> None:
    units = Units(600)
    assert units.take(600, 0)
    assert not units.take(1, 0)
    assert units.take(100, 10)
    places = Places(1)
    places.take(5)
    assert not places.free(4)
    assert places.free(5)


# -- the command -------------------------------------------------------------------------------------------------------


def test_two_policies_are_told_side_by_side_in_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "day.html"
    asked = ["--messages", "2000", "--budget", "1", "--against", "cliff-edge", "--out", str(page)]
    told = CliRunner(mix_stderr=False).invoke(main, asked)
    assert told.exit_code == 0, told.output
    assert "current: " in told.stdout
    assert "cliff-edge: " in told.stdout
    html = page.read_text()
    assert html.count("<svg") == 6
    assert not re.search(r"(src|href)=.https?:", html)
    for title in ("Spend over the day", "Complex questions", "Turns by target", "Utilisation of model units"):
        assert title in html
    assert "(unverified)" in html


def test_programs_get_a_document() -> None:
    told = CliRunner(mix_stderr=False).invoke(main, ["--messages", "500", "--json"])
    assert json.loads(told.stdout)["current"]["turns"] == 500


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--complex", "0.8", "--catalogue", "0.3"], "together at most 1"),
        (["--complex", "1.2"], "1.2 is not in the range"),
        (["--messages", "0"], "0 is not in the range"),
        (["--policy", "nobody"], "there is no preset 'nobody'"),
        (["--policy", "cliff-edge"], "compared --against"),
        (["--fault", "ondemand-sonnet:sulks:0.1"], "throttled or silent is expected"),
        (["--fault", "ondemand-sonnet:silent:2"], "not in the range"),
        (["--fault", "ondemand-sonnet:silent:nan"], "a finite number is expected"),
        (["--fault", "ondemand-sonnet:silent:1", "--fault", "ondemand-sonnet:throttled:0"], "one fault at a time"),
        (["--complex", "nan"], "a finite number is expected"),
        (["--budget", "nan"], "a finite number is expected"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--day", "0001-01-01"], "prices begin on 2024-01-01"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments: list[str], complaint: str) -> None:
    told = CliRunner(mix_stderr=False).invoke(main, arguments)
    assert told.exit_code == 2
    assert complaint in " ".join(told.stderr.split())


def test_shares_that_make_the_whole_leave_nothing_for_the_rest() -> None:
    outcome = simulated(traffic=Traffic(messages=2_000, complex_share=0.8, catalogue_share=0.2))
    assert sum(outcome.turns.values()) == 2_000


def test_an_endpoints_instances_cost_their_hours_used_or_not() -> None:
    setting = Setting(POLICY, DAY, endpoint_instances=2, units_are_bought=False)
    (endpoint,) = Day(setting, arrivals(SMALL, 1)).run().hours
    assert (endpoint.what, endpoint.hours) == ("endpoint", 48)
    assert endpoint.cost_usd == pytest.approx(48 * 1.89)
    assert 0 < endpoint.idle_usd < endpoint.cost_usd


def test_two_policies_of_one_name_are_told_apart() -> None:
    told = CliRunner(mix_stderr=False).invoke(main, ["--messages", "100", "--against", "current", "--json"])
    assert set(json.loads(told.stdout)) == {"current (1)", "current (2)"}


def test_a_policys_name_is_drawn_as_it_is() -> None:
    assert plots.shown("_a$b$") == r"a\$b\$"


def test_a_day_alone_says_what_it_spent() -> None:
    assert "of the $500.00 budget went into tokens" in report.verdict([("current", POLICY, simulated())])
