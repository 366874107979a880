"""The workflow's steps: what is wanted is bought once, and what is closed stays closed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mangaassist.capacity.rules import drain_s
from mangaassist.capacity.workflow import Plan, Request
from mangaassist.errors import StoreUnavailable, WorkflowInputInvalid
from tests.integration import tables
from tests.integration.tables import SITUATION
from tests.unit.purchases import (
    DAY,
    HOUR_NANO_USD,
    NAME,
    POLICY,
    arn,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.capacity_house import House


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
