"""The comparison with others: answers judged alike for all, ratios to ours, and sentences that the figures make."""

from __future__ import annotations

from typing import Any

import pytest

from bench import fake_bedrock
from chaos.questions import FORMS
from load.schedule import Planned
from load.shopper import Asked
from local import answers
from local.chat import Turn
from peers import report
from peers.contenders import OURS
from peers.costs import Cost
from peers.scenarios import PATIENCE_S, Answer, Result, of_ours, of_peer

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


def test_an_error_is_no_answer_and_no_silence() -> None:
    result = Result([Answer(0.4, 2.0, "ReadTimeoutError")])
    assert (result.answered, result.silent, result.kept) == (False, False, True)


def test_everybody_waits_equally_long_for_an_end() -> None:
    late = ours("complete", WHOLE)
    late.total_ms = 1000 * PATIENCE_S + 1
    assert of_ours(late) == Answer(0.4, PATIENCE_S, "no end")


def test_a_row_tells_times_and_their_ratio_to_ours() -> None:
    _, theirs = report.cost_rows({OURS: cost(2), "LiteLLM Router": cost(20)})
    assert theirs[1] == "20.00 ms (10.00 ×)"
    assert theirs[-2:] == ("2,000 ms (10.00 ×)", "400 MB (10.00 ×)")


def test_a_scenario_tells_the_first_text_the_ends_and_when() -> None:
    results = {
        "both hang": {OURS: Result([Answer(2.7, 2.9, "catalogue")] * 3), "raw": Result([Answer(None, 3.0, "X")])}
    }
    assert report.scenario_rows(results) == [
        ("both hang", "2.70 s; catalogue after 2.90 s", "no text; X after 3.00 s"),
    ]
    of_us, of_them = report.verdicts({}, results)
    assert of_us.startswith(f"{OURS}: under 1 of 1 faults every answer was whole or said what it was instead, under 0")
    assert of_them.startswith("raw: under 0 of 1 faults every answer")
    assert "under 1 some ended in an error, under 0 some broke off" in of_them


def test_the_page_names_the_command_the_versions_and_every_contender() -> None:
    text = report.markdown({OURS: cost(2), "raw": cost(3)}, {}, "make peers", {"litellm": "1.2.3"})
    assert "`make peers`" in text
    assert "litellm 1.2.3" in text
    assert "| raw | 3.00 ms (1.50 ×)" in text
