"""OpenSearch's query language, as much of it as is emulated; the rest is refused as what OpenSearch cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from local import search_values
from local.search_errors import illegal, unparsable, unsearchable
from local.search_values import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from local.search_index import Index, Mask, Matches, View
    from local.search_mapping import Field
    from local.search_values import Term

    type Query = Callable[[View], Matches]

CLAUSES = ("must", "should", "filter", "must_not")
MOST_NEIGHBOURS = 10_000


class Reader:
    """Reads queries for one index; `ids` says whether documents can be asked for by id."""

    def __init__(self, index: Index, *, ids: bool) -> None:
        self._index = index
        self._kinds: dict[str, Callable[[Any], Query]] = {
            "match_all": self._match_all,
            "term": self._term,
            "terms": self._terms,
            "exists": self._exists,
            "match": self._match,
            "bool": self._bool,
            "constant_score": self._constant_score,
            "knn": self._knn,
        }
        if ids:
            self._kinds["ids"] = self._ids

    def read(self, query: Any) -> Query:
        """A query ready to be asked; raises SearchError."""
        if not isinstance(query, dict):
            raise unparsable("[_na] query malformed, must start with start_object")
        if not query:
            raise illegal("query malformed, empty clause found")
        kind, *more = query
        if more:
            raise unparsable(f"[{kind}] malformed query, expected [END_OBJECT] but found [FIELD_NAME]")
        if kind not in self._kinds:
            raise unparsable(f"unknown query [{kind}]")
        return self._kinds[kind](query[kind])

    def _match_all(self, body: Any) -> Query:
        boost = _boost("match_all", _members("match_all", body, ("boost",)))
        return lambda view: _equally(~view.none(), boost)

    def _term(self, body: Any) -> Query:
        name, told = _of_one_field("term", body, "value", ("value", "boost"))
        boost = _boost("term", told)
        if "value" not in told or told["value"] is None:
            raise illegal("value cannot be null")
        field = self._field(name)
        if field is None:
            return _nothing
        term = self._value(field, told["value"])
        return lambda view: _boosted(view.relevance(field, term), boost)

    def _terms(self, body: Any) -> Query:
        told = _members("terms", body, None)
        boost = _boost("terms", {"boost": told.pop("boost", 1)})
        if len(told) != 1:
            raise unparsable("[terms] query requires a field name and supports one only")
        ((name, values),) = told.items()
        if not isinstance(values, list):
            raise unparsable("[terms] query malformed: an array of values is expected")
        field = self._field(name)
        if field is None:
            return _nothing
        terms = [self._value(field, value) for value in values]

        def found(view: View) -> Matches:
            mask = view.none()
            for term in terms:
                mask |= view.containing(field, term)
            return _equally(mask, boost)

        return found

    def _exists(self, body: Any) -> Query:
        told = _members("exists", body, ("field", "boost"))
        boost, name = _boost("exists", told), told.get("field")
        if not isinstance(name, str) or not name:
            raise illegal("[exists] must be provided with a [field]")

        return lambda view: _equally(view.having(name), boost)

    def _ids(self, body: Any) -> Query:
        told = _members("ids", body, ("values", "boost"))
        boost, values = _boost("ids", told), told.get("values")
        if not isinstance(values, list):
            raise illegal("[ids] requires providing a non-null array of values")

        def found(view: View) -> Matches:
            mask = view.none()
            mask[[view.places[str(one)] for one in values if str(one) in view.places]] = True
            return _equally(mask, boost)

        return found

    def _match(self, body: Any) -> Query:
        name, told = _of_one_field("match", body, "query", ("query", "operator", "boost"))
        boost, operator = _boost("match", told), str(told.get("operator", "or")).lower()
        if operator not in ("and", "or"):
            raise illegal(f"No enum constant org.opensearch.index.query.Operator.{operator.upper()}")
        if told.get("query") is None:
            raise unparsable("No text specified for text query")
        field = self._field(name)
        if field is None:
            return _nothing
        terms: list[Term] = list(dict.fromkeys(search_values.words(str(told["query"]))))
        if field.type != "text":
            terms = [self._value(field, told["query"])]

        def found(view: View) -> Matches:
            matches = [view.relevance(field, term) for term in terms]
            least = len(matches) if operator == "and" else 1
            return _boosted(_together(view, matches, max(least, 1)), boost)

        return found

    def _bool(self, body: Any) -> Query:
        told = _members("bool", body, (*CLAUSES, "minimum_should_match", "boost"))
        boost = _boost("bool", told)
        must, should, only, without = (self._clause(name, told.get(name, [])) for name in CLAUSES)
        least = _least(told.get("minimum_should_match", 0 if must or only else 1))
        if not (must or should or only or without):
            return lambda view: _equally(~view.none(), boost)

        def found(view: View) -> Matches:
            mask, scores = ~view.none(), np.zeros(view.size)
            for query in must:
                matched, score = query(view)
                mask, scores = mask & matched, scores + score
            for query in only:
                mask = mask & query(view)[0]
            for query in without:
                mask = mask & ~query(view)[0]
            if should:
                matched, score = _together(view, [query(view) for query in should], least)
                mask, scores = mask & matched, scores + score
            return mask, mask * scores * boost

        return found

    def _clause(self, name: str, body: Any) -> list[Query]:
        if not isinstance(body, dict | list):
            raise unparsable(f"[bool] query does not support [{name}]")
        return [self.read(query) for query in (body if isinstance(body, list) else [body])]

    def _constant_score(self, body: Any) -> Query:
        told = _members("constant_score", body, ("filter", "boost"))
        boost = _boost("constant_score", told)
        if "filter" not in told:
            raise unparsable("[constant_score] requires a 'filter' element")
        query = self.read(told["filter"])
        return lambda view: _equally(query(view)[0], boost)

    def _knn(self, body: Any) -> Query:
        name, told = _of_one_field("knn", body, None, ("vector", "k", "filter", "boost"))
        boost, k = _boost("knn", told), told.get("k")
        if type(k) is not int or not 1 <= k <= MOST_NEIGHBOURS:
            raise illegal(f"[knn] requires k to be in the range (0, {MOST_NEIGHBOURS}]")
        field = self._vector_field(name)
        try:
            vector = search_values.vector(told.get("vector"), field.dimension, field.space)
        except Unreadable as error:
            raise unsearchable(f"Query vector is invalid: {error}", self._index.name) from error
        if "filter" in told and field.engine == "nmslib":
            raise unsearchable("Engine [NMSLIB] does not support filters", self._index.name)
        only = self.read(told["filter"]) if "filter" in told else None

        def found(view: View) -> Matches:
            allowed = None if only is None else only(view)[0]
            return _boosted(view.nearest(field, vector, allowed, k), boost)

        return found

    def _vector_field(self, name: str) -> Field:
        field = self._index.mapping.fields.get(name)
        if field is None or field.type != "knn_vector":
            raise unsearchable(f"Field '{name}' is not knn_vector type.", self._index.name)
        if not self._index.settings.get("index.knn"):
            raise unsearchable(f"Field '{name}' is not built for ANN search.", self._index.name)
        return field

    def _field(self, name: str) -> Field | None:
        """The field of that name; None is one that no document has."""
        field = self._index.mapping.fields.get(name)
        if field is None:
            return None
        if field.type == "knn_vector":
            raise unsearchable(f"Field [{name}] of type [knn_vector] supports knn queries only", self._index.name)
        if not field.indexed:
            raise unsearchable(f"Cannot search on field [{name}] since it is not indexed.", self._index.name)
        return field

    def _value(self, field: Field, value: Any) -> Term:
        try:
            return search_values.term(field.type, value)
        except Unreadable as error:
            raise unsearchable(str(error), self._index.name) from error


def _nothing(view: View) -> Matches:
    return view.none(), np.zeros(view.size)


def _equally(mask: Mask, score: float) -> Matches:
    return mask, np.where(mask, score, 0.0)


def _boosted(matches: Matches, boost: float) -> Matches:
    return matches[0], matches[1] * boost


def _together(view: View, matches: list[Matches], least: int) -> Matches:
    """What at least so many of the queries match; all that match add to the score."""
    counts, scores = np.zeros(view.size, dtype=np.intp), np.zeros(view.size)
    for mask, score in matches:
        counts += mask
        scores += mask * score
    return counts >= least, (counts >= least) * scores


def _members(kind: str, body: Any, known: Collection[str] | None) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise unparsable(f"[{kind}] query malformed, no start_object after query name")
    if known is not None and (unknown := [name for name in body if name not in known]):
        raise unparsable(f"[{kind}] query does not support [{unknown[0]}]")
    return dict(body)


def _of_one_field(kind: str, body: Any, short: str | None, known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The field that a query is about and what it says of it; `short` is what a bare value stands for."""
    told = _members(kind, body, None)
    if len(told) != 1:
        raise unparsable(f"[{kind}] query malformed: it is about one field, not {len(told)}")
    ((name, value),) = told.items()
    if short is not None and not isinstance(value, dict):
        value = {short: value}
    return name, _members(kind, value, known)


def _boost(kind: str, told: dict[str, Any]) -> float:
    boost = told.get("boost", 1)
    if isinstance(boost, bool) or not isinstance(boost, int | float) or boost < 0:
        raise illegal(f"[{kind}] boost cannot be [{boost}]: a number that is not negative is expected")
    return float(boost)


def _least(value: Any) -> int:
    """How many `should` clauses must match; percentages and combinations are not emulated."""
    try:
        return max(int(value), 0)
    except (TypeError, ValueError) as error:
        raise unparsable(f"[bool] this emulator reads whole numbers as minimum_should_match, not [{value}]") from error
