"""The pure parts of the fault matrix: its cells, what a text must be, and the verdict on a cell."""

from __future__ import annotations

import io
import json
import random
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from chaos import matrix, report, verdict
from chaos.__main__ import Matrix
from chaos.matrix import Cell
from chaos.questions import FORMS, Expected, is_exact, question
from chaos.verdict import Books, Verdict
from load.schedule import Planned
from load.shopper import Asked
from local import answers
from local.chat import Turn
from local.faults import DEPENDENCIES, Faults
from mangaassist.chat import phrases
from mangaassist.knowledge import catalogue, notes
from mangaassist.knowledge.product import Product
from mangaassist.routing import question as reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CELL = Cell("search", "hang", 0.3)
A_NOTE = notes.asked("", [Product(next(iter(catalogue.works().values())))])
HAIKU = "jp.anthropic.claude-haiku-5-5"


def charged(times: int = 1, **more: int) -> Counter[tuple[str, str]]:
    """What the service has charged after so many answers, and more tokens of some kinds."""
    return Counter({(HAIKU, "input_tokens"): 7 + 20 * times, (HAIKU, "output_tokens"): 3 + 10 * times}) + Counter(
        {(HAIKU, kind): tokens for kind, tokens in more.items()}
    )


BEFORE = Books(committed=100, reserved={"SPEND#2026-11-27": 50}, limit=10_000_000, charged=charged(0))
AFTER = replace(BEFORE, committed=100 + 3_000, charged=charged())


def said(asked: str, notes: str = "") -> str:
    return answers.answer("", (answers.Said("user", notes + asked),))


def offered(asked: str) -> str:
    """The catalogue's answer to a question about nothing that it has a special word for."""
    return catalogue.answer(reader.read(asked), [Product(work) for work in [*catalogue.works().values()][:2]])


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


def line(number: int = 0, cost_nano_usd: int = 3_000, *, estimated: bool = False) -> dict[str, Any]:
    usage = {"input_tokens": 20, "output_tokens": 10, "cache_read_tokens": 0, "cache_write_tokens": 0}
    attempt = {
        "target": "ondemand-haiku",
        "model": HAIKU,
        "outcome": "answered",
        "cost_nano_usd": cost_nano_usd,
        "estimated": estimated,
    }
    return {"turn_id": f"t{number}", "attempts": [attempt | usage], "cost_nano_usd": cost_nano_usd}


def judged(*given: Any, cell: Cell = CELL, met: int = 1, **known: Any) -> Verdict:
    return verdict.of(cell, *given, met=Counter(dict.fromkeys(cell.to_be_met, met)), **known)


def failed_by_the_hour() -> dict[str, Any]:
    nothing = dict.fromkeys(verdict.TOKENS, 0)
    known = {"target": "provisioned-haiku", "model": "arn:bought", "outcome": "failed"}
    return known | {"cost_nano_usd": 0, "estimated": False} | nothing


def by_the_hour() -> Asked:
    """A turn that what was bought failed, and the fast model answered."""
    asked = answered()
    assert asked.turn.end
    attempts = [{"target": "provisioned-haiku", "outcome": "failed", "cost_usd": 0}, *asked.turn.end["attempts"]]
    asked.turn.end["attempts"] = attempts
    return asked


def test_the_matrix_has_every_dependency_fault_and_share_once() -> None:
    cells = matrix.whole()
    assert len(cells) == len(set(cells)) == len(matrix.GROUPS) * len(matrix.FAULTS) * 3 + 3 + 1 + 1 + 3
    assert set(matrix.quick()) <= set(cells)
    assert [cell.group for cell in cells if cell.silences] == [
        group for group in (matrix.POSTS, *matrix.HANDSHAKES) for _ in range(7)
    ]


def test_the_twin_takes_every_fault_of_the_matrix() -> None:
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


@settings(deadline=None)  # the first one reads the catalogue
@given(number=st.integers(0, 11), notes=st.sampled_from(["", A_NOTE]), share=st.floats(0, 1))
def test_every_beginning_of_an_answer_is_one_and_a_changed_one_is_none(number: int, notes: str, share: float) -> None:
    asked = question(number)
    text = said(asked, notes)
    begun = text[: int(len(text) * share)]
    assert Expected(asked).is_begun(begun)
    if begun:
        assert not Expected(asked).is_begun("×" + begun)
    interrupted = f"{begun}\n\n{phrases.interrupted(phrases.language_of(asked))}\n{offered(asked)}"
    assert is_exact(asked, interrupted, "catalogue")
    assert not is_exact(asked, "×" + interrupted, "catalogue")


def test_a_word_too_many_in_a_beginning_is_seen() -> None:
    asked = question(0)
    text = said(asked)
    assert not Expected(asked).is_begun(text[:60] + text[55:90])
    assert not is_exact(asked, " ", "catalogue")


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_the_catalogues_answer_offers_what_the_catalogue_has_word_for_word(number: int) -> None:
    asked = question(number)
    read = reader.read(asked)
    works = [Product(work) for work in catalogue.matching(reader.read("ベルセルク 寄生獣"))]
    for text in (offered(asked), catalogue.answer(read, []), catalogue.answer(read, works)):
        assert is_exact(asked, text, "catalogue")
    text = catalogue.answer(read, works)
    for wrong in (
        "x",
        "",
        text[:-1],
        text + text,
        said(asked)[:40] + text,
        text.replace("三浦", "四浦").replace("Mi", "M"),
    ):
        assert not is_exact(asked, wrong, "catalogue")


def test_a_model_that_names_a_work_or_a_price_that_the_catalogue_has_not_is_seen() -> None:
    asked = question(1)
    (berserk, *_) = catalogue.matching(reader.read("ベルセルク"))
    text = answers.answer("", (answers.Said("user", notes.asked(asked, [Product(berserk, price_yen=1)])),))
    assert not is_exact(asked, text, "complete")
    assert is_exact(asked, text.replace("・1巻1円", ""), "complete")
    assert not is_exact(asked, text.replace("・1巻1円", "").replace("ベルセルク』", "ベルセルグ』"), "complete")


def test_an_answer_that_is_cut_short_is_not_useful() -> None:
    short = answered(finish="deadline")
    short.turn.text = short.turn.text[:30]
    assert judged([short], [line()], BEFORE, AFTER).complaints == ["1 turns without a useful answer"]


def test_a_cell_in_which_all_went_well_has_no_complaint() -> None:
    result = judged([answered()], [line()], BEFORE, AFTER)
    assert result.complaints == []
    assert (result.turns, result.ended, result.useful, result.in_time_share) == (1, 1, 1, 1.0)
    assert str(result.ledger) == "1 exact"
    assert report.row(result)[0] == "hang, 30%"
    assert report.row(result)[-1] == "ok"


def test_a_line_that_says_something_else_and_one_too_many_are_wrong() -> None:
    assert judged([answered()], [line(cost_nano_usd=2_999)], BEFORE, AFTER).complaints == ["1 wrong ledger lines"]
    twice = replace(AFTER, charged=charged(2))
    assert judged([answered()], [line(), line()], BEFORE, twice).complaints == ["1 wrong ledger lines"]


def test_a_turn_that_ran_twice_may_have_two_lines() -> None:
    dropped = Cell(matrix.CONNECTION, matrix.DROPPED, 1.0)
    twice = replace(AFTER, charged=charged(2))
    assert judged([answered()], [line(cost_nano_usd=0), line()], BEFORE, twice, cell=dropped).complaints == []


def test_a_line_that_is_missing_is_in_the_log_or_a_complaint() -> None:
    logged = judged([answered()], [], BEFORE, AFTER, logged={"t0"})
    assert (str(logged.ledger), logged.complaints) == ("0 exact, 1 in the log only", [])
    nowhere = judged([answered()], [], BEFORE, AFTER)
    assert (str(nowhere.ledger), nowhere.complaints) == ("0 exact, 1 nowhere", ["1 turns are in no books"])


def test_tokens_that_the_service_charged_and_no_line_has_are_seen_unless_something_was_estimated() -> None:
    more = replace(AFTER, charged=charged(output_tokens=1))
    assert judged([answered()], [line()], BEFORE, more).ledger.wrong == 1
    guessed = answered(usage={"estimated": True})
    assert str(judged([guessed], [line(estimated=True)], BEFORE, more).ledger) == "1 exact (1 estimated)"


def test_tokens_of_another_model_or_kind_are_seen_also_beside_an_estimate() -> None:
    swapped = line()
    swapped["attempts"][0] |= {"input_tokens": 10, "output_tokens": 20}
    foreign = line()
    foreign["attempts"][0] |= {"model": "jp.anthropic.claude-sonnet-4-6"}
    guessed = answered(1, usage={"estimated": True})
    after = replace(AFTER, committed=10_000)
    for wrong in (swapped, foreign):
        assert judged([answered()], [wrong], BEFORE, AFTER).ledger.wrong == 1
        assert judged([answered(), guessed], [wrong, line(1, estimated=True)], BEFORE, after).ledger.wrong == 1
    assert judged([answered(), guessed], [line(), line(1, estimated=True)], BEFORE, after).ledger.wrong == 0


def test_a_counter_below_what_was_told_and_one_over_the_limit_are_told_apart() -> None:
    low, over = replace(AFTER, committed=BEFORE.committed + 2_999), replace(AFTER, limit=3_000)
    assert judged([answered()], [line()], BEFORE, low).complaints == ["the budget's counter is below what was spent"]
    assert judged([answered()], [line()], BEFORE, over).complaints == ["more than the day's budget is committed"]


def test_lost_late_and_inexact_turns_are_complaints() -> None:
    lost, late, inexact = answered(1), answered(2), answered(3)
    lost.turn.end, late.total_ms = None, 29_500
    inexact.turn.text += "!"
    after = replace(BEFORE, committed=1_000_000, charged=charged(2))
    lines = [line(2), line(3)]
    assert judged([lost, late, inexact], lines, BEFORE, after).complaints == [
        "1 turns without an end",
        "1 turns without a useful answer",
        "1 turns past the deadline",
        "1 inexact texts",
    ]


def test_an_error_is_an_end_but_not_useful() -> None:
    refused = answered()
    refused.turn.end, refused.turn.error, refused.first_text_ms = None, {"code": "internal"}, None
    result = judged([refused, answered(1)], [line(1)], BEFORE, AFTER)
    assert (result.ended, result.useful, result.errors, result.in_time_share) == (2, 1, {"error: internal": 1}, 0.5)
    assert result.complaints == ["1 turns without a useful answer", "1 turns with an error that nobody foresaw"]


def test_an_error_is_all_that_a_killed_function_leaves_and_it_may_come_late_but_not_for_ever() -> None:
    killed, alive = answered(1), answered(2)
    killed.turn.end, killed.turn.error, killed.total_ms = None, {"code": "lost"}, 35_000
    reserved = replace(AFTER, reserved={"SPEND#2026-11-27": 51})
    cell = Cell(matrix.HANDLER, matrix.KILLED, 1.0)
    assert judged([killed, alive], [line(2)], BEFORE, reserved, cell=cell).complaints == []
    killed.total_ms = 41_000
    too_late = judged([killed, alive], [line(2)], BEFORE, reserved, cell=cell)
    assert too_late.complaints == ["1 turns past the deadline"]


def test_who_cannot_be_heard_for_a_while_still_has_to_answer() -> None:
    refused = answered()
    refused.turn.end, refused.turn.error = None, {"code": "turn_lost"}
    silenced = Cell(matrix.POSTS, "throttle", 1.0)
    assert silenced.silences
    result = judged([refused], [], BEFORE, replace(BEFORE, committed=4_000), cell=silenced)
    assert "1 turns without a useful answer" in result.complaints


def test_a_cell_that_tests_nothing_is_no_good_one() -> None:
    assert judged([], [], BEFORE, BEFORE, met=0).complaints == ["nothing was asked", "nothing met the fault of search"]
    bought = Cell(matrix.BOUGHT_BY_DAY, "hang", 1.0)
    unused = judged([answered()], [line()], BEFORE, AFTER, cell=bought)
    assert unused.complaints == ["what was bought by the hour was never called"]


def test_every_part_that_fails_must_have_been_met() -> None:
    cell = Cell("all models on demand", "throttle", 1.0)
    result = verdict.of(cell, [answered()], [line()], BEFORE, AFTER, met={"ondemand-haiku": 40})
    assert result.complaints == ["nothing met the fault of ondemand-sonnet"]


def test_an_answer_that_is_not_useful_is_no_answer_of_a_model() -> None:
    result = judged([answered(finish="deadline"), answered(1)], [line(), line(1)], BEFORE, AFTER)
    assert (result.useful, result.by_models) == (1, 1)


def test_a_cell_that_broke_off_is_a_complaint_and_no_end_of_the_run() -> None:
    broken = verdict.broken_off(CELL, "ConnectTimeout")
    assert broken.complaints == ["broke off: ConnectTimeout", "nothing was asked", "nothing met the fault of search"]
    assert report.row(broken)[-1].startswith("broke off")


def test_a_budget_that_was_never_reached_or_never_there_has_held_nothing() -> None:
    cell = Cell(matrix.BUDGET, matrix.SPENT, 1.0)
    assert judged([answered()], [line()], BEFORE, AFTER, cell=cell).complaints == ["the money did not run out"]
    poor = judged([answered(target="catalogue", attempts=[])], [], BEFORE, BEFORE, cell=cell)
    assert "there was no money from the beginning" in poor.complaints


def test_what_stays_reserved_or_goes_on_for_nobody_is_a_complaint() -> None:
    kept = replace(AFTER, reserved={"SPEND#2026-11-27": 51})
    assert judged([answered()], [line()], BEFORE, kept).complaints == ["what was reserved is not let go"]
    assert judged([answered()], [line()], BEFORE, AFTER, at_rest=False).complaints == [
        "a model speaks, or a function runs, for nobody"
    ]


def test_where_a_share_of_calls_fails_the_first_one_fails_for_certain() -> None:
    assert Cell("search", "hang", 0.01).scripted == {"search": {"fault": "hang", "probability": 0.01, "certain": 1}}
    assert Cell("search", "hang", 1.0).scripted == {"search": {"fault": "hang"}}


def test_the_page_of_docs_tells_all_cells_and_their_sum() -> None:
    lines = [line() | {"attempts": [failed_by_the_hour(), *line()["attempts"]]}]
    cells = [cell for cell in matrix.whole() if cell.group != matrix.BUDGET]
    results = [judged([by_the_hour()], lines, BEFORE, AFTER, cell=cell) for cell in cells]
    text = report.markdown(results, "make chaos", shoppers=8, turns=2, at_once=2)
    assert text.count("| ok |") == len(results)
    assert f"All {len(results)} cells hold. Of {len(results)} turns 100.00% came to an `end`" in text
    assert report.read(json.dumps(report.document(results))) == results
    assert report.who_answered(results) == {"ondemand-haiku": len(results)}
    assert report.Totals.of([]).sentence() == "Nothing was asked."


def test_cells_that_do_not_hold_are_told_first() -> None:
    results = [judged([answered()], [line()], BEFORE, AFTER), verdict.broken_off(CELL, "ConnectTimeout")]
    assert report.Totals.of(results).sentence().startswith("1 of 2 hold, 1 broke off. Of 1 turns")


def all_of(cells: list[Cell], out: Path, asking: Any, known: tuple[Verdict, ...] = ()) -> Matrix:
    found = Matrix(cells, out, Console(file=io.StringIO()), known)
    found.run(2, asking, lambda: None)
    return found


def test_groups_at_once_are_told_in_the_order_of_the_cells_and_stand_in_the_document(tmp_path: Path) -> None:
    cells = matrix.quick()
    asking = lambda _group, some: (verdict.broken_off(cell, "nothing") for cell in reversed(some))  # noqa: E731
    found = all_of(cells, tmp_path / "chaos.json", asking)
    assert [it.cell for it in found.verdicts] == cells
    assert report.read((tmp_path / "chaos.json").read_text("utf-8")) == found.verdicts


def test_a_run_that_is_resumed_asks_only_through_what_is_not_known(tmp_path: Path) -> None:
    cells = matrix.quick()
    asked: list[Cell] = []

    def asking(_group: str, some: list[Cell]) -> Iterator[Verdict]:
        asked.extend(some)
        yield from (verdict.broken_off(cell, "nothing") for cell in some)

    known = tuple(verdict.broken_off(cell, "known") for cell in cells[:3])
    found = all_of(cells, tmp_path / "chaos.json", asking, known)
    assert set(asked) == set(cells[3:])
    assert [it.broke_off for it in found.verdicts] == ["known"] * 3 + ["nothing"] * (len(cells) - 3)


def test_a_part_that_is_resumed_keeps_the_rest_of_the_document(tmp_path: Path) -> None:
    first, second, *_ = matrix.quick()
    known = (verdict.broken_off(first, "known"),)
    found = all_of(
        [second], tmp_path / "chaos.json", lambda _, it: (verdict.broken_off(cell, "") for cell in it), known
    )
    assert [it.cell for it in found.verdicts] == [second]
    assert {it.cell for it in report.read((tmp_path / "chaos.json").read_text("utf-8"))} == {first, second}


def test_what_nobody_foresaw_in_a_group_begins_no_other_and_comes_out(tmp_path: Path) -> None:
    begun: list[str] = []

    def asking(group: str, some: list[Cell]) -> Iterator[Verdict]:
        begun.append(group)
        if group == "all models on demand":
            raise ZeroDivisionError
        for cell in some:
            time.sleep(0.05)
            yield verdict.broken_off(cell, "nothing")

    with pytest.raises(ZeroDivisionError):
        all_of(matrix.whole(), tmp_path / "chaos.json", asking)
    assert len(begun) < len(matrix.GROUPS)
