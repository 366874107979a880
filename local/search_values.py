"""Values as OpenSearch's field types read them, and the terms that they are found by."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    type Vector = NDArray[np.float32]
    type Term = str | int | float | bool

CJK = "぀-ヿ㐀-鿿豈-﫿"
WORD = re.compile(rf"[{CJK}]|[^\W{CJK}]+")
SHORT_DATE = re.compile(r"^\d{4}(-\d{2})?$")
BITS = {"integer": 31, "long": 63}


class Unreadable(Exception):
    """A value is not of the type; the text says why."""


def words(text: str) -> list[str]:
    """The terms of a text: each CJK character, and whatever else stands between white space and punctuation."""
    return WORD.findall(text.lower())


def term(kind: str, value: Any) -> Term:
    """One value of a field as its type has it; raises Unreadable."""
    if isinstance(value, dict | list):
        raise Unreadable("Can't get text on a START_OBJECT")
    return READERS[kind](kind, value)


def vector(value: Any, dimension: int, space: str) -> Vector:
    """A vector of as many numbers as its field has; raises Unreadable."""
    if not isinstance(value, list) or not all(type(number) in (int, float) for number in value):
        raise Unreadable("a vector is a list of numbers")
    if len(value) != dimension:
        raise Unreadable(f"Vector dimension mismatch. Expected: {dimension}, Given: {len(value)}")
    numbers = np.asarray(value, dtype=np.float32)
    if not np.isfinite(numbers).all():
        raise Unreadable("KNN vector values cannot be NaN or infinity")
    if space == "cosinesimil" and not numbers.any():
        raise Unreadable("zero vector is not supported when space type is [cosinesimil]")
    return numbers


def _text(_: str, value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(kind: str, value: Any) -> int | float:
    if isinstance(value, bool):
        raise Unreadable(f"Current token is a boolean, not a {kind}")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise Unreadable(f'For input string: "{value}"') from error
    if not math.isfinite(number):
        raise Unreadable(f"[{kind}] supports only finite values, but got [{value}]")
    if kind == "float":
        return number
    whole = value if isinstance(value, int) else int(number)
    if not -(1 << BITS[kind]) <= whole < 1 << BITS[kind]:
        raise Unreadable(f"Value [{value}] is out of range for a {kind}")
    return whole


def _boolean(_: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false", ""):
        return bool(value == "true")
    raise Unreadable(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")


def _date(_: str, value: Any) -> int:
    """Milliseconds since 1970, read as OpenSearch does where no format is given."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if SHORT_DATE.match(text):
        text += "-01-01" if len(text) == 4 else "-01"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unreadable(f"failed to parse date field [{value}] with format [strict_date_optional_time]") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


READERS: dict[str, Callable[[str, Any], Term]] = {
    "keyword": _text,
    "text": _text,
    "integer": _number,
    "long": _number,
    "float": _number,
    "boolean": _boolean,
    "date": _date,
}
