"""What every table adapter shares: one naming of DynamoDB's failures, and items as plain Python values."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ChecksumError, ClientError, ConnectionError, HTTPClientError, IncompleteReadError
from botocore.parsers import ResponseParserError

from mangaassist.errors import StoreUnavailable
from mangaassist.observability import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CANNOT_SERVE_NOW = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
REFUSES_US = frozenset(  # a permission or a key that is gone: only operators can mend it
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "UnrecognizedClientException",
    }
)
CONDITION_FAILED = "ConditionalCheckFailedException"
NO_ANSWER = (ChecksumError, ConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError)


@contextmanager
def store_errors() -> Iterator[None]:
    """Name a table's time-outs, throttling, 5xx answers and refusals StoreUnavailable; a turn can go on without it.

    A refusal (denied) goes to the log as an error besides. A failed condition is an answer, and a malformed request, or
    one for a table that does not exist, a defect: both pass through as ClientError.
    """
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        if code in REFUSES_US:
            logger.error("a table refuses calls", extra={"operation": error.operation_name, "fault": code})
        elif code not in CANNOT_SERVE_NOW and http_status(error) < 500:
            raise
        raise StoreUnavailable(f"{error.operation_name}: {code}") from error
    except NO_ANSWER as error:
        raise StoreUnavailable(type(error).__name__) from error


def error_code(error: ClientError) -> str:
    """The service's name of a failure, such as ThrottlingException."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def http_status(error: ClientError) -> int:
    """The HTTP status of a failure; 0 when the SDK did not record one."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def condition_failed(error: ClientError) -> bool:
    """Whether a conditional write was refused by its condition."""
    return error_code(error) == CONDITION_FAILED


def found_item(error: ClientError) -> dict[str, Any]:
    """The item whose state refused a write that asked for it (ALL_OLD); empty when there was no item."""
    response: dict[str, Any] = {**error.response}
    return from_item(response.get("Item", {}))


def to_item(fields: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Python values as a DynamoDB item; raises TypeError for a type that no table of ours stores."""
    return {name: to_attribute(value) for name, value in fields.items()}


def to_attribute(value: object) -> dict[str, Any]:
    """One Python value as a typed DynamoDB attribute.

    By hand because boto3's serializer refuses floats and costs several times as much on every turn.
    """
    match value:
        case str():
            return {"S": value}
        case bool():  # before int: True is an int too
            return {"BOOL": value}
        case float() if not math.isfinite(value):
            raise TypeError(f"DynamoDB has no number {value}")
        case int() | float():
            return {"N": repr(value)}
        case None:
            return {"NULL": True}
        case bytes():
            return {"B": value}
        case list():
            return {"L": [to_attribute(element) for element in value]}
        case dict():
            return {"M": to_item(value)}
    raise TypeError(f"DynamoDB cannot store {type(value).__name__}")


def from_item(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A DynamoDB item as Python values; whole numbers are int, others float, never Decimal."""
    return {name: from_attribute(attribute) for name, attribute in item.items()}


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """One typed DynamoDB attribute as a Python value; raises TypeError for a set, which no table of ours stores."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "BOOL" | "B":
            return value
        case "N":
            return _number(value)
        case "M":
            return from_item(value)
        case "L":
            return [from_attribute(element) for element in value]
        case "NULL":
            return None
    raise TypeError(f"no table of ours stores a {kind}")


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
