"""Which questions may share an answer: none that differ in what they ask, and none that are somebody's own."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.knowledge.cache import sameness
from mangaassist.routing import question

PAIRS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "data/answer_pairs.jsonl").read_text("utf-8").splitlines()
]
PERSONAL = (Path(__file__).parents[1] / "data/personal_questions.txt").read_text("utf-8").splitlines()
APART = [  # questions that may be shared, and of which no two are the same
    "ワンピースの作者は?",
    "ワンピースの原作は?",
    "ワンピースの作画は?",
    "ナルトの作者は?",
    "ワンピースの値段は?",
    "ワンピースの在庫は?",
    "ワンピースの出版社は?",
    "ワンピースの掲載誌は?",
    "ワンピースの発売日はいつ?",
    "ワンピースの最新刊の発売日はいつ?",
    "ワンピースは全何巻?",
    "ワンピースは何巻まで?",
    "ワンピースの3巻の値段は?",
    "ワンピースの4巻の値段は?",
    "ワンピースの13巻の値段は?",
    "ワンピースの3巻から4巻の値段は?",
    "ワンピースの全巻セットの値段は?",
    "ワンピースの英語版の値段は?",
    "ワンピースの電子版の値段は?",
    "ワンピースに似た漫画",
    "ワンピースに似ていない漫画",
    "ワンピース以外の漫画",
    "ワンピースに似た完結済みの漫画",
    "ワンピースに似た連載中の漫画",
    "おすすめの少年漫画は?",
    "おすすめしない少年漫画は?",
    "おすすめの少女漫画は?",
    "少年漫画",
    "怖い漫画",
    "怖くない漫画",
    "500円以下の漫画",
    "500円以上の漫画",
    "1500円以下の漫画",
    "一番安い漫画",
    "一番高い漫画",
    "Who wrote One Piece?",
    "Who drew One Piece?",
    "Who is the author of One Piece?",
    "How much is One Piece volume 3?",
    "How much is One Piece volume 13?",
    "Is One Piece in stock?",
    "Is One Piece completed?",
    "Is One Piece not completed?",
    "recommend horror manga",
    "recommend horror manga without romance",
    "recommend romance manga without horror",
    "the cheapest manga",
    "the most expensive manga",
    "manga under 500 yen",
    "manga over 500 yen",
]
LEAST_HIT_RATE = 0.5  # of paraphrases that are nobody's own; what is missed costs a model call and nothing else


def are_keepable(*texts: str) -> bool:
    """Whether all of these are nobody's own."""
    return all(sameness.is_keepable(question.read(text)) for text in texts)


def shared(one: str, other: str) -> bool:
    """Whether two questions would be looked for in one place, as far as their words decide."""
    a, b = question.read(one), question.read(other)
    if not (sameness.is_keepable(a) and sameness.is_keepable(b)):
        return False
    return (a.language, sameness.reduced(a)) == (b.language, sameness.reduced(b))


def test_near_misses_never_share_an_answer_and_paraphrases_often_do(capsys: pytest.CaptureFixture[str]) -> None:
    near_misses, paraphrases = ([pair for pair in PAIRS if pair["same"] is same] for same in (False, True))
    false_hits = [(pair["a"], pair["b"]) for pair in near_misses if shared(pair["a"], pair["b"])]
    # a pair that holds a question which is never shared proves nothing of those that are
    telling = [pair for pair in near_misses if are_keepable(pair["a"], pair["b"])] + [*combinations(APART, 2)]
    false_hits += [pair for pair in combinations(APART, 2) if shared(*pair)]
    keepable = [pair for pair in paraphrases if are_keepable(pair["a"], pair["b"])]
    hits = sum(shared(pair["a"], pair["b"]) for pair in keepable)
    with capsys.disabled():
        rate = f"{hits} hits in {len(keepable)} paraphrases that may be shared ({hits / len(keepable):.0%})"
        of_all = f"{hits / len(paraphrases):.0%} of all {len(paraphrases)}"
        print(f"\nanswer cache: {len(false_hits)} false hits in {len(telling)} near misses; {rate}, {of_all}")
    assert len(telling) >= 100
    assert not false_hits
    assert hits / len(keepable) >= LEAST_HIT_RATE


def test_every_question_that_is_told_apart_could_have_been_shared() -> None:
    assert [text for text in APART if not sameness.is_keepable(question.read(text))] == []


@pytest.mark.parametrize("text", PERSONAL)
def test_what_a_reviewer_found_to_be_somebodys_own_is_never_shared(text: str) -> None:
    assert not sameness.is_keepable(question.read(text))


@pytest.mark.parametrize(
    "text",
    [
        "私におすすめの漫画は?",
        "娘の誕生日に贈る漫画は?",
        "注文したワンピースはいつ届く?",
        "ワンピースの在庫 090-1234-5678",
        "さっきの漫画の作者は?",
        "それの完結済みの漫画は?",
        "ほかにおすすめの漫画は?",
        "今日発売の漫画は?",
        "recommend manga for my son",
        "I bought One Piece volume 3, what manga is next?",
        "is that manga finished?",
        "any other manga like this?",
        "which manga come out next week?",
        "write to a.reader@example.com about One Piece",
        "送料はいくら?",
        "こんにちは",
    ],
)
def test_what_is_the_shoppers_own_or_of_this_moment_is_never_shared(text: str) -> None:
    assert not sameness.is_keepable(question.read(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ワンピースに似た完結済みの作品は?", "わんぴーすみたいな完結した漫画を教えてください"),
        ("ナルトの第三巻はいくら?", "NARUTO 3巻の価格を教えて"),
        ("Who's the author of Naruto?", "who is the author of NARUTO?"),
        ("おすすめの少年漫画は?", "おすすめの少年漫画を教えてください"),
    ],
)
def test_one_question_in_two_wordings_is_answered_once(one: str, other: str) -> None:
    assert shared(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ブリーチよりナルトが長い?", "ナルトよりブリーチが長い?"),
        ("ワンピースの3巻と4巻の違いは?", "ワンピースの4巻と3巻の違いは?"),
        ("おすすめの怖い漫画は?", "おすすめの怖くない漫画は?"),
        ("ワンピースの作者は?", "who is the author of One Piece?"),
    ],
)
def test_order_negation_and_language_keep_questions_apart(one: str, other: str) -> None:
    assert not shared(one, other)


@given(st.text(max_size=200))
def test_any_text_can_be_reduced(text: str) -> None:
    asked = question.read(text)
    assert sameness.reduced(asked) == sameness.reduced(asked)
    assert sameness.is_keepable(asked) in (True, False)


@given(st.integers(1, 99), st.integers(1, 99), st.sampled_from(["ナルトの{}巻の在庫は?", "Naruto volume {} price?"]))
def test_two_volumes_never_share_an_answer(one: int, other: int, text: str) -> None:
    assert shared(text.format(one), text.format(other)) == (one == other)
