"""What the workflow may spend in a day, and what operators are told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from mangaassist.capacity.control_plane import Lifecycle
from mangaassist.capacity.use import Use
from mangaassist.errors import ControlPlaneError
from mangaassist.observability import emitter, metrics
from mangaassist.routing.policy import Provisioning
from mangaassist.routing.situation import Capacity
from tests.unit.purchases import (
    COMMITTED,
    DAY,
    HOUR_NANO_USD,
    POLICY,
    at,
    purchase,
)

if TYPE_CHECKING:
    from tests.integration.capacity_house import House


def counted(name: str) -> float:
    """What a counter has come to in this test."""
    values: list[float] = emitter.metric_set.get(name, {}).get("Value", [])
    return sum(values)


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


def test_how_full_it_is_is_told_of_its_window_on_every_tick(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    opened = house.opened()
    capacity = Capacity(str(opened.arn), 2, at("24:00"), window="peak", day=DAY)
    for _ in range(5):
        house.use.note(capacity, Use(requests=1, input_tokens=20_000, output_tokens=5_000))
        house.clock.sleep(60)
    house.rules = replace(house.rules, mode="dry-run")  # what was opened by hand is measured too
    house.plan()
    (told,) = (json.loads(it) for it in capsys.readouterr().out.splitlines() if "CapacityUtilisation" in it)
    assert (told["window"], told["CapacityUtilisation"]) == ("peak", [25.0])


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
    assert "manga-lunch (2 model units, InService)" in house.board.notices[0][1]


def test_a_report_goes_out_while_aws_cannot_be_asked(house: House) -> None:
    planned = house.plan()
    house.cloud.fails["owned"] = "Bedrock.SdkClientException"
    house.report(planned, failure={"Error": "X", "Cause": ""})
    assert "Billed now: not known" in house.board.notices[0][1]


def test_a_dry_run_counts_what_the_other_window_would_have_cost(house: House) -> None:
    house.rules = replace(house.rules, mode="dry-run")
    house.policy = house.policy.model_copy(update={"provisioning": Provisioning(daily_usd=Decimal(310))})
    house.set_clock("08:30")
    planned = house.plan(window="business")
    assert planned.opening is not None
    judged = house.steps.opener.guard(planned.opening)
    assert judged.outcome == "dry_run"
    house.report(planned, opening=judged.model_dump())
    house.set_clock("17:30")
    assert house.steps.opener.guard(house.opening()).outcome == "refused"


def test_a_commitment_of_another_day_counts_for_this_one(house: House) -> None:
    house.cloud.add(purchase(9, window="business", day="2026-11-20", **COMMITTED))
    opening = house.opening()
    assert house.steps.opener.guard(opening).outcome == "refused", "48 unit-hours at $23 are beyond the day's limit"
