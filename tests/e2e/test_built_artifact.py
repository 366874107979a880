"""What is deployed, run as Lambda runs it: the built folders under Lambda's emulator, on the sample events."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from local import invoke
from tests.e2e.recorder import recording
from tests.e2e.running import free_pair
from tests.infrastructure.cloudformation import ROOT, Template, listed
from tools import artifact
from tools.translated import translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.recorder import Access, Recorder

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        sys.platform != "linux", reason="the artifact holds Linux libraries and Lambda's emulator is Linux"
    ),
]
LAYER = invoke.BUILD / artifact.LAYER / "python"


@dataclass
class Deployed:
    """The built application: an environment per function, kept warm as Lambda would."""

    twin: invoke.Twin
    stack: ExitStack
    recorders: dict[str, Recorder] = field(default_factory=dict)
    environments: dict[str, invoke.Lambda] = field(default_factory=dict)

    def run(self, name: str) -> invoke.Invocation:
        """Run the function that a sample event's name begins with."""
        function = name.partition("-")[0]
        if function not in self.environments:
            recorder = self.stack.enter_context(recording(self.twin.aws))
            variables = {"AWS_ENDPOINT_URL_DYNAMODB": recorder.url}
            environment = self.stack.enter_context(invoke.lambda_of(function, self.twin, variables=variables))
            self.recorders[function], self.environments[function] = recorder, environment
        event = invoke.read_event(ROOT / "events" / f"{name}.json", self.twin)
        return self.environments[function].invoke(event, self.twin)


@pytest.fixture(scope="module")
def built() -> None:
    """The artifact for this machine's processor, built by the same rule as `make invoke`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    built = subprocess.run(
        ["make", "host-build"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.fixture(scope="module")
def deployed(built: None) -> Iterator[Deployed]:
    with ExitStack() as stack:
        twin = stack.enter_context(invoke.twin_at(free_pair()))
        yield Deployed(twin, stack)


@pytest.mark.parametrize("name", ["message-ask-ja", "message-ask-en", "message-ask-brief-body"])
def test_a_question_is_answered_to_its_end(deployed: Deployed, name: str) -> None:
    turn = deployed.run(name)
    assert turn.answer == {"statusCode": 200}
    assert [frame["seq"] for frame in turn.frames] == list(range(len(turn.frames)))
    assert [turn.frames[0]["type"], turn.frames[-1]["type"]] == ["start", "end"]
    assert turn.frames[-1]["finish"] == "complete"
    assert turn.frames[-1]["cost_usd"] > 0
    assert any("ぁ" <= letter <= "ん" for letter in _text(turn)) == (name == "message-ask-ja")


def test_a_session_is_forgotten_whether_it_is_there_or_not(deployed: Deployed) -> None:
    deployed.run("message-ask-brief-body")
    for _ in range(2):
        (frame,) = deployed.run("message-forget-ja").frames
        assert frame == {"type": "forgotten", "session_id": "sample-session"}


def test_a_question_sent_twice_is_answered_by_one_model_call(deployed: Deployed) -> None:
    first, second = deployed.run("message-ask-repeated"), deployed.run("message-ask-repeated")
    assert _text(second) == _text(first)
    assert {frame["turn_id"] for frame in second.frames} == {first.frames[0]["turn_id"]}
    turns = deployed.twin.ask("turns")["turns"]
    assert sum(turn["turn_id"] == first.frames[0]["turn_id"] for turn in turns) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("message-malformed", "bad_json"),
        ("message-unknown-action", "unknown_action"),
        ("message-wrong-type", "invalid_field"),
        ("message-empty", "message_empty"),
        ("message-too-long", "message_too_long"),
        ("message-resume", "turn_unknown"),
        ("message-cancel", "turn_unknown"),
        ("message-feedback", "turn_unknown"),
    ],
)
def test_what_cannot_be_served_gets_one_error_frame_with_its_code(deployed: Deployed, name: str, code: str) -> None:
    refused = deployed.run(name)
    assert refused.answer == {"statusCode": 200}
    (frame,) = refused.frames
    assert (frame["type"], frame["code"]) == ("error", code)
    assert frame["reference"]


def test_a_ping_is_answered(deployed: Deployed) -> None:
    assert [frame["type"] for frame in deployed.run("message-ping").frames] == ["pong"]


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("authorizer-query-token", "Allow"),
        ("authorizer-subprotocol-token", "Allow"),
        ("authorizer-wrong-origin", "Deny"),
    ],
)
def test_the_authorizer_judges_token_and_origin(deployed: Deployed, name: str, effect: str) -> None:
    answer = deployed.run(name).answer
    assert answer["principalId"] == invoke.SHOPPER
    assert [it["Effect"] for it in answer["policyDocument"]["Statement"]] == [effect]


def test_without_a_token_the_authorizer_says_the_word_that_the_gateway_makes_a_401_of(deployed: Deployed) -> None:
    answer = deployed.run("authorizer-no-token").answer
    assert (answer["errorType"], answer["errorMessage"]) == ("Exception", "Unauthorized")


def test_a_connection_comes_and_goes(deployed: Deployed) -> None:
    assert deployed.run("connect").answer == {"statusCode": 200}
    assert deployed.run("connect-subprotocol").answer == {
        "statusCode": 200,
        "headers": {"Sec-WebSocket-Protocol": "mangaassist"},
    }
    assert deployed.run("disconnect").answer == {"statusCode": 200}


def test_a_connection_that_nobody_authorized_is_refused(deployed: Deployed) -> None:
    assert deployed.run("connect-without-token").answer["statusCode"] == 401


def test_a_turn_is_logged_as_json_with_its_metrics_and_without_its_text(deployed: Deployed) -> None:
    log = deployed.run("message-ask-en").log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line.get("message") == "turn" for line in lines)
    assert any("_aws" in line for line in lines)  # metrics travel as log lines
    assert "One Piece" not in log


@pytest.mark.parametrize("name", ["capacity-plan", "capacity-rehearsal", "capacity-sweep"])
def test_the_workflow_is_told_what_there_is_to_do(deployed: Deployed, name: str) -> None:
    answer = deployed.run(name).answer
    assert answer["request"]["action"] == {"capacity-plan": "keep", "capacity-rehearsal": "plan"}.get(name, "sweep")
    assert set(answer) == {"request", "opening", "closing", "notes"}
    if name == "capacity-rehearsal" and answer["opening"]:
        assert (answer["opening"]["window"], answer["opening"]["mode"]) == ("peak", "dry-run")
    elif name == "capacity-rehearsal":  # at a tick of the twin's own schedule, which was there a moment before
        assert answer["notes"] in (["a dry run has reported on it already"], ["another execution is at it"])


def test_a_purchase_is_judged_and_an_execution_reported(deployed: Deployed) -> None:
    assert deployed.run("capacity-guard").answer["outcome"] == "dry_run"
    assert deployed.run("capacity-report").answer == {"ok": True, "summary": "it serves"}


def test_a_step_that_does_not_exist_fails_by_the_name_that_the_workflow_catches(deployed: Deployed) -> None:
    assert deployed.run("capacity-wrong-step").answer["errorType"] == "WorkflowInputInvalid"


def test_a_release_is_rehearsed_by_a_turn_that_a_model_answers_and_that_is_on_the_books(deployed: Deployed) -> None:
    assert deployed.run("pretraffic-release").answer == {"verdict": "Succeeded", "fault": ""}
    (turn,) = (it for it in deployed.twin.ask("turns")["turns"] if it["user_id"] == "rehearsal-d-SAMPLE123")
    assert turn["finish"] == "complete"
    assert turn["cost_nano_usd"] > 0


def test_what_each_function_does_to_tables_is_what_its_role_may_do(deployed: Deployed) -> None:
    told = ("message-ask-ja", "message-ask-repeated", "message-cancel", "message-forget-ja", "connect", "disconnect")
    for name in (*told, "capacity-plan"):
        deployed.run(name)
    template = Template(translate(ROOT / "template.yaml"))
    for function, recorder in deployed.recorders.items():
        assert recorder.seen <= _may(template, f"{function.capitalize()}FunctionRole")
    assert {function for function, recorder in deployed.recorders.items() if recorder.seen} >= {
        "capacity",
        "connect",
        "message",
    }


def test_with_tracing_on_a_question_is_answered_even_where_nobody_takes_the_traces(deployed: Deployed) -> None:
    twin = deployed.twin
    event = invoke.read_event(ROOT / "events" / "message-ask-en.json", twin)
    with invoke.lambda_of("message", twin, variables={"TRACING": "on"}) as environment:
        turn = environment.invoke(event, twin)
    assert turn.answer == {"statusCode": 200}
    assert (turn.frames[-1]["type"], turn.frames[-1]["finish"]) == ("end", "complete")
    assert "aws_xray_sdk" in turn.log  # the emulator traces nothing, and the SDK says so


@pytest.mark.usefixtures("built")
def test_with_tracing_on_the_layer_alone_sends_its_spans_to_lambdas_daemon() -> None:
    code = (
        "from mangaassist.observability import Subsegment, traced\n"
        "with traced('message', on=True): Subsegment('attempt ondemand-haiku').end(outcome='cut')"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(5)
        _alone(
            code,
            LAMBDA_TASK_ROOT="/var/task",
            AWS_XRAY_DAEMON_ADDRESS=f"127.0.0.1:{daemon.getsockname()[1]}",
            _X_AMZN_TRACE_ID="Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1",
        )
        attempt, turn = (_span(daemon.recv(65_536)) for _ in range(2))
    assert (turn["name"], turn["parent_id"]) == ("## message", "53995c3f42cd8ad8")
    assert (attempt["name"], attempt["parent_id"]) == ("attempt ondemand-haiku", turn["id"])
    assert attempt["annotations"] == {"outcome": "cut"}


@pytest.mark.usefixtures("built")
def test_the_layer_alone_makes_every_client_that_it_keeps_the_data_of() -> None:
    code = (
        "import boto3, sys; session = boto3.Session('none', 'none', region_name='ap-northeast-1');"
        "assert session.get_available_services() == sys.argv[1:];"
        "[session.client(name) for name in sys.argv[1:]]"
    )
    _alone(code, *sorted(artifact.SERVICES))


@pytest.mark.usefixtures("built")
def test_everything_that_is_deployed_is_compiled() -> None:
    for folder in (LAYER, *artifact.functions(invoke.BUILD)):
        sources = {file for file in folder.rglob("*.py") if "__pycache__" not in file.parts}
        compiled = {file.parent.parent / f"{file.name.partition('.')[0]}.py" for file in folder.rglob("*.pyc")}
        assert compiled == sources


def _span(datagram: bytes) -> dict[str, Any]:
    """What the daemon is sent: a header's line, and a span."""
    header, _, span = datagram.decode().partition("\n")
    assert json.loads(header)["format"] == "json"
    sent: dict[str, Any] = json.loads(span)
    return sent


def _alone(code: str, *arguments: str, **variables: str) -> None:
    """Run code with the layer and nothing else of this machine's packages."""
    command = [f"{sys.base_prefix}/bin/python3", "-c", code, *arguments]
    environment = {"PYTHONPATH": str(LAYER), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def _text(turn: invoke.Invocation) -> str:
    return "".join(frame["text"] for frame in turn.frames if frame["type"] == "delta")


def _may(template: Template, role: str) -> set[Access]:
    return {
        (action, template.filled(resource).removeprefix("arn:"))
        for statement in template.statements(role)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if action.startswith("dynamodb:")
    }
