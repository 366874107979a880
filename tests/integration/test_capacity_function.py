"""The capacity function as Step Functions calls it: typed input, one step, failures by AWS's names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import capacity
from mangaassist import bootstrap
from mangaassist.capacity.ports import Ports
from mangaassist.capacity.register import Register
from mangaassist.capacity.steps import Steps
from mangaassist.capacity.utilisation import Utilisation
from mangaassist.errors import StoreUnavailable, WorkflowInputInvalid
from mangaassist.observability import metrics
from tests.integration import environment, tables
from tests.integration.tables import SITUATION
from tests.unit.purchases import POLICY, RULES, FakeBoard, FakeControlPlane, arn, at, closing, opening

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door
    from tests.unit.fakes import FakeClock

KEEP = {"action": "keep", "window": "peak"}
SECRET = "the words of AWS"


@pytest.fixture
def cloud(clock: FakeClock) -> FakeControlPlane:
    clock.elapsed_s += at("18:00") - clock.now_s()
    return FakeControlPlane(clock)


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


@pytest.fixture(autouse=True)
def deployed(
    monkeypatch: pytest.MonkeyPatch,
    dynamodb: DynamoDBClient,
    clock: FakeClock,
    cloud: FakeControlPlane,
    board: FakeBoard,
) -> Steps:
    """The function's application over doubles; everything above `bootstrap.capacity` is the real one."""
    environment.enter(monkeypatch)
    metrics.clear_metrics()
    steps = Steps(
        Ports(
            control_plane=cloud.port(),
            register=Register(dynamodb, SITUATION, clock.now_s),
            utilisation=Utilisation(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, now_s=clock.now_s),
            board=board,
            read_policy=lambda: POLICY,
            is_policy_sound=lambda: True,
            rules=RULES,
            now_s=clock.now_s,
        )
    )
    monkeypatch.setattr(bootstrap, "capacity", lambda: steps)
    return steps


def take(step: str, **document: Any) -> dict[str, Any]:
    """Call the function with what a state hands it, and give what the next state gets of it."""
    event: dict[str, Any] = json.loads(json.dumps({"step": step, **document}))
    answer: dict[str, Any] = json.loads(json.dumps(capacity.handler(event, environment.Context())))
    return answer


def test_a_window_goes_through_all_its_steps_as_json(cloud: FakeControlPlane, clock: FakeClock) -> None:
    plan = take("plan", request=KEEP)
    assert (plan["request"]["action"], plan["closing"], plan["opening"]["arn"]) == ("keep", [], None)
    bought = take("guard", opening=plan["opening"])
    assert bought["outcome"] == "buy"
    created = take("create", opening=bought)
    assert (created["outcome"], created["wait_s"], created["arn"]) == ("creating", 60, arn(1))
    assert take("inspect", opening=created)["outcome"] == "creating"
    cloud.becomes(arn(1), status="InService")
    seen = take("inspect", opening=created)
    assert seen["outcome"] == "in_service"
    serving = take("publish", opening=seen)
    assert serving["outcome"] == "serving"
    assert take("report", ended=plan | {"opening": serving})["ok"]

    clock.elapsed_s += at("24:00") - clock.now_s()
    (closing_,) = take("plan", request=KEEP)["closing"]
    draining = take("withdraw", closing=closing_)
    assert draining["wait_s"] > 30
    clock.sleep(draining["wait_s"])
    gone = take("delete", closing=draining)
    assert gone["outcome"] == "gone"
    report = take("report", ended={"request": KEEP, "opening": None, "closing": [gone], "notes": []})
    assert report == {"ok": True, "summary": f"{gone['name']} (its window has ended) is gone"}
    assert take("sweep", request={"action": "sweep"})["notes"] == ["nothing is alive outside its window"]


def test_a_plan_answers_every_question_that_the_states_ask_of_it() -> None:
    assert {"request", "opening", "closing", "notes"} <= set(take("plan", request=KEEP))


def test_a_failure_is_read_as_step_functions_catches_it(board: FakeBoard) -> None:
    cause = json.dumps({"errorMessage": "no units", "errorType": "X", "stackTrace": ["a", "b"]})
    failure = {"Error": "Bedrock.ServiceQuotaExceededException", "Cause": cause}
    report = take("report", ended={"request": KEEP, "failure": failure})
    assert report == {"ok": False, "summary": "keep failed: Bedrock.ServiceQuotaExceededException no units"}
    assert len(board.notices) == 1


def test_a_closing_that_failed_comes_with_its_failure() -> None:
    failed = closing(outcome="draining").model_dump(mode="json") | {"failure": {"Error": "States.Timeout"}}
    report = take("report", ended={"request": KEEP, "closing": [failed]})
    assert not report["ok"]
    assert "is draining: States.Timeout" in report["summary"]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({}, "step"),
        ({"step": "dance"}, "'plan', 'sweep', 'guard', 'create', 'inspect', 'publish', 'withdraw', 'delete', 'report'"),
        ({"step": "plan"}, "request: Field required"),
        ({"step": "plan", "request": {"action": "buy"}}, "request.action: Input should be 'keep'"),
        ({"step": "plan", "request": KEEP | {"units": 99}}, "request.units: Extra inputs"),
        ({"step": "plan", "request": KEEP | {"live": "perhaps"}}, "request.live"),
        ({"step": "plan", "request": {"action": "open", "window": "lunch"}}, "window lunch: the policy in force has"),
        ({"step": "guard", "opening": {}}, "opening.window: Field required"),
        ({"step": "create", "opening": opening().model_dump() | {"number": 0}}, "opening.number"),
        ({"step": "withdraw", "closing": closing().model_dump() | {"arn": None}}, "closing.arn"),
        ({"step": "withdraw", "closing": closing().model_dump() | {"leaves": "open"}}, "closing.leaves"),
        ({"step": "report", "ended": {}}, "ended.request: Field required"),
        ({"step": "plan", "opening": opening().model_dump()}, "opening: Extra inputs"),
    ],
)
def test_nonsense_is_refused_by_the_field_before_anything_is_done(
    event: dict[str, Any], told: str, cloud: FakeControlPlane
) -> None:
    with pytest.raises(WorkflowInputInvalid) as refusal:
        capacity.handler(event, environment.Context())
    assert told in str(refusal.value)
    assert type(refusal.value).__name__ == "WorkflowInputInvalid", "the state machine catches it by this name"
    assert cloud.bought == []


@pytest.mark.parametrize(
    "name",
    ["Bedrock.ThrottlingException", "Bedrock.ServiceQuotaExceededException", "Bedrock.SdkClientException"],
)
def test_step_functions_sees_a_failure_under_awss_name(
    name: str, cloud: FakeControlPlane, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.fails["owned"] = name
    with pytest.raises(Exception, match="owned failed") as failure:
        take("plan", request=KEEP)
    assert type(failure.value).__name__ == name, "Lambda reports the class's name as the error's type"
    assert "owned failed" not in caplog.text + capsys.readouterr().out


def test_step_functions_sees_an_outage_of_the_table_under_our_name(door: Door) -> None:
    door.before = tables.out_of_reach
    with pytest.raises(StoreUnavailable) as failure:
        take("plan", request=KEEP)
    assert type(failure.value).__name__ == "StoreUnavailable"


@pytest.mark.parametrize("is_failing", [False, True])
def test_every_step_is_counted_even_when_it_fails(
    is_failing: bool, cloud: FakeControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    if is_failing:
        cloud.fails["owned"] = "Bedrock.ThrottlingException"
        with pytest.raises(Exception, match="owned failed"):
            take("plan", request=KEEP)
    else:
        take("plan", request=KEEP)
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line["CapacitySteps"] for line in emitted if "window" not in line] == [[1.0]]


def test_an_input_is_not_logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    take("guard", opening=opening(reasons=(SECRET,)).model_dump())
    assert SECRET not in caplog.text + capsys.readouterr().out


def test_the_root_puts_the_function_together_for_its_region_and_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    environment.enter(monkeypatch, CAPACITY_REGION="us-west-2", CAPACITY_OWNER="shop", CAPACITY_MODE="live")
    bootstrap.capacity.cache_clear()
    bootstrap.utilisation.cache_clear()
    try:
        steps = bootstrap.capacity()
        rules = steps.planner._ports.rules
        assert (rules.owner, rules.region, rules.mode) == ("shop", "us-west-2", "live")
        assert steps.planner._ports.control_plane._bedrock.meta.region_name == "us-west-2"
        assert steps.planner._ports.control_plane._quotas.meta.region_name == "us-west-2"
        assert rules.lead.total_seconds() == 1800
    finally:
        bootstrap.capacity.cache_clear()
        bootstrap.utilisation.cache_clear()
