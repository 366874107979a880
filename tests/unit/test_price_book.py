"""The price book: the price of the day, from the region that was asked for, and where it was read."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from mangaassist.errors import PriceUnknown
from mangaassist.money.book import Entry, PriceBook, price_book

TODAY = date(2026, 11, 26)
TOKYO = "ap-northeast-1"
TABLE_4_2 = {
    "ml.g5.xlarge": 1.41,
    "ml.g5.2xlarge": 1.89,
    "ml.g5.12xlarge": 7.09,
    "ml.p4d.24xlarge": 40.97,
    "ml.inf2.xlarge": 0.99,
}


def entry(usd: str, effective_from: date, region: str = TOKYO) -> Entry:
    return Entry(
        name="it",
        region=region,
        unit="hour",
        usd=Decimal(usd),
        effective_from=effective_from,
        source="a page",
        verified=True,
    )


def test_the_price_of_the_day_is_the_newest_that_is_in_force() -> None:
    book = PriceBook((entry("2", date(2027, 1, 1)), entry("3", date(2026, 1, 1))))
    assert book.quote("it", TOKYO, TODAY).usd == 3
    assert book.quote("it", TOKYO, date(2027, 1, 1)).usd == 2
    assert book.quote("it", TOKYO, date(2020, 1, 1)).usd == 3, "the oldest that is known"


def test_a_price_of_another_region_is_no_price() -> None:
    with pytest.raises(PriceUnknown, match="no it in eu-west-1"):
        PriceBook((entry("2", TODAY),)).quote("it", "eu-west-1", TODAY)


def test_the_shipped_book_has_the_instances_of_the_brief() -> None:
    book = price_book()
    assert {kind: book.quote(f"sagemaker.{kind}", TOKYO, TODAY).usd for kind in TABLE_4_2} == TABLE_4_2


def test_every_price_says_where_it_was_read_and_nothing_unread_is_verified() -> None:
    book = price_book()
    for name in book.names():
        for region in book.regions():
            try:
                quote = book.quote(name, region, TODAY)
            except PriceUnknown:
                continue
            assert quote.source
            assert not (quote.verified and "not" in quote.source)
