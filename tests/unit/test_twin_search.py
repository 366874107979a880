"""The emulated collection without its wire: when writes are found, and what scores and sources are."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.search_collection import Collection
from local.search_errors import SearchError


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def made(properties: Any, refresh_s: float = 0, clock: Clock | None = None, **mappings: Any) -> Collection:
    collection = Collection(refresh_s, clock or Clock(), classic=False)
    body = {"settings": {"index.knn": "true"}, "mappings": {"properties": properties, **mappings}}
    collection.create("manga", json.dumps(body).encode())
    return collection


def wrote(collection: Collection, **documents: Any) -> Collection:
    lines = [line for name, source in documents.items() for line in ({"index": {"_id": name}}, source)]
    told = collection.bulk(b"".join(json.dumps(line).encode() + b"\n" for line in lines), "manga")
    assert not told["errors"], told
    return collection


def hits(collection: Collection, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = collection.search("manga", json.dumps(body).encode())["hits"]["hits"]
    return found


def ids(collection: Collection, **body: Any) -> list[str]:
    return [hit["_id"] for hit in hits(collection, **body)]


def test_what_is_written_is_found_only_after_the_refresh() -> None:
    clock = Clock()
    collection = wrote(made({"a": {"type": "keyword"}}, refresh_s=10, clock=clock), one={"a": "x"})
    assert ids(collection) == []
    assert collection.documents() == {"manga": 1}
    clock.now = 10
    assert ids(collection) == ["one"]
    collection.bulk(b'{"delete": {"_id": "one"}}\n', "manga")
    assert ids(collection) == ["one"]
    clock.now = 20
    assert ids(collection) == []


@pytest.mark.parametrize(
    ("space", "scores"),
    [("cosinesimil", [1, 0.5, 0]), ("l2", [1, 1 / 3, 1 / 5]), ("innerproduct", [2, 1, 1 / 2])],
)
def test_nearness_is_scored_as_the_service_scores_it(space: str, scores: list[float]) -> None:
    vectors = {"same": {"v": [1, 0]}, "aside": {"v": [0, 1]}, "against": {"v": [-1, 0]}}
    collection = wrote(made({"v": {"type": "knn_vector", "dimension": 2, "space_type": space}}), **vectors)
    found = hits(collection, query={"knn": {"v": {"vector": [1, 0], "k": 3}}})
    assert [hit["_id"] for hit in found] == ["same", "aside", "against"]
    assert [hit["_score"] for hit in found] == pytest.approx(scores)


def test_rare_words_weigh_more_and_equals_keep_their_order() -> None:
    texts = {"a": "海賊 海賊", "b": "海 の 話", "c": "賊", "d": "海 の 話"}
    collection = wrote(made({"t": {"type": "text"}}), **{name: {"t": text} for name, text in texts.items()})
    assert ids(collection, query={"match": {"t": "海賊"}}) == ["a", "c", "b", "d"]
    wrote(collection, b={"t": "海 の 話"})  # written anew: the youngest of its equals
    assert ids(collection, query={"match": {"t": "話"}}) == ["d", "b"]


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        (True, {"a": {"b": 1, "c": 2}, "d": [3]}),
        (["a.b", "v"], {"a": {"b": 1}, "v": [0.1, 1]}),
        ("a", {"a": {"b": 1, "c": 2}}),
        ({"excludes": ["a.*"]}, {"a": {}, "d": [3]}),
        ({"includes": ["a"], "excludes": ["a.c"]}, {"a": {"b": 1}}),
        (False, None),
    ],
)
def test_a_hit_carries_the_part_of_its_source_that_is_wanted(wanted: Any, source: Any) -> None:
    one = {"a": {"b": 1, "c": 2}, "d": [3], "v": [0.1, 1]}
    collection = wrote(made({"v": {"type": "knn_vector", "dimension": 2}}), one=one)
    (hit,) = hits(collection, _source=wanted)
    assert hit.get("_source") == source


def test_a_page_of_hits_knows_how_many_there_are() -> None:
    collection = wrote(made({}), **{f"w{number}": {"n": number} for number in range(30)})
    told = collection.search("manga", b'{"from": 25, "size": 10}')["hits"]
    assert told["total"] == {"value": 30, "relation": "eq"}
    assert [hit["_id"] for hit in told["hits"]] == ["w25", "w26", "w27", "w28", "w29"]
    assert len(hits(collection)) == 10


def test_fields_that_no_mapping_declares_can_be_found_unless_it_forbids_them() -> None:
    open_one = wrote(made({}), one={"title": "Blame!", "shelf": {"row": 7}, "new": True, "price": 5.5})
    for field, value in (("title.keyword", "Blame!"), ("shelf.row", 7), ("new", True), ("price", 5.5)):
        assert ids(open_one, query={"term": {field: value}}) == ["one"]
    assert open_one.mapping("manga")["manga"]["mappings"]["properties"]["shelf"] == {
        "properties": {"row": {"type": "long"}}
    }
    closed = wrote(made({}, dynamic=False), one={"title": "Blame!"})
    assert ids(closed, query={"match": {"title": "blame"}}) == []
    assert ids(closed) == ["one"]


@pytest.mark.parametrize(
    ("kind", "value", "asked"),
    [
        ("date", "2026-11", "2026-11-01T00:00:00Z"),
        ("date", "2026", 1767225600000),
        ("long", "12", 12),
        ("boolean", "true", True),
        ("keyword", ["a", ["b"]], "b"),
        ("float", 528, "528"),
    ],
)
def test_a_value_is_found_however_it_was_written(kind: str, value: Any, asked: Any) -> None:
    collection = wrote(made({"f": {"type": kind}}), one={"f": value}, other={"f": None})
    assert ids(collection, query={"term": {"f": asked}}) == ["one"]
    assert ids(collection, query={"exists": {"field": "f"}}) == ["one"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("date", "yesterday"),
        ("integer", 1 << 31),
        ("long", True),
        ("boolean", 1),
        ("float", "much"),
        ("keyword", {"a": 1}),
    ],
)
def test_a_value_of_another_type_spoils_its_document_alone(kind: str, value: Any) -> None:
    collection = made({"f": {"type": kind}})
    lines: tuple[Any, ...] = ({"index": {}}, {"f": value}, {"index": {"_id": "fine"}}, {})
    told = collection.bulk(b"".join(json.dumps(line).encode() + b"\n" for line in lines), "manga")
    assert [item["index"]["status"] for item in told["items"]] == [400, 201]
    assert ids(collection) == ["fine"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(("v", "t", "a", "")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("bool", "must", "knn", "v", "k", "vector", "filter", "term", "t", "match", "boost")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(query=ANYTHING, size=ANYTHING, wanted=ANYTHING)
def test_no_query_breaks_the_search_for_the_next(query: Any, size: Any, wanted: Any) -> None:
    properties = {"t": {"type": "text"}, "v": {"type": "knn_vector", "dimension": 2}}
    collection = wrote(made(properties), one={"t": "a", "v": [1, 1]})
    body = {"query": query, "size": size, "_source": wanted}
    for name, value in body.items():
        with suppress(SearchError):
            hits(collection, **{name: value})
    assert ids(collection) == ["one"]
