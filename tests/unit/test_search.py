"""A turn's search with doubles at its ports: what is found, what is left out, and that no part takes another's time."""

from __future__ import annotations

from typing import Any, cast

import pytest

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge import catalogue, names, wanted
from mangaassist.knowledge.embeddings import Embedded
from mangaassist.knowledge.index import Hit
from mangaassist.knowledge.product import Product
from mangaassist.knowledge.search import Found, Search
from mangaassist.routing import question
from tests.unit.fakes import FakeClock, FakeShelf, Ready

LIMIT_S = 0.7
WORKS = catalogue.works()
STORE = {work.id: Product(work, price_yen=500, stock=3) for work in WORKS.values()}


class Shop:
    """An index, an embedding model and a shelf that answer when they are told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shelf = FakeShelf(self.clock, dict(STORE))
        self.embedding_s = self.search_s = 0.05
        self.refused: set[str] = set()
        self.connecting_s = 0.0
        self.asked: list[str] = []
        self.model = "amazon.titan-embed-text-v2:0"
        self.near: tuple[str, ...] = ("vagabond",)

    def begin(self, text: str, limit_s: float) -> Ready:
        return self._call("embedding", Embedded(self.model, [1.0], 7), self.embedding_s, limit_s)

    def begin_named(self, spans: Any, size: int, limit_s: float) -> Ready:
        found = [hit(work) for work in WORKS if set(names.search_keys(WORKS[work])[0]) & set(spans)]
        return self._call("named", tuple(found), self.search_s, limit_s)

    def begin_of_kinds(self, kinds: Any, size: int, limit_s: float, status: str | None = None) -> Ready:
        return self._call("kinds", tuple(map(hit, catalogue.of_kinds(kinds, size))), self.search_s, limit_s)

    def begin_near(self, vector: Any, size: int, limit_s: float, status: str | None = None) -> Ready:
        return self._call("near", tuple(map(hit, self.near)), self.search_s, limit_s)

    def find(self, text: str, *, may_spend: bool = True) -> Found:
        search = Search(cast("Any", self.shelf), cast("Any", self), cast("Any", self), self.clock.monotonic)
        self.lookup = search.begin(wanted.read(question.read(text)), LIMIT_S, may_spend=may_spend)
        return self.lookup.finish(5)

    def _call(self, part: str, answer: Any, after_s: float, limit_s: float) -> Ready:
        self.asked.append(part)
        self.clock.sleep(min(self.connecting_s, limit_s))
        if part in self.refused or self.connecting_s > limit_s:
            raise KnowledgeUnavailable(part, "unavailable")
        return Ready(self.clock, answer, self.clock.monotonic() + after_s)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def hit(work: str) -> Hit:
    return Hit(work, *names.search_keys(WORKS[work]), 1.0)


def ids(found: Found) -> list[str]:
    return [product.id for product in found.products]


def test_names_kinds_and_vectors_are_found_together(shop: Shop) -> None:
    found = shop.find("ワンピースとバスケ漫画のおすすめは?")
    assert ids(found)[0] == "one-piece"
    assert "slam-dunk" in ids(found)
    assert "vagabond" in ids(shop.find("静かな剣客の物語"))
    assert found.priced
    assert found.missing == ()


def test_a_day_whose_money_is_spent_pays_for_no_embedding(shop: Shop) -> None:
    found = shop.find("ワンピースの在庫は?", may_spend=False)
    assert "embedding" not in shop.asked
    assert shop.lookup.sent is None
    assert ids(found) == ["one-piece"]


def test_a_late_embedding_costs_its_vectors_and_nothing_else(shop: Shop) -> None:
    shop.embedding_s = 60
    found = shop.find("ワンピースの在庫は?")
    assert (ids(found), found.missing, found.priced) == (["one-piece"], ("embedding",), True)
    assert shop.lookup.sent is not None, "the service may charge for it"


@pytest.mark.parametrize("slow", ["embedding_s", "search_s", "connecting_s"])
def test_the_table_keeps_its_time_whatever_else_is_slow(shop: Shop, slow: str) -> None:
    setattr(shop, slow, 60)
    began = shop.clock.monotonic()
    found = shop.find("ワンピースの在庫は?")
    assert shop.clock.monotonic() - began <= LIMIT_S + 1e-6
    assert found.priced
    assert ids(found) == ["one-piece"]


def test_a_slow_table_ends_within_the_limit_and_leaves_no_price(shop: Shop) -> None:
    shop.shelf.answer_s = 60
    began = shop.clock.monotonic()
    found = shop.find("ワンピースの在庫は?")
    assert shop.clock.monotonic() - began <= LIMIT_S + 1e-6
    assert (ids(found), found.priced, found.products[0].price_yen) == (["one-piece"], False, None)


def test_without_the_index_the_dictionary_finds_works_at_the_tables_prices(shop: Shop) -> None:
    shop.refused = {"named", "kinds", "near"}
    found = shop.find("バスケ漫画のおすすめは?")
    assert ids(found)
    assert all("basketball" in product.work.genres for product in found.products)
    assert all(product.price_yen == 500 for product in found.products)
    assert found.missing == ("search",)


def test_kinds_that_are_not_wanted_stay_out(shop: Shop) -> None:
    shop.near = ("uzumaki", "tomie", "slam-dunk")
    found = shop.find("ホラーが苦手です。高校生の漫画のおすすめは?")
    assert ids(found) == ["slam-dunk"]


def test_what_is_not_sold_is_not_offered(shop: Shop) -> None:
    shop.shelf.products.pop("one-piece")
    found = shop.find("ワンピースの在庫は?")
    assert ids(found) == []
    assert found.priced


def test_a_question_that_names_a_hundred_works_asks_the_table_once(shop: Shop) -> None:
    found = shop.find("、".join(f"『{work.title_ja}』" for work in list(WORKS.values())[:130]))
    assert len(shop.shelf.asked) == 1
    assert len(shop.shelf.asked[0]) <= 100
    assert found.priced
