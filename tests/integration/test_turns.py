"""Turn records: no wish falls between a turn's last look and its end, and nobody reaches the turns of others."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.chat.turns import MOST_WRITES, TURN_LIFE_S, Record, TurnStore, Wish
from mangaassist.errors import InvalidRequest, StoreUnavailable
from tests.integration import tables
from tests.integration.tables import TURNS, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door
    from tests.unit.fakes import FakeClock

FRAMES = ('{"type":"start","seq":0}', '{"type":"delta","text":"漫画","seq":1}', '{"type":"end","seq":2}')
EVERY_WAY_IN = [
    lambda store, turn_id, owner: store.cancel(turn_id, owner),
    lambda store, turn_id, owner: store.resume(turn_id, owner, wish_id="w", connection_id="theirs", after=-1),
    lambda store, turn_id, owner: store.rate(turn_id, owner, "down"),
]
fresh = map("turn-{}".format, count())


@pytest.fixture
def turns(dynamodb: DynamoDBClient, clock: FakeClock) -> TurnStore:
    return TurnStore(dynamodb, TURNS, now_s=clock.now_s)


def begun(turns: TurnStore) -> str:
    """A turn of alice's that runs."""
    turn_id = next(fresh)
    turns.begin(turn_id, owner="alice", session_id="session-1", connection_id="first", left_s=27.5)
    return turn_id


def resumed(turns: TurnStore, turn_id: str, wish_id: str = "wish-1", after: int = 0) -> Record:
    return turns.resume(turn_id, "alice", wish_id=wish_id, connection_id="second", after=after)


# -- resume and finish -------------------------------------------------------------------------------------------------


def test_a_wish_before_the_end_is_heard_at_the_end(turns: TurnStore, clock: FakeClock) -> None:
    turn_id = begun(turns)
    assert resumed(turns, turn_id, after=1) == Record(done=False, frames=[], deadline_s=clock.now_s() + 27.5)
    assert turns.finish(turn_id, FRAMES) == Wish(resume_id="wish-1", resume_connection="second", resume_after=1)


def test_a_wish_after_the_end_finds_the_frames(turns: TurnStore) -> None:
    turn_id = begun(turns)
    assert turns.finish(turn_id, FRAMES) == Wish()
    record = resumed(turns, turn_id)
    assert (record.done, tuple(record.frames)) == (True, FRAMES)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.integers(0, 3), max_size=16), resumes=st.integers(1, 3))
def test_whatever_interleaves_the_last_wish_is_heard_or_finds_the_frames(
    turns: TurnStore, door: Door, choices: list[int], resumes: int
) -> None:
    """The turn looks for wishes once more and ends, while its shopper resumes it on up to three connections."""
    turn_id = begun(turns)
    heard: list[Wish] = []
    answers: dict[str, Record] = {}
    order: list[str] = []

    def end() -> None:
        heard.append(turns.wish(turn_id))
        heard.append(turns.finish(turn_id, FRAMES))

    def resume(wish_id: str) -> None:
        answers[wish_id] = resumed(turns, turn_id, wish_id)
        order.append(wish_id)

    interleaved(door, choices, end, *(partial(resume, f"wish-{number}") for number in range(resumes)))

    served = [wish_id for wish_id, record in answers.items() if tuple(record.frames) == FRAMES]
    assert all(answers[wish_id].done == (wish_id in served) for wish_id in answers)
    unserved = [wish_id for wish_id in order if wish_id not in served]
    assert heard[-1].resume_id == (unserved[-1] if unserved else "")


def test_a_running_turn_sees_each_wish_once_it_is_made(turns: TurnStore) -> None:
    turn_id = begun(turns)
    assert turns.wish(turn_id) == Wish()
    resumed(turns, turn_id, "wish-1", after=4)
    assert turns.wish(turn_id) == Wish(resume_id="wish-1", resume_connection="second", resume_after=4)
    turns.cancel(turn_id, "alice")
    resumed(turns, turn_id, "wish-2", after=5)
    assert turns.wish(turn_id) == Wish(cancel=True, resume_id="wish-2", resume_connection="second", resume_after=5)


def test_a_turn_that_died_is_told_by_its_deadline(turns: TurnStore, clock: FakeClock) -> None:
    turn_id = begun(turns)
    deadline_s = clock.now_s() + 27.5
    clock.sleep(100)
    assert resumed(turns, turn_id) == Record(done=False, frames=[], deadline_s=deadline_s)


def test_a_turn_that_begins_again_has_no_old_wishes(turns: TurnStore) -> None:
    turn_id = begun(turns)
    turns.cancel(turn_id, "alice")
    turns.finish(turn_id, FRAMES)
    turns.begin(turn_id, owner="alice", session_id="session-1", connection_id="first", left_s=27.5)
    assert turns.wish(turn_id) == Wish()
    assert not resumed(turns, turn_id).done


# -- cancel and feedback -----------------------------------------------------------------------------------------------


def test_cancelling_twice_is_cancelling_once(turns: TurnStore, dynamodb: DynamoDBClient) -> None:
    turn_id = begun(turns)
    turns.cancel(turn_id, "alice")
    once = tables.get(dynamodb, TURNS, f"TURN#{turn_id}", "TURN")
    turns.cancel(turn_id, "alice")
    assert tables.get(dynamodb, TURNS, f"TURN#{turn_id}", "TURN") == once
    assert turns.finish(turn_id, FRAMES).cancel


def test_cancelling_a_turn_that_is_over_takes_nothing_away(turns: TurnStore) -> None:
    turn_id = begun(turns)
    turns.finish(turn_id, FRAMES)
    turns.cancel(turn_id, "alice")
    assert tuple(resumed(turns, turn_id).frames) == FRAMES


def test_a_rating_is_kept(turns: TurnStore, dynamodb: DynamoDBClient) -> None:
    turn_id = begun(turns)
    turns.rate(turn_id, "alice", "up")
    assert tables.get(dynamodb, TURNS, f"TURN#{turn_id}", "TURN")["rating"] == "up"


# -- whose turn it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way_in", EVERY_WAY_IN)
@pytest.mark.parametrize("finished", [False, True])
def test_the_turn_of_another_is_as_unknown_as_one_that_never_was(
    turns: TurnStore, dynamodb: DynamoDBClient, way_in: Callable[[TurnStore, str, str], object], finished: bool
) -> None:
    turn_id = begun(turns)
    if finished:
        turns.finish(turn_id, FRAMES)
    before = tables.everything(dynamodb, TURNS)
    told = []
    for unknown in (turn_id, "never-was"):
        with pytest.raises(InvalidRequest) as refusal:
            way_in(turns, unknown, "mallory")
        told.append((refusal.value.code, refusal.value.retryable, refusal.value.detail))
    assert told == [("turn_unknown", False, {})] * 2
    assert tables.everything(dynamodb, TURNS) == before, "a refusal leaves nothing behind"


# -- forgotten on request ----------------------------------------------------------------------------------------------


def begun_in(turns: TurnStore, session_id: str, owner: str = "alice") -> str:
    turn_id = next(fresh)
    turns.begin(turn_id, owner=owner, session_id=session_id, connection_id="first", left_s=27.5)
    return turn_id


def test_forgetting_a_session_leaves_nothing_of_its_turns_and_touches_no_other(
    turns: TurnStore, dynamodb: DynamoDBClient
) -> None:
    kept = {begun_in(turns, "another"), begun_in(turns, "session", "bob")}
    mine = [begun_in(turns, "session") for _ in range(MOST_WRITES + 5)]
    for turn_id in (*kept, *mine):
        turns.finish(turn_id, FRAMES)
    for _ in range(2):
        turns.forget("session", "alice", in_time=lambda: True)
        rows = tables.everything(dynamodb, TURNS)
        assert {row["pk"].removeprefix("TURN#") for row in rows if row["sk"] == "TURN"} == kept
        assert {row["sk"].removeprefix("TURN#") for row in rows if row["sk"] != "TURN"} == kept
    with pytest.raises(InvalidRequest):
        resumed(turns, mine[0])


def test_a_turn_that_runs_hears_that_it_is_forgotten_and_leaves_nothing(
    turns: TurnStore, dynamodb: DynamoDBClient
) -> None:
    turn_id = begun_in(turns, "session")
    turns.forget("session", "alice", in_time=lambda: True)
    assert turns.wish(turn_id) == Wish(cancel=True)
    assert turns.finish(turn_id, FRAMES) == Wish(cancel=True)
    assert tables.everything(dynamodb, TURNS) == []


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.integers(0, 3), max_size=16))
def test_whatever_interleaves_no_frame_survives_forgetting(
    turns: TurnStore, dynamodb: DynamoDBClient, door: Door, choices: list[int]
) -> None:
    session_id = f"session-of-{next(fresh)}"
    turn_id = begun_in(turns, session_id)
    interleaved(
        door,
        choices,
        lambda: turns.finish(turn_id, FRAMES),
        lambda: turns.forget(session_id, "alice", in_time=lambda: True),
    )
    assert tables.get(dynamodb, TURNS, f"TURN#{turn_id}", "TURN") == {}


def test_forgetting_that_ran_out_of_time_says_so_and_goes_on_when_it_is_asked_again(
    turns: TurnStore, dynamodb: DynamoDBClient
) -> None:
    for _ in range(2 * MOST_WRITES):
        begun_in(turns, "session")
    answers = iter([True, False])
    with pytest.raises(StoreUnavailable):
        turns.forget("session", "alice", in_time=lambda: next(answers))
    assert len(tables.everything(dynamodb, TURNS)) == 3 * MOST_WRITES
    turns.forget("session", "alice", in_time=lambda: True)
    assert tables.everything(dynamodb, TURNS) == []


def test_what_the_table_puts_off_counts_as_out_of_reach(dynamodb: DynamoDBClient, clock: FakeClock) -> None:
    class Busy:
        def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
            return {"UnprocessedItems": RequestItems}

    busy = TurnStore(cast("DynamoDBClient", Busy()), TURNS, now_s=clock.now_s)
    with pytest.raises(StoreUnavailable):
        busy.begin("t", owner="a", session_id="s", connection_id="c", left_s=1)


# -- the record --------------------------------------------------------------------------------------------------------


def test_a_record_expires(turns: TurnStore, dynamodb: DynamoDBClient, clock: FakeClock) -> None:
    turn_id = begun(turns)
    turns.finish(turn_id, FRAMES)
    record = tables.get(dynamodb, TURNS, f"TURN#{turn_id}", "TURN")
    assert record["expires_at"] == int(clock.now_s()) + TURN_LIFE_S


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.begin("t", owner="a", session_id="s", connection_id="c", left_s=1),
        lambda store: store.wish("t"),
        lambda store: store.finish("t", FRAMES),
        lambda store: store.forget("s", "a", in_time=lambda: True),
        *(lambda store, way_in=way_in: way_in(store, "t", "alice") for way_in in EVERY_WAY_IN),
    ],
)
def test_a_table_out_of_reach_is_told(turns: TurnStore, door: Door, use: Callable[[TurnStore], object]) -> None:
    door.close()
    with pytest.raises(StoreUnavailable):
        use(turns)
