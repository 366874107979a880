"""Loading a catalogue when something goes wrong: nothing is lost, it is told, and the next run goes on."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import requests

from mangaassist.errors import IngestUnfinished, KnowledgeUnavailable, StoreUnavailable
from mangaassist.knowledge.loading import pruning
from mangaassist.knowledge.loading.backoff import TRIES
from tests.integration import shelves
from tests.integration.shelves import TOO_MANY, Shelves, figures, rows_of, same, some

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door


@pytest.fixture
def shelf(dynamodb: DynamoDBClient) -> Shelves:
    shelves.create_table(dynamodb)
    return Shelves(dynamodb)


@pytest.fixture
def classic(shelf: Shelves) -> Shelves:
    return Shelves(shelf.dynamodb, "classic")


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_documents_that_were_rejected_are_sent_again_alone(shelf: Shelves) -> None:
    products = some(5)
    shelf.index.rejected.update({"p-1": 2, "p-3": 1})
    assert figures(shelf.load(products)) == (0, 0, 5, 0, 0)
    assert same(shelf, products)
    sent = [[action["index"]["_id"] for action in bulk] for bulk in shelf.index.bulks]
    assert sent == [["p-0", "p-1", "p-2", "p-3", "p-4"], ["p-1", "p-3"], ["p-1"]]
    assert len(shelf.slept) == 2
    assert len(shelf.model.texts) == 5


def test_a_document_that_does_not_fit_is_told_by_its_product_and_the_others_get_in(shelf: Shelves) -> None:
    products = some(3)
    shelf.index.rejected.update({"p-1": 1})
    shelf.index.reason = (400, "mapper_parsing_exception")
    report = shelf.load(products)
    assert figures(report) == (0, 0, 2, 1, 0)
    (problem,) = report.problems
    assert (problem.line, problem.id) == (2, "p-1")
    assert problem.reason == "search: mapper_parsing_exception, status 400"
    assert set(shelf.items()) == {"p-0", "p-2"}
    assert figures(shelf.load(products)) == (2, 0, 1, 0, 0)


@pytest.mark.parametrize("trouble", [TOO_MANY, (503, b""), (200, b"<html>"), requests.ConnectionError("reset")])
def test_a_request_that_is_refused_as_a_whole_is_sent_again(shelf: Shelves, trouble: Any) -> None:
    shelf.load(some(1))
    shelf.index.refusals = [trouble, trouble]
    assert figures(shelf.load(some(4))) == (1, 0, 3, 0, 0)
    shelf.index.after_bulk = lambda: shelf.index.refusals.clear()
    assert same(shelf, some(4))


def test_a_search_that_denies_ends_the_run_at_once(shelf: Shelves) -> None:
    shelf.index.refusals = [(403, {"status": 403, "error": {"type": "Forbidden", "reason": "-"}})]
    with pytest.raises(KnowledgeUnavailable, match="search: Forbidden, status 403"):
        shelf.load(some(3))
    assert (shelf.slept, shelf.model.calls, shelf.items()) == ([], 0, {})


def test_throttled_embeddings_are_asked_for_again_after_waits(shelf: Shelves) -> None:
    shelf.model.troubles = ["ThrottlingException", "InternalServerException", "ThrottlingException"]
    assert figures(shelf.load(some(2))) == (0, 0, 2, 0, 0)
    assert len(shelf.slept) == 3
    assert same(shelf, some(2))


def test_a_text_that_is_never_embedded_costs_no_other_product_anything(shelf: Shelves) -> None:
    shelf.model.hates = "Number 1\n"
    products = [replace(it, work=replace(it.work, aliases=())) for it in some(3)]
    report = shelf.load(products)
    assert figures(report) == (0, 0, 2, 1, 0)
    assert [(it.id, it.reason) for it in report.problems] == [("p-1", "embeddings: ThrottlingException")]
    assert len(shelf.slept) == TRIES - 1
    shelf.model.hates = ""
    assert figures(shelf.load(products)) == (2, 0, 1, 0, 0)


def test_a_model_that_is_denied_ends_the_run(shelf: Shelves) -> None:
    shelf.model.troubles = ["AccessDeniedException"] * 40
    with pytest.raises(KnowledgeUnavailable, match="embeddings: AccessDeniedException"):
        shelf.load(some(20))
    assert shelf.items() == {}


def test_a_run_in_which_nothing_succeeds_ends_instead_of_trying_every_row(shelf: Shelves) -> None:
    shelf.model.hates = "Number"
    with pytest.raises(KnowledgeUnavailable, match="100 times without one success"):
        shelf.load(some(5000))
    assert shelf.model.calls < 1000 * TRIES


def test_a_table_out_of_reach_ends_the_run_and_the_next_goes_on(shelf: Shelves, door: Door) -> None:
    door.close()
    with pytest.raises(StoreUnavailable):
        shelf.load(some(3))
    door.open()
    assert figures(shelf.load(some(3))) == (0, 0, 3, 0, 0)


# -- dying and going on ------------------------------------------------------------------------------------------------


def test_a_run_that_died_goes_on_and_nothing_that_was_done_is_done_twice(shelf: Shelves) -> None:
    products = some(700)
    shelf.index.after_bulk = dies_after(2, shelf)
    with pytest.raises(Died):
        shelf.load(products)
    done = set(shelf.items())
    assert len(done) == 200
    shelf.index.after_bulk = lambda: None
    before = len(shelf.model.texts)
    assert figures(shelf.load(products)) == (200, 0, 500, 0, 0)
    assert len(shelf.model.texts) - before == 500
    assert same(shelf, products)


class Died(Exception):
    """The process is no more."""


def dies_after(bulks: int, shelf: Shelves) -> Any:
    """Die like a process, when the index has taken that many bulks and the table does not know of the last."""

    def die() -> None:
        if len(shelf.index.bulks) == bulks:
            raise Died

    return die


@pytest.mark.parametrize("generation", ["nextgen", "classic"])
def test_when_the_time_is_over_all_that_was_paid_for_is_kept(shelf: Shelves, generation: Any) -> None:
    shelf = Shelves(shelf.dynamodb, generation)
    products = some(620)
    looks = iter([*[True] * 6, *[False] * 1000])
    with pytest.raises(IngestUnfinished, match="the next run goes on"):
        shelf.loader().load(rows_of(products), has_time=lambda: next(looks))
    assert sorted(shelf.items()) == shelf.index.ids()
    assert len(shelf.items()) == len(shelf.model.texts), "every text that was paid for is written"
    shelf.load(products)
    assert same(shelf, products)
    assert len(shelf.model.texts) == 620


def test_when_the_time_is_over_while_one_text_is_slow_those_before_it_are_kept(shelf: Shelves) -> None:
    products = some(40)
    shelf.model.holds, shelf.model.held_after = Event(), 10
    looks = iter([True, *[False] * 100])

    def has_time() -> bool:
        has = next(looks)
        if not has and shelf.model.holds:
            shelf.model.holds.set()
        return has

    with pytest.raises(IngestUnfinished):
        shelf.loader().load(rows_of(products), has_time=has_time)
    assert len(shelf.items()) == len(shelf.model.texts) > 10
    shelf.load(products)
    assert same(shelf, products)
    assert len(shelf.model.texts) == 40


# -- classic collections -----------------------------------------------------------------------------------------------


def test_a_classic_collection_has_one_document_of_a_product_after_every_change(classic: Shelves) -> None:
    products = some(3)
    classic.load(products)
    first = {document["id"]: document["_id"] for document in classic.index.documents()}
    assert {name: item["index_id"] for name, item in classic.items().items()} == first
    products[1] = replace(products[1], synopsis_en="Another story.")
    assert figures(classic.load(products)) == (2, 0, 1, 0, 0)
    second = {document["id"]: document["_id"] for document in classic.index.documents()}
    assert same(classic, products)
    assert second["p-1"] != first["p-1"]
    assert classic.items()["p-1"]["index_id"] == second["p-1"]
    products[1] = replace(products[1], price_yen=1)
    classic.load(products)
    assert classic.items()["p-1"]["index_id"] == second["p-1"], "a new price forgets no document"


def test_a_collection_that_takes_no_ids_after_all_is_filled_all_the_same(classic: Shelves) -> None:
    classic.generation = "nextgen"  # as the deployment believes
    products = some(3)
    classic.load(products)
    assert same(classic, products)
    products[1] = replace(products[1], synopsis_en="Another story.")
    classic.load(products)
    assert same(classic, products)
    assert len(classic.index.documents()) == 3


def test_a_classic_document_stays_findable_while_its_successor_is_refused(classic: Shelves) -> None:
    products = some(2)
    classic.load(products)
    products[1] = replace(products[1], synopsis_en="Another story.")
    classic.index.rejected.update({"p-1": TRIES})
    assert figures(classic.load(products)) == (1, 0, 0, 1, 0)
    assert classic.index.ids() == ["p-0", "p-1"]


def test_documents_that_a_dead_run_left_in_a_classic_collection_go_with_the_next_change(classic: Shelves) -> None:
    products = some(3)
    classic.index.after_bulk = dies_after(1, classic)
    with pytest.raises(Died):
        classic.load(products)
    assert (len(classic.index.ids()), classic.items()) == (3, {})
    classic.index.after_bulk = lambda: None
    classic.load(products)
    assert same(classic, products)


# -- pruning -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["nextgen", "classic"])
def test_what_is_not_sold_any_more_is_found_no_more(shelf: Shelves, generation: Any) -> None:
    shelf = Shelves(shelf.dynamodb, generation)
    products = some(5)
    shelf.load(products)
    table, _, search = shelf.parts()
    absent = pruning.absent(table, {it.id for it in islice(products, 2)})
    assert set(absent) == {"p-2", "p-3", "p-4"}
    assert pruning.prune(table, search, absent) == []
    assert same(shelf, products[:2])


def test_what_the_index_will_not_let_go_stays_in_the_table_to_be_pruned_another_time(shelf: Shelves) -> None:
    shelf.load(some(2))
    table, _, search = shelf.parts()
    shelf.index.refusals = [TOO_MANY] * TRIES
    problems = pruning.prune(table, search, pruning.absent(table, {"p-0"}))
    assert [it.id for it in problems] == ["p-1"]
    assert set(shelf.items()) == {"p-0", "p-1"}


# -- a busy table ------------------------------------------------------------------------------------------------------


class Busy:
    """A table's client that leaves all but the first of a batch unprocessed, `times` times."""

    def __init__(self, client: DynamoDBClient, times: int, *, reads: bool = True) -> None:
        self._client = client
        self._reads = reads
        self.times = times

    def batch_write_item(self, **asked: Any) -> Any:
        return self._some(
            "batch_write_item", "UnprocessedItems", asked, lambda items: items[:1], lambda items: items[1:]
        )

    def batch_get_item(self, **asked: Any) -> Any:
        if not self._reads:
            return self._client.batch_get_item(**asked)
        return self._some(
            "batch_get_item",
            "UnprocessedKeys",
            asked,
            lambda it: it | {"Keys": it["Keys"][:1]},
            lambda it: it | {"Keys": it["Keys"][1:]},
        )

    def _some(self, method: str, left: str, asked: Any, first: Any, rest: Any) -> Any:
        ((name, items),) = asked["RequestItems"].items()
        if self.times == 0 or len(items if isinstance(items, list) else items["Keys"]) < 2:
            return getattr(self._client, method)(**asked)
        self.times -= 1
        answer = getattr(self._client, method)(RequestItems={name: first(items)})
        return answer | {left: {name: rest(items)}}


def test_what_a_busy_table_leaves_undone_is_done_after_a_wait(shelf: Shelves) -> None:
    busy: Any = Busy(shelf.dynamodb, 5)
    crowded = Shelves(busy)
    assert figures(crowded.load(some(10))) == (0, 0, 10, 0, 0)
    assert len(crowded.slept) == 5
    assert set(shelf.items()) == {it.id for it in some(10)}


def test_products_that_a_table_never_takes_are_told_and_the_others_are_in(shelf: Shelves) -> None:
    busy: Any = Busy(shelf.dynamodb, 1000, reads=False)
    crowded = Shelves(busy)
    report = crowded.load(some(TRIES + 2), search=False)
    assert report.failed == 2
    assert {it.reason for it in report.problems} == {"table: too busy"}
