"""What OpenSearch says no with: a status, a type, a reason, and sometimes a cause, in its own JSON."""

from __future__ import annotations

from typing import Any


class SearchError(Exception):
    """A refusal; of a whole request, or of one item of a bulk."""

    def __init__(self, status: int, kind: str, reason: str, **more: Any) -> None:
        super().__init__(f"{kind}: {reason}")
        self.status = status
        self.told: dict[str, Any] = {"type": kind, "reason": reason, **more}
        self.root: dict[str, Any] | None = None  # what caused it, where that is another

    @property
    def body(self) -> dict[str, Any]:
        """The answer to a request that is refused as a whole."""
        itself = {name: value for name, value in self.told.items() if name != "caused_by"}
        return {"error": {"root_cause": [self.root or itself], **self.told}, "status": self.status}


def illegal(reason: str) -> SearchError:
    """An argument that has no sense."""
    return SearchError(400, "illegal_argument_exception", reason)


def unparsable(reason: str) -> SearchError:
    """A query that OpenSearch does not read."""
    return SearchError(400, "parsing_exception", reason, line=1, col=1)


def unmappable(reason: str, cause: str | None = None) -> SearchError:
    """A mapping, or a document that does not fit one."""
    more = {"caused_by": {"type": "illegal_argument_exception", "reason": cause}} if cause else {}
    return SearchError(400, "mapper_parsing_exception", reason, **more)


def unsearchable(reason: str, index: str) -> SearchError:
    """A query that is well formed and means nothing in this index."""
    told = {"type": "query_shard_exception", "reason": f"failed to create query: {reason}", "index": index}
    error = SearchError(400, "search_phase_execution_exception", "all shards failed", phase="query", grouped=True)
    error.told["failed_shards"] = [{"shard": 0, "index": index, "reason": told}]
    error.root = told
    return error


def no_index(name: str) -> SearchError:
    """An index that is not there."""
    named = {"index": name, "resource.id": name, "resource.type": "index_or_alias", "index_uuid": "_na_"}
    return SearchError(404, "index_not_found_exception", f"no such index [{name}]", **named)
