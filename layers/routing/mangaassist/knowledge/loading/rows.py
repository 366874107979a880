"""Rows of a catalogue file as products: CSV or JSON lines, each row by itself, so that a bad one costs no other.

A CSV cell holds no line break, because no field may; so every line is a row, and a quotation mark that is never closed
spoils its own row alone.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mangaassist.knowledge.loading.lines import Lines, LineTooLong, NotUtf8
from mangaassist.knowledge.product import Product, product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CSV, JSON_LINES = ".csv", ".jsonl"
BETWEEN = "|"  # of a list's parts in a CSV cell
REASONS_MOST = 3  # told of one row

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Good:
    """A row that is a product."""

    line: int
    product: Product


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that is none; `ends` when nothing after it was read."""

    line: int  # 0: the file as a whole
    reason: str
    ends: bool = False


def _printable(text: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("control characters are not allowed")
    return text


def _real_date(text: str) -> str:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError("a date is YYYY, YYYY-MM or YYYY-MM-DD")
    year, month, day = match.groups()
    date(int(year), int(month or 1), int(day or 1))  # raises ValueError, which says what is wrong
    return text


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ValueError("an id is 1 to 64 of a-z, 0-9 and hyphens, no hyphen first")
    return text


Id = Annotated[str, AfterValidator(_id)]
Title = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
GivenTitle = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Synopsis = Annotated[str, Field(max_length=1_000), AfterValidator(_printable)]
Label = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_printable)]
Titles = Annotated[tuple[GivenTitle, ...], Field(max_length=20)]
Volume = Annotated[int, Field(ge=1, le=10_000)]


class Row(BaseModel):
    """A row as it is written; what is left out is not known."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    id: Id
    title_ja: GivenTitle
    title_kana: Title = ""
    title_romaji: Title = ""
    title_en: Title = ""
    aliases: Titles = ()
    ordinary: Titles = ()
    author_ja: Title = ""
    author_kana: Title = ""
    author_en: Title = ""
    publisher: Title | None = None
    genres: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    demographic: Annotated[str, Field(max_length=40), AfterValidator(_printable)] = ""
    status: Literal["completed", "ongoing", "hiatus"] | None = None
    first_year: Annotated[int, Field(ge=1850, le=2100)] | None = None
    volumes: Volume | None = None
    latest_volume: Volume | None = None
    latest_date: Annotated[str, AfterValidator(_real_date)] | None = None
    price_yen: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    stock: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    synopsis_ja: Synopsis = ""
    synopsis_en: Synopsis = ""
    sample: bool = False

    def product(self) -> Product:
        """The product of the row."""
        return product(dict(self))


LISTS = frozenset(("aliases", "ordinary", "genres"))
REQUIRED = frozenset(name for name, field in Row.model_fields.items() if field.is_required())


def read(pieces: Iterable[bytes], name: str) -> Iterator[Good | Bad]:
    """The rows of a file that comes in pieces; its name's end says whether it is CSV or JSON lines.

    No bytes raise anything here. What `pieces` itself raises passes through.
    """
    lines = Lines(pieces)
    match PurePosixPath(name).suffix.lower():
        case ".csv":
            yield from _table(lines)
        case ".jsonl":
            yield from _unique(_rows(lines, _of_json))
        case suffix:
            told = f"not {suffix[:20]!r}" if suffix else "it has no suffix"
            yield Bad(0, f"a catalogue is a {CSV} or {JSON_LINES} file: {told}", ends=True)


def _table(lines: Lines) -> Iterator[Good | Bad]:
    first = next(_rows(lines, _cells), None)
    match first:
        case None:
            yield Bad(0, "the file is empty: the first line of a CSV file names its columns", ends=True)
        case Bad():
            yield Bad(first.line, f"the header cannot be read: {first.reason}", ends=True)
        case _, cells:
            header = [cell.strip() for cell in cells]
            if complaint := _complaint(header):
                yield Bad(lines.number, complaint, ends=True)
            else:
                yield from _unique(_rows(lines, lambda line: _of_cells(header, _cells(line))))


def _complaint(header: list[str]) -> str:
    """What is wrong with a header, if anything."""
    unknown = [name for name in header if name not in Row.model_fields]
    twice = sorted({name for name in header if header.count(name) > 1})
    missing = sorted(REQUIRED - set(header))
    for told, names in (("unknown", unknown), ("named twice", twice), ("missing", missing)):
        if names:
            some = ", ".join(name[:40] if name.isidentifier() else repr(name[:40]) for name in names[:5])
            return f"columns that are {told}: {some}. Known are {', '.join(Row.model_fields)}"
    return ""


def _rows[T](lines: Lines, parse: Callable[[str], T]) -> Iterator[tuple[int, T] | Bad]:
    """Every line that is not blank, parsed."""
    while True:
        try:
            line = next(lines)
            if line.strip():
                yield lines.number, parse(line)
        except StopIteration:
            return
        except NotUtf8 as error:
            yield Bad(lines.number, str(error), ends=True)
            return
        except LineTooLong as error:
            yield Bad(lines.number, str(error))
        except ValidationError as error:
            yield Bad(lines.number, _reason(error))
        except (csv.Error, ValueError) as error:
            yield Bad(lines.number, str(error))


def _unique(rows: Iterator[tuple[int, Row] | Bad]) -> Iterator[Good | Bad]:
    """Products, each id once: of two rows with one id the first counts."""
    first_lines: dict[str, int] = {}
    for found in rows:
        if isinstance(found, Bad):
            yield found
            continue
        line, row = found
        first = first_lines.setdefault(row.id, line)
        if first == line:
            yield Good(line, row.product())
        else:
            yield Bad(line, f"id: {row.id} is in line {first} already")


def _cells(line: str) -> list[str]:
    """A line of CSV; raises csv.Error."""
    return next(csv.reader([line], strict=True))


def _of_cells(header: list[str], cells: list[str]) -> Row:
    """A row of CSV, where an empty cell says nothing; raises ValueError."""
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells, where the header has {len(header)}")
    told = {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
    lists = {name: _parts(cell) for name, cell in told.items() if name in LISTS}
    return Row.model_validate(told | lists)


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(BETWEEN) if part.strip())


def _of_json(line: str) -> Row:
    """A row of JSON lines; raises pydantic's ValidationError."""
    return Row.model_validate_json(line, strict=True)


def _reason(error: ValidationError) -> str:
    """What is wrong, by field and without the values."""
    parts = error.errors(include_url=False, include_context=False, include_input=False)
    told = []
    for part in parts[:REASONS_MOST]:
        where = ".".join(step[:40] if isinstance(step, str) else str(step + 1) for step in part["loc"])
        match part["type"]:
            case "extra_forbidden":
                told.append(f"unknown field {where!a}")
            case "json_invalid" | "model_type":
                told.append("no JSON object" if part["type"] == "model_type" else part["msg"].replace("line 1 ", ""))
            case _:
                told.append(f"{where}: {part['msg'].removeprefix('Value error, ')}")
    more = f"; and {len(parts) - REASONS_MOST} more" if len(parts) > REASONS_MOST else ""
    return "; ".join(told) + more
