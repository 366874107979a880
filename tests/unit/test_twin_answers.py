"""What the emulated model says, and the tokens that it says it in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import answers, embeddings
from local.answers import Said
from mangaassist.routing.prompt import CONTINUE_INSTRUCTION

QUESTIONS = ["ワンピースは何巻まで出ていますか?", "Is Berserk finished?", "hi", "👩‍🚀は?", "a" * 300]


@given(st.text())
def test_tokens_are_the_text_in_pieces(text: str) -> None:
    assert "".join(answers.tokens(text)) == text


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_have_the_length_of_answers_and_are_marked(question: str) -> None:
    text = answers.answer("", (Said("user", question),))
    assert 60 <= len(answers.tokens(text)) <= 260
    assert text.startswith(answers.MARK[answers.language(question)])


@pytest.mark.parametrize("question", QUESTIONS)
@given(share=st.floats(0, 1, exclude_max=True))
def test_an_answer_begun_anywhere_is_completed_to_the_same_text(question: str, share: float) -> None:
    asked = (Said("user", question),)
    whole = answers.answer("", asked)
    begun = whole[: int(share * len(whole))].rstrip()
    if begun:
        prefilled = answers.answer("", (*asked, Said("assistant", begun)))
        assert begun + prefilled == whole
        told = answers.answer("", (*asked, Said("assistant", begun), Said("user", CONTINUE_INSTRUCTION)))
        assert told.endswith(whole[len(begun) :])
        repeated = told.removesuffix(whole[len(begun) :])
        assert begun.endswith(repeated)  # models like to say the last words again


def test_a_strange_beginning_is_brought_to_an_end() -> None:
    begun = (Said("user", "質問"), Said("assistant", "別のモデルの言葉"), Said("user", CONTINUE_INSTRUCTION))
    assert answers.answer("", begun).endswith(answers.CLOSING["ja"])


def test_earlier_questions_and_notes_are_taken_up() -> None:
    conversation = (Said("user", "一つ目"), Said("assistant", "はい"), Said("user", "二つ目"))
    text = answers.answer("資料: 『王狼』", conversation)
    assert "「一つ目」" in text
    assert "『王狼』" in text
    assert "notes" not in answers.answer("", (Said("user", "which of 『A』 and 『B』 is longer"),))


FULLMETAL = {
    "title": "鋼の錬金術師",
    "title_en": "Fullmetal Alchemist",
    "author": "荒川弘",
    "status": "completed",
    "volumes": 27,
    "price_yen": 528,
    "stock": 12,
    "about": "兄弟は失った体を取り戻す旅に出る。",
}
BERSERK = {"title": "ベルセルク", "status": "ongoing", "volumes": 42, "price_yen": 715, "stock": 0}


def with_notes(question: str, *lines: Any) -> Said:
    written = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    return Said("user", "<catalogue>\n" + "\n".join(written) + "\n</catalogue>\n\n" + question)


def test_what_the_catalogue_says_of_a_work_reaches_the_shopper_in_either_language() -> None:
    text = answers.answer("", (with_notes("完結済みの名作は?", FULLMETAL, BERSERK),))
    assert "カタログには『鋼の錬金術師』(完結・全27巻・1巻528円・在庫あり)、『ベルセルク』(連載中・" in text
    assert "既刊42巻・1巻715円・在庫切れ)があります。" in text
    text = answers.answer("", (with_notes("Which classic is finished?", FULLMETAL, BERSERK),))
    assert (
        "The catalogue has “Fullmetal Alchemist” (completed, 27 volumes, ¥528 a volume, in stock); “ベルセルク” ("
        in text
    )
    assert "ongoing, 42 volumes, ¥715 a volume, out of stock). " in text


def test_an_answer_is_about_the_question_and_not_about_the_notes_before_it() -> None:
    question = "完結済みの名作は?"
    plain = answers.answer("", (Said("user", question),))
    noted = answers.answer("", (with_notes(question, FULLMETAL),))
    opening = answers.OPENING["ja"].format(topic=question)
    assert plain.startswith(answers.MARK["ja"] + opening)
    assert noted.startswith(answers.MARK["ja"] + opening)
    assert answers.answer("", (with_notes("hi", FULLMETAL),)).startswith(answers.MARK["en"])  # the notes are Japanese
    later = answers.answer("", (with_notes(question, FULLMETAL), Said("assistant", noted), Said("user", "ほかには?")))
    assert answers.EARLIER["ja"].format(topic=question) in later


def test_at_most_three_works_are_named_and_only_what_is_known_of_them() -> None:
    works = [{"title": f"作品{number}"} for number in range(5)]
    assert "カタログには『作品0』、『作品1』、『作品2』があります。" in answers.answer(
        "", (with_notes("何がある?", *works),)
    )
    odd = {"title": "<王狼>", "volumes": "many", "price_yen": None, "stock": True}
    assert "カタログには『<王狼>』があります。" in answers.answer("", (with_notes("何がある?", odd),))


@pytest.mark.parametrize("line", ["", "{", "王狼", "[1]", '{"title": 7}', '{"title": ""}', '{"author": "x"}'])
def test_a_note_that_cannot_be_read_costs_no_answer(line: str) -> None:
    text = answers.answer("", (with_notes("何がある?", line, FULLMETAL),))
    assert "カタログには『鋼の錬金術師』(" in text
    assert "カタログ" not in answers.answer("", (with_notes("何がある?", line),))


def test_an_answer_with_notes_is_completed_by_another_model_to_the_same_text() -> None:
    asked = with_notes("完結済みの名作は?", FULLMETAL)
    whole = answers.answer("", (asked,))
    begun = whole[: whole.index("528円")]
    told = answers.answer("", (asked, Said("assistant", begun), Said("user", CONTINUE_INSTRUCTION)))
    assert told.endswith(whole[len(begun) :])


@given(st.text(min_size=1))
def test_vectors_are_unit_vectors(text: str) -> None:
    vector = embeddings.vector(text, 256)
    assert sum(value * value for value in vector) == pytest.approx(1)
    assert vector == embeddings.vector(text, 256)
