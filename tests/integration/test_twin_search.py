"""Emulated search, asked with signed requests over HTTP: what it finds, what it refuses, how it breaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from requests_aws4auth import AWS4Auth

from tests.e2e.running import ROOT, Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = ("--template", str(ROOT / "tests" / "data" / "twin" / "template.yaml"))
INDEX = {
    "settings": {"index": {"knn": True}},
    "mappings": {
        "dynamic": "strict",
        "properties": {
            "title": {"type": "text"},
            "status": {"type": "keyword"},
            "stock": {"type": "integer"},
            "note": {"type": "keyword", "index": False},
            "embedding": {
                "type": "knn_vector",
                "dimension": 3,
                "method": {"name": "hnsw", "engine": "faiss", "space_type": "cosinesimil"},
            },
        },
    },
}
WORKS = {
    "fma": {"title": "鋼の錬金術師", "status": "completed", "stock": 12, "embedding": [1, 0, 0]},
    "op": {"title": "ONE PIECE", "status": "ongoing", "stock": 3, "embedding": [0.9, 0.1, 0]},
    "ber": {"title": "ベルセルク", "status": "ongoing", "stock": 0, "embedding": [0, 1, 0]},
}


class Collection:
    """What a client of the collection says."""

    def __init__(self, twin: Running, key: str = "TESTS") -> None:
        self._url = twin.aws
        self._session = requests.Session()
        self._session.auth = AWS4Auth(key, "tests", "ap-northeast-1", "aoss")

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "connection": "close"}
        return self._session.request(method, self._url + path, data=data, headers=headers, **{"timeout": 5} | options)

    def bulk(self, *lines: Any, path: str = "/manga/_bulk") -> dict[str, Any]:
        answer = self.ask("POST", path, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def found(self, query: Any, **more: Any) -> list[str]:
        answer = self.ask("POST", "/manga/_search", {"query": query, **more})
        assert answer.status_code == 200, answer.text
        return [hit["_id"] for hit in answer.json()["hits"]["hits"]]

    def fill(self) -> None:
        """Make the index anew with its three works."""
        self.ask("DELETE", "/manga")
        assert self.ask("PUT", "/manga", INDEX).json()["acknowledged"]
        lines = [line for name, work in WORKS.items() for line in ({"index": {"_id": name}}, work)]
        assert not self.bulk(*lines)["errors"]


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running(*TEMPLATE) as twin:
        yield twin


@pytest.fixture
def search(twin: Running) -> Iterator[Collection]:
    search = Collection(twin)
    search.fill()
    yield search
    twin.delete("faults")


def near(vector: list[float], k: int = 3, **more: Any) -> dict[str, Any]:
    return {"knn": {"embedding": {"vector": vector, "k": k, **more}}}


def reason(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("application/json")
    return answer.status_code, answer.json()["error"]["type"]


def test_the_nearest_works_come_first_and_leave_their_vectors_behind(search: Collection) -> None:
    hits = search.ask("POST", "/manga/_search", {"query": near([1, 0, 0])}).json()["hits"]
    assert [hit["_id"] for hit in hits["hits"]] == ["fma", "op", "ber"]
    assert hits["hits"][0]["_score"] == hits["max_score"] == pytest.approx(1)
    assert hits["hits"][2]["_score"] == pytest.approx(0.5)
    assert hits["hits"][0]["_source"] == {name: WORKS["fma"][name] for name in ("title", "status", "stock")}
    named = search.ask("GET", "/manga/_search", {"query": near([1, 0, 0], 1), "_source": ["embedding"]}).json()
    assert [hit["_source"] for hit in named["hits"]["hits"]] == [{"embedding": [1, 0, 0]}]


def test_a_filter_inside_loses_no_neighbour_and_one_outside_does(search: Collection) -> None:
    ongoing = {"term": {"status": "ongoing"}}
    assert search.found(near([1, 0, 0], 1, filter=ongoing)) == ["op"]
    assert search.found({"bool": {"must": [near([1, 0, 0], 1)], "filter": [ongoing]}}) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"match_all": {}}, ["fma", "op", "ber"]),
        ({"term": {"status": {"value": "completed"}}}, ["fma"]),
        ({"terms": {"status": ["completed", "hiatus"]}}, ["fma"]),
        ({"exists": {"field": "stock"}}, ["fma", "op", "ber"]),
        ({"ids": {"values": ["ber", "nobody"]}}, ["ber"]),
        ({"match": {"title": "one"}}, ["op"]),
        ({"match": {"title": {"query": "錬金", "operator": "and"}}}, ["fma"]),
        ({"match": {"title": {"query": "錬 piece", "operator": "and"}}}, []),
        ({"bool": {"must_not": [{"term": {"stock": 0}}], "filter": {"term": {"status": "ongoing"}}}}, ["op"]),
        ({"bool": {"should": [{"term": {"stock": 0}}, {"term": {"stock": 3}}]}}, ["op", "ber"]),
        (
            {"bool": {"should": [{"term": {"stock": 3}}, {"match": {"title": "one"}}], "minimum_should_match": 2}},
            ["op"],
        ),
        ({"constant_score": {"filter": {"term": {"status": "ongoing"}}, "boost": 2}}, ["op", "ber"]),
        ({"term": {"nothing": "at all"}}, []),
    ],
)
def test_a_query_finds_what_it_asks_for(search: Collection, query: Any, found: list[str]) -> None:
    assert search.found(query) == found
    assert search.ask("POST", "/manga/_count", {"query": query}).json()["count"] == len(found)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"query": {"semantic": {}}}, "parsing_exception"),
        ({"query": {"match": {"title": {"query": "a", "fuzz": 2}}}}, "parsing_exception"),
        ({"query": {"term": {"a": 1}, "match_all": {}}}, "parsing_exception"),
        ({"sort": [{"stock": "asc"}]}, "parsing_exception"),
        ({"query": {}}, "illegal_argument_exception"),
        ({"size": 10_001}, "illegal_argument_exception"),
        ({"query": near([1, 0, 0], 0)}, "illegal_argument_exception"),
        ({"query": near([1, 0])}, "search_phase_execution_exception"),
        ({"query": near([0, 0, 0])}, "search_phase_execution_exception"),
        ({"query": {"knn": {"title": {"vector": [1, 0, 0], "k": 1}}}}, "search_phase_execution_exception"),
        ({"query": {"term": {"note": "a"}}}, "search_phase_execution_exception"),
        ({"query": {"term": {"stock": "many"}}}, "search_phase_execution_exception"),
        (b'{"query": ', "parse_exception"),
    ],
)
def test_a_query_that_the_service_would_refuse_fails_here_too(search: Collection, body: Any, kind: str) -> None:
    assert reason(search.ask("POST", "/manga/_search", body)) == (400, kind)


@pytest.mark.parametrize(
    "field",
    [
        {"type": "dense_vector", "dims": 3},
        {"type": "keyword", "analyzer": "kuromoji"},
        {"type": "knn_vector", "dimension": 16_001},
        {"type": "knn_vector", "dimension": 3, "method": {"name": "hnsw", "engine": "lucene"}},
    ],
)
def test_a_mapping_that_the_service_would_refuse_makes_no_index(search: Collection, field: Any) -> None:
    answer = search.ask("PUT", "/other", {"mappings": {"properties": {"a": field}}})
    assert reason(answer) == (400, "mapper_parsing_exception")
    assert search.ask("HEAD", "/other").status_code == 404


def test_an_index_is_made_once_described_and_deleted(search: Collection) -> None:
    assert reason(search.ask("PUT", "/manga", INDEX)) == (400, "resource_already_exists_exception")
    assert reason(search.ask("PUT", "/Manga")) == (400, "invalid_index_name_exception")
    assert search.ask("GET", "/manga/_mapping").json()["manga"]["mappings"] == INDEX["mappings"]
    assert search.ask("GET", "/manga").json()["manga"]["settings"]["index"] == {"knn": "true"}
    assert search.ask("HEAD", "/manga").status_code == 200
    assert search.ask("DELETE", "/manga").json() == {"acknowledged": True}
    for method, path in (("POST", "/manga/_search"), ("GET", "/manga/_count"), ("GET", "/manga"), ("DELETE", "/manga")):
        assert reason(search.ask(method, path)) == (404, "index_not_found_exception")


def test_one_bad_document_of_a_bulk_spoils_no_other(search: Collection) -> None:
    told = search.bulk(
        {"index": {"_id": "short"}},
        {"embedding": [1, 0]},
        {"index": {"_id": "odd"}},
        {"colour": "red"},
        {"create": {"_id": "fma"}},
        {},
        {"create": {"_id": "new"}},
        {"title": "王狼"},
        {"update": {"_id": "op"}},
        {"doc": {"stock": 9}},
        {"update": {"_id": "later"}},
        {"doc": {"title": "後"}, "doc_as_upsert": True},
        {"update": {"_id": "nobody"}},
        {"doc": {"stock": 9}},
        {"delete": {"_id": "ber"}},
        {"delete": {"_id": "nobody"}},
        {"index": {"_index": "nowhere"}},
        {"title": "x"},
    )
    assert told["errors"]
    items = [next(iter(item.values())) for item in told["items"]]
    assert [item["status"] for item in items] == [400, 400, 409, 201, 200, 201, 404, 200, 404, 404]
    assert [item.get("error", {}).get("type") for item in items[:3]] == [
        "mapper_parsing_exception",
        "strict_dynamic_mapping_exception",
        "version_conflict_engine_exception",
    ]
    assert "Expected: 3, Given: 2" in items[0]["error"]["caused_by"]["reason"]
    assert search.found({"match_all": {}}) == ["fma", "new", "op", "later"]
    assert search.found({"bool": {"must": [near([0.9, 0.1, 0], 1)], "filter": {"term": {"stock": 9}}}}) == ["op"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "parse_exception"),
        (b'{"index": {}}\n{}', "illegal_argument_exception"),  # no newline at the end
        (b'{"upsert": {}}\n{}\n', "illegal_argument_exception"),
        (b"title\n", "illegal_argument_exception"),
        (b'{"index": {}}\n', "illegal_argument_exception"),
        (b'{"delete": {}}\n', "action_request_validation_exception"),
    ],
)
def test_a_malformed_bulk_writes_nothing(search: Collection, body: bytes, kind: str) -> None:
    assert reason(search.ask("POST", "/manga/_bulk", body)) == (400, kind)
    assert len(search.found({"match_all": {}})) == len(WORKS)


def test_what_serverless_does_not_have_is_not_here_either(search: Collection) -> None:
    for method, path in (("POST", "/manga/_refresh"), ("GET", "/"), ("GET", "/manga/_doc/fma")):
        assert search.ask(method, path).status_code == 404
    line = b'{"delete": {"_id": "fma"}}\n'
    assert reason(search.ask("POST", "/manga/_bulk?refresh=true", line)) == (400, "status_exception")
    assert reason(search.ask("POST", "/manga/_search?scroll=1m")) == (400, "illegal_argument_exception")
    assert "fma" in search.found({"match_all": {}})


def test_a_request_that_is_not_signed_as_the_service_wants_finds_nothing(twin: Running, search: Collection) -> None:
    assert requests.post(f"{twin.aws}/manga/_search", timeout=5).status_code == 403
    half = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20261123/ap-northeast-1/aoss/aws4_request"}
    answer = requests.post(f"{twin.aws}/manga/_search", headers=half, timeout=5)  # without x-amz-content-sha256
    assert answer.json() == {"status": 403, "error": {"reason": "403 Forbidden", "type": "Forbidden"}}


def test_documents_and_searches_are_told(twin: Running, search: Collection) -> None:
    before = twin.get("state")["search"]
    search.found({"match_all": {}})
    search.bulk({"index": {"_id": "x"}}, {"embedding": [1]}, {"index": {"_id": "y"}}, {"title": "y"})
    after = twin.get("state")["search"]
    assert after["documents"] == {"manga": len(WORKS) + 1}
    assert [after[name] - before[name] for name in ("searches", "bulk_items", "rejected")] == [1, 2, 1]
    assert after["generation"] == "nextgen"


@pytest.mark.parametrize(("fault", "status"), [("throttle", 429), ("unavailable", 503), ("denied", 403)])
def test_search_refuses_in_its_own_words(twin: Running, search: Collection, fault: str, status: int) -> None:
    twin.put("faults", {"search": {"fault": fault, "operation": "_search"}})
    answer = search.ask("POST", "/manga/_search")
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert search.ask("POST", "/manga/_count").status_code == 200
    twin.put("faults", {"search": {"fault": fault, "operation": "HEAD"}})
    assert search.ask("HEAD", "/manga").status_code == status
    assert search.ask("GET", "/manga").status_code == 200


def test_search_falls_silent_breaks_off_or_sends_garbage(twin: Running, search: Collection) -> None:
    def faulty(fault: str, **more: Any) -> None:
        twin.put("faults", {"search": {"fault": fault, "count": 1, **more}})

    faulty("hang")
    with pytest.raises(requests.ReadTimeout):
        search.ask("POST", "/manga/_search", timeout=0.3)
    faulty("cut")
    with pytest.raises(requests.ConnectionError):
        search.ask("POST", "/manga/_search")
    faulty("garbage")
    with pytest.raises(requests.JSONDecodeError):
        search.ask("POST", "/manga/_search").json()
    faulty("slow", first_token_ms=50)
    assert search.found({"match_all": {}})


def test_search_stops_in_the_middle_of_an_answer(twin: Running, search: Collection) -> None:
    twin.put("faults", {"search": {"fault": "stall", "count": 1}})
    answer = search.ask("POST", "/manga/_search", stream=True, timeout=0.3)
    assert answer.status_code == 200
    with pytest.raises(requests.ConnectionError):
        answer.json()


def test_every_second_document_can_be_turned_away(twin: Running, search: Collection) -> None:
    twin.put("faults", {"search": {"fault": "reject_items", "count": 1}})
    assert search.found({"match_all": {}})  # a bulk alone meets it
    lines = [line for name in "abcd" for line in ({"index": {"_id": name}}, {"title": name})]
    told = search.bulk(*lines)
    items = [item["index"] for item in told["items"]]
    assert [item["status"] for item in items] == [201, 429, 201, 429]
    assert items[1]["error"]["type"] == "rejected_execution_exception"
    assert search.found({"ids": {"values": list("abcd")}}) == ["a", "c"]
    assert not search.bulk(*lines)["errors"]


def test_a_classic_collection_makes_ids_itself_and_shows_vectors() -> None:
    with running(*TEMPLATE, "--set", "SEARCH_GENERATION=classic") as twin:
        search = Collection(twin)
        search.ask("PUT", "/manga", INDEX)
        told = search.bulk(
            {"index": {"_id": "fma"}}, WORKS["fma"], {"index": {}}, WORKS["op"], {"update": {"_id": "fma"}}, {"doc": {}}
        )
        given, made, updated = (next(iter(item.values())) for item in told["items"])
        refusal = "Document ID is not supported in create/index operation request"
        assert (given["status"], given["error"]) == (400, {"type": "illegal_argument_exception", "reason": refusal})
        assert (made["status"], updated["status"]) == (201, 400)
        (hit,) = search.ask("POST", "/manga/_search", {"query": near([1, 0, 0])}).json()["hits"]["hits"]
        assert (hit["_id"], hit["_source"]) == (made["_id"], WORKS["op"])
        assert reason(search.ask("POST", "/manga/_search", {"query": {"ids": {"values": ["a"]}}}))[0] == 400
        assert not search.bulk({"delete": {"_id": made["_id"]}})["errors"]
        assert search.found({"match_all": {}}) == []
        assert twin.get("state")["search"]["generation"] == "classic"
