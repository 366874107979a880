"""What a question wants of the catalogue, in every spelling, and what the conversation has declined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.knowledge import catalogue, names, wanted
from mangaassist.routing import question

WORKS = catalogue.works()


def read(text: str, *history: str) -> wanted.Wanted:
    """What the question wants after this conversation."""
    return wanted.read(question.read(text), history)


def is_refused(work: str, text: str, *history: str, named: bool = False) -> bool:
    """Whether a work would be left out."""
    titles, _ = names.search_keys(WORKS[work])
    return read(text, *history).refuses(work, titles, named=named)


@pytest.mark.parametrize(
    "text",
    [
        "ワンピースはある?",
        "ﾜﾝﾋﾟｰｽはある?",
        "わんぴーすはある?",
        "ONE PIECEはある?",
        "ＯＮＥ　ＰＩＥＣＥはある?",
        "one-piece ある?",
        "wan piece ある?",
        "OnePiece please",
    ],
)
def test_every_spelling_of_a_title_is_looked_for(text: str) -> None:
    titles, _ = names.search_keys(WORKS["one-piece"])
    assert set(titles) & set(read(text).names)


def test_an_author_is_found_however_the_name_is_parted() -> None:
    _, authors = names.search_keys(WORKS["one-piece"])
    for text in ("尾田栄一郎の漫画", "尾田　栄一郎の漫画", "manga by Eiichiro Oda", "ODA EIICHIRO"):
        assert set(authors) & set(read(text).names), text


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("完結済みの漫画は?", "completed"),
        ("もう終わってる漫画", "completed"),
        ("まだ完結していない漫画は?", "ongoing"),
        ("連載中の漫画は?", "ongoing"),
        ("a finished series", "completed"),
        ("not finished yet", "ongoing"),
        ("unfinished romance manga", "ongoing"),
        ("連載中じゃない漫画は?", "completed"),
        ("漫画は?", None),
    ],
)
def test_a_wanted_status_is_heard(text: str, status: str | None) -> None:
    assert read(text).status == status


def test_likeness_wants_other_works_of_the_same_kinds() -> None:
    asked = read("ワンピースに似た完結済みの作品は?")
    assert asked.likeness
    assert {"pirates", "adventure", "shonen"} <= asked.like
    assert not read("ワンピースの在庫は?").likeness
    assert not read("I'd like One Piece volume 3").likeness


def test_other_works_of_an_author_are_looked_for_by_the_author() -> None:
    asked = read("鋼の錬金術師の作者のほかの漫画は?")
    assert asked.likeness
    assert "荒川弘" in asked.names


@pytest.mark.parametrize(
    ("text", "history"),
    [
        ("おすすめは?", ("ナルトはもう読んだ", "そうですか。")),
        ("ほかには?", ("おすすめは?", "『NARUTO』はいかがですか。")),
        ("忍者の漫画でナルト以外は?", ()),
        ("anything else?", ("recommend a manga", "How about Naruto?")),
        ("recommend something", ("I don't like Naruto", "I see.")),
    ],
)
def test_what_was_declined_is_not_recommended_again(text: str, history: tuple[str, ...]) -> None:
    assert is_refused("naruto", text, *history)
    assert not is_refused("bleach", text, *history)


@pytest.mark.parametrize(
    "said",
    [
        "ナルトはまだ読んだことがない",
        "ナルトを読んだけど面白かった。続きが読みたい",
        "ナルトを読んだら次は?",
        "ナルトが好き",
    ],
)
def test_what_was_not_declined_may_be_recommended(said: str) -> None:
    assert not is_refused("naruto", "おすすめは?", said, "そうですか。")


@pytest.mark.parametrize(
    "said", ["それはパス。別のをください", "違うのがいい", "no thanks, something else", "not that one"]
)
def test_what_the_assistant_offered_in_vain_is_declined(said: str) -> None:
    assert is_refused("naruto", said, "おすすめは?", "『NARUTO』はいかがですか。")


@pytest.mark.parametrize(
    ("text", "wanted_kinds", "unwanted_kinds"),
    [
        ("恋愛じゃない少年漫画のおすすめは?", {"shonen"}, {"romance"}),
        ("ホラー以外のおすすめ漫画は?", set(), {"horror"}),
        ("ホラーが苦手です。おすすめは?", set(), {"horror"}),
        ("I don't like horror. Recommend manga", set(), {"horror"}),
        ("recommend action manga with no romance", {"action"}, {"romance"}),
        ("スポーツ抜きの少年漫画は?", {"shonen"}, {"sports"}),
        ("恋愛の少女漫画", {"romance", "shojo"}, set()),
    ],
)
def test_kinds_that_are_not_wanted_are_not_taken_for_wishes(
    text: str, wanted_kinds: set[str], unwanted_kinds: set[str]
) -> None:
    asked = read(text)
    assert set(asked.kinds) == wanted_kinds
    assert set(asked.unwanted) == unwanted_kinds


def test_a_declined_work_that_is_asked_for_by_name_is_shown() -> None:
    history = ("ナルトはもう読んだ", "そうですか。")
    assert not is_refused("naruto", "やっぱりナルトの値段は?", *history, named=True)


def test_a_short_follow_up_is_searched_with_the_question_before_it() -> None:
    history = ("料理の漫画を教えて", "『食戟のソーマ』はいかがですか。")
    assert "food" in read("ほかには?", *history).kinds
    assert wanted.is_about_catalogue(question.read("ほかには?"), history)
    assert not wanted.is_about_catalogue(question.read("ありがとう"), ())


@given(st.text(max_size=3000))
def test_any_question_is_read_and_its_terms_are_bounded(text: str) -> None:
    asked = read(text)
    assert len(asked.names) <= wanted.READ_CHARACTERS * wanted.NAME_CHARACTERS
    assert len(asked.text) <= wanted.EMBEDDED_CHARACTERS
