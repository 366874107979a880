"""What all table adapters share: one naming of failures, and items as DynamoDB's own library writes them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.errors import StoreUnavailable
from mangaassist.stores import (
    condition_failed,
    found_item,
    from_attribute,
    from_item,
    store_errors,
    to_attribute,
    to_item,
)


def refusal(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "UpdateItem")


@pytest.mark.parametrize(
    "error",
    [
        refusal("ThrottlingException"),
        refusal("ProvisionedThroughputExceededException"),
        refusal("RequestLimitExceeded"),
        refusal("TransactionInProgressException"),
        refusal("TransactionConflictException"),
        refusal("InternalServerError", 500),
        refusal("ServiceUnavailable", 503),
        refusal("502", 502),
        ConnectTimeoutError(endpoint_url="https://x"),
        ReadTimeoutError(endpoint_url="https://x"),
        EndpointConnectionError(endpoint_url="https://x"),
        ConnectionClosedError(endpoint_url="https://x"),
        ResponseParserError("garbage"),
    ],
)
def test_a_table_that_cannot_serve_is_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailable) as failure, store_errors():
        raise error
    assert failure.value.__cause__ is error


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException"])
def test_a_table_that_refuses_us_is_too_and_operators_hear_why(code: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreUnavailable), store_errors():
        raise refusal(code)
    assert "a table refuses calls" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        refusal("ConditionalCheckFailedException"),
        refusal("TransactionCanceledException"),
        refusal("ValidationException"),
        refusal("ResourceNotFoundException"),
        NoCredentialsError(),
        KeyError("ours"),
    ],
)
def test_answers_and_defects_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)) as failure, store_errors():
        raise error
    assert failure.value is error


def test_a_failed_condition_brings_the_item_that_failed_it() -> None:
    error = refusal("ConditionalCheckFailedException")
    assert condition_failed(error)
    assert not condition_failed(refusal("ValidationException"))
    assert found_item(error) == {}
    response: Any = error.response
    response["Item"] = {"version": {"N": "3"}}
    assert found_item(error) == {"version": 3}


WHOLE = st.integers(-(10**37), 10**37)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_items_are_written_as_botos_own_serializer_does(fields: dict[str, Any]) -> None:
    item = to_item(fields)
    assert item == {name: TypeSerializer().serialize(value) for name, value in fields.items()}
    assert from_item(item) == fields


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100))
def test_floats_come_back_as_they_were(value: float) -> None:
    assert from_attribute(to_attribute(value)) == value


@given(WHOLE)
def test_whole_numbers_are_int_and_no_decimal(value: int) -> None:
    attribute = to_attribute(value)
    assert from_attribute(attribute) == value
    assert type(from_attribute(attribute)) is int


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object(), 1j])
def test_what_no_table_of_ours_stores_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        to_item({"name": value})
    with pytest.raises(TypeError):
        from_attribute({"SS": ["a"]})
