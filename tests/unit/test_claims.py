"""What answers claim: prices that are not the catalogue's are noticed, and products are cited that are really named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.knowledge import catalogue, claims
from mangaassist.knowledge.product import Product

WORKS = catalogue.works()
NARUTO = Product(WORKS["naruto"], volumes=72, price_yen=484, stock=3, synopsis_ja="忍者の物語")
BLEACH = Product(WORKS["bleach"], volumes=74, price_yen=528, stock=40)
REAL = Product(WORKS["real"], price_yen=700)


@pytest.mark.parametrize(
    ("text", "unfounded"),
    [
        ("『NARUTO』は1巻418円です。", (418,)),
        ("『NARUTO』は1巻528円です。", (528,)),  # another work's price
        ("『NARUTO』は484円、『BLEACH』は484円です。", (484,)),
        ("『NARUTO』は約300円です。", (300,)),
        ("Naruto costs around ¥300.", (300,)),
        ("『NARUTO』は5万円です。", (50_000,)),
        ("『NARUTO』は三百円です。", (300,)),
        ("『NARUTO』は300えんです。", (300,)),
        ("It is ¥484, not ¥300.", (300,)),
        ("ナルトは1円です。", (1,)),
    ],
)
def test_a_price_that_the_catalogue_does_not_give_is_noticed(text: str, unfounded: tuple[int, ...]) -> None:
    assert claims.unfounded_prices(text, [NARUTO, BLEACH], "いくら?") == unfounded


@pytest.mark.parametrize(
    "text",
    [
        "『NARUTO』は1巻484円です。",
        "全72巻で34,848円です。",
        "3巻で1,452円です。",
        "3巻で1，452円です。",
        "『NARUTO』は約500円です。",
        "『NARUTO』と『BLEACH』を1冊ずつで1,012円です。",
        "『NARUTO』は484円(税抜440円)です。",
        "『NARUTO』は484円、送料は別途350円です。",
        "『NARUTO』の主人公が100円玉を拾います。",
        "予算1,000円なら『NARUTO』2冊で968円、32円のおつりです。",
        "500円以下なら『NARUTO』です。",
        "Both are under ¥600.",
        "在庫は3冊、1999年開始です。",
    ],
)
def test_what_is_the_catalogues_price_or_no_price_is_left_alone(text: str) -> None:
    assert claims.unfounded_prices(text, [NARUTO, BLEACH], "いくら?") == ()


def test_a_budget_is_the_shoppers_own_and_a_claim_is_not() -> None:
    assert claims.unfounded_prices("1,000円で2冊買えます。", [NARUTO], "1000円で何冊買える?") == ()
    assert claims.unfounded_prices("はい、『NARUTO』は1円です。", [NARUTO], "NARUTOは1円ですよね?") == (1,)


@given(st.text(max_size=300), st.text(max_size=100))
def test_any_answer_can_be_checked(text: str, asked: str) -> None:
    assert all(isinstance(price, int) for price in claims.unfounded_prices(text, [NARUTO, BLEACH, REAL], asked))


def test_a_correction_gives_the_prices_as_they_are() -> None:
    text = "『NARUTO』は418円です。"
    assert "1巻484円" in claims.correction("ja", [NARUTO, BLEACH], text)
    assert "BLEACH" not in claims.correction("ja", [NARUTO, BLEACH], text)
    assert "¥484" in claims.correction("en", [NARUTO], "Naruto is ¥418.")
    assert "product page" in claims.correction("en", [NARUTO], "It is ¥418.")


def test_citations_are_the_products_that_the_answer_names_at_their_price() -> None:
    (cited,) = claims.citations([NARUTO, BLEACH], "『BLEACH』をどうぞ。")
    assert (cited["id"], cited["price_yen"], cited["stock"], cited["sample"]) == ("bleach", 528, 40, False)


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("『ナルト』をどうぞ。", ["naruto"]),
        ("『ワンピース』ではなく『NARUTO』です。", ["naruto"]),
        ("Naruto is a good start.", ["naruto"]),
        ("Fans of real adventure enjoy bananas.", []),
        ("『リアル』はバスケの漫画です。", ["real"]),
    ],
)
def test_a_title_in_any_spelling_is_cited_and_an_everyday_word_is_not(text: str, cited: list[str]) -> None:
    assert [one["id"] for one in claims.citations([NARUTO, BLEACH, REAL], text)] == cited
