"""The windows' rows and records: what is published, in which order, however many change it at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.capacity.register import RECORD_DAYS, Record, Register, Row
from mangaassist.errors import StoreUnavailable
from mangaassist.routing import policy
from mangaassist.routing.store import SituationStore
from tests.integration import tables
from tests.integration.tables import SITUATION, Door, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.routing.situation import Capacity
    from tests.unit.fakes import FakeClock

PRESET = policy.preset("current")
DAY, UNTIL_S = "2026-11-25", 1_795_618_800.0
DRAIN_S = 35.0
ONE, OTHER = "arn:one", "arn:other"


@dataclass
class Table:
    """A window's row as several clients change it and turns read it."""

    dynamodb: DynamoDBClient
    door: Door
    clock: FakeClock

    def client(self) -> Register:
        return Register(self.dynamodb, SITUATION, self.clock.now_s)

    def seen_by_turns(self) -> dict[str, Capacity]:
        """What an environment that starts now would route to."""
        store = SituationStore(
            self.dynamodb,
            SITUATION,
            default_policy=PRESET,
            now_s=self.clock.now_s,
            monotonic=self.clock.monotonic,
            on_invalid_policy=lambda version, reason: None,
        )
        return dict(store.view().situation.capacity)

    def raw(self) -> dict[str, Any]:
        return tables.get(self.dynamodb, SITUATION, "NOW", "CAPACITY#peak")

    def clear(self) -> None:
        for item in tables.everything(self.dynamodb, SITUATION):
            self.dynamodb.delete_item(TableName=SITUATION, Key={"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}})


@pytest.fixture
def table(dynamodb: DynamoDBClient, door: Door, clock: FakeClock) -> Table:
    return Table(dynamodb, door, clock)


@pytest.fixture
def register(table: Table) -> Register:
    return table.client()


def published(arn: str = ONE, **changes: object) -> dict[str, object]:
    return {"arn": arn, "target": "provisioned-sonnet", "units": 2, "until_s": UNTIL_S, "day": DAY} | changes


def claimed(register: Register) -> int:
    fence = register.claim("peak", register.row("peak").fence)
    assert fence is not None
    return fence


def publish(register: Register, arn: str = ONE) -> int:
    fence = claimed(register)
    assert register.publish("peak", fence, published(arn))
    return fence


# -- the fence ---------------------------------------------------------------------------------------------------------


def test_a_window_that_nobody_has_touched_has_a_row_to_claim(register: Register) -> None:
    assert register.row("peak") == Row(fence=0, arn="", until_s=0.0, draining={})
    assert register.row("peak") == Row(), "looking changes nothing"
    assert register.claim("peak", 0) == 1


def test_turns_are_sent_to_what_is_published_as_it_is_published(table: Table, register: Register) -> None:
    publish(register)
    capacity = table.seen_by_turns()["provisioned-sonnet"]
    assert (capacity.arn, capacity.units, capacity.until_s) == (ONE, 2, UNTIL_S)
    assert (capacity.window, capacity.day) == ("peak", DAY)
    assert register.row("peak") == Row(fence=1, arn=ONE, until_s=UNTIL_S)


def test_a_claim_is_lost_when_somebody_has_acted_since_the_row_was_seen(register: Register) -> None:
    seen = register.row("peak").fence
    register.overtake("peak")
    assert register.claim("peak", seen) is None
    assert register.row("peak").fence == seen + 1, "a lost claim takes no number"


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda register: register.overtake("peak"),
        lambda register: register.withdraw("peak", ONE, DRAIN_S),
        lambda register: register.withdraw("peak", OTHER, DRAIN_S),
        claimed,
    ],
)
def test_an_opening_that_comes_late_never_publishes_over_a_newer_closing(
    table: Table, register: Register, meanwhile: Callable[[Register], object]
) -> None:
    fence = claimed(register)
    meanwhile(table.client())
    assert not register.publish("peak", fence, published())
    assert table.seen_by_turns() == {}


def test_publishing_never_takes_the_place_of_something_else_that_is_published(table: Table, register: Register) -> None:
    publish(register, ONE)
    fence = claimed(register)
    assert not register.publish("peak", fence, published(OTHER))
    assert table.seen_by_turns()["provisioned-sonnet"].arn == ONE
    assert register.publish("peak", fence, published(ONE, until_s=UNTIL_S - 3600)), "but the same may change its end"
    assert register.row("peak").until_s == UNTIL_S - 3600


def test_windows_do_not_disturb_each_other(register: Register) -> None:
    publish(register)
    assert register.row("business") == Row()
    register.withdraw("business", OTHER, DRAIN_S)
    assert register.row("peak") == Row(fence=1, arn=ONE, until_s=UNTIL_S)


def test_what_is_not_there_to_be_overtaken_or_forgotten_is_not_made(table: Table, register: Register) -> None:
    register.overtake("peak")
    register.forget("peak", ONE)
    assert register.claim("peak", 0) is None
    assert not register.publish("peak", 0, published())
    assert table.raw() == {}


# -- draining ----------------------------------------------------------------------------------------------------------


def test_what_is_withdrawn_gets_no_more_turns_and_says_when_its_last_reader_is_done(
    table: Table, register: Register, clock: FakeClock
) -> None:
    publish(register)
    assert register.withdraw("peak", ONE, DRAIN_S) == clock.now_s() + DRAIN_S
    assert table.seen_by_turns() == {}
    assert register.row("peak").draining == {ONE: clock.now_s() + DRAIN_S}


def test_withdrawing_twice_does_not_put_the_end_off(table: Table, register: Register, clock: FakeClock) -> None:
    publish(register)
    first = register.withdraw("peak", ONE, DRAIN_S)
    clock.sleep(20)
    fence = register.row("peak").fence
    assert table.client().withdraw("peak", ONE, DRAIN_S) == first
    assert register.row("peak").fence == fence, "and overtakes nobody"


def test_what_was_never_published_has_no_readers_to_wait_for(register: Register, clock: FakeClock) -> None:
    claimed(register)
    assert register.withdraw("peak", ONE, DRAIN_S) == clock.now_s()


def test_withdrawing_something_else_leaves_what_is_published(table: Table, register: Register) -> None:
    publish(register)
    register.withdraw("peak", OTHER, DRAIN_S)
    assert table.seen_by_turns()["provisioned-sonnet"].arn == ONE


def test_what_was_withdrawn_is_never_published_again_until_it_is_gone(table: Table, register: Register) -> None:
    publish(register)
    register.withdraw("peak", ONE, DRAIN_S)
    assert not register.publish("peak", claimed(register), published())
    assert table.seen_by_turns() == {}
    assert register.publish("peak", register.row("peak").fence, published(OTHER)), "but its successor is"
    register.forget("peak", ONE)
    assert register.row("peak").draining == {}


def test_only_what_is_gone_is_forgotten(register: Register) -> None:
    publish(register)
    register.withdraw("peak", ONE, DRAIN_S)
    register.withdraw("peak", OTHER, DRAIN_S)
    register.forget("peak", ONE)
    register.forget("peak", ONE)
    assert set(register.row("peak").draining) == {OTHER}


# -- at once -----------------------------------------------------------------------------------------------------------

AT_ONCE = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHOICES = st.lists(st.integers(0, 2), max_size=16)


@AT_ONCE
@given(choices=CHOICES)
def test_of_many_executions_that_see_the_same_row_one_acts(table: Table, choices: list[int]) -> None:
    table.clear()
    seen = table.client().row("peak").fence
    claims = interleaved(table.door, choices, *(partial(table.client().claim, "peak", seen) for _ in range(3)))
    assert sorted(claims, key=str) == [1, None, None]


@AT_ONCE
@given(choices=CHOICES)
def test_however_publishing_and_withdrawing_meet_the_withdrawal_wins(table: Table, choices: list[int]) -> None:
    table.clear()
    fence = claimed(table.client())
    opener, closer = table.client(), table.client()
    came_in_time, safe_s = interleaved(
        table.door,
        choices,
        lambda: float(opener.publish("peak", fence, published())),
        lambda: closer.withdraw("peak", ONE, DRAIN_S),
    )
    assert table.seen_by_turns() == {}
    assert safe_s == table.clock.now_s() + (DRAIN_S if came_in_time else 0), "whoever may be on it is waited for"


@AT_ONCE
@given(choices=CHOICES)
def test_however_many_withdraw_the_same_all_wait_for_the_same_instant(table: Table, choices: list[int]) -> None:
    table.clear()
    publish(table.client())
    safe = interleaved(table.door, choices, *(partial(table.client().withdraw, "peak", ONE, DRAIN_S) for _ in range(3)))
    assert set(safe) == {table.clock.now_s() + DRAIN_S}
    assert table.client().row("peak").fence == 2, "one of them acted"


@AT_ONCE
@given(choices=CHOICES)
def test_withdrawing_two_at_once_loses_neither(table: Table, choices: list[int]) -> None:
    table.clear()
    publish(table.client())
    interleaved(table.door, choices, *(partial(table.client().withdraw, "peak", it, DRAIN_S) for it in (ONE, OTHER)))
    assert set(table.client().row("peak").draining) == {ONE, OTHER}
    assert table.seen_by_turns() == {}


# -- answers that are lost ---------------------------------------------------------------------------------------------


def after_a_lost_answer[T](table: Table, call: Callable[[], T]) -> T:
    """Call, lose the answer though the table did it, and call again as the workflow does."""
    table.door.after = tables.lost
    with pytest.raises(StoreUnavailable):
        call()
    table.door.open()
    return call()


def test_a_lost_publication_is_published_once_more(table: Table, register: Register) -> None:
    fence = claimed(register)
    assert after_a_lost_answer(table, lambda: register.publish("peak", fence, published()))
    assert table.seen_by_turns()["provisioned-sonnet"].arn == ONE


def test_a_lost_withdrawal_keeps_its_first_instant(table: Table, register: Register, clock: FakeClock) -> None:
    publish(register)
    first = clock.now_s() + DRAIN_S
    answers = iter([tables.nothing, tables.lost])  # the row is read, and the change made
    table.door.after = lambda operation: next(answers)(operation)
    with pytest.raises(StoreUnavailable):
        register.withdraw("peak", ONE, DRAIN_S)
    table.door.open()
    clock.sleep(3)
    assert register.withdraw("peak", ONE, DRAIN_S) == first
    assert table.seen_by_turns() == {}


def test_a_lost_claim_is_made_anew_from_what_the_row_is_by_then(table: Table, register: Register) -> None:
    assert after_a_lost_answer(table, lambda: register.claim("peak", register.row("peak").fence)) is not None


def test_other_lost_answers_may_be_repeated_as_they_are(table: Table, register: Register) -> None:
    assert after_a_lost_answer(table, lambda: register.row("peak")) == Row()
    publish(register)
    after_a_lost_answer(table, lambda: register.overtake("peak"))
    register.withdraw("peak", ONE, DRAIN_S)
    after_a_lost_answer(table, lambda: register.forget("peak", ONE))
    assert register.row("peak").draining == {}
    after_a_lost_answer(table, lambda: register.note("peak", DAY, state="creating", number=1))
    assert after_a_lost_answer(table, lambda: register.record("peak", DAY)).state == "creating"
    assert len(after_a_lost_answer(table, lambda: register.records(DAY, DAY))) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda register: register.row("peak"),
        lambda register: register.claim("peak", 0),
        lambda register: register.overtake("peak"),
        lambda register: register.publish("peak", 1, published()),
        lambda register: register.withdraw("peak", ONE, DRAIN_S),
        lambda register: register.forget("peak", ONE),
        lambda register: register.record("peak", DAY),
        lambda register: register.records(DAY, DAY),
        lambda register: register.note("peak", DAY, state="closed"),
        lambda register: register.note_after(Record("peak", DAY), state="closed"),
    ],
)
def test_a_table_out_of_reach_has_one_name(table: Table, register: Register, call: Callable[[Register], Any]) -> None:
    table.door.close()
    with pytest.raises(StoreUnavailable):
        call(register)


# -- records -----------------------------------------------------------------------------------------------------------


def test_nothing_known_is_an_empty_record(register: Register) -> None:
    assert register.record("peak", DAY) == Record("peak", DAY)


def test_a_note_changes_what_it_names_and_nothing_else(table: Table, register: Register, clock: FakeClock) -> None:
    register.note("peak", DAY, state="creating", units=2, price_verified=True, created_s=1.5)
    register.note("peak", DAY, state="serving")
    assert register.record("peak", DAY) == Record(
        "peak", DAY, state="serving", units=2, price_verified=True, created_s=1.5, changes=2
    )
    item = tables.get(table.dynamodb, SITUATION, "CAPACITY", f"{DAY}#peak")
    assert item["expires_at"] == int(clock.now_s()) + RECORD_DAYS * 86_400


def test_a_state_that_somebody_changed_meanwhile_is_not_overwritten(register: Register) -> None:
    unbought = register.record("peak", DAY)
    assert register.note_after(unbought, state="creating", number=1)
    creating = register.record("peak", DAY)
    register.note("peak", DAY, state="closed")
    assert not register.note_after(unbought, state="creating", number=2)
    assert not register.note_after(creating, state="serving", serving_s=5.0)
    assert register.record("peak", DAY) == Record("peak", DAY, state="closed", number=1, changes=2)


def test_what_was_closed_again_meanwhile_is_not_what_was_seen(register: Register) -> None:
    register.note("peak", DAY, state="closed")
    closed = register.record("peak", DAY)
    register.note("peak", DAY, state="closed")
    assert not register.note_after(closed, state="creating", number=2)
    assert register.record("peak", DAY).state == "closed"


def test_a_state_whose_change_was_repeated_by_itself_counts_as_changed(register: Register) -> None:
    unbought = register.record("peak", DAY)
    assert register.note_after(unbought, state="creating", tended_until_s=5.5)
    assert register.note_after(unbought, state="creating", tended_until_s=5.5), "the first answer was lost"
    assert not register.note_after(unbought, state="creating", tended_until_s=6.5), "this is somebody else's"


def test_records_of_days_are_those_days_in_order(register: Register) -> None:
    for day in ("2026-11-24", DAY, "2026-11-26", "2026-11-27"):
        for window in ("peak", "business"):
            register.note(window, day, state="closed")
    found = register.records("2026-11-25", "2026-11-26")
    assert [(it.day, it.window) for it in found] == [
        (DAY, "business"),
        (DAY, "peak"),
        ("2026-11-26", "business"),
        ("2026-11-26", "peak"),
    ]


def test_records_of_several_pages_are_all_read(table: Table, register: Register) -> None:
    for day in range(1, 6):
        register.note("peak", f"2026-11-{day:02d}", reason="x" * 300_000)
    table.door.requests.clear()
    assert len(register.records("2026-11-01", "2026-11-30")) == 5
    assert table.door.requests.count("Query") > 1


def test_a_record_of_a_newer_version_can_still_be_read(table: Table, register: Register) -> None:
    tables.put(table.dynamodb, SITUATION, pk="CAPACITY", sk=f"{DAY}#peak", state="serving", invented="later")
    assert register.record("peak", DAY).state == "serving"


@pytest.mark.parametrize(
    ("record", "now_s", "hours"),
    [
        (Record("peak", DAY), 7200, 0),
        (Record("peak", DAY, units=2, created_s=3600), 7200, 2),
        (Record("peak", DAY, units=2, created_s=3600, gone_s=5400), 99_999, 1),
        (Record("peak", DAY, units=2, created_s=3600, gone_s=5400, unit_s=7200), 99_999, 3),
        (Record("peak", DAY, units=2, unit_s=7200), 99_999, 2),
        (Record("peak", DAY, units=2, created_s=9000), 7200, 0),
    ],
)
def test_unit_hours_run_from_creation_until_it_is_gone_and_add_up(record: Record, now_s: float, hours: float) -> None:
    assert record.unit_hours(now_s) == hours
