"""The comparison with others: answers judged alike for all, ratios to ours, and sentences that the figures make."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from bench import fake_bedrock, timing
from chaos.questions import FORMS
from load.schedule import Planned
from load.shopper import Asked
from local import answers
from local.chat import Turn
from peers import report
from peers.__main__ import main
from peers.contender import Client, asked, costs
from peers.contenders import OURS
from peers.costs import Cost
from peers.scenarios import Answer, Result, of_ours, of_peer
from tools import endpoint_load

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = FORMS[2].format(number=1)
WHOLE = answers.answer("", (answers.Said("user", QUESTION),))
MANNERS = (fake_bedrock.AT_ONCE, fake_bedrock.TOKEN_BY_TOKEN)


def heard(text: str, error: str = "") -> dict[str, Any]:
    return {"first_text_s": 0.4, "total_s": 2.0, "text": text, "error": error}


def ours(finish: str, text: str) -> Asked:
    turn = Turn(QUESTION, None, text=text, end={"finish": finish, "target": "m"})
    return Asked(Planned(0, 0, "", QUESTION), first_text_ms=400, total_ms=2_000, posts=6, turn=turn)


def cost(milliseconds: float) -> Cost:
    times = dict.fromkeys(MANNERS, milliseconds)
    return Cost(times, times, times, import_s=milliseconds / 10, memory_mb=milliseconds * 20)


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (heard(WHOLE), "whole"),
        (heard(WHOLE[:-1]), "truncated"),
        (heard(WHOLE[:-1], "ReadTimeout"), "ReadTimeout"),
    ],
)
def test_a_peers_answer_is_whole_to_the_character_or_ends_as_it_says(answer: dict[str, Any], end: str) -> None:
    assert of_peer(QUESTION, answer) == Answer(0.4, 2.0, end)


@pytest.mark.parametrize(
    ("finish", "text", "end"),
    [
        ("complete", WHOLE, "whole"),
        ("complete", WHOLE[:-1], "wrong"),
        ("deadline", WHOLE[:9], "deadline"),
        ("deadline", "本当は違う", "wrong"),
    ],
)
def test_our_answer_is_held_to_the_same_text(finish: str, text: str, end: str) -> None:
    assert of_ours(ours(finish, text)) == Answer(0.4, 2.0, end)


def test_an_answer_that_never_ended_is_no_good_one() -> None:
    lost = Asked(Planned(0, 0, "", QUESTION), first_text_ms=None, total_ms=None, posts=0, turn=Turn(QUESTION, None))
    result = Result([of_ours(lost), Answer(0.4, 2.0, "whole")])
    assert (result.answered, result.silent, result.kept) == (False, True, False)
    assert (result.late, result.failed) == (False, False)


def test_an_error_is_no_answer_and_no_silence() -> None:
    result = Result([Answer(0.4, 2.0, "ReadTimeoutError")])
    assert (result.answered, result.silent, result.failed, result.kept) == (False, False, True, True)


def test_whoever_ends_past_the_patience_is_late_and_neither_silent_nor_answered() -> None:
    late = ours("complete", WHOLE)
    late.total_ms = 14_100
    theirs = of_peer(QUESTION, heard(WHOLE) | {"total_s": 14.1})
    assert of_ours(late) == theirs == Answer(0.4, 14.1, "whole")
    result = Result([theirs])
    assert (result.answered, result.late, result.silent, result.failed) == (False, True, False, False)


class Scripted(Client):
    """Says nothing before it may, or before its pause is over."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.may = Event()
        self._pause_s = pause_s

    def ask(self, question: str) -> Iterator[str]:
        """An answer of two pieces."""
        self.may.wait(self._pause_s)
        yield from ("a", "b")


class WithGateway(Scripted):
    """Its gateway takes a second for an answer."""

    gateway_s = 0.0

    def ask(self, question: str) -> Iterator[str]:
        """The same answer."""
        self.gateway_s += 1
        yield from super().ask(question)

    def gateway_cpu_s(self) -> float:
        """What it took so far."""
        return self.gateway_s


def test_the_end_of_an_answer_is_told_even_when_nobody_had_the_patience_for_it() -> None:
    answer = asked(Scripted(0.2), QUESTION, patience_s=0.0, past_it_s=30.0)
    assert (answer["error"], answer["text"]) == ("", "ab")
    assert 0.2 <= answer["total_s"] < 30.0


def test_an_answer_without_an_end_is_told_as_such_when_nobody_hears_on() -> None:
    endless = Scripted(60.0)
    answer = asked(endless, QUESTION, patience_s=0.0, past_it_s=0.01)
    endless.may.set()
    assert (answer["error"], answer["total_s"], answer["text"]) == ("no end", 0.01, "")


def test_a_gateways_processor_time_counts_with_its_clients() -> None:
    assert costs(WithGateway(), QUESTION, 3)["cpu_ms"] >= 1_000
    assert costs(Scripted(), QUESTION, 3)["cpu_ms"] < 1_000


def test_a_row_tells_times_and_their_ratio_to_ours() -> None:
    _, theirs = report.cost_rows({OURS: cost(2), "LiteLLM Router": cost(20)})
    assert theirs[1] == "20.00 ms (10.00 ×)"
    assert theirs[-2:] == ("2,000 ms (10.00 ×)", "400 MB (10.00 ×)")


def test_a_scenario_tells_the_first_text_the_ends_and_when() -> None:
    results = {
        "both hang": {
            OURS: Result([Answer(2.7, 2.9, "catalogue")] * 3),
            "raw": Result([Answer(None, 3.0, "X")]),
        }
    }
    assert report.scenario_rows(results) == [
        ("both hang", "2.70 s; catalogue after 2.90 s", "no text; X after 3.00 s"),
    ]
    of_us, of_them = report.verdicts({}, results)
    assert of_us.startswith(
        f"{OURS}: under 1 of 1 faults every answer was whole or said what it was instead, within 10 s; under 0"
    )
    assert of_them.startswith("raw: under 0 of 1 faults every answer")
    assert "under 1 some ended in an error, under 0 some broke off" in of_them


def test_late_ends_are_told_with_when_and_counted_apart() -> None:
    whole, late = Answer(0.4, 9.0, "whole"), Answer(12.0, 14.1, "whole")
    endless = Answer(None, 70.0, "no end")
    assert report.told(Result([late])) == "12.00 s; whole after 14.10 s (past 10 s)"
    assert report.told(Result([whole, whole, late, endless])) == (
        "0.40 s (3 of 4); 2 of 4 whole after 9.00 s, 1 of 4 whole after 14.10 s (past 10 s), "
        "1 of 4 no end within 70.00 s"
    )
    (verdict,) = report.verdicts({}, {"primary hangs": {"raw": Result([whole, late])}})
    assert "under 0 of 1 faults every answer was whole" in verdict
    assert "under 0 some broke off without a word or never ended, under 1 some ended later than 10 s" in verdict


def test_the_page_says_how_many_answers_stand_behind_a_cell() -> None:
    one = Answer(0.4, 2.0, "whole")
    assert "5 answers stand behind each cell" in report.markdown({}, {"x": {OURS: Result([one] * 5)}}, "", {})
    assert report.answers_behind({"x": {OURS: Result([one])}}) == "1 answer stands behind each cell"
    both = {"x": {OURS: Result([one] * 3)}, "y": {OURS: Result([one] * 5)}}
    assert report.answers_behind(both) == "3 to 5 answers stand behind each cell"


def test_five_rounds_are_run_unless_told_otherwise() -> None:
    assert next(it for it in main.params if it.name == "rounds").default == 5


def test_a_percentile_is_the_smallest_value_that_so_many_are_not_over() -> None:
    values = [float(value) for value in range(1, 21)]
    for percentile in (timing.percentile, endpoint_load.percentile):
        assert [percentile(values, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 10, 19, 20]


def test_the_page_names_the_command_the_versions_and_every_contender() -> None:
    text = report.markdown({OURS: cost(2), "raw": cost(3)}, {}, "make peers", {"litellm": "1.2.3"})
    assert "`make peers`" in text
    assert "litellm 1.2.3" in text
    assert "| raw | 3.00 ms (1.50 ×)" in text
