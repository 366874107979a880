"""The body of a bulk request: lines of JSON, an action and what it is about by turns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from local.search_errors import SearchError, illegal, unmappable

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTIONS = ("create", "delete", "index", "update")
META = {"_index", "_id"}


@dataclass(frozen=True)
class Item:
    """One thing to do; its document is not parsed yet, since a wrong one spoils this item alone."""

    action: str
    index: str
    id: str | None
    document: bytes = b""

    def source(self) -> Any:
        """The document; raises SearchError."""
        try:
            return parse(self.document)
        except ValueError as error:
            raise unmappable("failed to parse", f"malformed JSON: {error}") from error


def parse(text: bytes) -> Any:
    """Strict JSON; raises ValueError."""
    return json.loads(text, parse_constant=_no_constant)


def read(body: bytes, index: str | None) -> list[Item]:
    """The items of a bulk; a malformed body is refused as a whole by SearchError."""
    if not body.strip():
        raise SearchError(400, "parse_exception", "request body is required")
    if not body.endswith(b"\n"):
        raise illegal("The bulk request must be terminated by a newline [\\n]")
    lines = enumerate(body.split(b"\n")[:-1], 1)
    return [_item(number, line, lines, index) for number, line in lines if line.strip()]


def _item(number: int, line: bytes, lines: Iterator[tuple[int, bytes]], index: str | None) -> Item:
    where = f"Malformed action/metadata line [{number}]"
    try:
        told = parse(line)
    except ValueError as error:
        raise illegal(f"{where}, expected a JSON object: {error}") from error
    if not isinstance(told, dict) or len(told) != 1:
        raise illegal(f"{where}, expected START_OBJECT with one field")
    ((action, meta),) = told.items()
    if action not in ACTIONS:
        raise illegal(f"{where}, expected field [create], [delete], [index] or [update] but found [{action}]")
    if not isinstance(meta, dict):
        raise illegal(f"{where}, expected START_OBJECT or END_OBJECT but found [{meta}]")
    if unknown := sorted(set(meta) - META - ({"retry_on_conflict"} if action == "update" else set())):
        raise illegal(f"Action/metadata line [{number}] contains an unknown parameter [{unknown[0]}]")
    about = _about(action, meta, index)
    if action == "delete":
        return Item(action, *about)
    following = next(lines, None)
    if following is None:
        raise illegal(f"{where}, its document is missing")
    return Item(action, *about, following[1])


def _about(action: str, meta: dict[str, Any], index: str | None) -> tuple[str, str | None]:
    """The index and the id of what an action is about."""
    name, document_id = meta.get("_index", index), meta.get("_id")
    if name is None:
        raise _invalid("index is missing")
    if document_id is None and action in ("delete", "update"):
        raise _invalid("id is missing")
    if document_id == "":
        raise illegal("if _id is specified it must not be empty")
    return str(name), None if document_id is None else str(document_id)


def _invalid(reason: str) -> SearchError:
    return SearchError(400, "action_request_validation_exception", f"Validation Failed: 1: {reason};")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
