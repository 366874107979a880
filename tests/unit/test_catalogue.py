"""When no model can answer, the shopper still finds works: by any spelling of a title or an author, or by genre."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.knowledge import catalogue, names, spelling
from mangaassist.knowledge.product import Product
from mangaassist.routing import question

WORKS = catalogue.works()


def products(text: str, limit: int = 5) -> list[Product]:
    """What the catalogue answer offers to a question."""
    return [Product(work) for work in catalogue.matching(question.read(text), limit)]


LAYER = Path(catalogue.__file__).parents[2]


def named(text: str) -> tuple[str, ...]:
    return question.read(text).works


def matching(text: str, limit: int = 5) -> list[str]:
    return [work.id for work in catalogue.matching(question.read(text), limit)]


# The file


def test_catalogue_is_large_and_whole() -> None:
    assert len(WORKS) >= 160
    for work in WORKS.values():
        assert all((work.title_ja, work.title_kana, work.title_romaji, work.title_en, work.author_ja, work.author_en))
        assert work.title_romaji.isascii()
        assert len(work.author_ja.split("、")) == len(work.author_kana.split("、")) == len(work.author_en.split(", "))
        assert set(work.genres) <= set(catalogue.kinds())
        assert work.demographic in ("shonen", "shojo", "seinen", "josei", "kids")
        assert work.status in ("completed", "ongoing", "hiatus", None)
        assert work.first_year is None or 1950 <= work.first_year <= 2025


def test_names_said_to_be_everyday_words_are_names() -> None:
    careful = {name.folded.rstrip("!?") for name in names.names() if name.ordinary}
    assert [word for work in WORKS.values() for word in work.ordinary if spelling.folded(word) not in careful] == []


def test_importing_reads_no_file() -> None:
    code = """
import mangaassist.routing.question as question, mangaassist.routing.wording as wording
from mangaassist.knowledge import catalogue
assert not catalogue.works.cache_info().currsize and not wording.lexicon.cache_info().currsize
question.read("ワンピース")
assert catalogue.works.cache_info().currsize and wording.lexicon.cache_info().currsize
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(LAYER)})


# Names


@pytest.mark.parametrize(
    "text",
    [
        "ワンピース",
        "ONE PIECE",
        "わんぴーす",
        "wan piece",
        "ﾜﾝﾋﾟｰｽ",
        "ＯＮＥ　ＰＩＥＣＥ",
        "onepiece",
        "ワンピの新刊",
        "one piece's author",
    ],
)
def test_spelling_variants_find_the_same_work(text: str) -> None:
    assert named(text) == ("one-piece",)


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ("spy family 3巻", "spy-x-family"),
        ("SPY×FAMILY", "spy-x-family"),
        ("ハガレンの作者", "fullmetal-alchemist"),
        ("aot ending", "attack-on-titan"),
        ("ヴィンランドサガ", "vinland-saga"),
        ("怪獣8号の最新刊", "kaiju-no-8"),
        ("20世紀少年みたいな", "20th-century-boys"),
        ("Dr. Stone box set", "dr-stone"),
        ("3月のライオン", "march-lion"),
        ("幽遊白書", "yu-yu-hakusho"),
        ("ぼっち・ざ・ろっく！", "bocchi"),
        ("Kaguya-sama: Love Is War", "kaguya-sama"),
        ("声の形", "silent-voice"),
    ],
)
def test_abbreviations_marks_and_mixed_scripts_are_known(text: str, work: str) -> None:
    assert named(text) == (work,)


@pytest.mark.parametrize("work", WORKS)
def test_every_work_is_found_by_its_own_titles_in_quotes(work: str) -> None:
    titles = WORKS[work].title_ja, WORKS[work].title_en
    for title in titles:
        assert work in named(f"「{title}」"), title


@pytest.mark.parametrize(
    "text",
    [
        "my nana loves manga",
        "three days ago",
        "blame it on me",
        "given that I like it",
        "orange juice",
        "I want a manga with a real monster",
        "モンスターが出てくる漫画",
        "斜めに読む",
        "日常系の漫画",
        "絵のタッチが好き",
        "徐々に強くなる",
        "なると思う",
        "リアルな描写",
        "モンスターハンター",
        "夏目漱石",
    ],
)
def test_everyday_words_name_no_work(text: str) -> None:
    assert named(text) == ()


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ("Do you have Monster?", "monster"),
        ("monster vol 3", "monster"),
        ("MONSTERの作者", "monster"),
        ("「モンスター」の在庫", "monster"),
        ("NANA 在庫", "nana"),
        ("ナナの最終巻", "nana"),
        ("BLAME!", "blame"),
        ("have you read Orange", "orange"),
        ("「日常」ありますか", "nichijou"),
    ],
)
def test_everyday_words_meant_as_titles_are_titles(text: str, work: str) -> None:
    assert named(text) == (work,)


@pytest.mark.parametrize("text", ["浦沢直樹の作品", "Naoki Urasawa", "urasawa naoki", "うらさわなおきの漫画"])
def test_an_author_stands_for_all_of_their_works(text: str) -> None:
    assert {"monster", "pluto", "20th-century-boys", "yawara"} <= set(named(text))


def test_works_come_in_order_of_mention_once_each() -> None:
    assert named("NARUTOとブリーチ、あとナルト") == ("naruto", "bleach")


# Matching


def test_named_works_come_first_then_those_of_the_kind() -> None:
    assert matching("Haikyuu!! みたいなバレー漫画", 1) == ["haikyu"]
    found = matching("ちはやふるみたいなスポーツ漫画", 4)
    assert found[0] == "chihayafuru"
    assert all("sports" in WORKS[work].genres for work in found)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ホラー漫画ある？", "horror"),
        ("any horror?", "horror"),
        ("サッカーの漫画", "soccer"),
        ("soccer manga", "soccer"),
        ("ｼｮｳｷﾞ 将棋", "shogi"),
        ("shojo", "shojo"),
        ("少女漫画", "shojo"),
    ],
)
def test_kinds_are_known_in_both_languages(text: str, kind: str) -> None:
    found = catalogue.matching(question.read(text))
    assert found
    assert all(kind in (work.demographic, *work.genres) for work in found)


def test_works_that_fit_more_of_the_kinds_come_first() -> None:
    best = catalogue.matching(question.read("dark fantasy seinen"), 3)
    assert all({"dark", "seinen"} <= {work.demographic, *work.genres} for work in best)


def test_a_kind_inside_another_word_is_none() -> None:
    assert matching("the location of your scatter cushions") == []  # cat


@given(text=st.text(max_size=80), limit=st.integers(-1, 8))
def test_matching_keeps_its_limit_and_its_order(text: str, limit: int) -> None:
    asked = question.read(text)
    assert len(catalogue.matching(asked, limit)) <= max(limit, 0)
    assert catalogue.matching(asked, limit) == catalogue.matching(asked, 8)[: max(limit, 0)]


# The answer at the end of every chain


def test_answer_apologises_and_offers_works_in_the_language_of_the_question() -> None:
    japanese, english = (
        catalogue.answer(question.read(text), products(text, 2))
        for text in ("泣けるスポーツ漫画ある？", "any sports manga?")
    )
    assert japanese.startswith("申し訳ございません")
    assert "SLAM DUNK" in japanese
    assert "井上雄彦" in japanese
    assert english.startswith("I'm sorry")
    assert "Slam Dunk (Takehiko Inoue" in english
    assert len(english.splitlines()) == 4


def test_answer_without_a_match_says_so_and_what_to_do() -> None:
    assert "nothing in our catalogue matches" in catalogue.answer(question.read("hello"), products("hello"))
    assert "見つかりませんでした" in catalogue.answer(question.read("こんにちは"), products("こんにちは"))
    assert "author" in catalogue.answer(question.read("hello"), products("hello"))


@given(text=st.text(max_size=200))
def test_there_is_always_an_answer(text: str) -> None:
    assert len(catalogue.answer(question.read(text), products(text))) > 40
