"""Connections and turns are limited per user, exactly, however many come at once."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mangaassist.chat.connections import CONNECTION_LIFE_S, HANDSHAKE_S, LOOKS, MARGIN_S, ConnectionStore
from mangaassist.errors import StoreUnavailable
from tests.integration import tables
from tests.integration.tables import CONNECTIONS, Door, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.fakes import FakeClock

PLACE_S = CONNECTION_LIFE_S + MARGIN_S

users = (f"user-{number}" for number in itertools.count())  # a new one for each of Hypothesis' examples
repeatedly = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def at_once[**P](test: Callable[P, None]) -> Callable[P, None]:
    """Run a test with the requests of concurrent callers served in any order, and in turn."""
    any_order = given(order=st.lists(st.integers(0, 5), max_size=24))
    in_turn = example(order=[*range(5)] * 8)
    repeated: Callable[P, None] = repeatedly(in_turn(any_order(test)))
    return repeated


class Gateway:
    """Tells which connections are gone, and was asked about these."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.asked: list[str] = []

    def is_gone(self, connection_id: str) -> bool:
        self.asked.append(connection_id)
        return connection_id in self.gone


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def store(dynamodb: DynamoDBClient, clock: FakeClock, gateway: Gateway) -> ConnectionStore:
    return ConnectionStore(dynamodb, CONNECTIONS, clock.now_s, is_gone=gateway.is_gone)


def rows(dynamodb: DynamoDBClient) -> dict[str, dict[str, Any]]:
    return {item.pop("pk"): item for item in tables.everything(dynamodb, CONNECTIONS)}


def places(dynamodb: DynamoDBClient, user: str) -> set[str]:
    return set(rows(dynamodb)[f"USER#{user}"]["connections"])


# -- places ------------------------------------------------------------------------------------------------------------


def test_a_connection_and_its_place_are_recorded_until_after_its_life(
    door: Door, store: ConnectionStore, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    door.requests.clear()
    assert store.open("c1=", "alice", 2)
    now = int(clock.now_s())
    assert door.requests == ["PutItem", "UpdateItem"]
    assert rows(dynamodb) == {
        "CONNECTION#c1=": {"user_id": "alice", "connected_at": now, "expires_at": now + PLACE_S},
        "USER#alice": {"connections": {"c1=": now + PLACE_S}, "expires_at": now + PLACE_S},
    }


def test_a_user_has_so_many_connections_and_no_more(store: ConnectionStore, dynamodb: DynamoDBClient) -> None:
    assert [store.open(f"c{number}", "alice", 2) for number in range(4)] == [True, True, False, False]
    assert store.open("c9", "bob", 2)
    assert set(rows(dynamodb)) == {"CONNECTION#c0", "CONNECTION#c1", "CONNECTION#c9", "USER#alice", "USER#bob"}


def test_a_closed_connection_gives_its_place_back(store: ConnectionStore, dynamodb: DynamoDBClient) -> None:
    store.open("c1", "alice", 1)
    store.close("c1", "alice")
    assert set(rows(dynamodb)) == {"USER#alice"}
    assert store.open("c2", "alice", 1)


def test_closing_finds_the_user_by_the_connection_itself(store: ConnectionStore, dynamodb: DynamoDBClient) -> None:
    store.open("c1", "alice", 1)
    store.close("c1", None)
    assert rows(dynamodb)["USER#alice"]["connections"] == {}


def test_a_place_is_given_back_when_the_connections_row_is_gone(
    store: ConnectionStore, dynamodb: DynamoDBClient
) -> None:
    store.open("c1", "alice", 1)
    dynamodb.delete_item(TableName=CONNECTIONS, Key={"pk": {"S": "CONNECTION#c1"}})
    store.close("c1", "alice")
    assert rows(dynamodb)["USER#alice"]["connections"] == {}


def test_closing_twice_late_or_for_nothing_takes_nothing_newer(
    store: ConnectionStore, dynamodb: DynamoDBClient
) -> None:
    store.open("c1", "alice", 2)
    store.close("c1", "alice")
    store.open("c2", "alice", 2)
    store.close("c1", "alice")
    store.close("c1", None)
    store.close("never-opened", "nobody")
    assert set(rows(dynamodb)) == {"CONNECTION#c2", "USER#alice"}
    assert set(rows(dynamodb)["USER#alice"]["connections"]) == {"c2"}


def test_expired_places_are_cleared_by_the_write_that_needs_one(
    door: Door, store: ConnectionStore, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    store.open("lost-1", "alice", 2)
    clock.sleep(60)
    store.open("lost-2", "alice", 2)
    clock.sleep(PLACE_S - 60)
    door.requests.clear()
    assert store.open("c3", "alice", 2)
    assert door.requests == ["PutItem", "UpdateItem", "UpdateItem"]
    assert set(rows(dynamodb)["USER#alice"]["connections"]) == {"lost-2", "c3"}
    assert not store.open("c4", "alice", 2)
    clock.sleep(60)
    assert store.open("c4", "alice", 2)


def test_whoever_holds_enough_is_refused_only_while_the_connections_are_there(
    store: ConnectionStore, dynamodb: DynamoDBClient, clock: FakeClock, gateway: Gateway
) -> None:
    for number in range(3):
        store.open(f"c{number}", "alice", 3)
        clock.sleep(HANDSHAKE_S)
    assert not store.open("c3", "alice", 3)
    assert gateway.asked == ["c0", "c1", "c2"]
    gateway.gone = {"c1", "c2"}
    assert store.open("c4", "alice", 3)
    assert places(dynamodb, "alice") == {"c0", "c2", "c4"}  # one is wanted, the older one of those gone
    assert gateway.asked[3:] == ["c0", "c1"]


def test_a_connection_that_is_being_opened_keeps_its_place(
    store: ConnectionStore, clock: FakeClock, gateway: Gateway
) -> None:
    store.open("c1", "alice", 1)
    gateway.gone = {"c1"}
    clock.sleep(HANDSHAKE_S - 1)
    assert not store.open("c2", "alice", 1)
    clock.sleep(1)
    assert store.open("c3", "alice", 1)


def test_a_limit_that_was_lowered_wants_more_places_cleared(
    store: ConnectionStore, dynamodb: DynamoDBClient, clock: FakeClock, gateway: Gateway
) -> None:
    for number in range(4):
        store.open(f"c{number}", "alice", 4)
    clock.sleep(HANDSHAKE_S)
    gateway.gone = {"c0", "c1"}
    assert not store.open("new", "alice", 2)
    gateway.gone.add("c3")
    assert store.open("new", "alice", 2)
    assert places(dynamodb, "alice") == {"c2", "new"}


def test_the_gateway_is_asked_a_few_times_however_many_connections_there_are(
    store: ConnectionStore, clock: FakeClock, gateway: Gateway
) -> None:
    for number in range(9):
        store.open(f"c{number}", "alice", 9)
    clock.sleep(HANDSHAKE_S)
    gateway.gone = {"c8"}
    assert not store.open("new", "alice", 9)
    assert gateway.asked == [f"c{number}" for number in range(LOOKS)]


def test_many_expired_places_are_cleared_in_portions(
    store: ConnectionStore, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    for number in range(60):
        assert store.open(f"lost-{number}", "alice", 60)
    clock.sleep(PLACE_S)
    assert store.open("new", "alice", 60)
    assert len(rows(dynamodb)["USER#alice"]["connections"]) == 11


def test_a_place_taken_by_a_write_whose_answer_was_lost_is_ours(
    store: ConnectionStore, dynamodb: DynamoDBClient
) -> None:
    assert store.open("c1", "alice", 1)
    assert store.open("c1", "alice", 1)
    assert store.open("c2", "bob", 2)
    assert store.open("c3", "bob", 2)
    assert store.open("c3", "bob", 2)
    assert len(rows(dynamodb)["USER#bob"]["connections"]) == 2


@at_once
def test_connections_opened_at_once_never_pass_the_limit(
    door: Door, dynamodb: DynamoDBClient, store: ConnectionStore, order: list[int]
) -> None:
    user = next(users)
    opened = interleaved(door, order, *[partial(store.open, f"c{number}", user, 2) for number in range(5)])
    assert opened.count(True) == 2
    assert places(dynamodb, user) == {f"c{number}" for number, took in enumerate(opened) if took}


@at_once
def test_nor_do_they_when_the_places_are_expired_ones(
    door: Door, dynamodb: DynamoDBClient, clock: FakeClock, store: ConnectionStore, order: list[int]
) -> None:
    user = next(users)
    for number in range(2):
        store.open(f"lost-{number}", user, 2)
    clock.sleep(PLACE_S)
    opened = interleaved(door, order, *[partial(store.open, f"c{number}", user, 2) for number in range(5)])
    assert opened.count(True) == 2
    assert places(dynamodb, user) == {f"c{number}" for number, took in enumerate(opened) if took}


@at_once
def test_closing_beside_opening_disturbs_nobody(
    door: Door, dynamodb: DynamoDBClient, store: ConnectionStore, order: list[int]
) -> None:
    user = next(users)
    for number in range(2):
        store.open(f"old-{number}", user, 4)
    closing = [partial(store.close, f"old-{number}", user) for number in range(2)]
    opening = [partial(store.open, f"new-{number}", user, 4) for number in range(2)]
    assert interleaved(door, order, *closing, *opening) == [None, None, True, True]
    assert places(dynamodb, user) == {"new-0", "new-1"}


# -- the rate limit ----------------------------------------------------------------------------------------------------


class Bucket:
    """The reference: a bucket of whole tokens, filled by the millisecond."""

    def __init__(self, interval_ms: int, burst: int, now_ms: int) -> None:
        self._interval_ms = interval_ms
        self._most = self._level = burst * interval_ms
        self._then_ms = now_ms

    def take(self, now_ms: int) -> float:
        self._level = min(self._most, self._level + now_ms - self._then_ms)
        self._then_ms = now_ms
        if self._level < self._interval_ms:
            return (self._interval_ms - self._level) / 1000
        self._level -= self._interval_ms
        return 0.0


@given(
    per_minute=st.sampled_from([1, 7, 20, 60, 6000]),
    burst=st.integers(1, 6),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 1), st.floats(1, 8)), max_size=15),
)
@repeatedly
def test_turns_are_admitted_exactly_as_a_token_bucket_would(
    door: Door, clock: FakeClock, store: ConnectionStore, per_minute: int, burst: int, pauses: list[float]
) -> None:
    """Pauses are in tokens' times; the writes of each turn are at most two."""
    user = next(users)
    interval_ms = -(-60_000 // per_minute)
    bucket = Bucket(interval_ms, burst, int(clock.now_s() * 1000))
    for pause in pauses:
        clock.sleep(pause * interval_ms / 1000)
        door.requests.clear()
        assert store.admit_turn(user, per_minute, burst) == bucket.take(int(clock.now_s() * 1000))
        assert len(door.requests) <= 2


def test_an_idle_user_costs_one_write_and_a_refused_one_too(
    door: Door, store: ConnectionStore, clock: FakeClock
) -> None:
    for seconds, writes in ((0, 1), (3, 1), (1, 2), (0, 2), (0, 1)):  # full, full, spent from, spent from, empty
        clock.sleep(seconds)
        door.requests.clear()
        store.admit_turn("alice", 20, 3)
        assert door.requests == ["UpdateItem"] * writes


def test_waiting_as_long_as_told_is_enough_and_needed(store: ConnectionStore, clock: FakeClock) -> None:
    assert store.admit_turn("alice", 20, 1) == 0.0
    clock.sleep(1)
    assert store.admit_turn("alice", 20, 1) == 2.0
    clock.sleep(1.999)
    assert store.admit_turn("alice", 20, 1) > 0
    clock.sleep(0.002)
    assert store.admit_turn("alice", 20, 1) == 0.0


def test_a_clock_moved_back_does_not_lock_a_user_out(dynamodb: DynamoDBClient, store: ConnectionStore) -> None:
    late = ConnectionStore(dynamodb, CONNECTIONS, lambda: 1_900_000_000.0, is_gone=lambda _id: False)
    assert [late.admit_turn("alice", 20, 2) for _ in range(3)] == [0.0, 0.0, 3.0]
    assert [store.admit_turn("alice", 20, 2) for _ in range(3)] == [0.0, 0.0, 3.0]


@at_once
def test_turns_at_once_are_admitted_to_the_token(door: Door, store: ConnectionStore, order: list[int]) -> None:
    user = next(users)
    waits = interleaved(door, order, *[partial(store.admit_turn, user, 20, 3)] * 6)
    assert waits.count(0.0) == 3
    assert set(waits) == {0.0, 3.0}


def test_both_limits_share_the_users_row(store: ConnectionStore, dynamodb: DynamoDBClient, clock: FakeClock) -> None:
    store.open("c1", "alice", 1)
    assert store.admit_turn("alice", 20, 5) == 0.0
    row = rows(dynamodb)["USER#alice"]
    assert set(row) == {"connections", "next_allowed_ms", "expires_at"}
    assert row["expires_at"] == int(clock.now_s()) + PLACE_S
    assert not store.open("c2", "alice", 1)
    assert store.admit_turn("bob", 20, 5) == 0.0
    assert store.open("c3", "bob", 1)


# -- a table out of reach ----------------------------------------------------------------------------------------------


def test_a_table_that_does_not_answer_is_unavailable(door: Door, store: ConnectionStore) -> None:
    door.close()
    for call in (
        lambda: store.open("c1", "alice", 1),
        lambda: store.close("c1", "alice"),
        lambda: store.admit_turn("alice", 20, 5),
    ):
        with pytest.raises(StoreUnavailable):
            call()


def test_a_place_whose_writing_was_not_confirmed_is_taken_when_tried_again(door: Door, store: ConnectionStore) -> None:
    def lost_once(operation: str) -> None:
        if operation == "UpdateItem":
            door.open()
            tables.lost(operation)

    door.after = lost_once
    with pytest.raises(StoreUnavailable):
        store.open("c1", "alice", 1)
    assert store.open("c1", "alice", 1)
    assert not store.open("c2", "alice", 1)
