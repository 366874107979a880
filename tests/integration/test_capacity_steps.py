"""The workflow's steps over the table: money is spent once, is seen while it is, and stops when it should."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.capacity.control_plane import Lifecycle
from mangaassist.capacity.register import Record, Register
from mangaassist.capacity.rules import drain_s
from mangaassist.capacity.steps import Steps
from mangaassist.capacity.utilisation import Use, Utilisation
from mangaassist.capacity.workflow import Closing, Ended, Opening, Plan, Request
from mangaassist.errors import ControlPlaneError, StoreUnavailable, WorkflowInputInvalid
from mangaassist.observability import metrics
from mangaassist.routing.situation import Capacity
from tests.integration import tables
from tests.integration.tables import SITUATION, Door
from tests.unit.purchases import DAY, NAME, POLICY, RULES, FakeBoard, FakeControlPlane, arn, at, purchase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.capacity.workflow import Report
    from tests.unit.fakes import FakeClock

HOUR_NANO_USD = 2 * 23_000_000_000


class House:
    """The whole workflow over one table and one account of Bedrock; a test orders its steps as the states do."""

    def __init__(self, dynamodb: DynamoDBClient, door: Door, clock: FakeClock) -> None:
        self.dynamodb, self.door, self.clock = dynamodb, door, clock
        self.cloud, self.board = FakeControlPlane(clock), FakeBoard()
        self.register = Register(dynamodb, SITUATION, clock.now_s)
        self.use = Utilisation(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, now_s=clock.now_s)
        self.policy = POLICY
        self.rules = RULES
        self.set_clock("18:00")

    @property
    def steps(self) -> Steps:
        return Steps.of(
            control_plane=self.cloud.port(),
            register=self.register,
            utilisation=self.use,
            board=self.board,
            policy=lambda: self.policy,
            rules=self.rules,
            now_s=self.clock.now_s,
        )

    def set_clock(self, clock: str, day: str = DAY) -> None:
        self.clock.elapsed_s += at(clock, day) - self.clock.now_s()

    def plan(self, action: str = "keep", window: str | None = "peak", *, live: bool = False) -> Plan:
        request = Request.model_validate({"action": action, "window": window, "live": live})
        return self.steps.planner.sweep(request) if action == "sweep" else self.steps.planner.plan(request)

    def opening(self, action: str = "keep", *, live: bool = False) -> Opening:
        planned = self.plan(action, live=live).opening
        assert planned is not None
        return planned

    def close(self, closing: Closing) -> Closing:
        closing = self.steps.closer.withdraw(closing)
        while closing.outcome not in ("gone", "retained"):
            self.clock.sleep(closing.wait_s)
            closing = self.steps.closer.delete(closing)
        return closing

    def create(self, opening: Opening) -> Opening:
        opening = self.steps.opener.guard(opening)
        assert opening.outcome == "buy", opening.reasons
        return self.steps.opener.create(opening)

    def serve(self, opening: Opening) -> Opening:
        self.cloud.becomes(str(opening.arn), status="InService")
        opening = self.steps.opener.inspect(opening)
        assert opening.outcome == "in_service"
        return self.steps.opener.publish(opening)

    def opened(self, action: str = "keep", *, live: bool = False) -> Opening:
        """A window opened from nothing."""
        serving = self.serve(self.create(self.opening(action, live=live)))
        assert serving.outcome == "serving"
        return serving

    def closed(self, action: str = "keep", window: str | None = "peak") -> Plan:
        planned = self.plan(action, window)
        assert planned.closing
        return planned.model_copy(update={"closing": tuple(self.close(it) for it in planned.closing)})

    def report(self, plan: Plan, **changes: Any) -> Report:
        return self.steps.reporter.report(Ended.model_validate(plan.model_dump(by_alias=True) | changes))

    def record(self, window: str = "peak") -> Record:
        return self.register.record(window, DAY)


@pytest.fixture
def house(dynamodb: DynamoDBClient, door: Door, clock: FakeClock) -> Iterator[House]:
    metrics.clear_metrics()
    yield House(dynamodb, door, clock)
    metrics.clear_metrics()


def counted(name: str) -> float:
    """What a counter has come to in this test."""
    values: list[float] = metrics.metric_set.get(name, {}).get("Value", [])
    return sum(values)


def between[**P, T](work: Callable[P, T], meanwhile: Callable[[], object]) -> Callable[P, T]:
    """A call before which somebody else does something, once."""
    todo = [meanwhile]

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        while todo:
            todo.pop()()
        return work(*args, **kwargs)

    return call


# -- a day -------------------------------------------------------------------------------------------------------------


def test_a_window_is_bought_once_served_and_given_back(house: House) -> None:
    house.set_clock("17:30")
    opened = house.opened()
    assert house.record().state == "serving"
    assert house.register.row("peak").arn == opened.arn
    house.set_clock("20:00")
    assert house.plan().notes == ("it serves",)
    house.set_clock("24:00")
    house.closed()
    assert house.cloud.alive == {}
    assert len(house.cloud.bought) == 1
    record = house.record()
    assert (record.state, record.reason) == ("closed", "its window has ended")
    alive_h = 6.5 + drain_s(POLICY.limits) / 3600
    assert record.unit_hours(house.clock.now_s()) == pytest.approx(2 * alive_h, abs=0.001)
    house.set_clock("24:10")
    assert house.plan() == Plan(request=Request(action="keep", window="peak"), notes=("its window is closed",))


def test_turns_have_left_before_anything_is_deleted(house: House) -> None:
    opened = house.opened()
    house.set_clock("24:00")
    (closing,) = house.plan().closing
    closing = house.steps.closer.withdraw(closing)
    assert closing.wait_s == pytest.approx(drain_s(POLICY.limits), abs=1)
    house.clock.sleep(closing.wait_s - 2)
    closing = house.steps.closer.delete(closing)
    assert (closing.outcome, house.cloud.deleted) == ("draining", [])
    house.clock.sleep(closing.wait_s)
    assert house.steps.closer.delete(closing).outcome == "gone"
    assert house.cloud.deleted == [opened.arn]


def test_a_dry_run_does_everything_but_buy_and_says_what_it_would_cost(house: House) -> None:
    house.rules = replace(house.rules, mode="dry-run")
    planned = house.plan()
    assert planned.opening is not None
    judged = house.steps.opener.guard(planned.opening)
    assert judged.outcome == "dry_run"
    report = house.report(planned, opening=judged.model_dump())
    assert report.ok
    assert "would buy 2 x amazon.nova-pro-v1:0:300k for peak of 2026-11-25, 6.0 h for $276.00" in report.summary
    assert house.record().state == "dry_run"
    assert house.plan().notes == ("a dry run has reported on it already",)
    assert house.cloud.bought == []


def test_planning_shows_the_next_window_and_touches_nothing(house: House) -> None:
    house.set_clock("03:00")
    planned = house.plan("plan")
    assert planned.opening is not None
    assert (planned.opening.day, planned.opening.mode) == (DAY, "dry-run")
    judged = house.steps.opener.guard(planned.opening)
    house.report(planned, opening=judged.model_dump())
    assert judged.planned_nano_usd == 6.5 * HOUR_NANO_USD
    assert tables.everything(house.dynamodb, SITUATION) == []
    assert house.board.notices == []


def test_opening_by_hand_spends_money_only_when_told_to(house: House) -> None:
    assert house.steps.opener.guard(house.opening("open")).outcome == "dry_run"
    assert house.steps.opener.guard(house.opening("open", live=True)).outcome == "buy"


def test_a_window_cannot_be_opened_while_it_is_closed(house: House) -> None:
    house.set_clock("12:00")
    with pytest.raises(WorkflowInputInvalid, match="it can be opened from 2026-11-25 17:30 JST on"):
        house.plan("open")


@pytest.mark.parametrize("action", ["open", "close", "plan"])
@pytest.mark.parametrize("window", [None, "lunch"])
def test_a_window_that_there_is_not_is_named_with_those_that_there_are(
    house: House, action: str, window: str | None
) -> None:
    with pytest.raises(WorkflowInputInvalid, match=f"window {window}: the policy in force has business, peak"):
        house.plan(action, window)


def test_the_schedule_passes_over_a_window_that_the_policy_no_longer_has(house: House) -> None:
    house.opened()
    house.policy = POLICY.model_copy(update={"windows": ()})
    assert house.plan().notes == ("the policy in force has no such window",)
    house.closed("sweep", None)
    assert house.cloud.alive == {}


# -- bought once -------------------------------------------------------------------------------------------------------


def test_a_creation_whose_answer_is_lost_is_the_same_purchase_when_repeated(house: House) -> None:
    opening = house.steps.opener.guard(house.opening())
    house.steps.opener.create(opening)
    again = house.steps.opener.create(opening)
    assert len(house.cloud.bought) == 1
    assert again.arn == house.record().arn


def test_two_executions_at_once_buy_once(house: House) -> None:
    first = house.steps.opener.guard(house.opening())
    second = house.steps.opener.guard(house.opening())
    assert house.steps.opener.create(first).outcome == "overtaken"
    assert house.steps.opener.create(second).outcome == "creating"
    assert len(house.cloud.bought) == 1


def test_an_execution_that_saw_the_row_before_another_one_claimed_it_opens_nothing(house: House) -> None:
    house.cloud.owned = between(house.cloud.owned, lambda: house.register.overtake("peak"))  # type: ignore[method-assign]
    assert house.plan().notes == ("another execution was faster",)


def test_what_a_dead_execution_bought_is_served_by_the_next_one(house: House) -> None:
    created = house.create(house.opening())
    assert house.plan().notes == ("another execution is at it",)
    house.clock.sleep(300)
    taken_over = house.opening()
    assert (taken_over.arn, taken_over.outcome) == (created.arn, "exists")
    assert house.serve(taken_over).outcome == "serving"
    assert len(house.cloud.bought) == 1


def test_what_was_bought_before_its_arn_could_be_noted_is_found_by_its_tags(house: House) -> None:
    opening = house.steps.opener.guard(house.opening())
    answers = iter([*["pass"] * 3, "lost"])
    house.door.before = lambda _: tables.out_of_reach(_) if next(answers, "pass") == "lost" else None
    with pytest.raises(StoreUnavailable):
        house.steps.opener.create(opening)
    house.door.open()
    assert (house.record().state, house.record().arn) == ("creating", "")
    house.clock.sleep(300)
    assert house.opening().arn == arn(1)
    assert house.record().arn == arn(1)


def test_after_a_purchase_is_gone_another_one_has_another_name(house: House) -> None:
    house.opened()
    house.closed("close")
    house.set_clock("20:00")
    again = house.opened("open", live=True)
    assert [order.name for order in house.cloud.bought] == [NAME, f"{NAME}-2"]
    assert house.record().arn == again.arn


def test_unit_hours_of_all_purchases_of_a_day_add_up(house: House) -> None:
    house.opened()
    house.set_clock("19:00")
    house.closed("close")
    house.set_clock("20:00")
    house.opened("open", live=True)
    house.set_clock("21:00")
    drained_h = drain_s(POLICY.limits) / 3600
    assert house.record().unit_hours(house.clock.now_s()) == pytest.approx(2 * (1 + drained_h + 1), abs=0.002)


# -- closed by hand ----------------------------------------------------------------------------------------------------


def test_what_is_closed_by_hand_stays_closed_for_the_day(house: House) -> None:
    house.opened()
    house.closed("close")
    assert house.record().state == "closed"
    house.set_clock("20:00")
    assert house.plan().notes == ("it is closed for today; open it by hand to buy again",)


def test_closing_by_hand_ends_an_opening_that_is_under_way(house: House) -> None:
    created = house.create(house.opening())
    house.closed("close")
    assert house.steps.opener.inspect(created).outcome == "overtaken"
    assert house.steps.opener.publish(created).outcome == "overtaken"
    assert house.cloud.alive == {}


def test_closing_by_hand_just_before_a_purchase_keeps_it_from_being_made(house: House) -> None:
    opening = house.steps.opener.guard(house.opening())
    house.plan("close")
    assert house.steps.opener.create(opening).outcome == "overtaken"
    assert house.cloud.bought == []
    assert house.record().state == "closed"


@pytest.mark.parametrize("requests", range(6))
def test_closing_by_hand_in_the_midst_of_a_purchase_is_not_forgotten(house: House, requests: int) -> None:
    opening = house.steps.opener.guard(house.opening())
    done = 0

    def close(_operation: str) -> None:
        nonlocal done
        done += 1
        if done == requests + 1:
            house.door.before = tables.nothing
            house.plan("close")

    house.door.before = close
    house.steps.opener.create(opening)
    house.door.open()
    if done <= requests:
        house.plan("close")
    house.clock.sleep(300)
    for closing in house.plan().closing:
        house.close(closing)
    assert house.cloud.alive == {}
    house.clock.sleep(300)
    assert house.plan().opening is None, "nobody opens it again by itself today"
    assert house.record().state == "closed"


@pytest.mark.parametrize("requests", range(3))
def test_closing_by_hand_in_the_midst_of_a_publication_is_not_forgotten(house: House, requests: int) -> None:
    created = house.create(house.opening())
    house.cloud.becomes(str(created.arn), status="InService")
    seen = house.steps.opener.inspect(created)
    done = 0

    def close(_operation: str) -> None:
        nonlocal done
        done += 1
        if done == requests + 1:
            house.door.before = tables.nothing
            house.closed("close")

    house.door.before = close
    house.steps.opener.publish(seen)
    house.door.open()
    if done <= requests:
        house.closed("close")
    house.clock.sleep(300)
    assert house.cloud.alive == {}
    assert house.plan().opening is None, "nobody opens it again by itself today"
    assert house.record().state == "closed"


# -- what fails --------------------------------------------------------------------------------------------------------


def discarded(house: House, opening: Opening) -> Closing:
    """As the state Discard makes it."""
    fields = {name: getattr(opening, name) for name in ("window", "day", "name", "model", "units", "arn")}
    return house.close(
        Closing(
            **fields,
            unit_hour_nano_usd=opening.unit_hour_nano_usd,
            price_verified=opening.price_verified,
            why=opening.reasons[0],
            leaves=opening.outcome,  # type: ignore[arg-type]
            gives_up_s=opening.ends_s,
        )
    )


def test_a_purchase_that_failed_is_deleted_and_not_made_again_by_itself(house: House) -> None:
    created = house.create(house.opening())
    house.cloud.becomes(str(created.arn), status="Failed", failure="no room")
    failed = house.steps.opener.inspect(created)
    assert (failed.outcome, failed.reasons) == ("failed", ("no room",))
    discarded(house, failed)
    assert (house.record().state, house.record().reason) == ("failed", "no room")
    assert house.cloud.alive == {}
    assert house.plan().opening is None


def test_a_purchase_that_takes_too_long_is_given_up(house: House) -> None:
    created = house.create(house.opening())
    house.clock.sleep(POLICY.provisioning.give_up_minutes * 60)
    assert house.steps.opener.inspect(created).outcome == "creating"
    house.clock.sleep(1)
    given_up = house.steps.opener.inspect(created)
    assert given_up.outcome == "given_up"
    discarded(house, given_up)
    assert house.record().state == "given_up"


def test_a_failure_whose_discarding_died_is_still_called_a_failure(house: House) -> None:
    created = house.create(house.opening())
    house.cloud.becomes(str(created.arn), status="Failed", failure="no room")
    failed = house.steps.opener.inspect(created)
    closing = house.plan("close").closing[0].model_copy(update={"leaves": "failed", "why": failed.reasons[0]})
    house.register.note("peak", DAY, state="creating")  # the closing by hand was only to get at a closing
    house.steps.closer.withdraw(closing)
    house.clock.sleep(300)
    house.closed()
    assert (house.record().state, house.record().reason) == ("failed", "no room")
    assert house.record().gone_s


def test_a_purchase_that_was_refused_is_tried_again_on_the_next_tick(house: House) -> None:
    house.cloud.fails["create"] = "Bedrock.ServiceQuotaExceededException"
    planned = house.plan()
    assert planned.opening is not None
    opening = house.steps.opener.guard(planned.opening)
    with pytest.raises(ControlPlaneError):
        house.steps.opener.create(opening)
    failure = {"Error": "Bedrock.ServiceQuotaExceededException", "Cause": "no units"}
    assert not house.report(planned, opening=opening.model_dump(), failure=failure).ok
    assert house.record().state == "refused"
    house.cloud.fails.clear()
    house.clock.sleep(300)
    assert house.opened().number == 1


def test_what_cannot_be_deleted_yet_is_tried_again(house: House) -> None:
    house.opened()
    house.set_clock("24:00")
    (closing,) = house.plan().closing
    closing = house.steps.closer.withdraw(closing)
    house.clock.sleep(closing.wait_s)
    house.cloud.fails["delete"] = "Bedrock.ConflictException"
    busy = house.steps.closer.delete(closing)
    assert (busy.outcome, busy.wait_s) == ("busy", 30)
    house.clock.sleep(3 * 3600)
    with pytest.raises(ControlPlaneError):
        house.steps.closer.delete(busy)
    house.cloud.fails.clear()
    assert house.closed().closing[0].outcome == "gone"


def test_a_deletion_that_does_nothing_is_told_in_the_end(house: House) -> None:
    house.opened()
    house.set_clock("24:00")
    (closing,) = house.plan().closing
    closing = house.steps.closer.withdraw(closing)
    house.clock.sleep(closing.wait_s)
    house.cloud.delete = lambda arn: True  # type: ignore[method-assign]
    assert house.steps.closer.delete(closing).outcome == "deleting"
    house.clock.sleep(3 * 3600)
    with pytest.raises(ControlPlaneError) as failure:
        house.steps.closer.delete(closing)
    assert failure.value.name == "Capacity.NotDeleted"


def test_two_executions_that_close_the_same_both_see_it_gone(house: House) -> None:
    house.opened()
    house.set_clock("24:00")
    (one,), (other,) = house.plan().closing, house.plan().closing
    one, other = house.steps.closer.withdraw(one), house.steps.closer.withdraw(other)
    house.clock.sleep(one.wait_s)
    assert house.steps.closer.delete(one).outcome == "gone"
    gone_s = house.record().gone_s
    house.clock.sleep(60)
    assert house.steps.closer.delete(other).outcome == "gone"
    assert house.close(other).outcome == "gone", "even from the beginning"
    assert house.record().gone_s == gone_s, "it was billed no longer than it was"
    assert house.register.row("peak").draining == {}


def test_nothing_is_deleted_that_nobody_withdrew(house: House) -> None:
    house.opened()
    house.set_clock("24:00")
    (closing,) = house.plan().closing
    assert house.steps.closer.delete(closing).outcome == "not_withdrawn"
    assert house.cloud.deleted == []


# -- commitments and duplicates ----------------------------------------------------------------------------------------

COMMITTED = {"commitment": "OneMonth", "committed_until_s": at("24:00") + 20 * 86_400}


def test_a_committed_purchase_is_withdrawn_kept_and_told(house: House) -> None:
    opened = house.opened()
    house.cloud.becomes(str(opened.arn), **COMMITTED)
    house.cloud.fails["delete"] = "Bedrock.ConflictException"
    house.set_clock("24:00")
    planned = house.closed()
    assert planned.closing[0].outcome == "retained"
    assert not house.report(planned).ok
    assert "for $46.00 an hour" in house.board.notices[0][1]
    assert house.record().state == "retained"
    assert house.register.row("peak").arn == ""
    assert house.plan().closing == (), "and not again on every tick"


def test_a_committed_duplicate_does_not_close_the_window_for_the_day(house: House) -> None:
    serving = house.opened()
    house.cloud.add(purchase(7, created_s=at("19:00"), **COMMITTED))
    house.cloud.fails["delete"] = "Bedrock.ConflictException"
    (duplicate,) = house.closed().closing
    assert (duplicate.arn, duplicate.outcome) == (arn(7), "retained")
    assert house.record().state == "serving"
    assert house.plan().notes == ("it serves",)
    assert house.register.row("peak").arn == serving.arn


def test_a_duplicate_that_is_closed_leaves_the_record_of_the_other_one(house: House) -> None:
    serving = house.opened()
    house.cloud.add(purchase(7, created_s=at("17:00")))
    (duplicate,) = house.closed().closing
    assert duplicate.arn == arn(7)
    record = house.record()
    assert (record.state, record.arn, record.gone_s) == ("serving", serving.arn, 0)


# -- what somebody else did --------------------------------------------------------------------------------------------


def test_what_was_deleted_outside_the_workflow_is_noticed_and_withdrawn(house: House) -> None:
    house.opened()
    house.cloud.alive.clear()
    house.set_clock("19:00")
    assert house.plan().opening is None
    assert house.register.row("peak").arn == ""
    record = house.record()
    assert (record.state, record.reason, record.gone_s) == (
        "closed",
        "it was deleted outside the workflow",
        at("19:00"),
    )


@pytest.mark.parametrize("leaves", ["closed", "failed", "given_up"])
def test_a_closing_that_died_before_it_noted_the_end_keeps_its_state_and_reason(house: House, leaves: str) -> None:
    house.opened()
    house.register.note("peak", DAY, state=leaves, reason="why")
    house.cloud.alive.clear()
    house.set_clock("19:00")
    house.plan()
    record = house.record()
    assert (record.state, record.reason, record.gone_s) == (leaves, "why", at("19:00"))


def test_what_was_deleted_outside_the_workflow_can_be_opened_again_at_once(house: House) -> None:
    house.opened()
    house.cloud.alive.clear()
    house.set_clock("19:00")
    again = house.opening("open", live=True)
    assert (again.number, again.name) == (2, f"{NAME}-2")


def test_a_purchase_by_hand_after_ours_is_gone_is_billed_from_its_own_creation(house: House) -> None:
    house.opened()
    house.set_clock("19:00")
    house.closed("close")
    house.cloud.add(purchase(7, created_s=at("20:00")))
    house.set_clock("21:00")
    house.opening("open", live=True)
    drained_h = drain_s(POLICY.limits) / 3600
    record = house.record()
    assert (record.arn, record.gone_s) == (arn(7), 0)
    assert record.unit_hours(house.clock.now_s()) == pytest.approx(2 * (1 + drained_h + 1), abs=0.002)


def test_the_sweep_closes_what_no_window_wants_and_raises_the_alarm(house: House) -> None:
    serving = house.opened()
    for number, changes in enumerate(({"day": "2026-11-24"}, {"window": "lunch"}, {"window": "", "day": ""}), 7):
        house.cloud.add(purchase(number, **changes))
    planned = house.closed("sweep", None)
    assert {it.arn for it in planned.closing} == {arn(7), arn(8), arn(9)}
    assert set(house.cloud.alive) == {serving.arn}
    assert counted("CapacityStray") == 3
    assert house.report(planned).ok
    assert len(house.board.notices) == 1


def test_with_provisioning_off_the_sweep_closes_everything(house: House) -> None:
    house.opened()
    house.rules = replace(house.rules, mode="off")
    house.closed("sweep", None)
    assert house.cloud.alive == {}


def test_the_sweep_leaves_a_window_that_is_being_opened(house: House) -> None:
    house.set_clock("17:35")
    house.create(house.opening())
    assert house.plan("sweep", None).closing == ()


# -- money -------------------------------------------------------------------------------------------------------------


def refused(house: House) -> tuple[str, ...]:
    return house.steps.opener.guard(house.opening()).reasons


def limited(house: House, usd: str) -> None:
    provisioning = house.policy.provisioning.model_validate({"daily_usd": usd})
    house.policy = house.policy.model_copy(update={"provisioning": provisioning})


def test_the_days_other_window_counts_against_the_limit(house: House) -> None:
    house.register.note("business", DAY, state="serving", number=1, planned_nano_usd=47_500_000_000)
    limited(house, "323.49")
    assert "makes the day cost $323.50" in refused(house)[0]
    limited(house, "323.50")
    assert "makes the day cost" not in " ".join(refused(house))


def test_a_window_that_was_closed_counts_with_what_it_has_cost(house: House) -> None:
    house.opened()
    house.set_clock("19:00")
    house.closed("close")
    house.set_clock("20:00")
    limited(house, "229.99")  # an hour of before and four from now on, at $46
    judged = house.steps.opener.guard(house.opening("open", live=True))
    assert "makes the day cost $230." in judged.reasons[0]


@pytest.mark.parametrize("state", ["creating", "serving", "refused"])
def test_earlier_purchases_of_the_same_window_count_while_the_present_one_is_alive(house: House, state: str) -> None:
    house.register.note(
        "peak", DAY, state=state, number=2, units=2, unit_hour_nano_usd=23_000_000_000, unit_s=2 * 3600.0
    )
    limited(house, "321.99")  # an hour before at $46, and six from now on
    assert "makes the day cost $322.00" in refused(house)[0]
    limited(house, "322")
    assert "makes the day cost" not in " ".join(refused(house))


def test_earlier_purchases_of_the_other_window_count_too(house: House) -> None:
    house.register.note(
        "business",
        DAY,
        state="serving",
        number=2,
        units=1,
        unit_hour_nano_usd=5_000_000_000,
        unit_s=3600.0,
        planned_nano_usd=20_000_000_000,
    )
    limited(house, "300.99")
    assert "makes the day cost $301.00" in refused(house)[0]


def test_what_is_closed_and_not_gone_yet_still_counts(house: House) -> None:
    house.register.note(
        "business",
        DAY,
        state="closed",
        number=1,
        units=1,
        unit_hour_nano_usd=5_000_000_000,
        created_s=at("09:00"),
        planned_nano_usd=45_000_000_000,
    )
    limited(house, "320.99")
    assert "makes the day cost $321.00" in refused(house)[0]


def test_what_is_taken_over_is_planned_from_its_creation_with_its_own_units(house: House) -> None:
    house.cloud.add(purchase(7, units=3, created_s=at("18:00")))
    house.set_clock("20:00")
    assert house.opening().planned_nano_usd == 6 * 3 * 23_000_000_000
    assert house.record().planned_nano_usd == 6 * 3 * 23_000_000_000


def test_a_purchase_from_before_its_window_is_planned_for_the_window_alone(house: House) -> None:
    house.cloud.add(purchase(7, created_s=at("18:00", "2026-11-01"), **COMMITTED))
    assert house.opening().planned_nano_usd == 6.5 * HOUR_NANO_USD


def test_a_model_whose_end_of_life_is_the_midnight_that_ends_the_window_may_be_bought(house: House) -> None:
    house.cloud.sold = Lifecycle("ACTIVE", date(2026, 11, 26))
    assert house.steps.opener.guard(house.opening()).outcome == "buy"
    house.cloud.sold = Lifecycle("ACTIVE", date(2026, 11, 25))
    assert house.steps.opener.guard(house.opening()).outcome == "refused"


def test_a_model_that_the_policy_cannot_price_is_refused_by_name(house: House) -> None:
    house.policy = POLICY.model_copy(
        update={"models": {name: it.model_copy(update={"provisioned": None}) for name, it in POLICY.models.items()}}
    )
    judged = house.steps.opener.guard(house.opening())
    assert judged.outcome == "refused"
    assert "say models.nova-pro.provisioned" in judged.reasons[0]


def test_a_quota_that_cannot_be_read_does_not_keep_a_window_closed(house: House) -> None:
    house.cloud.fails["quota"] = "ServiceQuotas.AccessDeniedException"
    judged = house.steps.opener.guard(house.opening())
    assert judged.outcome == "buy"
    assert any("quota of model units is not known" in reason for reason in judged.reasons)


# -- what is told ------------------------------------------------------------------------------------------------------


def test_a_window_that_has_begun_and_is_not_served_raises_the_alarm(house: House) -> None:
    house.set_clock("17:59")
    house.plan()
    assert counted("CapacityNotServing") == 0
    house.set_clock("18:00")
    house.plan()
    assert counted("CapacityNotServing") == 1


def test_a_window_that_is_served_raises_none_while_something_else_is_closed(house: House) -> None:
    house.opened()
    metrics.clear_metrics()
    house.cloud.add(purchase(7, day="2026-11-24", created_s=at("17:30", "2026-11-24")))
    assert house.plan().closing
    assert counted("CapacityNotServing") == 0


def test_how_full_it_is_is_told_on_every_tick(house: House) -> None:
    opened = house.opened()
    capacity = Capacity(str(opened.arn), 2, at("24:00"), window="peak", day=DAY)
    for _ in range(5):
        house.use.note(capacity, Use(requests=1, input_tokens=20_000, output_tokens=5_000))
        house.clock.sleep(60)
    metrics.clear_metrics()
    house.plan()
    assert metrics.metric_set["CapacityUtilisation"]["Value"] == [25.0]


def test_operators_are_told_of_the_same_trouble_once(house: House) -> None:
    house.cloud.sold = None
    for _ in range(3):
        planned = house.plan()
        assert planned.opening is not None
        judged = house.steps.opener.guard(planned.opening)
        assert not house.report(planned, opening=judged.model_dump()).ok
        house.clock.sleep(300)
    assert len(house.board.notices) == 1


def test_a_notice_that_could_not_be_sent_is_sent_by_the_next_try(house: House) -> None:
    planned = house.plan()
    house.board.down = True
    failure = {"Error": "Bedrock.AccessDeniedException", "Cause": "no"}
    with pytest.raises(ControlPlaneError):
        house.report(planned, failure=failure)
    house.board.down = False
    assert not house.report(planned, failure=failure).ok
    assert len(house.board.notices) == 1


def test_a_report_does_not_open_a_day_that_was_closed(house: House) -> None:
    planned = house.plan()
    assert planned.opening is not None
    house.plan("close")
    house.report(planned, opening=planned.opening.turned("refused", "too dear").model_dump())
    assert house.record().state == "closed"


def test_what_is_billed_is_told_even_when_its_window_is_unknown(house: House) -> None:
    house.cloud.add(purchase(7, window="lunch", name="manga-lunch"))
    house.report(house.plan(), failure={"Error": "X", "Cause": ""})
    assert "manga-lunch (2 units, InService)" in house.board.notices[0][1]


def test_a_report_goes_out_while_aws_cannot_be_asked(house: House) -> None:
    planned = house.plan()
    house.cloud.fails["owned"] = "Bedrock.SdkClientException"
    house.report(planned, failure={"Error": "X", "Cause": ""})
    assert "Billed now: not known" in house.board.notices[0][1]
