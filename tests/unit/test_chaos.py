"""The pure parts of the fault matrix: its cells, what a text must be, and the verdict on a cell."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos import matrix, report, verdict
from chaos.matrix import Cell
from chaos.questions import A_NOTE, FORMS, Expected, is_exact, question
from chaos.verdict import Books
from load.schedule import Planned
from load.shopper import Asked
from local import answers
from local.chat import Turn
from local.faults import DEPENDENCIES, Faults
from mangaassist.chat import phrases

CELL = Cell("search", "hang", 0.3)
BEFORE = Books(committed=100, spent=50, limit=10_000_000, charged_tokens=10)
AFTER = replace(BEFORE, committed=100 + 3_000, charged_tokens=10 + 30)


def said(asked: str, notes: str = "") -> str:
    return answers.answer("", (answers.Said("user", notes + asked),))


def answered(number: int = 0, **changes: Any) -> Asked:
    """A turn that a model answered exactly, for 3000 nano-dollars and 30 tokens."""
    asked = question(number)
    attempt = {"target": "ondemand-haiku", "outcome": "answered", "cost_usd": 3_000 / 1e9}
    end = {
        "turn_id": f"t{number}",
        "finish": "complete",
        "target": "ondemand-haiku",
        "attempts": [attempt],
        "usage": {"estimated": False},
        "cost_usd": 3_000 / 1e9,
        "total_ms": 2_000,
    }
    turn = Turn(asked, None, id=f"t{number}", text=said(asked), end=end | changes)
    return Asked(Planned(0, 0, "", asked), first_text_ms=600, total_ms=2_010, posts=6, turn=turn)


def line(number: int = 0, cost_nano_usd: int = 3_000) -> dict[str, Any]:
    usage = {"input_tokens": 20, "output_tokens": 10, "cache_read_tokens": 0, "cache_write_tokens": 0}
    attempt = {"target": "ondemand-haiku", "outcome": "answered", "cost_nano_usd": cost_nano_usd} | usage
    return {"turn_id": f"t{number}", "attempts": [attempt], "cost_nano_usd": cost_nano_usd}


def test_the_matrix_has_every_dependency_fault_and_share_once() -> None:
    cells = matrix.whole()
    assert len(cells) == len(set(cells)) == len(matrix.GROUPS) * len(matrix.FAULTS) * 3 + 3 + 1 + 2
    assert set(matrix.quick()) <= set(cells)
    assert [cell.group for cell in cells if cell.silences] == ["posts (gateway)"] * 7


def test_the_twin_takes_every_fault_of_the_matrix() -> None:
    import json

    faults = Faults(random.Random(1))
    known = {*matrix.MODELS, *DEPENDENCIES}
    for cell in matrix.whole():
        faults.put(json.dumps(cell.scripted).encode(), known)
        assert set(faults.listed()) == set(cell.scripted)
        faults.clear()


def test_cells_are_chosen_by_words_and_share_a_twin_by_group() -> None:
    found = matrix.chosen(matrix.whole(), ["dynamodb", "30%"])
    assert {cell.fault for cell in found} == set(matrix.FAULTS)
    assert [group for group, _ in matrix.by_group(matrix.quick())] == list(dict.fromkeys(it[0] for it in matrix.QUICK))


@pytest.mark.parametrize("number", range(len(FORMS)))
@pytest.mark.parametrize("notes", ["", A_NOTE])
def test_an_emulated_answer_is_exact_and_nothing_else_is(number: int, notes: str) -> None:
    asked = question(number)
    text = said(asked, notes)
    assert is_exact(asked, text, "complete")
    for wrong in (text[:-1], text + "。", text[1:], text.replace("。", "", 1).replace(". ", " ", 1), text * 2, ""):
        assert not is_exact(asked, wrong, "complete")
    assert not is_exact(question(number + len(FORMS)), text, "complete")


@given(number=st.integers(0, 11), notes=st.sampled_from(["", A_NOTE]), share=st.floats(0, 1))
def test_every_beginning_of_an_answer_is_one_and_a_changed_one_is_none(number: int, notes: str, share: float) -> None:
    asked = question(number)
    text = said(asked, notes)
    begun = text[: int(len(text) * share)]
    assert Expected(asked).is_begun(begun)
    if begun:
        assert not Expected(asked).is_begun("×" + begun)
    interrupted = f"{begun}\n\n{phrases.interrupted(phrases.language_of(asked))}\nsorry"
    assert is_exact(asked, interrupted, "catalogue")
    assert not is_exact(asked, "×" + interrupted, "catalogue")


def test_a_word_too_many_in_a_beginning_is_seen() -> None:
    asked = question(0)
    text = said(asked)
    assert not Expected(asked).is_begun(text[:60] + text[55:90])
    assert not is_exact(asked, " ", "catalogue")


def test_a_cell_in_which_all_went_well_has_no_complaint() -> None:
    result = verdict.of(CELL, [answered()], [line()], BEFORE, AFTER)
    assert result.complaints == []
    assert (result.turns, result.ended, result.useful, result.in_time_share) == (1, 1, 1, 1.0)
    assert str(result.ledger) == "1 exact"
    assert report.row(result)[0] == "hang, 30%"
    assert report.row(result)[-1] == "ok"


def test_a_line_that_says_something_else_is_wrong_and_one_that_is_missing_is_told() -> None:
    wrong = verdict.of(CELL, [answered()], [line(cost_nano_usd=2_999)], BEFORE, AFTER)
    assert wrong.complaints == ["1 wrong ledger lines"]
    missing = verdict.of(CELL, [answered()], [], BEFORE, AFTER)
    assert str(missing.ledger) == "0 exact, 1 in the log only"
    assert missing.complaints == []


def test_tokens_that_the_service_charged_and_no_line_has_are_seen_unless_something_was_estimated() -> None:
    more = replace(AFTER, charged_tokens=AFTER.charged_tokens + 1)
    assert verdict.of(CELL, [answered()], [line()], BEFORE, more).ledger.wrong == 1
    guessed = answered(usage={"estimated": True})
    assert str(verdict.of(CELL, [guessed], [line()], BEFORE, more).ledger) == "1 exact (1 estimated)"


def test_a_counter_below_what_was_told_or_over_the_limit_breaks_the_budget() -> None:
    for after in (replace(AFTER, committed=BEFORE.committed + 2_999), replace(AFTER, limit=3_000)):
        assert verdict.of(CELL, [answered()], [line()], BEFORE, after).complaints == [
            "the budget's counter is below what was spent"
        ]


def test_lost_late_and_inexact_turns_are_complaints() -> None:
    lost, late, inexact = answered(1), answered(2, total_ms=29_500), answered(3)
    lost.turn.end = None
    inexact.turn.text += "!"
    after = replace(BEFORE, committed=1_000_000, charged_tokens=70)
    lines = [line(2), line(3)]
    assert verdict.of(CELL, [lost, late, inexact], lines, BEFORE, after).complaints == [
        "1 turns without an end",
        "1 turns past the deadline",
        "1 inexact texts",
    ]


def test_an_error_is_an_end_but_not_useful() -> None:
    refused = answered()
    refused.turn.end, refused.turn.error, refused.first_text_ms = None, {"code": "internal"}, None
    result = verdict.of(CELL, [refused, answered(1)], [line(1)], BEFORE, AFTER)
    assert (result.ended, result.useful, result.errors, result.in_time_share) == (2, 1, {"error: internal": 1}, 0.5)


def test_the_page_of_docs_tells_all_cells_and_their_sum() -> None:
    results = [verdict.of(cell, [answered()], [line()], BEFORE, AFTER) for cell in matrix.whole()]
    text = report.markdown(results, "make chaos", shoppers=8, seconds=5)
    assert text.count("| ok |") == len(results)
    assert "100.00% came to an `end` or an `error`, 100.00% had a useful answer, 0 had an inexact text" in text
    assert report.who_answered(results) == {"ondemand-haiku": len(results)}
    assert report.Totals.of([]).sentence() == "Nothing was asked."
