"""The daily look's adapters and handler: Bedrock's list on the wire, the findings' rows, and the metrics."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

import lifecycle
from mangaassist import bootstrap
from mangaassist.clock import Clock
from mangaassist.errors import ControlPlaneError, StoreUnavailable
from mangaassist.observability import metrics
from mangaassist.routing import policy
from mangaassist.routing.lifecycle.board import KEPT_DAYS, FindingBoard
from mangaassist.routing.lifecycle.findings import Finding, Life
from mangaassist.routing.lifecycle.guard import LifecycleGuard
from mangaassist.routing.lifecycle.offers import Offers
from mangaassist.routing.situation import Situation
from mangaassist.routing.store import View
from tests.integration import environment, tables
from tests.integration.tables import SITUATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.routing.policy import Policy, Target
    from tests.integration.tables import Door
    from tests.unit.fakes import FakeClock

HAIKU = "anthropic.claude-haiku-5-5"
FOUND = Finding(
    "haiku-5-5", f"jp.{HAIKU}", "ap-northeast-1", "ACTIVE", date(2027, 10, 7), 318, {"ondemand-haiku": "cut"}
)


# -- Bedrock's list ----------------------------------------------------------------------------------------------------


@pytest.fixture
def wire() -> Iterator[tuple[Offers, Stubber]]:
    session = boto3.Session(region_name="ap-northeast-1", aws_access_key_id="x", aws_secret_access_key="x")
    client = session.client("bedrock", config=Config(retries={"total_max_attempts": 1}))
    with Stubber(client) as stub:
        yield Offers(lambda region: client), stub
        stub.assert_no_pending_responses()


def summary(**more: Any) -> dict[str, Any]:
    return {"modelArn": f"arn:aws:bedrock:ap-northeast-1::foundation-model/{HAIKU}", "modelId": HAIKU, **more}


@pytest.mark.parametrize(
    ("told", "life"),
    [
        ({"modelLifecycle": {"status": "ACTIVE"}}, Life("ACTIVE")),
        (
            {"modelLifecycle": {"status": "LEGACY", "endOfLifeTime": datetime(2027, 4, 8, tzinfo=UTC)}},
            Life("LEGACY", date(2027, 4, 8)),
        ),
        (
            {"modelLifecycle": {"status": "LEGACY", "endOfLifeTime": datetime(2027, 4, 8, 15, tzinfo=UTC)}},
            Life("LEGACY", date(2027, 4, 9)),  # in Japan it is the next day
        ),
        ({}, Life("ACTIVE")),
    ],
)
def test_a_life_is_read_as_bedrock_tells_it(wire: tuple[Offers, Stubber], told: dict[str, Any], life: Life) -> None:
    offers, stub = wire
    stub.add_response("list_foundation_models", {"modelSummaries": [summary(**told)]}, {})
    assert offers.of("ap-northeast-1") == {HAIKU: life}


def test_a_control_plane_that_refuses_is_told_by_its_name(wire: tuple[Offers, Stubber]) -> None:
    offers, stub = wire
    stub.add_client_error("list_foundation_models", "AccessDeniedException", http_status_code=403)
    with pytest.raises(ControlPlaneError) as refusal:
        offers.of("ap-northeast-1")
    assert refusal.value.name == "Bedrock.AccessDeniedException"


# -- the rows ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def board(dynamodb: DynamoDBClient, clock: FakeClock) -> FindingBoard:
    return FindingBoard(dynamodb, SITUATION, clock.now_s)


def test_a_finding_is_kept_until_the_next_and_for_a_week(
    board: FindingBoard, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    board.note(FOUND)
    board.note(FOUND)
    ((found, checked_at),) = board.read()
    assert (found, checked_at[:16]) == (FOUND, "2026-11-23T03:00")
    (row,) = tables.everything(dynamodb, SITUATION)
    assert row["pk"] != "NOW", "no turn reads it"
    assert row["expires_at"] == int(clock.now_s()) + KEPT_DAYS * 86_400
    clock.sleep(KEPT_DAYS * 86_400 + 1)
    assert board.read() == []


def test_a_table_out_of_reach_is_told(board: FindingBoard, door: Door) -> None:
    door.close()
    with pytest.raises(StoreUnavailable):
        board.note(FOUND)
    with pytest.raises(StoreUnavailable):
        board.read()


# -- the function ------------------------------------------------------------------------------------------------------


class Bedrock:
    """Offers and a prober with these facts."""

    def __init__(self, haiku: Life, outcome: str) -> None:
        self._haiku = haiku
        self._outcome = outcome
        self.probed: list[str] = []

    def of(self, region: str) -> dict[str, Life]:
        names = ("anthropic.claude-sonnet-4-6", "amazon.nova-pro-v1:0", "amazon.nova-2-lite-v1:0")
        return {name: Life("ACTIVE") for name in names} | {HAIKU: self._haiku}

    def probe(self, target: Target, _: Policy) -> str:
        self.probed.append(target.name)
        return self._outcome


class Known:
    """A situation in which the default policy is in force."""

    def view(self) -> View:
        return View(Situation(), policy.preset("current"), 0)


def call(monkeypatch: pytest.MonkeyPatch, board: FindingBoard, clock: FakeClock, bedrock: Bedrock) -> dict[str, Any]:
    """Run the handler over doubles; everything above `bootstrap.lifecycle` is the real one."""
    environment.enter(monkeypatch)
    metrics.clear_metrics()
    guard = LifecycleGuard(
        situation=cast("Any", Known()),
        offers=cast("Any", bedrock),
        prober=cast("Any", bedrock),
        board=board,
        clock=Clock(clock.now_s, clock.monotonic, clock.sleep),
    )
    monkeypatch.setattr(bootstrap, "lifecycle", lambda: guard)
    event = json.loads((environment.EVENTS / "lifecycle-daily.json").read_text())
    answer: dict[str, Any] = json.loads(json.dumps(lifecycle.handler(event, cast("Any", environment.Context()))))
    return answer


def emitted(out: str) -> dict[str, Any]:
    (document,) = [json.loads(line) for line in out.splitlines() if '"_aws"' in line]
    assert document["service"] == "mangaassist"
    return dict(document)


def test_a_quiet_day_is_kept_counted_and_alarms_nobody(
    monkeypatch: pytest.MonkeyPatch, board: FindingBoard, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    bedrock = Bedrock(Life("ACTIVE"), "answered")
    assert call(monkeypatch, board, clock, bedrock) == {"models": 4, "probes_failed": 0, "end_of_life_days": 318}
    assert bedrock.probed == ["ondemand-sonnet", "ondemand-haiku"]
    told = emitted(capsys.readouterr().out)
    assert (told["ModelProbeFailed"], told["ModelEndOfLifeDays"]) == ([0], [318])
    assert {found.model for found, _ in board.read()} == {"sonnet-4-6", "haiku-5-5", "nova-pro", "nova-2-lite"}


def test_a_model_near_its_end_that_does_not_answer_is_counted_and_warned_of(
    monkeypatch: pytest.MonkeyPatch,
    board: FindingBoard,
    clock: FakeClock,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bedrock = Bedrock(Life("LEGACY", date(2026, 12, 24)), "retired")
    assert call(monkeypatch, board, clock, bedrock)["probes_failed"] == 2
    told = emitted(capsys.readouterr().out)
    assert (told["ModelProbeFailed"], told["ModelEndOfLifeDays"]) == ([2], [31])
    warned = {vars(record)["model"] for record in caplog.records if record.levelname == "WARNING"}
    assert warned == {"sonnet-4-6", "haiku-5-5"}
