"""The search index as a file is loaded into it: made when it is missing, and filled by `_bulk`.

A `nextgen` collection takes the product's id for the document's, so a document replaces the one before. A `classic` one
makes ids itself: a new document is written first, and only when it is there are the product's older ones deleted, both
the one that its row names and what a search finds. The other way round a refused document would leave nothing to find.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

import requests
from botocore.exceptions import BotoCoreError
from requests_aws4auth import AWS4Auth

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.index import MAPPING
from mangaassist.knowledge.loading.backoff import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from botocore.credentials import Credentials

    from mangaassist.knowledge.loading.backoff import Backoff

DOCUMENTS_AT_ONCE = 200
REQUEST_LIMIT_BYTES = 5 * 1000 * 1000
OLDER_MOST = 10_000  # documents of one bulk's products
LIMITS_S = (3.0, 30.0)  # to connect, and between two pieces of an answer
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_NOT_FOUND = 404
_NO_INDEX = "index_not_found_exception"  # just made, and not everywhere yet
_EXISTS = "resource_already_exists_exception"


@dataclass(frozen=True, slots=True)
class Entry:
    """A product's document, and the id of the one that it replaces in a classic collection."""

    id: str
    document: Mapping[str, Any]
    replaces: str = ""


def signed(credentials: Credentials, region: str) -> requests.Session:
    """A session that keeps its connection and signs for OpenSearch Serverless; credentials renew themselves."""
    session = requests.Session()
    session.auth = AWS4Auth(refreshable_credentials=credentials, region=region, service="aoss")
    return session


class SearchIndex:
    """The index; one thread at a time. Every method raises KnowledgeUnavailable for what another try does not cure."""

    def __init__(
        self,
        session: requests.Session,
        endpoint: str,
        name: str,
        generation: Literal["nextgen", "classic"],
        backoff: Backoff,
    ) -> None:
        self._session = session
        self._url = f"{endpoint.rstrip('/')}/{name}"
        self._is_classic = self._makes_ids = generation == "classic"
        self._backoff = backoff

    @property
    def place(self) -> str:
        """What tells this index from every other, also from one of the same name in another collection."""
        return self._url

    def exists(self) -> bool:
        """Whether there is one."""
        return self._ask("GET", "", refusable=(_NOT_FOUND,))[0] != _NOT_FOUND

    def make_if_missing(self) -> bool:
        """Make the index, unless it is there; gives whether it was made here."""
        if self.exists():
            return False
        mapping = {**MAPPING}
        if self._is_classic:  # its own default engine, nmslib, cannot filter
            mapping["embedding"] = {**MAPPING["embedding"], "method": {"name": "hnsw", "engine": "faiss"}}
        body = {"settings": {"index": {"knn": True}}, "mappings": {"properties": mapping}}
        status, answer = self._ask("PUT", "", json.dumps(body).encode(), refusable=(400,))
        if status == requests.codes.ok:
            return True
        if _type_of(answer) == _EXISTS:
            return False
        raise KnowledgeUnavailable("search", _told(status, answer))

    def put(self, entries: Sequence[Entry]) -> dict[str, str | Refused]:
        """Index documents; gives by product the id of its document where that is not the product's, or why not.

        Whether a vector collection of the next generation takes ids is told both ways by AWS: one that refuses them is
        from then on treated as one that makes them itself.
        """
        outcome = self._put(entries)
        if not self._makes_ids and outcome and all(result == NO_IDS for result in outcome.values()):
            self._makes_ids = True
            outcome = self._put(entries)
        return outcome

    def _put(self, entries: Sequence[Entry]) -> dict[str, str | Refused]:
        older = self._older([entry.id for entry in entries]) if self._makes_ids else {}
        results = self._bulk([(entry.id, self._indexing(entry)) for entry in entries])
        outcome: dict[str, str | Refused] = {}
        gone: set[str] = set()
        for entry in entries:
            result = results[entry.id]
            if isinstance(result, Refused) or not self._makes_ids:
                outcome[entry.id] = result if isinstance(result, Refused) else ""
                continue
            outcome[entry.id] = result
            gone |= {*older.get(entry.id, ()), entry.replaces} - {"", result}
        self._delete(gone)
        return outcome

    def delete(self, products: Mapping[str, str]) -> dict[str, Refused]:
        """Delete the documents of products, given with the ids of their documents; gives those that would not go."""
        if not self._makes_ids:
            return self._delete(products)
        refused: dict[str, Refused] = {}
        for some in batched(products, DOCUMENTS_AT_ONCE, strict=False):
            older = self._older(some)
            documents = {document: one for one in some for document in {*older.get(one, ()), products[one]} if document}
            refused |= {documents[document]: why for document, why in self._delete(documents).items()}
        return refused

    def _delete(self, documents: Any) -> dict[str, Refused]:
        """Delete documents by id; what is not there is gone already."""
        results = self._bulk([(one, _line({"delete": {"_id": one}})) for one in documents])
        return {one: result for one, result in results.items() if isinstance(result, Refused)}

    def _indexing(self, entry: Entry) -> bytes:
        about = {} if self._makes_ids else {"_id": entry.id}
        return _line({"index": about}) + _line(entry.document)

    def _older(self, ids: Sequence[str]) -> dict[str, set[str]]:
        """The documents of products that a search finds: not yet those that were written a moment ago."""
        found: dict[str, set[str]] = {}
        for some in batched(ids, DOCUMENTS_AT_ONCE, strict=False):
            query = {"size": OLDER_MOST, "_source": ["id"], "query": {"terms": {"id": some}}}
            _, answer = self._ask("POST", "/_search", json.dumps(query).encode())
            for hit in answer["hits"]["hits"]:
                found.setdefault(hit["_source"]["id"], set()).add(hit["_id"])
        return found

    def _bulk(self, actions: list[tuple[str, bytes]]) -> dict[str, str | Refused]:
        """Do actions, each under a name of its own; gives by that name the document's id or why it was refused.

        Those that the service was too busy for are done again, alone.
        """
        results: dict[str, str | Refused] = {}
        again = actions
        for _ in self._backoff.tries():
            waiting, again = again, []
            for request in _requests(waiting):
                for action, result in zip(request, self._sent(request), strict=True):
                    results[action[0]] = result[0]
                    if result[1]:
                        again.append(action)
            if not again:
                break
        return results

    def _sent(self, request: Sequence[tuple[str, bytes]]) -> list[tuple[str | Refused, bool]]:
        """The result of each action, and whether it may be otherwise another time."""
        body = b"".join(lines for _, lines in request)
        status, answer = self._once("POST", "/_bulk", body)
        if status in _BUSY:
            return [(Refused(f"search: {_told(status, answer)}"), True)] * len(request)
        _check(status, answer)
        return [_result(item) for item in answer["items"]]

    def _ask(self, method: str, path: str, body: bytes = b"", refusable: tuple[int, ...] = ()) -> tuple[int, Any]:
        """Status and answer of a request, repeated while the service is busy."""
        status, answer = 0, None
        for _ in self._backoff.tries():
            status, answer = self._once(method, path, body)
            if status not in _BUSY:
                break
        if status not in refusable:
            _check(status, answer)
        return status, answer

    def _once(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and answer of one request; no answer counts as 503."""
        try:
            answer = self._session.request(
                method,
                self._url + path,
                data=body or None,
                headers={"content-type": "application/x-ndjson" if path == "/_bulk" else "application/json"},
                timeout=LIMITS_S,
                allow_redirects=False,
            )
            return answer.status_code, answer.json() if answer.content else None
        except requests.JSONDecodeError:
            return 502, "garbled"
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            return 503, type(error).__name__
        except (requests.RequestException, BotoCoreError) as error:
            raise KnowledgeUnavailable("search", type(error).__name__) from error


def _requests(actions: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Actions in groups that a request may hold."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for action in actions:
        if group and (len(group) == DOCUMENTS_AT_ONCE or size + len(action[1]) > REQUEST_LIMIT_BYTES):
            yield group
            group, size = [], 0
        group.append(action)
        size += len(action[1])
    if group:
        yield group


def _result(item: Mapping[str, Any]) -> tuple[str | Refused, bool]:
    """One item of a bulk's answer, and whether it may be otherwise another time."""
    ((action, told),) = item.items()
    status, error = int(told["status"]), told.get("error")
    if not error and (status < 300 or (action == "delete" and status == _NOT_FOUND)):
        return str(told["_id"]), False
    kind = _type_of(told) or "refused"
    return _refused(kind, status), status in _BUSY or kind == _NO_INDEX


def _refused(kind: str, status: int) -> Refused:
    return Refused(f"search: {kind}, status {status}")


NO_IDS = _refused("illegal_argument_exception", 400)  # what a collection says that makes ids itself


def _check(status: int, answer: Any) -> None:
    """Raise KnowledgeUnavailable unless a request was served."""
    if not 200 <= status < 300:
        raise KnowledgeUnavailable("search", _told(status, answer))


def _told(status: int, answer: Any) -> str:
    name = answer if isinstance(answer, str) else _type_of(answer)
    return f"{name or 'refused'}, status {status}"


def _type_of(answer: Any) -> str:
    """The service's name of a refusal."""
    match answer:
        case {"error": {"type": str(kind)}}:
            return kind
    return ""


def _line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
