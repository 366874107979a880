"""The daily look at the models, in the twin: the real function on its schedule, against emulated Bedrock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mangaassist.stores import from_item
from tests.e2e.conftest import until
from tests.e2e.running import Running, running
from tools import models

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    """One that keeps its schedule."""
    with running("--pace", "0.2", daily=True) as twin:
        yield twin


@pytest.fixture
def twin_at_night(twin: Running) -> Iterator[Running]:
    twin.put("clock", {"now": "2026-11-27T05:00:00+09:00"})
    yield twin
    twin.delete("faults")


def look(twin: Running) -> dict[str, Any]:
    answer = twin.client("lambda").invoke(FunctionName="LifecycleFunction", Payload=b"{}")
    assert "FunctionError" not in answer
    summary: dict[str, Any] = json.loads(answer["Payload"].read())
    return summary


def kept(twin: Running) -> dict[str, dict[str, Any]]:
    """What the situation table tells of each model."""
    found = twin.client("dynamodb").query(
        TableName="SituationTable",
        KeyConditionExpression="pk = :lifecycle",
        ExpressionAttributeValues={":lifecycle": {"S": "LIFECYCLE"}},
    )
    return {row["model"]: row for row in map(from_item, found["Items"])}


def test_every_model_is_found_alive_and_the_probes_are_in_the_ledger(twin_at_night: Running) -> None:
    assert look(twin_at_night) == {"models": 4, "probes_failed": 0, "end_of_life_days": 314}
    found = kept(twin_at_night)
    assert {row["status"] for row in found.values()} == {"ACTIVE"}
    assert found["haiku-5-5"]["ends_on"] == "2027-10-07"
    assert found["haiku-5-5"]["probes"] == {"ondemand-haiku": "answered"}
    lines = [it for it in twin_at_night.get("turns", limit=1000)["turns"] if it["reason"] == "probe"]
    assert {line["attempts"][0]["target"] for line in lines} == {"ondemand-haiku", "ondemand-sonnet"}
    assert all(0 < line["attempts"][0]["cost_nano_usd"] < 1_000_000 for line in lines)


def test_an_operator_reads_what_was_found(twin_at_night: Running) -> None:
    look(twin_at_night)
    shown = CliRunner().invoke(models.main, ["--twin", twin_at_night.page])
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.output.splitlines() if line.strip().startswith("haiku-5-5")]
    for fact in ("ap-northeast-1", "ACTIVE", "2027-10-07", "314", "ondemand-haiku: answered", "2026-11-27"):
        assert fact in line
    assert "not named" in shown.output


def test_a_model_that_does_not_answer_is_told(twin_at_night: Running) -> None:
    twin_at_night.put("faults", {"ondemand-haiku": {"fault": "denied"}})
    assert look(twin_at_night)["probes_failed"] == 1
    assert kept(twin_at_night)["haiku-5-5"]["probes"] == {"ondemand-haiku": "denied"}


def test_the_look_is_taken_when_the_clock_passes_half_past_six_in_japan(twin_at_night: Running) -> None:
    twin_at_night.put("clock", {"now": "2026-11-28T06:29:00+09:00"})
    before = kept(twin_at_night)
    twin_at_night.put("clock", {"now": "2026-11-28T06:31:00+09:00"})
    until(lambda: len(kept(twin_at_night)) == 4 and kept(twin_at_night) != before, seconds=20)
    until(lambda: {row["checked_at"][:10] for row in kept(twin_at_night).values()} == {"2026-11-28"}, seconds=20)
