"""What the tests of the tables' adapters share: the template's tables in memory, and a clock that moves when told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

from mangaassist.observability import metrics
from tests.integration import tables
from tests.integration.capacity_house import House
from tests.unit.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def wired() -> tuple[tables.Door, DynamoDBClient]:
    """A client and its door; made once, because making one takes longer than most tests."""
    door = tables.Door()
    with mock_aws():
        return door, tables.client(door)


@pytest.fixture
def door(wired: tuple[tables.Door, DynamoDBClient]) -> tables.Door:
    wired[0].open()
    return wired[0]


@pytest.fixture
def dynamodb(wired: tuple[tables.Door, DynamoDBClient], door: tables.Door) -> Iterator[DynamoDBClient]:
    """All tables, empty; the door has counted nothing yet."""
    with mock_aws():
        tables.create(wired[1])
        door.requests.clear()
        yield wired[1]


@pytest.fixture
def house(dynamodb: DynamoDBClient, door: tables.Door, clock: FakeClock) -> Iterator[House]:
    """The workflow at the start of its window, with no metric counted yet."""
    metrics.clear_metrics()
    yield House(dynamodb, door, clock)
    metrics.clear_metrics()
