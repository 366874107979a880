"""Loading a catalogue: what is in table and index afterwards, and what it cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mangaassist.knowledge.embeddings import COHERE, TITAN
from tests.integration import shelves
from tests.integration.shelves import INDEX, Shelves, figures, rows_of, same, some

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door


@pytest.fixture
def shelf(dynamodb: DynamoDBClient) -> Shelves:
    shelves.create_table(dynamodb)
    return Shelves(dynamodb)


# -- what it costs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [TITAN, COHERE])
def test_a_file_is_in_table_and_index_and_the_second_time_costs_nothing(shelf: Shelves, door: Door, model: str) -> None:
    products = some(230)
    first = shelf.load(products, model=model)
    assert figures(first) == (0, 0, 230, 0, 0)
    assert same(shelf, products)
    assert len(shelf.model.texts) == 230
    assert shelf.model.calls == (230 if model == TITAN else 3)
    assert first.embedding_tokens > 230
    assert first.embedding_nano_usd == first.embedding_tokens * (20 if model == TITAN else 100)
    door.requests.clear()
    bulks = len(shelf.index.bulks)
    second = shelf.load(products, model=model)
    assert figures(second) == (230, 0, 0, 0, 0)
    assert second.embedding_nano_usd == 0
    assert len(shelf.model.texts) == 230
    assert len(shelf.index.bulks) == bulks
    assert set(door.requests) == {"BatchGetItem"}


def test_a_new_price_is_written_and_nothing_is_embedded(shelf: Shelves) -> None:
    products = some(3)
    shelf.load(products)
    products[1] = replace(products[1], price_yen=660, stock=0)
    assert figures(shelf.load(products)) == (2, 1, 0, 0, 0)
    assert same(shelf, products)
    assert len(shelf.model.texts) == 3
    assert figures(shelf.load(products)) == (3, 0, 0, 0, 0)


def test_a_new_synopsis_is_embedded_alone(shelf: Shelves) -> None:
    products = some(3)
    shelf.load(products)
    products[1] = replace(products[1], synopsis_en="A surgeon hunts a boy whom he has saved.")
    assert figures(shelf.load(products)) == (2, 0, 1, 0, 0)
    assert same(shelf, products)
    assert "surgeon" in shelf.model.texts[-1]


def test_a_new_genre_is_searched_even_behind_stories_that_leave_no_room_for_it_in_the_text(shelf: Shelves) -> None:
    long = replace(some(1)[0], synopsis_ja="物" * 1000, synopsis_en="x" * 1000)
    shelf.load([long])
    horror = replace(long, work=replace(long.work, title_en="x" * 60, genres=("horror",)))
    shelf.load([horror])
    scifi = replace(horror, work=replace(horror.work, genres=("sci-fi",)))
    assert figures(shelf.load([scifi])) == (0, 0, 1, 0, 0)
    (document,) = shelf.index.documents()
    assert document["kinds"] == ["sci-fi", scifi.work.demographic]


def test_vectors_of_two_models_are_never_in_one_index(shelf: Shelves) -> None:
    products = some(3)
    shelf.load(products)
    assert figures(shelf.load(products, model=COHERE)) == (0, 0, 3, 0, 0)


def test_a_new_collection_is_filled_although_the_table_says_that_all_is_done(shelf: Shelves) -> None:
    products = some(3)
    shelf.load(products)
    other = Shelves(shelf.dynamodb)
    assert figures(other.load(products, endpoint="https://another.example")) == (0, 0, 3, 0, 0)
    assert same(other, products)


def test_an_index_that_is_gone_is_made_and_filled_again(shelf: Shelves) -> None:
    products = some(3)
    shelf.load(products)
    shelf.index.collection.delete(INDEX)
    assert figures(shelf.load(products)) == (0, 0, 3, 0, 0)
    assert same(shelf, products)


def test_all_can_be_asked_for_again(shelf: Shelves) -> None:
    shelf.load(some(3))
    assert figures(shelf.load(some(3), again=True)) == (0, 0, 3, 0, 0)


def test_without_search_products_are_sold_and_nothing_is_embedded_until_there_is_one(shelf: Shelves) -> None:
    products = some(3)
    assert figures(shelf.load(products, search=False)) == (0, 3, 0, 0, 0)
    assert figures(shelf.load(products, search=False)) == (3, 0, 0, 0, 0)
    assert shelf.products() == {it.id: it for it in products}
    assert shelf.model.calls == 0
    assert figures(shelf.load(products)) == (0, 0, 3, 0, 0)
    assert same(shelf, products)


def test_a_survey_tells_what_would_be_done_and_does_nothing(shelf: Shelves, door: Door) -> None:
    assert figures(shelf.loader().survey(rows_of(some(3)))) == (0, 0, 3, 0, 0)
    shelf.load(some(2))
    door.requests.clear()
    calls, bulks = shelf.model.calls, len(shelf.index.bulks)
    changed = [replace(some(1)[0], stock=1), *some(4)[1:]]
    report = shelf.loader().survey(rows_of(changed))
    assert figures(report) == (1, 1, 2, 0, 0)
    assert report.embedding_tokens > 0
    assert (set(door.requests), shelf.model.calls, len(shelf.index.bulks)) == ({"BatchGetItem"}, calls, bulks)


# -- the wire ----------------------------------------------------------------------------------------------------------


def test_requests_are_signed_for_the_search_service(shelf: Shelves) -> None:
    shelf.load(some(1))
    assert all("/ap-northeast-1/aoss/aws4_request" in signature for signature in shelf.index.signed)


def test_a_bulk_holds_no_more_than_the_service_takes(shelf: Shelves) -> None:
    shelf.load(some(450))
    assert [len(bulk) for bulk in shelf.index.bulks] == [200, 200, 50]


def test_another_who_makes_the_index_first_is_no_trouble(shelf: Shelves) -> None:
    shelf.load(some(1))
    missing = (404, {"status": 404, "error": {"type": "index_not_found_exception", "reason": "-"}})
    shelf.index.refusals = [missing]
    assert figures(shelf.load(some(2))) == (1, 0, 1, 0, 0)
