"""An emulated search collection: its indexes, what is written into them and what is found, without the wire."""

from __future__ import annotations

import re
import secrets
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from local import search_bulk
from local.search_errors import SearchError, illegal, no_index, unparsable
from local.search_index import Index
from local.search_mapping import Mapping
from local.search_queries import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.search_bulk import Item
    from local.search_mapping import Document

INDEX_NAME = re.compile(r"^[a-z0-9][^A-Z\s\\/*?\"<>|,#:]{0,254}$")
SETTINGS = re.compile(r"^index\.(knn(\..+)?|number_of_(shards|replicas)|analysis\..+)$")
MOST_FOUND = 10_000
SHARDS = {"total": 0, "successful": 0, "skipped": 0, "failed": 0}  # Serverless tells nobody of shards
REJECTED = SearchError(429, "rejected_execution_exception", "rejected execution of coordinating operation")
NO_ID = "Document ID is not supported in create/index operation request"


class Collection:
    """One collection; `classic` is its generation. One thread uses it."""

    def __init__(self, refresh_s: float, clock: Callable[[], float], *, classic: bool) -> None:
        self._refresh_s = refresh_s
        self._clock = clock
        self._classic = classic
        self._indexes: dict[str, Index] = {}
        self.rejected = 0
        self.items = 0

    def documents(self) -> dict[str, int]:
        """How many documents each index has, found yet or not."""
        return {name: len(index.documents) for name, index in sorted(self._indexes.items())}

    def create(self, name: str, body: bytes) -> dict[str, Any]:
        """Make an index."""
        if not INDEX_NAME.match(name):
            reason = f"Invalid index name [{name}], must be lowercase and without special characters"
            raise SearchError(400, "invalid_index_name_exception", reason, index=name)
        if name in self._indexes:
            reason = f"index [{name}] already exists"
            raise SearchError(400, "resource_already_exists_exception", reason, index=name)
        told = _object(body)
        if unknown := sorted(set(told) - {"settings", "mappings"}):
            raise SearchError(400, "parse_exception", f"unknown key [{unknown[0]}] for create index")
        mapping = Mapping(told.get("mappings", {}), "nmslib" if self._classic else "faiss")
        settings = _settings(told.get("settings", {}))
        self._indexes[name] = Index(name, settings, mapping, self._refresh_s, self._clock)
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def describe(self, name: str) -> dict[str, Any]:
        """An index with its mapping and settings."""
        index = self._index(name)
        settings = {key.removeprefix("index."): str(value).lower() for key, value in index.settings.items()}
        return {name: {"aliases": {}, "mappings": index.mapping.document, "settings": {"index": settings}}}

    def mapping(self, name: str) -> dict[str, Any]:
        """An index's mapping."""
        return {name: {"mappings": self._index(name).mapping.document}}

    def delete(self, name: str) -> dict[str, Any]:
        """Delete an index."""
        del self._indexes[self._index(name).name]
        return {"acknowledged": True}

    def count(self, name: str, body: bytes) -> dict[str, Any]:
        """How many documents match."""
        told = _asked(body, {"query"})
        index = self._index(name)
        query = self._reader(index).read(told.get("query", {"match_all": {}}))
        return {"count": int(query(index.view())[0].sum()), "_shards": SHARDS}

    def search(self, name: str, body: bytes) -> dict[str, Any]:
        """The best matches, best first; of equals the oldest first."""
        began = time.perf_counter()
        told = _asked(body, {"query", "size", "from", "_source", "min_score", "track_total_hits", "timeout"})
        index = self._index(name)
        size, start = _whole(told, "size", 10), _whole(told, "from", 0)
        if size + start > MOST_FOUND:
            limit = f"must be less than or equal to: [{MOST_FOUND}] but was [{size + start}]"
            raise illegal(f"Result window is too large, from + size {limit}")
        shown = _shown(told.get("_source", True))
        query, view = self._reader(index).read(told.get("query", {"match_all": {}})), index.view()
        mask, scores = query(view)
        if "min_score" in told:
            mask = mask & (scores >= _number(told["min_score"]))
        found = np.flatnonzero(mask)
        found = found[np.argsort(-scores[found], kind="stable")]
        hits = []
        for place in found[start : start + size]:
            document = view.documents[place]
            hit = {"_index": name, "_id": document.id, "_score": float(scores[place])}
            if shown is not None:
                hit["_source"] = self._source(document, *shown)
            hits.append(hit)
        best = float(scores[found[0]]) if len(found) and size else None
        return {
            "took": int((time.perf_counter() - began) * 1000),
            "timed_out": False,
            "_shards": SHARDS,
            "hits": {"total": _total(len(found), told.get("track_total_hits")), "max_score": best, "hits": hits},
        }

    def bulk(self, body: bytes, name: str | None, *, reject: bool = False) -> dict[str, Any]:
        """Do what a bulk asks for, item by item; `reject` turns every second one away."""
        began = time.perf_counter()
        items = search_bulk.read(body, name)
        answers = []
        for number, item in enumerate(items):
            try:
                if reject and number % 2:
                    raise REJECTED
                told = self._do(item)
            except SearchError as error:
                told = {"_index": item.index, "_id": item.id, "status": error.status, "error": error.told}
                self.rejected += 1
            answers.append({item.action: told})
        self.items += len(items)
        failed = any("error" in told for answer in answers for told in answer.values())
        return {"took": int((time.perf_counter() - began) * 1000), "errors": failed, "items": answers}

    def _do(self, item: Item) -> dict[str, Any]:
        index = self._index(item.index)
        if self._classic and item.id is not None and item.action in ("create", "index"):
            raise illegal(NO_ID)
        if self._classic and item.action == "update":
            raise illegal("Document ID is not supported in update operation request")
        name = item.id or secrets.token_urlsafe(15)
        known = index.documents.get(name)
        if item.action == "delete":
            if known is None:
                return _done(index, name, 1, "not_found", 404)
            index.remove(name)
            return _done(index, name, known.version + 1, "deleted", 200)
        if item.action == "update":
            return self._update(index, name, known, item.source())
        if item.action == "create" and known is not None:
            reason = f"[{name}]: version conflict, document already exists (current version [{known.version}])"
            raise SearchError(409, "version_conflict_engine_exception", reason, index=index.name)
        return _write(index, name, known, item.source())

    def _update(self, index: Index, name: str, known: Document | None, told: Any) -> dict[str, Any]:
        if not isinstance(told, dict) or not isinstance(told.get("doc"), dict):
            reason = "Validation Failed: 1: script or doc is missing;"
            raise SearchError(400, "action_request_validation_exception", reason)
        if unknown := sorted(set(told) - {"doc", "doc_as_upsert"}):
            raise SearchError(400, "x_content_parse_exception", f"[UpdateRequest] unknown field [{unknown[0]}]")
        if known is None:
            if told.get("doc_as_upsert") is not True:
                reason = f"[{name}]: document missing"
                raise SearchError(404, "document_missing_exception", reason, index=index.name)
            return _write(index, name, None, told["doc"])
        before = known.whole()
        after = _merged(before, told["doc"])
        if after == before:
            return _done(index, name, known.version, "noop", 200)
        return _write(index, name, known, after)

    def _source(self, document: Document, includes: list[str], excludes: list[str]) -> dict[str, Any]:
        if includes or self._classic:
            whole = document.whole(lambda name: _is_kept(name, includes, excludes))
            return _kept(whole, includes, excludes)
        return _kept(document.source, includes, excludes)

    def _reader(self, index: Index) -> Reader:
        return Reader(index, ids=not self._classic)

    def _index(self, name: str) -> Index:
        if name not in self._indexes:
            raise no_index(name)
        return self._indexes[name]


def _write(index: Index, name: str, known: Document | None, source: Any) -> dict[str, Any]:
    version = known.version + 1 if known else 1
    index.put(index.mapping.read(name, version, source))
    return _done(index, name, version, "updated" if known else "created", 200 if known else 201)


def _done(index: Index, name: str, version: int, result: str, status: int) -> dict[str, Any]:
    told = {"_index": index.name, "_id": name, "_version": version, "result": result, "_shards": SHARDS}
    return told | {"_seq_no": index.writes, "_primary_term": 1, "status": status}


def _merged(before: Any, change: Any) -> Any:
    if not (isinstance(before, dict) and isinstance(change, dict)):
        return change
    return before | {name: _merged(before.get(name), value) for name, value in change.items()}


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = search_bulk.parse(body) if body.strip() else {}
    except ValueError as error:
        raise SearchError(400, "parse_exception", f"Failed to parse content to map: {error}") from error
    if not isinstance(told, dict):
        raise unparsable("Expected [START_OBJECT] but found something else")
    return told


def _asked(body: bytes, known: set[str]) -> dict[str, Any]:
    told = _object(body)
    if unknown := [name for name in told if name not in known]:
        raise unparsable(f"Unknown key for a value in [{unknown[0]}].")
    return told


def _settings(told: Any) -> dict[str, Any]:
    """Settings by their dotted names, however they were nested."""
    settings = {}
    for name, value in _flat(told):
        full = name if name.startswith("index.") else f"index.{name}"
        if not SETTINGS.match(full):
            raise illegal(f"unknown setting [{full}] please check that any required plugins are installed")
        settings[full] = value == "true" if full == "index.knn" and isinstance(value, str) else value
    return settings


def _flat(told: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(told, dict):
        return [(prefix.removesuffix("."), told)]
    return [pair for name, value in told.items() for pair in _flat(value, f"{prefix}{name}.")]


def _whole(told: dict[str, Any], name: str, default: int) -> int:
    value = told.get(name, default)
    if type(value) is not int or value < 0:
        raise illegal(f"[{name}] parameter cannot be negative or no whole number, found [{value}]")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unparsable(f"[min_score] a number is expected, not [{value}]")
    return float(value)


def _total(found: int, track: Any) -> dict[str, Any]:
    if found > MOST_FOUND and track is not True:
        return {"value": MOST_FOUND, "relation": "gte"}
    return {"value": found, "relation": "eq"}


def _shown(told: Any) -> tuple[list[str], list[str]] | None:
    """Which parts of the source are wanted and which are not; None is no source at all."""
    if isinstance(told, bool):
        return ([], []) if told else None
    if isinstance(told, dict):
        if unknown := sorted(set(told) - {"includes", "excludes"}):
            raise unparsable(f"Unknown key for a value in [_source.{unknown[0]}].")
        return _patterns(told.get("includes", [])), _patterns(told.get("excludes", []))
    return _patterns(told), []


def _patterns(told: Any) -> list[str]:
    patterns = [told] if isinstance(told, str) else told
    if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        raise unparsable("Expected one of [VALUE_BOOLEAN, START_OBJECT, START_ARRAY] in [_source]")
    return patterns


def _is_kept(name: str, includes: list[str], excludes: list[str]) -> bool:
    """Whether a field is shown, by its own name or that of an object around it."""
    parts = name.split(".")
    names = [".".join(parts[:number]) for number in range(1, len(parts) + 1)]

    def any_of(patterns: list[str]) -> bool:
        return any(fnmatchcase(here, pattern) for here in names for pattern in patterns)

    return not any_of(excludes) and (not includes or any_of(includes))


def _kept(source: dict[str, Any], includes: list[str], excludes: list[str], prefix: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in source.items():
        here = prefix + name
        if any(fnmatchcase(here, pattern) for pattern in excludes):
            continue
        wanted = not includes or any(fnmatchcase(here, pattern) for pattern in includes)
        if isinstance(value, dict):
            below = _kept(value, [] if wanted else includes, excludes, f"{here}.")
            if below or wanted:
                kept[name] = below
        elif wanted:
            kept[name] = value
    return kept
