"""Kept answers: which is served, when it is left alone, and who answers a burst."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from mangaassist.clock import Clock
from mangaassist.knowledge import catalogue
from mangaassist.knowledge.cache.kept import CLAIM_S, LEFT_ALONE_S, LOOK_AGAIN_S, KeptAnswers
from mangaassist.knowledge.product import Product
from mangaassist.routing import question
from tests.unit.fakes import FakeClock, FakeShelf, MemoryAnswers

if TYPE_CHECKING:
    from mangaassist.knowledge.cache.kept import Inquiry

LIMIT_S = 0.15
NARUTO = Product(catalogue.works()["naruto"], price_yen=484, stock=9)
ONE, OTHER = "ナルトの作者は?", "NARUTOの作者を教えて"
ALONG, ACROSS = [1.0, 0.0], [0.0, 1.0]


class Shop:
    """Kept answers over doubles."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryAnswers(self.clock)
        self.shelf = FakeShelf(self.clock, {"naruto": NARUTO})
        clock = Clock(self.clock.now_s, self.clock.monotonic, self.clock.sleep)
        self.kept = KeptAnswers(self.store, cast("Any", self.shelf), clock)

    def look(self, text: str = ONE, *context: str) -> Inquiry:
        inquiry = self.kept.look(question.read(text), context, LIMIT_S)
        assert inquiry is not None
        return inquiry

    def keep(self, text: str = ONE, said: str = "岸本斉史です。", vector: list[float] | None = None) -> None:
        self.kept.keep(
            self.look(text),
            said,
            target="ondemand-haiku",
            model="m",
            products=[NARUTO],
            vector=vector,
            life_s=60,
            limit_s=LIMIT_S,
        )


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_another_wording_is_served_if_its_vector_is_near_too(shop: Shop) -> None:
    shop.keep(ONE, vector=ALONG)
    other = shop.look(OTHER)
    assert shop.kept.exact(other, LIMIT_S) is None
    found = shop.kept.near(other, ALONG, 0.6, LIMIT_S)
    assert found is not None
    assert (found.answer.text, found.how) == ("岸本斉史です。", "near")
    assert shop.kept.near(other, ACROSS, 0.6, LIMIT_S) is None


def test_vectors_of_another_model_are_never_near(shop: Shop) -> None:
    shop.keep(ONE, vector=[1.0, 0.0, 0.0])
    assert shop.kept.near(shop.look(OTHER), ALONG, 0.0, LIMIT_S) is None


def test_another_prompt_or_language_has_answers_of_its_own(shop: Shop) -> None:
    shop.keep(ONE)
    assert shop.look(ONE).answers
    assert not shop.look(ONE, "another system prompt").answers


def test_an_outdated_answer_is_dropped_and_a_sound_one_beside_it_found(shop: Shop) -> None:
    shop.keep(OTHER, "新しい答え", vector=ALONG)
    shop.shelf.products["naruto"] = replace(NARUTO, price_yen=500)
    shop.keep(ONE, "古い答え", vector=ALONG)
    shop.shelf.products["naruto"] = NARUTO
    (bucket,) = shop.store.answers
    wording = shop.look(ONE).wording
    outdated = replace(shop.store.answers[bucket][wording], stamps={"naruto": "another"})
    shop.store.answers[bucket][wording] = outdated
    inquiry = shop.look(ONE)
    assert shop.kept.exact(inquiry, LIMIT_S) is None
    assert wording not in shop.store.answers[bucket]
    found = shop.kept.near(inquiry, ALONG, 0.6, LIMIT_S)
    assert found is not None
    assert found.answer.text == "新しい答え"


def test_a_product_that_is_not_sold_any_more_ends_its_answers(shop: Shop) -> None:
    shop.keep(ONE)
    shop.shelf.products.clear()
    assert shop.kept.exact(shop.look(ONE), LIMIT_S) is None
    assert not any(shop.store.answers.values())


def test_products_that_do_not_answer_cost_one_limit_and_no_answer(shop: Shop) -> None:
    shop.keep(ONE)
    inquiry = shop.look(ONE)
    shop.shelf.answer_s = 60
    began = shop.clock.monotonic()
    assert shop.kept.exact(inquiry, LIMIT_S) is None
    assert shop.clock.monotonic() - began <= LIMIT_S + 1e-6
    assert any(shop.store.answers.values()), "nothing says that it is outdated"


def test_a_place_that_fails_is_left_alone_and_asked_again_later(shop: Shop) -> None:
    shop.store.down = True
    assert shop.kept.look(question.read(ONE), (), LIMIT_S) is None
    calls = shop.store.calls
    assert shop.kept.look(question.read(ONE), (), LIMIT_S) is None
    assert shop.store.calls == calls
    shop.store.down = False
    shop.clock.sleep(LEFT_ALONE_S)
    assert shop.look(ONE).answers == ()


def test_who_waits_takes_over_a_claim_that_was_given_up(shop: Shop) -> None:
    inquiry = shop.look(ONE)
    assert shop.kept.claim(inquiry, LIMIT_S)
    assert not shop.kept.claim(inquiry, LIMIT_S)
    shop.kept.release(inquiry, LIMIT_S)
    began = shop.clock.monotonic()
    assert shop.kept.awaited(inquiry, 1.5, LIMIT_S) == (None, True)
    assert shop.clock.monotonic() - began < 2 * LOOK_AGAIN_S


def test_a_claim_of_a_turn_that_died_ends_by_itself(shop: Shop) -> None:
    inquiry = shop.look(ONE)
    assert shop.kept.claim(inquiry, LIMIT_S)
    shop.clock.sleep(CLAIM_S)
    assert shop.kept.claim(inquiry, LIMIT_S)


def test_without_the_place_every_turn_answers_for_itself(shop: Shop) -> None:
    inquiry = shop.look(ONE)
    shop.store.down = True
    assert shop.kept.claim(inquiry, LIMIT_S)
