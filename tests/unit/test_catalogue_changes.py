"""What a row asks for: no product costs more than what is new about it."""

from __future__ import annotations

import pytest

from mangaassist.knowledge.loading.backoff import FIRST_S, LONGEST_S, TRIES, Backoff
from mangaassist.knowledge.loading.changes import Change, Known, Wanted, after_facts, decide

HERE, ELSEWHERE = "https://collection.example/products", "https://another.example/products"
WANTED = Wanted("stamp", "text", HERE)
WITHOUT_SEARCH = Wanted("stamp", "text", "")


@pytest.mark.parametrize(
    ("known", "wanted", "change"),
    [
        (None, WANTED, Change.TEXT),
        (Known("stamp", "text", HERE), WANTED, Change.NOTHING),
        (Known("stamp", "text", HERE, "document"), WANTED, Change.NOTHING),
        (Known("older", "text", HERE), WANTED, Change.FACTS),
        (Known("older", "other", HERE), WANTED, Change.TEXT),
        (Known("stamp", "other", HERE), WANTED, Change.TEXT),  # of another model
        (Known("stamp", "text", ELSEWHERE), WANTED, Change.TEXT),  # in a collection that is not asked any more
        (Known("stamp"), WANTED, Change.TEXT),  # written while there was no search
        (Known(""), WANTED, Change.TEXT),  # written by somebody else
        (None, WITHOUT_SEARCH, Change.FACTS),
        (Known("stamp"), WITHOUT_SEARCH, Change.NOTHING),
        (Known("older"), WITHOUT_SEARCH, Change.FACTS),
        (Known("stamp", "text", HERE), WITHOUT_SEARCH, Change.NOTHING),
    ],
)
def test_a_product_costs_what_is_new_about_it(known: Known | None, wanted: Wanted, change: Change) -> None:
    assert decide(known, wanted) is change


def test_after_a_lost_index_everything_is_done_again_and_without_one_nothing() -> None:
    assert decide(Known("stamp", "text", HERE), WANTED, again=True) is Change.TEXT
    assert decide(Known("stamp"), WITHOUT_SEARCH, again=True) is Change.NOTHING


def test_a_text_that_changed_without_search_is_indexed_when_search_is_back() -> None:
    written = after_facts(Known("older", "other", HERE, "document"), WITHOUT_SEARCH)
    assert written == Known("stamp", "", HERE, "document")
    assert decide(written, WANTED) is Change.TEXT


def test_facts_that_changed_leave_the_index_as_it_is() -> None:
    assert after_facts(Known("older", "text", HERE, "document"), WANTED) == Known("stamp", "text", HERE, "document")


def test_waits_grow_and_are_drawn_from_zero_on() -> None:
    most: list[float] = []
    slept: list[float] = []

    def half(most_s: float) -> float:
        most.append(most_s)
        return most_s / 2

    assert list(Backoff(slept.append, half).tries()) == list(range(TRIES))
    assert most == [min(LONGEST_S, FIRST_S * 2**number) for number in range(TRIES - 1)]
    assert slept == [wait / 2 for wait in most]


def test_nobody_waits_once_it_is_stopped() -> None:
    backoff = Backoff(uniform=lambda most_s: 3600)
    tries = backoff.tries()
    assert next(tries) == 0
    backoff.stop()
    assert list(tries) == []
    backoff.restart()
    assert next(backoff.tries()) == 0
