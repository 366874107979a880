"""What the emulated model says, and the tokens that it says it in."""

from __future__ import annotations

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
    notes = Said("user", '<catalogue>{"title": "Blame!"}</catalogue> which one?')
    assert "Blame!" in answers.answer("", (notes,))
    assert "notes" not in answers.answer("", (Said("user", "which of 『A』 and 『B』 is longer"),))


@given(st.text(min_size=1))
def test_vectors_are_unit_vectors(text: str) -> None:
    vector = embeddings.vector(text, 256)
    assert sum(value * value for value in vector) == pytest.approx(1)
    assert vector == embeddings.vector(text, 256)
