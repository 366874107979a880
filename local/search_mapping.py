"""An index's mapping: which fields there are, of which types, and what a document is made of by them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local import search_values
from local.search_errors import SearchError, unmappable
from local.search_values import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.search_values import Term, Vector

MOST_DIMENSIONS = 16_000
ANY_TYPE = {"type", "index", "store", "fields"}
PARAMETERS = {  # of each field type; what else a mapping says is refused, as what OpenSearch does not know is
    "keyword": ANY_TYPE | {"ignore_above", "doc_values", "norms"},
    "text": ANY_TYPE | {"analyzer", "search_analyzer", "norms"},
    "integer": ANY_TYPE | {"doc_values"},
    "long": ANY_TYPE | {"doc_values"},
    "float": ANY_TYPE | {"doc_values"},
    "boolean": ANY_TYPE | {"doc_values"},
    "date": ANY_TYPE | {"doc_values"},
    "knn_vector": {"type", "dimension", "space_type", "method", "data_type"},
}
SPACES = ("l2", "cosinesimil", "innerproduct")
ENGINES = ("faiss", "nmslib")  # Serverless has no Lucene engine
DYNAMIC = {bool: "boolean", int: "long", float: "float", str: "text"}  # dates are not guessed here
MULTI = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}


@dataclass(frozen=True)
class Field:
    """One field that queries can name."""

    name: str
    type: str
    indexed: bool = True
    longest: int | None = None  # of a keyword that is found
    dimension: int = 0
    space: str = "l2"
    engine: str = ""


@dataclass
class Document:
    """One document; its vectors are kept apart from the rest of its source."""

    id: str
    version: int
    source: dict[str, Any]
    terms: dict[str, list[Term]] = field(default_factory=dict)
    vectors: dict[str, Vector] = field(default_factory=dict)

    def whole(self, shown: Callable[[str], bool] = lambda name: True) -> dict[str, Any]:
        """The source with those vectors that are shown, as precise as they are stored."""
        source = copy.deepcopy(self.source)
        for name, vector in self.vectors.items():
            if not shown(name):
                continue
            *parents, last = name.split(".")
            place = source
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = [float(str(number)) for number in vector]
        return source


class Mapping:
    """The fields of one index; `engine` is what searches vectors where the mapping does not say."""

    def __init__(self, document: Any, engine: str) -> None:
        self.document: dict[str, Any] = copy.deepcopy(_object(document, "mappings"))
        if unknown := sorted(set(self.document) - {"properties", "dynamic"}):
            raise unmappable(f"Root mapping definition has unsupported parameters: [{unknown[0]}]")
        self._dynamic = str(self.document.get("dynamic", "true")).lower()
        if self._dynamic not in ("true", "false", "strict"):
            raise unmappable(f"Could not convert [dynamic] to boolean: [{self._dynamic}]")
        self._engine = engine
        self.fields: dict[str, Field] = {}
        self._at: dict[str, list[Field]] = {}  # by the place in the source, where several fields may look
        self._declare(_object(self.document.get("properties", {}), "properties"), "")

    def read(self, document_id: str, version: int, source: Any) -> Document:
        """Make a document of its JSON; raises SearchError for what does not fit."""
        if not isinstance(source, dict):
            raise unmappable("failed to parse", "a document is a JSON object")
        document = Document(document_id, version, source)
        for place, value in self._leaves(source, ""):
            for one in self._at.get(place) or self._made(place, value):
                try:
                    _take(document, one, value)
                except Unreadable as error:
                    preview = "" if one.type == "knn_vector" else f" Preview of field's value: '{value}'"
                    where = f"field [{one.name}] of type [{one.type}] in document with id '{document_id}'."
                    raise unmappable(f"failed to parse {where}{preview}", str(error)) from error
        document.source = _without(source, document.vectors)
        return document

    def _declare(self, properties: dict[str, Any], prefix: str) -> None:
        for name, declared in properties.items():
            told = _object(declared, name)
            if "type" not in told or told["type"] == "object":
                if unknown := sorted(set(told) - {"type", "properties"}):
                    raise unmappable(f"No type specified for field [{prefix}{name}]: [{unknown[0]}] is for none")
                self._declare(_object(told.get("properties", {}), name), f"{prefix}{name}.")
                continue
            self._add(prefix + name, told)

    def _add(self, place: str, told: dict[str, Any]) -> list[Field]:
        """Declare a field and those that read the same value another way (`fields`)."""
        made = [_field(place, told, self._engine)]
        for name, other in _object(told.get("fields", {}), place).items():
            made.append(_field(f"{place}.{name}", _object(other, name), self._engine))
        self.fields |= {one.name: one for one in made}
        self._at[place] = made
        return made

    def _leaves(self, value: Any, place: str) -> Iterator[tuple[str, Any]]:
        if value is None:
            return
        if place in self._at:
            yield place, value
        elif isinstance(value, dict):
            for name, member in value.items():
                yield from self._leaves(member, f"{place}.{name}" if place else name)
        elif isinstance(value, list):
            for item in value:
                yield from self._leaves(item, place)
        else:
            yield place, value

    def _made(self, place: str, value: Any) -> list[Field]:
        """The fields that a value makes which no mapping declares."""
        if self._dynamic == "false":
            return []
        if self._dynamic == "strict":
            name = place.rpartition(".")[2]
            reason = f"mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed"
            raise SearchError(400, "strict_dynamic_mapping_exception", reason)
        kind = DYNAMIC[type(value)]
        told = copy.deepcopy(MULTI) if kind == "text" else {"type": kind}
        properties = self.document.setdefault("properties", {})
        *parents, last = place.split(".")
        for parent in parents:
            properties = properties.setdefault(parent, {}).setdefault("properties", {})
        properties[last] = told
        return self._add(place, told)


def _field(name: str, told: dict[str, Any], engine: str) -> Field:
    kind = told.get("type")
    if not isinstance(kind, str) or kind not in PARAMETERS:
        raise unmappable(f"Failed to parse mapping [_doc]: No handler for type [{kind}] declared on field [{name}]")
    if unknown := sorted(set(told) - PARAMETERS[kind]):
        raise unmappable(f"unknown parameter [{unknown[0]}] on mapper [{name}] of type [{kind}]")
    if kind == "knn_vector":
        return _vector_field(name, told, engine)
    return Field(name, kind, told.get("index", True) in (True, "true"), told.get("ignore_above"))


def _vector_field(name: str, told: dict[str, Any], engine: str) -> Field:
    method = _object(told.get("method", {}), name)
    dimension = told.get("dimension")
    space = method.get("space_type", told.get("space_type", "l2"))
    engine = method.get("engine", engine)
    if type(dimension) is not int or not 1 <= dimension <= MOST_DIMENSIONS:
        raise unmappable(f"Dimension value must be between 1 and {MOST_DIMENSIONS} for vector: {name}")
    if method.get("name", "hnsw") != "hnsw":
        raise unmappable(f"Invalid method name: {method['name']}")
    if engine not in ENGINES:
        raise unmappable(f"Invalid engine type: {engine}")
    if space not in SPACES:
        raise unmappable(f"Unable to find space: {space}")
    if told.get("data_type", "float") != "float":
        raise unmappable(f"Invalid value provided for [data_type] field: {told['data_type']}")
    return Field(name, "knn_vector", dimension=dimension, space=space, engine=engine)


def _take(document: Document, one: Field, value: Any) -> None:
    if one.type == "knn_vector":
        document.vectors[one.name] = search_values.vector(value, one.dimension, one.space)
        return
    found = document.terms.setdefault(one.name, [])
    for item in _flat(value):
        term = search_values.term(one.type, item)
        if one.longest is None or len(str(term)) <= one.longest:
            found.append(term)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


def _without(source: dict[str, Any], names: dict[str, Vector], prefix: str = "") -> dict[str, Any]:
    kept = {}
    for name, value in source.items():
        if prefix + name not in names:
            kept[name] = _without(value, names, f"{prefix}{name}.") if isinstance(value, dict) else value
    return kept


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise unmappable(f"Expected map for property [{name}], but got {type(value).__name__}")
    return value
