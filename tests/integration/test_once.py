"""A message is answered once, in the table of Powertools' Idempotency."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest
import time_machine

from mangaassist.chat.once import REMEMBERED_S, Once
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.observability import emitter, metrics
from tests.integration import tables
from tests.integration.environment import Context
from tests.integration.tables import IDEMPOTENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door

CONTEXT: Any = Context()  # 10 s are left of every invocation
KEY = "alice|turn-1"


@pytest.fixture
def once(dynamodb: DynamoDBClient) -> Iterator[Once]:
    metrics.clear_metrics()
    yield Once(dynamodb, IDEMPOTENCY)
    metrics.clear_metrics()


@pytest.fixture
def later() -> Iterator[Callable[[float], object]]:
    """A wall clock to move: Powertools reads the real one."""
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        yield lambda seconds: traveller.shift(timedelta(seconds=seconds))


def counted() -> set[str]:
    return set(emitter.metric_set)


class Work:
    """Counts how often it is done, and fails when told."""

    def __init__(self, *failures: Exception | None) -> None:
        self.done = 0
        self._failures = list(failures)

    def __call__(self) -> None:
        self.done += 1
        if self._failures and (failure := self._failures.pop(0)):
            raise failure


class Dies(BaseException):
    """As when Lambda ends an invocation in the middle of its work."""


def refuse(operation: str) -> Callable[[str], None]:
    """A door that keeps one operation out."""

    def before(name: str) -> None:
        if name == operation:
            tables.out_of_reach(name)

    return before


# -- at most once ------------------------------------------------------------------------------------------------------


def test_work_is_done_once_and_its_repetition_is_told(once: Once) -> None:
    work = Work()
    assert [once.run(KEY, work, CONTEXT) for _ in range(3)] == ["done", "repeated", "repeated"]
    assert work.done == 1


def test_other_keys_are_other_work(once: Once) -> None:
    work = Work()
    assert once.run(KEY, work, CONTEXT) == "done"
    assert once.run("alice|turn-2", work, CONTEXT) == "done"
    assert once.run("bob|turn-1", work, CONTEXT) == "done"
    assert work.done == 3


def test_work_that_is_being_done_is_not_begun_again(dynamodb: DynamoDBClient) -> None:
    began, go_on = Event(), Event()

    def slow() -> None:
        began.set()
        assert go_on.wait(10)

    again = Work()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(Once(dynamodb, IDEMPOTENCY).run, KEY, slow, CONTEXT)
        assert began.wait(10)
        try:
            assert Once(dynamodb, IDEMPOTENCY).run(KEY, again, CONTEXT) == "running"
        finally:
            go_on.set()
        assert first.result() == "done"
    assert again.done == 0


def test_of_many_environments_at_once_one_does_the_work(dynamodb: DynamoDBClient) -> None:
    work = Work()
    environments = [Once(dynamodb, IDEMPOTENCY) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda once: once.run(KEY, work, CONTEXT), environments))
    assert outcomes.count("done") == work.done == 1
    assert set(outcomes) <= {"done", "repeated", "running"}


def test_it_is_remembered_for_its_time(once: Once, later: Callable[[float], object]) -> None:
    work = Work()
    once.run(KEY, work, CONTEXT)
    later(REMEMBERED_S - 1)
    assert once.run(KEY, work, CONTEXT) == "repeated"
    later(2)
    assert once.run(KEY, work, CONTEXT) == "done"


# -- work that fails ---------------------------------------------------------------------------------------------------


def test_work_that_raises_raises_and_may_be_done_again(once: Once) -> None:
    work = Work(InvalidRequest("session_unavailable"))
    with pytest.raises(InvalidRequest, match="session_unavailable"):
        once.run(KEY, work, CONTEXT)
    assert once.run(KEY, work, CONTEXT) == "done"
    assert work.done == 2


def test_what_work_raises_is_not_hidden_by_a_table_that_went_away(once: Once, door: Door) -> None:
    door.before = refuse("DeleteItem")
    with pytest.raises(InvalidRequest, match="session_unavailable"):
        once.run(KEY, Work(InvalidRequest("session_unavailable")), CONTEXT)


def test_an_invocation_that_died_bars_its_message_only_as_long_as_it_could_have_lived(
    once: Once, later: Callable[[float], object]
) -> None:
    with pytest.raises(Dies):
        once.run(KEY, Work(cast("Exception", Dies())), CONTEXT)
    work = Work()
    later(9.9)
    assert once.run(KEY, work, CONTEXT) == "running"
    later(0.2)
    assert once.run(KEY, work, CONTEXT) == "done"


# -- a table out of reach ----------------------------------------------------------------------------------------------


def test_without_the_table_no_work_is_begun(once: Once, door: Door) -> None:
    door.close()
    work = Work()
    with pytest.raises(StoreUnavailable):
        once.run(KEY, work, CONTEXT)
    assert work.done == 0


def test_work_is_done_even_when_that_cannot_be_recorded(once: Once, door: Door) -> None:
    door.before = refuse("UpdateItem")
    assert once.run(KEY, Work(), CONTEXT) == "done"
    assert "IdempotencyWriteFailed" in counted()


def test_the_record_holds_no_more_than_the_key(once: Once, dynamodb: DynamoDBClient) -> None:
    once.run(KEY, Work(), CONTEXT)
    (record,) = tables.everything(dynamodb, IDEMPOTENCY)
    assert record["id"].startswith("turn#")
    assert set(record) == {"id", "status", "expiration", "in_progress_expiration", "data"}
    assert record["data"] == f'"{KEY}"'
