"""Promises of scaling on the JST day: environments kept warm by the clock, and limits that go together."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from mangaassist.routing import policy
from tests.infrastructure.deployment import Deployment
from tools import artifact, quotas, sizing
from tools.sizing import Limits, Traffic

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template

CURRENT = policy.preset("current")
TOKYO = ZoneInfo("Asia/Tokyo")
MIDNIGHT = datetime(2026, 11, 26, tzinfo=TOKYO)
WARM = {"ColdStart": "provisioned"}
CANARY = timedelta(minutes=5)


def actions(template: Template, **chosen: str) -> list[tuple[datetime, int]]:
    """When which number of environments is asked for, over a day that begins at midnight."""
    target = Deployment(template, WARM | chosen).resources["MessageConcurrency"]
    found = []
    for action in target["ScheduledActions"]:
        assert action["Timezone"] == "Asia/Tokyo"
        capacity = action["ScalableTargetAction"]
        assert capacity["MinCapacity"] == capacity["MaxCapacity"], "a fixed number, whatever was there before"
        for moment in CronSim(_unix(action["Schedule"]), MIDNIGHT - timedelta(minutes=1)):
            if moment >= MIDNIGHT + timedelta(days=1):
                break
            found.append((moment, int(capacity["MinCapacity"])))
    return sorted(found)


def _unix(schedule: str) -> str:
    """AWS's six fields as cron's five; its `?` and its year say nothing here."""
    minutes, hours, day, month, weekday, year = schedule.removeprefix("cron(").removesuffix(")").split()
    assert (day, month, weekday, year) == ("*", "*", "?", "*")
    return f"{minutes} {hours} * * *" if not minutes.startswith("30/") else f"30-59/{minutes[3:]} {hours} * * *"


def test_fifty_environments_are_warm_in_the_evening_and_ten_at_all_other_times(template: Template) -> None:
    evening = (MIDNIGHT.replace(hour=17, minute=30), MIDNIGHT + timedelta(days=1))
    for moment, environments in actions(template):
        assert environments == (50 if evening[0] <= moment < evening[1] else 10), moment
    assert {environments for _, environments in actions(template)} == {10, 50}


def test_they_are_warm_before_the_peak_window_begins(template: Template) -> None:
    (peak,) = (window for window in CURRENT.windows if window.name == "peak")
    begins = MIDNIGHT.replace(hour=int(peak.start[:2]), minute=int(peak.start[3:]))
    first = next(moment for moment, environments in actions(template) if environments == 50)
    assert timedelta(minutes=15) <= begins - first <= timedelta(hours=1)


def test_what_a_canary_makes_lambda_refuse_is_asked_for_again_after_it(template: Template) -> None:
    moments = [moment for moment, _ in actions(template)]
    gaps = [later - sooner for sooner, later in pairwise(moments)]
    assert max(gaps) <= timedelta(minutes=40)  # between 16:50 and 17:30 the number stays
    assert min(gaps) > CANARY
    evening = [moment for moment in moments if moment >= MIDNIGHT.replace(hour=17, minute=30)]
    assert max(b - a for a, b in pairwise(evening)) == timedelta(minutes=10)


def test_the_alias_keeps_what_the_clock_gave_it_when_a_version_is_deployed(template: Template) -> None:
    # with the number in the template, CloudFormation would set it back to it
    assert "ProvisionedConcurrencyConfig" not in template.of_type("AWS::Lambda::Alias")["MessageFunctionAliaslive"]
    target = template.of_type("AWS::ApplicationAutoScaling::ScalableTarget")["MessageConcurrency"]
    alias = {"Fn::Split": [":", {"Ref": "MessageFunctionAliaslive"}]}
    assert target["ResourceId"] == {
        "Fn::Join": [":", ["function", {"Fn::Select": [6, alias]}, {"Fn::Select": [7, alias]}]]
    }
    assert (target["ServiceNamespace"], target["ScalableDimension"]) == (
        "lambda",
        "lambda:function:ProvisionedConcurrency",
    )


@pytest.mark.parametrize(("env", "messages"), [("prod", 1_000_000), ("staging", 100_000), ("dev", 100_000)])
def test_the_limits_of_every_environment_go_together(env: str, messages: int) -> None:
    parameters = quotas.defaults() | artifact.deployed_with(env, ())
    traffic = Traffic(messages)
    busy = sizing.load(traffic, CURRENT)
    assert list(sizing.contradictions(Limits.of(parameters), busy, traffic)) == []


def test_the_documented_way_to_ten_million_goes_together() -> None:
    documented = {
        "ReservedConcurrency": "5000",
        "ThrottleRate": "1000",
        "ThrottleBurst": "1000",
        "ProvisionedConcurrency": "100",
        "PeakProvisionedConcurrency": "500",
    }
    text = (artifact.ROOT / "docs" / "operations.md").read_text("utf-8")
    for name, value in documented.items():
        assert f"`{name}={value}`" in text
    traffic = Traffic(10_000_000)
    limits = Limits.of(quotas.defaults() | WARM | documented)
    assert list(sizing.contradictions(limits, sizing.load(traffic, CURRENT), traffic)) == []


def test_prods_fifty_are_what_the_busiest_hour_of_a_million_keeps_busy() -> None:
    prod = Limits.of(quotas.defaults() | artifact.deployed_with("prod", ()))
    busy = sizing.load(Traffic(1_000_000), CURRENT)
    assert prod.provisioned_peak == pytest.approx(busy.turns_at_once, rel=0.1)
