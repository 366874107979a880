"""What an answer claims of the store's products: which it names, and whether the prices that it states are theirs."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mangaassist.knowledge import catalogue, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mangaassist.knowledge.product import Product

SUMMED_MOST = 6  # products whose prices an answer may add up
ROUNDED_SHARE = 0.1  # how far "about ¥500" may be from the price
LEAST_KANA = 4  # a shorter kana title has to stand in quotes

_AMOUNT = re.compile(
    r"[¥￥]\s?(?P<sign>\d[\d,，]*)|(?<![\d,，.])(?P<digits>\d[\d,，]*)\s?(?:円|えん|yen\b|JPY\b)"
    r"|(?P<man>\d+)万(?P<rest>\d*)円|(?P<kanji>[一二三四五六七八九十百千]+)円",
    re.IGNORECASE,
)
_NO_PRICE_BEFORE = re.compile(
    r"(送料|手数料|税抜|税別|本体|おつり|割引|値引|お釣り|shipping|postage|fee|before tax|change)[^\d]{0,8}$", re.I
)
_NO_PRICE_AFTER = re.compile(r"\s*(玉|札|ショップ|均一|のおつり|引き|off\b|coins?\b)", re.IGNORECASE)
_LIMIT_BEFORE = re.compile(
    r"(under|over|below|above|less than|more than|within|up to|予算|budget of)\s*$", re.IGNORECASE
)
_LIMIT_AFTER = re.compile(
    r"\s*(以下|以内|未満|以上|まで|台|なら|or less|or more|and under|and over|budget)", re.IGNORECASE
)
_ROUNDED_BEFORE = re.compile(r"(約|およそ|around|about|roughly)\s*$", re.IGNORECASE)
_ROUNDED_AFTER = re.compile(r"\s*(前後|くらい|ぐらい|ほど|程度|or so)", re.IGNORECASE)
_BUDGET = re.compile(r"(予算|budget|で(何|買)|以下|以内|未満|まで|under|within|up to|less than)", re.IGNORECASE)
_UNITS = {"十": 10, "百": 100, "千": 1000}
_DIGITS = {character: value for value, character in enumerate("〇一二三四五六七八九")}


def citations(products: Sequence[Product], text: str) -> list[dict[str, Any]]:
    """The products that an answer names, as its `end` frame tells them: the true price and stock beside every claim."""
    return [
        {
            "id": product.id,
            "title": product.work.title_ja,
            "title_en": product.work.title_en,
            "author": product.work.author_ja,
            "author_en": product.work.author_en,
            "price_yen": product.price_yen,
            "stock": product.stock,
            "sample": product.sample,
        }
        for product in products
        if named_at(product, text)
    ]


def named_at(product: Product, text: str) -> list[int]:
    """Where an answer names a product, by any of its titles; a title that is also a word counts as it is written."""
    work = product.work
    titles = dict.fromkeys((work.title_ja, work.title_kana, work.title_en, *work.aliases))
    return sorted({at for title in titles if title for at in _places(title, text)})


def unfounded_prices(text: str, products: Sequence[Product], question: str) -> tuple[int, ...]:
    """Prices in yen that an answer states and the catalogue does not give, each once.

    Founded are the price of the product named last before the amount, its multiples up to the number of its volumes,
    and sums of what the answer names; a limit ("under ¥500"), the question's budget, postage and change are no prices.
    """
    places = [(at, product) for product in products for at in named_at(product, text)]
    places.sort(key=lambda place: place[0])
    named = [product for product in products if any(product is one for _, one in places)]
    budget = {amount for amount, _, _ in _amounts(question)} if _BUDGET.search(question) else set()
    return tuple(
        dict.fromkeys(
            amount
            for amount, at, end in _amounts(text)
            if amount not in budget
            and not _is_no_price(text, at, end)
            and not _is_founded(amount, _before(places, at), named or products, rounded=_is_rounded(text, at, end))
        )
    )


def correction(language: str, products: Sequence[Product], text: str) -> str:
    """What follows an answer that states a price which the catalogue does not: the prices as they are."""
    named = [product for product in products if product.price_yen is not None and named_at(product, text)]
    if language == "ja":
        lead = "\n\n※ 上の価格には、カタログで確認できないものがあります。"
        tail = "カタログの価格は次のとおりです。" if named else "価格は商品ページでご確認ください。"
    else:
        lead = "\n\nNote: a price above is not in our catalogue. "
        tail = "The catalogue says:" if named else "Please see the product page for prices."
    return "\n".join((lead + tail, *(catalogue.line(product, language) for product in named)))


def _places(title: str, text: str) -> Iterator[int]:
    """Where a title stands: Latin ones between the bounds of words, and those of one word with their capitals."""
    latin = title.isascii()
    flags = re.IGNORECASE if not latin or " " in title else 0
    spelled = "|".join(map(re.escape, dict.fromkeys((title, title.upper()))))
    pattern = rf"(?<![A-Za-z0-9])(?:{spelled})(?![A-Za-z0-9])" if latin else re.escape(title)
    short = _is_short(title)
    for match in re.finditer(pattern, text, flags):
        if not short or _is_quoted(text, match.start(), match.end()):
            yield match.start()


def _is_short(title: str) -> bool:
    kana = all(spelling.is_katakana(character) or "ぁ" <= character <= "ゟ" for character in title)
    return len(title) < (LEAST_KANA if kana else 2)


def _is_quoted(text: str, start: int, end: int) -> bool:
    return text[max(0, start - 1) : start] in ("『", "「", '"', "“") and text[end : end + 1] in ("』", "」", '"', "”")


def _amounts(text: str) -> Iterator[tuple[int, int, int]]:
    """Amounts in yen with where each begins and ends."""
    for match in _AMOUNT.finditer(text):
        if match["kanji"]:
            amount = _kanji(match["kanji"])
        elif match["man"]:
            amount = int(match["man"]) * 10_000 + int(match["rest"] or 0)
        else:
            amount = int(re.sub("[,，]", "", match["sign"] or match["digits"]))
        yield amount, match.start(), match.end()


def _is_no_price(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 16) : start], text[end : end + 12]
    return any(
        found
        for found in (
            _NO_PRICE_BEFORE.search(before),
            _NO_PRICE_AFTER.match(after),
            _LIMIT_BEFORE.search(before),
            _LIMIT_AFTER.match(after),
        )
    )


def _is_rounded(text: str, start: int, end: int) -> bool:
    return bool(_ROUNDED_BEFORE.search(text[max(0, start - 10) : start]) or _ROUNDED_AFTER.match(text[end : end + 8]))


def _before(places: Sequence[tuple[int, Product]], at: int) -> Product | None:
    """The product that was named last before a place."""
    return next((product for place, product in reversed(places) if place < at), None)


def _is_founded(amount: int, last: Product | None, products: Sequence[Product], *, rounded: bool) -> bool:
    if rounded:
        near = [product.price_yen for product in (products if last is None else [last]) if product.price_yen]
        return any(abs(amount - price) <= ROUNDED_SHARE * price for price in near)
    if last is None:
        return any(_is_multiple(amount, product) for product in products)
    if _is_multiple(amount, last):
        return True
    prices = [product.price_yen for product in products[:SUMMED_MOST] if product.price_yen]
    return any(amount == sum(some) for size in range(2, len(prices) + 1) for some in combinations(prices, size))


def _is_multiple(amount: int, product: Product) -> bool:
    if not product.price_yen:
        return amount == product.price_yen
    volumes = max(product.volumes or 0, product.latest_volume or 0, 1)
    return amount % product.price_yen == 0 and 0 < amount // product.price_yen <= volumes


def _kanji(numeral: str) -> int:
    total = part = 0
    for character in numeral:
        if character in _UNITS:
            total += (part or 1) * _UNITS[character]
            part = 0
        else:
            part = part * 10 + _DIGITS[character]
    return total + part
