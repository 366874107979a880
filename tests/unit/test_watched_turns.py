"""What operators see of a turn: its metrics, its log line, its attempts in a trace, and no word of what was said."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.observability import emitter, metrics
from mangaassist.routing.situation import Situation
from tests.unit.fakes import After, answer, cut, fails, hangs
from tests.unit.house import LONG, POLICY, SIMPLE, House

if TYPE_CHECKING:
    from collections.abc import Iterator


HAIKU, SONNET = "ondemand-haiku", "ondemand-sonnet"
COMPLEX = "『寄生獣』と『亜人』の主題を比べて、それぞれの結末が何を問いかけているか論じてください。"
ANSWERED: dict[str, list[list[After]]] = {HAIKU: [answer("はい。")], SONNET: [answer("はい。")]}


@pytest.fixture(autouse=True)
def _nothing_measured_yet() -> Iterator[None]:
    metrics.clear_metrics()
    yield
    metrics.clear_metrics()


def measured(name: str) -> float:
    return sum(emitter.metric_set[name]["Value"]) if name in emitter.metric_set else 0


def by_target(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, float]:
    """A metric's values under the dimension `target`."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    found: Counter[str] = Counter()
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        if name in line and sorted(directive["Dimensions"][0]) == ["service", "target"]:
            found[line["target"]] += sum(line[name])
    return dict(found)


def turn_lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.getMessage() == "turn"]


def test_a_turn_is_counted_with_its_times_its_cost_and_who_answered(capsys: pytest.CaptureFixture[str]) -> None:
    frames = House(dict(ANSWERED)).ask()
    assert (measured("Turns"), measured("Attempts"), measured("Fallbacks")) == (1, 1, 0)
    assert measured("FirstText") == frames[-1]["first_text_ms"]
    assert measured("CostNanoUsd") == pytest.approx(frames[-1]["cost_usd"] * 1e9)
    assert by_target(capsys, "Answers") == {HAIKU: 1}


def test_a_fallback_is_counted_and_each_target_bears_its_own_cost(capsys: pytest.CaptureFixture[str]) -> None:
    House({SONNET: [cut(LONG)], HAIKU: [answer("はい。")]}).ask(COMPLEX)
    assert (measured("Attempts"), measured("Fallbacks"), measured("TargetFailed")) == (2, 1, 1)
    costs = by_target(capsys, "AttemptCostNanoUsd")
    assert sum(costs.values()) == measured("CostNanoUsd")
    assert costs[SONNET] > costs[HAIKU] > 0


def test_a_failed_call_is_counted_by_its_target_and_a_throttled_one_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    House({SONNET: [fails("throttled")], HAIKU: [answer("はい。")]}).ask(COMPLEX)
    assert measured("TargetThrottled") == 1
    assert by_target(capsys, "AttemptsFailed") == {SONNET: 1}


def test_a_complex_question_that_the_fast_class_answers_is_a_downgrade_and_a_simple_one_is_none() -> None:
    House({SONNET: [fails()], HAIKU: [answer("はい。")]}).ask(COMPLEX)
    assert measured("Downgrades") == 1
    House(dict(ANSWERED)).ask(SIMPLE)
    House(dict(ANSWERED)).ask(COMPLEX)
    assert measured("Downgrades") == 1


def test_a_turn_that_no_model_answers_is_counted_as_the_catalogues(capsys: pytest.CaptureFixture[str]) -> None:
    House({HAIKU: [fails()]}).ask()
    assert (measured("CatalogueAnswers"), measured("Downgrades")) == (1, 0)
    assert by_target(capsys, "Answers") == {HAIKU: 0, "catalogue": 1}


@pytest.mark.parametrize(("spent_percent", "tiers", "guarded"), [(1, 0, 0), (96, 1, 1)])
def test_the_pace_of_the_days_money_is_measured_and_the_guard_is_counted(
    spent_percent: int, tiers: int, guarded: int
) -> None:
    house = House(dict(ANSWERED))
    house.world.situation_now = Situation(committed_nano_usd=POLICY.budget.daily_nano_usd * spent_percent // 100)
    house.ask()
    assert measured("SpendPace") >= spent_percent
    assert (measured("BudgetTiers"), measured("BudgetGuarded")) == (tiers, guarded)


def test_of_turns_without_trouble_a_share_is_logged_that_stands_for_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    house = House(dict(ANSWERED), logged_percent=10)
    with caplog.at_level("INFO"):
        for number in range(90):  # more metrics than Powertools keeps would be written early
            house.ask(f"{SIMPLE} {number}")
    lines = turn_lines(caplog)
    assert 0 < len(lines) < 45
    assert {line.stands_for for line in lines} == {10}
    assert measured("Turns") == 90


@pytest.mark.parametrize("scripts", [{HAIKU: [fails()]}, {HAIKU: [hangs()]}], ids=["refused", "silent"])
def test_a_turn_with_trouble_is_always_logged(
    caplog: pytest.LogCaptureFixture, scripts: dict[str, list[list[After]]]
) -> None:
    house = House(scripts, logged_percent=1)
    with caplog.at_level("INFO"):
        for _ in range(5):
            house.ask()
    assert [line.stands_for for line in turn_lines(caplog)] == [1] * 5


def test_a_lines_ids_lead_to_the_turn_and_it_holds_no_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        frames = House({HAIKU: [answer("二十四時間。")]}).ask("深夜の営業時間は?")
    (line,) = turn_lines(caplog)
    assert line.turn_id == frames[0]["turn_id"]
    assert line.session_id == frames[0]["session_id"]
    assert (line.target, line.attempts, line.cost_nano_usd) == (HAIKU, [f"{HAIKU}:answered"], measured("CostNanoUsd"))
    told = str(line.__dict__)
    assert "営業" not in told
    assert "二十四" not in told


@dataclass
class Trace:
    """The spans of attempts as they begin and end."""

    open: list[str] = field(default_factory=list)
    ended: list[dict[str, str]] = field(default_factory=list)

    def begin(self, name: str) -> Trace:
        assert not self.open, "an attempt begins while another one is open"
        self.open.append(name)
        return self

    def end(self, **annotations: str) -> None:
        assert self.open.pop() == f"attempt {annotations['target']}"
        self.ended.append(annotations)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (answer("はい。"), "answered"),
        (fails("throttled"), "throttled"),
        (cut(LONG), "cut"),
        (hangs(), "left"),
    ],
    ids=["answered", "throttled", "cut", "silent"],
)
def test_every_attempt_is_a_span_that_ends_with_what_came_of_it(script: list[After], outcome: str) -> None:
    trace = Trace()
    House({SONNET: [script], HAIKU: [answer("はい。")]}, begin=trace.begin).ask(COMPLEX)
    assert trace.open == []
    assert (trace.ended[0]["target"], trace.ended[0]["outcome"]) == (SONNET, outcome)
    assert [it["target"] for it in trace.ended[1:]] == ([] if outcome == "answered" else [HAIKU])


def test_a_call_that_cannot_be_opened_ends_its_span_too() -> None:
    trace = Trace()
    house = House(dict(ANSWERED), begin=trace.begin)
    house.backend.open_s = 60
    house.ask()
    assert trace.open == []
    assert [it["outcome"] for it in trace.ended] == ["unavailable"]
