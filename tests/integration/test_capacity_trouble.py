"""The workflow when something goes wrong: nothing is left over, and records say how it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mangaassist.capacity.rules import drain_s
from mangaassist.capacity.workflow import Closing, Opening
from mangaassist.errors import ControlPlaneError
from mangaassist.observability import emitter
from mangaassist.routing import policy
from tests.unit.purchases import (
    COMMITTED,
    DAY,
    NAME,
    POLICY,
    arn,
    at,
    purchase,
)

if TYPE_CHECKING:
    from tests.integration.capacity_house import House


def counted(name: str) -> float:
    """What a counter has come to in this test."""
    values: list[float] = emitter.metric_set.get(name, {}).get("Value", [])
    return sum(values)


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


def test_with_an_invalid_policy_nothing_is_bought_and_what_is_over_goes_all_the_same(house: House) -> None:
    house.set_clock("17:35")
    house.create(house.opening())
    house.is_policy_sound = False
    for action in ("keep", "open"):
        planned = house.plan(action, live=True)
        assert (planned.opening, planned.closing) == (None, ())
        assert "policy is invalid" in planned.notes[0]
    house.set_clock("24:00")
    house.closed("keep")
    assert house.cloud.alive == {}


def test_the_sweep_closes_by_the_records_when_the_policy_is_invalid(house: House) -> None:
    house.set_clock("17:35")
    house.create(house.opening())
    house.is_policy_sound = False
    assert house.plan("sweep", None).closing == ()
    house.set_clock("24:00")
    assert [it.why for it in house.plan("sweep", None).closing] == ["its window has ended"]


def test_what_aws_does_not_know_after_minutes_is_given_up(house: House) -> None:
    house.set_clock("17:35")
    opening = house.create(house.opening())
    house.cloud.alive.clear()
    assert house.steps.opener.inspect(opening).outcome == "creating"
    house.clock.sleep(301)
    assert house.steps.opener.inspect(opening).outcome == "given_up"


def test_closing_again_in_the_midst_of_a_purchase_that_reopened_the_day_is_the_last_word(house: House) -> None:
    house.set_clock("18:05")
    house.plan("close")
    reopened = house.opening("open", live=True)
    seen = house.register.record("peak", DAY)
    house.plan("close")
    assert seen.state == house.register.record("peak", DAY).state == "closed"
    assert not house.register.note_after(seen, state="creating")
    assert house.steps.opener.create(reopened).outcome == "overtaken"
    assert house.cloud.alive == {}


def test_looking_only_disturbs_nobody(house: House) -> None:
    house.set_clock("17:35")
    opening = house.opening()
    rehearsed = house.plan("open").opening
    assert rehearsed is not None
    assert (rehearsed.mode, rehearsed.fence) == ("dry-run", 0)
    assert house.create(opening).outcome == "creating"


def test_what_was_published_and_does_not_serve_any_more_is_looked_at(house: House) -> None:
    opened = house.opened()
    house.cloud.becomes(str(opened.arn), status="Failed", failure="it broke")
    again = house.opening()
    assert again.arn == opened.arn
    assert house.steps.opener.inspect(again).outcome == "failed"


def test_a_running_purchase_keeps_its_own_model_and_price_when_the_policy_changes(house: House) -> None:
    opened = house.opened()
    document = json.loads(policy.canonical(house.policy))
    document["models"]["nova-pro"]["provisioned"] |= {
        "id": "amazon.other-v1:0:24k",
        "unit_hour_usd": "1",
        "committed_unit_hour_usd": {},
    }
    document["windows"][1]["end"] = "23:00"
    house.policy = policy.load(json.dumps(document))
    again = house.opening()
    assert (again.arn, again.model, again.unit_hour_nano_usd) == (opened.arn, opened.model, opened.unit_hour_nano_usd)


def test_a_closing_that_another_execution_is_at_is_not_begun_again(house: House) -> None:
    opened = house.opened()
    house.set_clock("24:00")
    (closing,) = house.plan().closing
    house.steps.closer.withdraw(closing)
    assert house.plan().closing == ()
    house.clock.sleep(600)
    assert [it.arn for it in house.plan().closing] == [opened.arn], "its execution must have died"


def test_a_rehearsal_says_why_nothing_would_be_bought_now(house: House) -> None:
    assert house.plan("plan").opening is not None
    house.set_clock("23:45")
    assert house.plan("plan").notes == ("the window ends too soon to be worth it",)
    house.set_clock("18:05")
    house.opened()
    assert (house.plan("plan").opening, house.plan("plan").notes) == (None, ("it serves",))
    assert house.plan("open").notes == ("it serves",)
    house.closed("close")
    assert "open it by hand" in house.plan("plan").notes[0]
    assert house.plan("open").opening is not None


def test_the_sweep_leaves_what_has_just_ended_to_its_own_tick(house: House) -> None:
    house.opened()
    house.set_clock("24:10")
    assert house.plan("sweep", None).closing == ()
    house.set_clock("24:16")
    assert len(house.plan("sweep", None).closing) == 1


def test_what_was_closed_by_hand_says_so_when_it_is_gone(house: House) -> None:
    house.opened()
    house.closed("close")
    assert house.register.record("peak", DAY).reason == "closed by hand"
