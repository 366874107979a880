"""A small workflow in the twin, by real boto3 clients: invoked, retried, caught, scheduled and waiting by its clock."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.e2e.running import ROOT, Running, running
from tests.integration.twin_calls import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORKFLOW = ROOT / "tests" / "data" / "workflow"
MACHINE = "arn:aws:states:ap-northeast-1:123456789012:stateMachine:Machine"
WORK = "arn:aws:lambda:ap-northeast-1:123456789012:function:Work"
TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:Topic"
MONDAY = "2026-11-23T09:00:00+09:00"


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--template", str(WORKFLOW / "template.yaml")) as twin:
        yield twin


@pytest.fixture(scope="module")
def states(twin: Running) -> Any:
    return twin.client("stepfunctions", config=Config(read_timeout=30))  # the first one waits for the interpreter


@pytest.fixture(autouse=True)
def _nothing_left(twin: Running) -> Iterator[None]:
    yield
    twin.delete("faults")


def until[Found](look: Callable[[], Found], seconds: float = 20) -> Found:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.03)
    return found


def start(states: Any, **given: Any) -> str:
    started = states.start_execution(stateMachineArn=MACHINE, name=str(uuid.uuid4()), input=json.dumps(given))
    return str(started["executionArn"])


def row(twin: Running, execution: str) -> dict[str, Any]:
    return next(one for one in twin.get("state")["executions"] if one["name"] == execution.split(":")[-1])


def ended(twin: Running, execution: str) -> dict[str, Any]:
    until(lambda: row(twin, execution)["status"] != "RUNNING")
    return row(twin, execution)


def in_state(twin: Running, execution: str, name: str) -> None:
    until(lambda: row(twin, execution)["state"] == name)


def invoke(twin: Running, payload: Any, function: str = "Work", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = twin.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(payload).encode(), **more
    )
    return answer


def scheduled(twin: Running, name: str) -> list[dict[str, Any]]:
    return [one for one in twin.get("state")["executions"] if one["name"].startswith(name)]


@pytest.mark.parametrize("function", ["Work", "Work:live", WORK, f"{WORK}:live"])
def test_a_function_is_invoked_by_every_name_it_has(twin: Running, function: str) -> None:
    answer = invoke(twin, {"do": "answer", "say": "こんにちは"}, function)
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert json.load(answer["Payload"]) == {"said": "こんにちは"}


def test_a_function_that_fails_says_its_errors_class(twin: Running) -> None:
    answer = invoke(twin, {"do": "break"})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.load(answer["Payload"]) == {"errorType": "Broken", "errorMessage": "壊れました", "stackTrace": []}


def test_a_function_that_takes_too_long_is_given_up(twin: Running) -> None:
    told = json.load(invoke(twin, {"do": "sleep"})["Payload"])
    assert told["errorType"] == "Sandbox.Timedout"
    assert "timed out after 2.00 seconds" in told["errorMessage"]


def test_an_answer_that_is_not_json_is_a_failure(twin: Running) -> None:
    answer = invoke(twin, {"do": "nonsense"})
    assert answer["FunctionError"] == "Unhandled"
    assert json.load(answer["Payload"])["errorType"] == "Runtime.MarshalError"


def test_nobody_waits_for_an_event(twin: Running) -> None:
    assert invoke(twin, {"do": "sleep"}, InvocationType="Event")["StatusCode"] == 202


def test_what_cannot_be_invoked_is_refused(twin: Running) -> None:
    missing = (404, "ResourceNotFoundException")
    assert refused(lambda: invoke(twin, {}, "Other")) == missing
    elsewhere = twin.client("lambda", region="us-east-1")
    assert refused(lambda: elsewhere.invoke(FunctionName="Work", Payload=b"{}")) == missing
    malformed = {"FunctionName": "Work", "Payload": b"{"}
    assert refused(lambda: twin.client("lambda").invoke(**malformed)) == (400, "InvalidRequestContentException")


def test_lambda_and_sns_fail_under_their_own_keys(twin: Running) -> None:
    twin.put("faults", {"lambda": {"fault": "throttle", "count": 1}, "sns": {"fault": "throttle", "count": 1}})
    assert refused(lambda: invoke(twin, {"do": "answer"})) == (429, "TooManyRequestsException")
    topics = twin.client("sns", config=Config(read_timeout=30))
    assert refused(lambda: topics.publish(TopicArn=TOPIC, Message="lost")) == (400, "Throttling")
    twin.put("faults", {"sns": {"fault": "cut", "operation": "Publish", "count": 1}})
    assert topics.list_topics()["Topics"] == [{"TopicArn": TOPIC}]
    with pytest.raises(ConnectionClosedError):
        topics.publish(TopicArn=TOPIC, Message="lost")
    assert invoke(twin, {"do": "answer"})["StatusCode"] == 200
    assert twin.get("state")["notices"] == []


def test_a_machine_answers_what_its_function_said(twin: Running, states: Any) -> None:
    execution = start(states, do="answer", say="はい", wait_s=0)
    told = ended(twin, execution)
    assert (told["machine"], told["status"], told["state"]) == ("Machine", "SUCCEEDED", None)
    assert told["input"]["say"] == "はい"
    assert datetime.fromisoformat(told["started_at"]) <= datetime.fromisoformat(told["stopped_at"])
    assert json.loads(states.describe_execution(executionArn=execution)["output"]) == {"said": "はい"}


@pytest.mark.parametrize("way", [{}, {"direct": True}])
def test_an_error_is_caught_by_its_class_and_told_to_people(twin: Running, states: Any, way: dict[str, bool]) -> None:
    told = ended(twin, start(states, do="break", wait_s=0, **way))
    assert (told["status"], told["error"], told["cause"]) == ("FAILED", "Broken", "as it was told")
    notice = twin.get("state")["notices"][0]
    assert notice["subject"] == "It broke"
    assert json.loads(notice["message"])["errorMessage"] == "壊れました"
    assert datetime.fromisoformat(notice["at"]).utcoffset() == timedelta(hours=9)


@pytest.mark.parametrize("way", [{}, {"direct": True}])
@pytest.mark.parametrize(
    ("fault", "error"), [("throttle", "Lambda.TooManyRequestsException"), ("cut", "Lambda.SdkClientException")]
)
def test_a_function_out_of_reach_fails_under_step_functions_own_names(
    twin: Running, states: Any, way: dict[str, bool], fault: str, error: str
) -> None:
    twin.put("faults", {"lambda": {"fault": fault, "count": 1}})
    execution = start(states, do="answer", **way)
    assert ended(twin, execution)["status"] == "SUCCEEDED"
    assert json.loads(states.describe_execution(executionArn=execution)["output"])["Error"] == error


def test_a_retry_waits_by_the_moved_clock(twin: Running, states: Any) -> None:
    execution = start(states, do="busy_once", name=str(uuid.uuid4()), wait_s=0)
    in_state(twin, execution, "Work")
    assert row(twin, execution)["status"] == "RUNNING"

    def advanced() -> bool:  # the retry's pause may begin after a move
        twin.put("clock", {"advance_s": 601})
        return bool(row(twin, execution)["status"] != "RUNNING")

    until(advanced)
    assert row(twin, execution)["status"] == "SUCCEEDED"


def test_a_wait_ends_when_the_clock_has_advanced_so_far(twin: Running, states: Any) -> None:
    execution = start(states, do="answer", wait_s=3600)
    in_state(twin, execution, "Rest")
    twin.put("clock", {"advance_s": 1800})
    now = datetime.fromisoformat(twin.get("clock")["now"])
    twin.put("clock", {"now": (now - timedelta(hours=5)).isoformat()})  # takes nothing back of what has passed
    assert row(twin, execution)["status"] == "RUNNING"
    twin.put("clock", {"advance_s": 1790})
    assert row(twin, execution)["state"] == "Rest"
    twin.put("clock", {"advance_s": 4 * 3600})
    assert ended(twin, execution)["status"] == "SUCCEEDED"


def test_a_short_wait_ends_by_itself(twin: Running, states: Any) -> None:
    assert ended(twin, start(states, do="answer", wait_s=1))["status"] == "SUCCEEDED"


def test_a_waiting_execution_can_be_stopped(twin: Running, states: Any) -> None:
    execution = start(states, do="answer", wait_s=86_400)
    in_state(twin, execution, "Rest")
    states.stop_execution(executionArn=execution)
    assert ended(twin, execution)["status"] == "ABORTED"


def test_an_execution_without_a_name_gets_one(states: Any) -> None:
    given = {"stateMachineArn": MACHINE, "input": '{"do": "answer", "wait_s": 0}'}
    first, second = (states.start_execution(**given)["executionArn"] for _ in range(2))
    assert first != second


def test_schedules_tell_when_they_are_due(twin: Running) -> None:
    twin.put("clock", {"now": MONDAY})
    schedules = {one["name"]: one for one in twin.get("state")["schedules"]}
    assert schedules["MachineEvening"]["next_at"] == "2026-11-23T17:50:00+09:00"
    assert schedules["MachineEvening"]["timezone"] == "Asia/Tokyo"
    assert schedules["MachineNever"].pop("looked_at")
    assert schedules["MachineNever"] == {
        "name": "MachineNever",
        "expression": "cron(* * * * ? *)",
        "timezone": "UTC",
        "enabled": False,
        "next_at": None,
        "last_at": None,
    }


def test_a_schedule_fires_at_its_time_once_however_much_was_missed(twin: Running, states: Any) -> None:
    twin.put("clock", {"now": MONDAY})
    before = len(scheduled(twin, "MachineEvening"))
    twin.put("clock", {"now": "2026-11-23T17:49:59.500000+09:00"})
    until(lambda: len(scheduled(twin, "MachineEvening")) == before + 1)
    assert twin.get("clock")["now"] >= "2026-11-23T17:50:00"
    fired = scheduled(twin, "MachineEvening")[0]
    assert fired["input"]["say"] == "2026-11-23T08:50:00Z"
    twin.put("clock", {"now": "2026-11-28T12:00:00+09:00"})  # a Saturday: four evenings later
    until(lambda: len(scheduled(twin, "MachineEvening")) == before + 2)
    assert scheduled(twin, "MachineEvening")[0]["input"]["say"] == "2026-11-27T08:50:00Z"
    schedule = next(one for one in twin.get("state")["schedules"] if one["name"] == "MachineEvening")
    assert schedule["last_at"] == "2026-11-27T17:50:00+09:00"
    assert schedule["next_at"] == "2026-11-30T17:50:00+09:00"
    assert scheduled(twin, "MachineNever") == []


def test_a_clock_moved_back_fires_nothing_until_the_next_time(twin: Running) -> None:
    twin.put("clock", {"now": "2026-11-24T20:00:00+09:00"})
    twin.put("clock", {"now": "2026-11-24T09:00:00+09:00"})
    before = len(scheduled(twin, "MachineEvening"))
    twin.put("clock", {"now": "2026-11-24T12:00:00+09:00"})
    often = len(scheduled(twin, "MachineOften"))
    twin.put("clock", {"advance_s": 13 * 3600})
    until(lambda: len(scheduled(twin, "MachineOften")) > often)
    assert len(scheduled(twin, "MachineEvening")) == before + 1


def test_the_dead_letter_queue_is_there(twin: Running) -> None:
    urls = twin.client("sqs", config=Config(read_timeout=30)).list_queues()["QueueUrls"]
    assert [url.rpartition("/")[2] for url in urls] == ["Missed"]


def test_the_clock_advances_from_where_it_is(twin: Running) -> None:
    twin.put("clock", {"now": MONDAY})
    assert twin.put("clock", {"advance_s": 90})["now"].startswith("2026-11-23T09:01:3")
    for wrong in (-1, "soon", True, None):
        assert httpx.put(f"{twin.page}/twin/clock", json={"advance_s": wrong}).status_code == 400


def test_a_machine_that_nobody_made_cannot_be_started(states: Any) -> None:
    with pytest.raises(ClientError) as refusal:
        states.start_execution(stateMachineArn=f"{MACHINE}Other", input="{}")
    assert refusal.value.response["Error"]["Code"] == "StateMachineDoesNotExist"


def test_a_machine_that_cannot_be_made_is_told_and_stops_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(WORKFLOW, tmp_path, dirs_exist_ok=True)
    (tmp_path / "machine.asl.json").write_text('{"StartAt": "Nowhere", "States": {"Odd": {"Type": "Odd"}}}')
    with running("--template", str(tmp_path / "template.yaml")) as twin:
        assert twin.process.stdout is not None
        assert "the state machine Machine cannot be made" in twin.process.stdout.readline()
        assert invoke(twin, {"do": "answer"})["StatusCode"] == 200
        assert twin.get("state")["executions"] == []
