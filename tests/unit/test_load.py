"""The pure parts of the load: when whom is asked what, and what a run is worth."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from load import outcome, report
from load.run import Run, Sample
from load.schedule import CATALOGUE, COMPLEX, SIMPLE, Planned, Traffic, by_shopper, intensity, labelled, plan
from load.shopper import Asked
from local.chat import Turn

QUESTIONS = {SIMPLE: ["hi"], CATALOGUE: ["manga?"], COMPLEX: ["compare"]}
TRAFFIC = Traffic(rate=40, seconds=60, warm_up_s=10)


def asked(
    at_s: float,
    *,
    first_ms: float | None = 500,
    total_ms: float | None = 2_000,
    target: str = "m",
    finish: str = "complete",
) -> Asked:
    """A turn with an end, or a lost one when it has no total."""
    turn = Turn("?", None)
    if total_ms is not None:
        turn.end = {"finish": finish, "target": target}
    planned = Planned(at_s, int(at_s), SIMPLE, "?")
    return Asked(planned, first_text_ms=first_ms, total_ms=total_ms, posts=6, turn=turn)


def sample(at_s: float, memory_mb: float, *, cpu_s: float = 0.0, functions_s: float = 0.0, sockets: int = 4) -> Sample:
    return Sample(at_s, cpu_s, functions_s, 0.0, 900 + at_s, 5, 10, memory_mb, 2, sockets, 3)


def test_the_same_seed_draws_the_same_run() -> None:
    assert plan(TRAFFIC, QUESTIONS, 1) == plan(TRAFFIC, QUESTIONS, 1) != plan(TRAFFIC, QUESTIONS, 2)


def test_as_many_turns_come_as_the_rate_says_in_order_and_in_their_kinds() -> None:
    planned = plan(replace(TRAFFIC, seconds=500), QUESTIONS, 1)
    counted = [turn for turn in planned if turn.counts]
    assert len(counted) / 500 == pytest.approx(40, rel=0.05)
    assert [turn.at_s for turn in planned] == sorted(turn.at_s for turn in planned)
    kinds = Counter(turn.kind for turn in counted)
    assert kinds[COMPLEX] / len(counted) == pytest.approx(0.1, abs=0.02)
    assert kinds[CATALOGUE] / len(counted) == pytest.approx(0.3, abs=0.02)
    assert sum(turn.drops for turn in counted) / len(counted) == pytest.approx(0.02, abs=0.01)


def test_shoppers_think_and_ask_a_few_questions_each() -> None:
    turns = by_shopper(plan(replace(TRAFFIC, seconds=500), QUESTIONS, 1))
    gaps = [after.at_s - before.at_s for asked in turns.values() for before, after in pairwise(asked)]
    assert min(gaps) >= 1
    assert sum(gaps) / len(gaps) == pytest.approx(15, rel=0.1)
    assert sum(map(len, turns.values())) / len(turns) == pytest.approx(4, rel=0.15)


def test_the_rate_follows_the_curve_and_rises_while_it_warms_up() -> None:
    evening = [intensity(TRAFFIC, second) for second in range(60)]
    assert sum(evening) / 60 == pytest.approx(40)
    assert evening[0] < max(evening) == intensity(TRAFFIC, 31)  # 21 o'clock is the busiest
    assert intensity(TRAFFIC, -10) == 0 < intensity(TRAFFIC, -5) < intensity(TRAFFIC, 0)


def test_the_labelled_questions_are_there_in_all_kinds() -> None:
    questions = labelled()
    assert set(questions) == {SIMPLE, CATALOGUE, COMPLEX}
    assert sum(map(len, questions.values())) > 1000


def test_a_run_that_served_all_in_time_holds() -> None:
    result = outcome.of(Run([asked(second / 2) for second in range(40)]), replace(TRAFFIC, rate=2, seconds=20))
    assert (result.asked, result.started, result.posts_per_answer) == (40, 40, 6)
    assert result.ended_per_s == 36 / 20  # those of the last two seconds end later
    assert result.first_text_ms["p99"] == 500
    assert result.holds()
    assert result.failures == []
    assert report.verdict([result]) == "None of 40 turns was lost; 1.8 turns a second were held."


@pytest.mark.parametrize(
    "bad",
    [
        [asked(1, first_ms=4_000)],
        [asked(1, target="catalogue")],
        [asked(1, total_ms=None)],
        [asked(1, first_ms=None)],
        [asked(1, finish="deadline")],
    ],
    ids=["late", "without a model", "lost", "without text", "cut short"],
)
def test_a_run_with_late_or_missing_answers_does_not_hold(bad: list[Asked]) -> None:
    result = outcome.of(Run([asked(1), *bad]), TRAFFIC)
    assert not result.holds()
    assert "no rate was held" in report.verdict([result])


def test_a_turn_without_text_comes_after_all_others() -> None:
    result = outcome.of(Run([asked(1), asked(2), asked(3, first_ms=None)]), TRAFFIC)
    assert (result.first_text_ms["p50"], result.first_text_ms["p99"]) == (500, None)
    assert result.within_promise == pytest.approx(2 / 3)


def test_a_lost_turn_fails_the_run_also_when_it_was_asked_while_it_warmed_up() -> None:
    result = outcome.of(Run([asked(1), asked(-3, total_ms=None)]), TRAFFIC)
    assert (result.lost, result.asked, result.started) == (1, 2, 1)
    assert result.failures == ["1 turns were lost"]
    assert report.verdict([result]).startswith("1 of 2 turns were lost")
    assert result.outcomes == {"complete": 1}


def test_what_is_left_at_rest_fails_the_run() -> None:
    result = outcome.of(Run([asked(1)], left={"model streams": 2}), TRAFFIC)
    assert result.failures == ["2 model streams were left at rest"]
    assert "At rest there were left 2 model streams." in report.verdict([result])


def test_an_error_frame_is_an_outcome_of_its_own() -> None:
    refused = asked(1)
    refused.turn.end, refused.turn.error = None, {"code": "rate_limited"}
    assert refused.outcome == "error: rate_limited"
    assert not outcome.of(Run([asked(1), refused]), TRAFFIC).holds()


def test_functions_that_grow_once_they_have_settled_are_told_and_emulators_that_keep_what_they_get_are_not() -> None:
    def growing(samples: list[Sample]) -> list[str]:
        return outcome.of(Run([asked(1)], samples), replace(TRAFFIC, seconds=60)).growing

    assert growing([sample(at_s, 300) for at_s in range(61)]) == []
    assert growing([sample(at_s, 100 + (50 if at_s < 10 else 0)) for at_s in range(61)]) == []
    (memory,) = growing([sample(at_s, 100 + at_s) for at_s in range(61)])
    assert memory.startswith("MB of the functions' processes grew from 12")
    (sockets,) = growing([sample(at_s, 300, sockets=at_s) for at_s in range(61)])
    assert sockets.startswith("sockets of the functions' processes grew from ")
    assert growing([sample(at_s, 100) for at_s in range(2)]) == [
        f"nothing is known of {name}" for name in outcome.STEADY
    ]


def test_what_limits_is_told_by_who_is_busy() -> None:
    def limit(cpu: float, functions: float) -> str:
        samples = [sample(0, 1), sample(60, 1, cpu_s=60 * cpu, functions_s=60 * functions)]
        return outcome.of(Run([asked(1)], samples), TRAFFIC).limited_by(2)

    assert limit(0.95, 0.3).startswith("the one process of the twin")
    assert limit(0.7, 1.1).startswith("the machine: 1.80 of 2 cores are busy (twin 0.70, functions 1.10, load 0.00)")
    assert limit(0.2, 0.2).startswith("not the machine: 0.40 of 2 cores")
    assert outcome.of(Run([asked(1)]), TRAFFIC).limited_by(2).startswith("unknown")


def test_kept_answers_are_told_apart_from_those_of_models() -> None:
    result = outcome.of(Run([asked(1), asked(2, target="kept"), asked(3, target="catalogue")]), TRAFFIC)
    assert (result.answered, result.kept) == (2, 1)
    assert "66.7% (33%)" in report.row(result)


def test_each_rate_that_is_not_held_is_explained_with_what_was_refused() -> None:
    refused = Run([asked(1, first_ms=None)], refused=Counter({"status 503": 4}))
    told = report.limits(
        [outcome.of(it, TRAFFIC) for it in (Run([asked(1)]), refused, Run([asked(1, target="catalogue")]))]
    )
    assert len(told) == 2
    assert "4 tries to connect ended as status 503" in told[0]


def test_a_rate_that_is_not_held_is_no_steady_one() -> None:
    result = outcome.of(Run([asked(1, target="catalogue")]), TRAFFIC)
    assert result.unsteady[0] == "40 turns a second were not held"


def test_of_turns_that_meet_a_stall_the_catalogue_may_have_some_and_no_more() -> None:
    stalling = replace(TRAFFIC, stall_share=0.02)

    def ran(by_catalogue: int, traffic: Traffic) -> outcome.Outcome:
        return outcome.of(Run([*map(asked, range(58)), *[asked(1, target="catalogue")] * by_catalogue]), traffic)

    assert not ran(2, TRAFFIC).holds()
    assert ran(2, stalling).holds()
    assert not ran(4, stalling).holds()
    told = report.markdown([ran(2, stalling)], stalling, "make soak", "Soak")
    assert "95% are served whole" in told
    assert "2% of the calls of models stall" in told


def test_instants_are_counted_by_their_second() -> None:
    assert outcome.per_second([-0.5, 0.0, 0.9, 2.5, 3.0], 3) == [2, 0, 1]


def test_the_document_and_the_page_of_docs_tell_the_same_run() -> None:
    result = outcome.of(Run([asked(1), asked(2)]), TRAFFIC)
    document = json.loads(json.dumps(report.document([result], TRAFFIC)))
    assert document["runs"][0]["started"] == 2
    assert document["runs"][0]["failures"] == []
    text = report.markdown([result], TRAFFIC, "make load")
    assert text.startswith("# Load\n\nWritten by `make load`")
    assert f"| {' | '.join(report.row(result))} |" in text
