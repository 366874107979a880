"""What a shopper would lose if a question were misread: the wrong model, or an answer without the catalogue."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.knowledge import spelling
from mangaassist.routing import complexity, question, wording

_DATA = Path(__file__).parents[1] / "data" / "questions.jsonl"
LABELLED = [json.loads(line) for line in _DATA.read_text(encoding="utf-8").splitlines()]
LANGUAGES = ("ja", "en")


def is_complex(text: str) -> bool:
    return question.read(text).score >= complexity.COMPLEX


def asks_catalogue(text: str) -> bool:
    return question.read(text).catalogue


def accuracies(rows: list[dict[str, object]]) -> tuple[float, float]:
    """The share of rows whose complexity, and whose catalogue intent, is read as labelled."""
    read = [(question.read(str(row["text"])), row) for row in rows]
    of_complexity = sum((found.score >= complexity.COMPLEX) == row["complex"] for found, row in read)
    of_catalogue = sum(found.catalogue == row["catalogue"] for found, row in read)
    return of_complexity / len(rows), of_catalogue / len(rows)


# The labelled set


def test_labelled_questions_are_read_alike_well_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    whole = {lang: accuracies([row for row in LABELLED if row["language"] == lang]) for lang in LANGUAGES}
    with capsys.disabled():
        print()
        for part in ("tune", "held", "unseen"):
            for lang in LANGUAGES:
                rows = [row for row in LABELLED if row["set"] == part and row["language"] == lang]
                found = accuracies(rows)
                print(f"{part:>6} {lang}: complexity {found[0]:.1%}, catalogue {found[1]:.1%} of {len(rows)}")
        for lang, found in whole.items():
            print(f" whole {lang}: complexity {found[0]:.1%}, catalogue {found[1]:.1%}")
    for measured in zip(*whole.values(), strict=True):
        assert min(measured) >= 0.9
        assert max(measured) - min(measured) <= 0.03


def test_labelled_set_is_large_and_half_japanese() -> None:
    assert len({row["id"] for row in LABELLED}) == len({row["text"] for row in LABELLED}) == len(LABELLED) >= 240
    held = [row for row in LABELLED if row["set"] == "held"]
    assert len(held) >= 80
    for rows in (LABELLED, held):
        assert 0.45 <= sum(row["language"] == "ja" for row in rows) / len(rows) <= 0.55
        assert 0.3 <= sum(row["complex"] for row in rows) / len(rows) <= 0.6


def test_language_of_every_labelled_question_is_read_right() -> None:
    assert [row["text"] for row in LABELLED if question.read(row["text"]).language != row["language"]] == []


# The lexicon


def test_every_spelling_of_the_lexicon_can_be_found() -> None:
    families = json.loads(Path(wording.__file__).with_name("lexicon.json").read_text(encoding="utf-8"))
    known = wording.lexicon()
    unreachable = []
    for family, languages in families.items():
        for pattern in (*languages["en"], *languages["ja"]):
            for written in wording.expanded([pattern]):
                plain = spelling.folded(written.replace("#", "7").strip("^$" if len(written) > 1 else ""))
                cut = spelling.tokens(plain)
                if cut != tuple(plain.split()) or (spelling.is_run(plain[-1]) and len(written) < 2):
                    unreachable.append((family, written))
    assert unreachable == []
    assert set(known.bit) == {*families, "genre", "title", "author_name"}


# Word boundaries


@pytest.mark.parametrize(
    "text",
    [
        "Generating a receipt fails",  # rating
        "Do you have a serious problem with my card?",  # series
        "I reviewed my address, please check the preview page of my account",  # review
        "the authority on your refund rules?",  # author
        "注文を間違えました",  # 違い
        "どうしても届かないので返品します",  # どうして
        "配送方法は何でも構いません",  # 何で
    ],
)
def test_a_cue_inside_a_longer_word_is_no_cue(text: str) -> None:
    assert not asks_catalogue(text)
    assert not is_complex(text)


def test_a_title_eats_the_words_it_is_made_of() -> None:
    assert asks_catalogue("君に届けの最終巻はいくら？")
    assert asks_catalogue("ご注文はうさぎですか？は何巻まで？")
    assert not asks_catalogue("ご注文の品が届けられません")


# Negation


@pytest.mark.parametrize(
    ("asked", "denied"),
    [
        ("ナルトとブリーチを比較して", "比較はしなくていいので、ナルトの巻数だけ教えて"),
        ("ナルトの結末を詳しく説明して", "詳しい説明は不要です。ナルトは全何巻？"),
        ("Explain how the plot of Naruto develops", "No need to explain, how many volumes does Naruto have?"),
        ("Compare Naruto and Bleach", "Don't compare them, when is the next volume of Bleach out?"),
        ("Analyze Naruto for me", "Please tell me the price of Naruto without analyzing it"),
    ],
)
def test_denied_reasoning_is_not_asked_for(asked: str, denied: str) -> None:
    assert is_complex(asked)
    assert not is_complex(denied)


@pytest.mark.parametrize(
    ("asked", "denied"),
    [
        ("おすすめを教えて", "おすすめはいらない"),
        ("おすすめの漫画", "おすすめとかは結構です、営業時間だけ教えて"),
        ("Any recommendations?", "I'm not looking for recommendations, just your opening hours"),
        ("recommend a manga", "please don't recommend anything, where is my order?"),
    ],
)
def test_denied_recommendation_needs_no_catalogue(asked: str, denied: str) -> None:
    assert asks_catalogue(asked)
    assert not asks_catalogue(denied)


@pytest.mark.parametrize(
    "text",
    [
        "I don't understand why Eren did it, please explain",
        "I'm not sure which one is better, please compare Monster and Pluto",
    ],
)
def test_not_understanding_denies_no_request(text: str) -> None:
    assert is_complex(text)


# Politeness, length, service


def test_politeness_and_length_make_a_simple_question_no_harder() -> None:
    long_winded = (
        "Hi there, I hope you are having a lovely day so far. I was just wondering, if it is not too much trouble, "
        "whether you could possibly tell me how much volume 3 of Spy x Family costs? Thank you so very much indeed!"
    )
    assert not is_complex(long_winded)
    assert not is_complex(
        "いつもお世話になっております。お忙しいところ大変恐れ入りますが、"
        "「ブルーピリオド」第3巻の税込価格をご教示いただけますでしょうか。何卒よろしくお願い申し上げます。"
    )


@pytest.mark.parametrize(
    "text",
    ["なぜ鬼滅は人気なの？", "Why is Akira a masterpiece?", "ガッツとグリフィスの違いは？", "エレンの行動の意味は？"],
)
def test_a_short_question_may_be_hard(text: str) -> None:
    assert is_complex(text)


@pytest.mark.parametrize(
    "text",
    ["なぜ荷物が届かないの？", "Why was my card declined?", "ポイントの使い方を説明して", "Explain your return policy"],
)
def test_reasons_of_the_stores_service_are_looked_up_not_reasoned(text: str) -> None:
    assert not is_complex(text)
    assert not asks_catalogue(text)


# Spelling


@pytest.mark.parametrize(
    ("usual", "variant"),
    [
        ("おすすめのスポーツ漫画を教えて", "ｵｽｽﾒの ｽﾎﾟｰﾂマンガを教えて"),
        ("ワンピースとナルトを比較して!", "ﾜﾝﾋﾟｰｽとﾅﾙﾄを比較して！"),
        ("Compare ONE PIECE and NARUTO", "ｃｏｍｐａｒｅ　ＯＮＥ　ＰＩＥＣＥ　ａｎｄ　ｎａｒｕｔｏ"),
        ("don't explain, just the price of Naruto", "DON’T EXPLAIN, JUST THE PRICE OF NARUTO"),
    ],
)
def test_width_case_and_kana_change_nothing(usual: str, variant: str) -> None:
    one, other = question.read(usual), question.read(variant)
    assert (one.score, one.catalogue, one.works, one.language) == (
        other.score,
        other.catalogue,
        other.works,
        other.language,
    )


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Do you have 進撃の巨人 vol 3?", "en"),
        ("SPY×FAMILYの3巻ある？", "ja"),
        ("NARUTO 在庫", "ja"),
        ("ワンピース", "ja"),
        ("ONE PIECE", "en"),
        ("ダイヤのA", "ja"),
        ("¿tienen manga?", "en"),
        ("🙏", "en"),
        ("", "en"),
    ],
)
def test_language_follows_what_is_said_around_titles(text: str, language: str) -> None:
    assert question.read(text).language == language


def test_text_is_kept_as_asked_but_normalised() -> None:
    assert question.read("  ﾜﾝﾋﾟｰｽ　Vol.３ \n").text == "ワンピース Vol.3"


# The client's hint


@given(text=st.sampled_from([row["text"] for row in LABELLED]), hint=st.none() | st.floats())
def test_a_hint_only_raises_the_score(text: str, hint: float | None) -> None:
    alone, hinted = question.read(text), question.read(text, hint)
    assert alone.score <= hinted.score <= 1
    if hint is None or math.isnan(hint) or hint <= alone.score:
        assert hinted == alone
    else:
        assert hinted.score == min(1.0, hint)
    assert hinted.catalogue == alone.catalogue


# Whatever is typed


ODD = st.text() | st.text(alphabet="ァアーヴ゛゜ﾞﾟ々〆・☆ の漫画巻$^#~()🙏👨‍👩‍👧\u200b\ud800\u0301'\".!?\n", max_size=300)


@given(text=ODD)
def test_anything_typed_is_read_and_read_the_same_again(text: str) -> None:
    found = question.read(text)
    assert 0 <= found.score <= 1
    assert found.language in LANGUAGES
    assert found == question.read(text)
    assert question.read(found.text).score == found.score


@pytest.mark.parametrize("piece", ["あ", "なぜ", "why ", "「", "monster ", "ナナ", "の" * 50 + "。", "!?", "𠮷👩‍🚀"])
def test_a_very_long_text_is_read_by_its_beginning_and_end(piece: str) -> None:
    assert 0 <= question.read(piece * 50_000).score <= 1
    assert is_complex(
        "こんにちは。" * 2_000 + "寄生獣とプルートウのテーマを比較して、違いの理由を詳しく考察してください"
    )
