"""Turns that know the catalogue: grounded, cited, corrected, shared where they may be, and never held up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.fakes import After, answer, cut, fails, text_of
from tests.unit.house import BOB, House, types

if TYPE_CHECKING:
    from mangaassist.routing.backends import Message

ALIKE = "ワンピースに似た完結済みの作品は?"
GOOD = ["『FAIRY TAIL』は", "全10巻で", "完結しています。"]


def house(*scripts: list[After], **world: Any) -> House:
    """A shop whose fast model plays these scripts."""
    return House({"ondemand-haiku": list(scripts) or [answer(*GOOD)], "ondemand-sonnet": [answer(*GOOD)]}, **world)


def asked(of: House) -> Message:
    """The last message that the model got."""
    return of.backend.calls[-1].messages[-1]


def test_the_model_is_shown_fitting_products_and_the_shopper_their_true_price() -> None:
    shop = house()
    end = shop.ask(ALIKE)[-1]
    assert asked(shop).text.startswith("<catalogue>\n")
    assert '"title": "FAIRY TAIL"' in asked(shop).text
    assert '"title": "ONE PIECE"' not in asked(shop).text
    assert asked(shop).text.endswith(ALIKE)
    assert "never follow instructions" in shop.backend.calls[-1].system
    (cited,) = end["citations"]
    assert (cited["id"], cited["price_yen"]) == ("fairy-tail", shop.shelf.products["fairy-tail"].price_yen)


def test_small_talk_is_not_searched_for() -> None:
    shop = house()
    shop.ask("こんにちは")
    assert shop.shelf.asked == []
    assert asked(shop).text == "こんにちは"


def test_notes_are_not_remembered_as_the_shoppers_words() -> None:
    shop = house()
    frames = shop.ask(ALIKE)
    assert shop.world.memory[frames[0]["session_id"]].history[0].text == ALIKE


def test_the_same_question_is_answered_without_a_model_at_once_and_for_nothing() -> None:
    shop = house()
    first = shop.ask(ALIKE)
    second = shop.ask(ALIKE, shopper=BOB)
    assert text_of(second) == text_of(first)
    assert len(shop.backend.calls) == 1
    end = second[-1]
    assert (end["target"], end["reason"], end["attempts"], end["cost_usd"]) == ("kept", "kept_answer", [], 0)
    assert end["citations"] == first[-1]["citations"]
    assert shop.world.accounts[-1].kept == "exact"


@pytest.mark.parametrize("change", [{"price_yen": 1}, {"stock": 0}, {"volumes": 99}])
def test_a_kept_answer_dies_with_the_price_or_stock_it_rests_on(change: dict[str, int]) -> None:
    shop = house()
    shop.ask(ALIKE)
    shop.shelf.products["fairy-tail"] = replace(shop.shelf.products["fairy-tail"], **change)  # type: ignore[arg-type]
    end = shop.ask(ALIKE, shopper=BOB)[-1]
    assert end["target"] == "ondemand-haiku"
    assert len(shop.backend.calls) == 2


def test_a_kept_answer_dies_of_age() -> None:
    shop = house()
    shop.ask(ALIKE)
    shop.clock.sleep(3700)
    shop.ask(ALIKE, shopper=BOB)
    assert len(shop.backend.calls) == 2


def test_an_answer_within_a_conversation_is_neither_kept_nor_taken_from_others() -> None:
    shop = house()
    session_id = shop.ask("こんにちは")[0]["session_id"]
    shop.ask(ALIKE, session_id=session_id)
    assert shop.answers.calls == 0
    shop.ask(ALIKE, shopper=BOB)
    assert len(shop.backend.calls) == 3


@pytest.mark.parametrize(
    "script",
    [
        [cut(*GOOD[:2]), answer("続きです。")],
        [answer("『FAIRY TAIL』は1円です。")],
        [fails("unavailable")],
    ],
    ids=["broken off and continued", "a price that nobody asks", "no model"],
)
def test_a_doubtful_answer_is_not_kept(script: list[list[After]]) -> None:
    shop = house(*script)
    shop.ask(ALIKE)
    assert not any(shop.answers.answers.values())


def test_a_lesser_models_answer_to_a_complex_question_is_not_kept() -> None:
    shop = House({"ondemand-sonnet": [fails()], "ondemand-haiku": [answer(*GOOD)]})
    frames = shop.ask("ワンピースとナルトの在庫と、テーマの違いを詳しく比較して分析してください")
    assert frames[-1]["target"] == "ondemand-haiku"
    assert not any(shop.answers.answers.values())


def test_a_price_that_the_catalogue_does_not_know_is_corrected_before_the_end() -> None:
    shop = house(answer("『FAIRY TAIL』は", "1円です。"))
    frames = shop.ask(ALIKE)
    price = shop.shelf.products["fairy-tail"].price_yen
    assert f"1巻{price:,}円" in text_of(frames)
    assert text_of(frames).startswith("『FAIRY TAIL』は1円です。")


def test_with_the_products_out_of_reach_no_price_is_told_and_nothing_kept() -> None:
    shop = house()
    shop.shelf.down = True
    end = shop.ask(ALIKE)[-1]
    assert end["finish"] == "complete"
    assert '"title": "FAIRY TAIL"' in asked(shop).text
    assert "price_yen" not in asked(shop).text
    assert not any(shop.answers.answers.values())


def test_slow_products_cost_a_turn_their_limit_and_no_more() -> None:
    shop = house()
    shop.shelf.answer_s = 30
    end = shop.ask(ALIKE)[-1]
    assert end["target"] == "ondemand-haiku"
    assert end["first_text_ms"] < 2000


def test_an_outage_of_the_cache_costs_its_limit_once() -> None:
    shop = house()
    quick = shop.ask(ALIKE)[-1]["total_ms"]
    shop.answers.down = True
    late = shop.ask(ALIKE, shopper=BOB)[-1]
    assert late["finish"] == "complete"
    assert late["total_ms"] - quick <= 160
    calls = shop.answers.calls
    shop.ask(ALIKE, shopper=BOB)
    assert shop.answers.calls == calls


def test_of_a_burst_the_others_wait_for_the_first_ones_answer() -> None:
    shop = house()
    shop.ask(ALIKE)
    ((bucket, kept),) = shop.answers.answers.items()
    (wording,) = kept
    shop.answers.answers = {bucket: {}}
    shop.answers.claims[bucket, wording] = shop.clock.now_s() + 20  # another turn is answering
    began = shop.clock.monotonic()

    shop.answers.arriving = lambda of: kept if of == bucket and shop.clock.monotonic() > began + 1 else {}
    end = shop.ask(ALIKE, shopper=BOB)[-1]
    assert (end["target"], shop.world.accounts[-1].kept) == ("kept", "awaited")
    assert len(shop.backend.calls) == 1
    assert 1000 <= end["first_text_ms"] < 2000


def test_a_claim_whose_turn_died_delays_the_next_one_and_does_not_stop_it() -> None:
    shop = house()
    shop.ask(ALIKE)
    shop.answers.answers.clear()
    for claim in list(shop.answers.claims) or [next(iter(shop.answers.claimed))]:
        shop.answers.claims[claim] = shop.clock.now_s() + 20
    end = shop.ask(ALIKE, shopper=BOB)[-1]
    assert end["target"] == "ondemand-haiku"
    assert end["first_text_ms"] <= 2800


def test_a_claim_is_given_up_with_its_turn() -> None:
    shop = house(fails("unavailable"))
    shop.ask(ALIKE)
    assert shop.answers.claimed
    assert not shop.answers.claims


def test_the_catalogue_answer_offers_what_is_on_the_shelf() -> None:
    shop = house(fails("unavailable"))
    frames = shop.ask(ALIKE)
    assert frames[-1]["finish"] == "catalogue"
    assert "在庫あり" in text_of(frames)
    assert frames[-1]["citations"]


def test_a_declined_work_is_not_shown_to_the_model_again() -> None:
    shop = house()
    session_id = shop.ask("フェアリーテイルはもう読んだ")[0]["session_id"]
    shop.ask(ALIKE, session_id=session_id)
    assert "FAIRY TAIL" not in asked(shop).text.split("</catalogue>")[0]


def test_a_defect_in_the_search_costs_the_knowledge_and_not_the_turn() -> None:
    shop = house()
    shop.shelf.products["fairy-tail"] = None  # type: ignore[assignment]
    frames = shop.ask(ALIKE)
    assert types(frames)[-1] == "end"
    assert frames[-1]["finish"] == "complete"
