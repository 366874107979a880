"""The sample events are what AWS sends to each function, and env.json replaces variables that exist."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayWebSocketConnectEventModel,
    APIGatewayWebSocketDisconnectEventModel,
    APIGatewayWebSocketMessageEventModel,
    S3EventNotificationEventBridgeModel,
)
from pydantic import ValidationError

from local import invoke
from mangaassist.advice import request
from mangaassist.capacity.steps import STEP
from mangaassist.chat import frames
from mangaassist.errors import InvalidRequest
from mangaassist.money.bookkeeper import Ordered
from mangaassist.settings import Settings
from pretraffic import Hook
from tests.infrastructure.cloudformation import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from tests.infrastructure.cloudformation import Template

EVENTS = sorted(file for file in (ROOT / "events").glob("*.json") if file.name != "env.json")
MODELS: dict[str, type[BaseModel]] = {
    "connect": APIGatewayWebSocketConnectEventModel,
    "message": APIGatewayWebSocketMessageEventModel,
    "disconnect": APIGatewayWebSocketDisconnectEventModel,
}
CAPACITY = [file for file in EVENTS if file.stem.startswith("capacity-")]
ORDERS = [file for file in EVENTS if file.stem.startswith("reconcile-")]
PROFILES = [file for file in EVENTS if file.stem.startswith("advisor-")]
UPLOADS = [file for file in EVENTS if file.stem.startswith("ingest-")]
SCHEDULED = [file for file in EVENTS if file.stem.startswith("lifecycle-")]
HOOKS = [file for file in EVENTS if file.stem.startswith("pretraffic-")]
FROM_GATEWAY = [file for file in EVENTS if file not in (*CAPACITY, *UPLOADS, *PROFILES, *ORDERS, *SCHEDULED, *HOOKS)]
NOT_SERVED = {
    "malformed": "bad_json",
    "unknown-action": "unknown_action",
    "wrong-type": "invalid_field",
}


def _read(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def _function(file: Path) -> str:
    return file.stem.partition("-")[0]


def test_every_function_has_events() -> None:
    assert {_function(file) for file in EVENTS} == {
        "authorizer",
        "advisor",
        "capacity",
        "ingest",
        "lifecycle",
        "pretraffic",
        "reconcile",
        *MODELS,
    }


@pytest.mark.parametrize("file", CAPACITY, ids=lambda file: file.stem)
def test_events_of_the_workflow_are_steps_that_it_takes(file: Path) -> None:
    event = _read(file)
    if file.stem == "capacity-wrong-step":
        with pytest.raises(ValidationError):
            STEP.validate_python(event)
    else:
        assert STEP.validate_python(event).step == event["step"]


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.stem)
def test_events_of_the_advisor_are_requests_that_it_reads(file: Path) -> None:
    assert request.read(_read(file)).profile


@pytest.mark.parametrize("file", ORDERS, ids=lambda file: file.stem)
def test_events_of_the_bookkeeper_are_days(file: Path) -> None:
    assert Ordered.model_validate(_read(file)).of(date(2026, 11, 26)) == date(2026, 11, 25)


@pytest.mark.parametrize("file", UPLOADS, ids=lambda file: file.stem)
def test_events_of_uploads_are_what_the_rule_lets_through(file: Path, template: Template) -> None:
    event = _read(file)
    upload = S3EventNotificationEventBridgeModel.model_validate(event)
    ((_, rule),) = template.of_type("AWS::Events::Rule").items()
    pattern = rule["EventPattern"]
    assert [upload.source] == pattern["source"]
    assert [upload.detail_type] == pattern["detail-type"]
    assert upload.detail.object.key.endswith(tuple(it["suffix"] for it in pattern["detail"]["object"]["key"]))


@pytest.mark.parametrize("file", SCHEDULED, ids=lambda file: file.stem)
def test_events_of_the_schedule_are_its_input(file: Path, template: Template) -> None:
    schedule = template.of_type("AWS::Scheduler::Schedule")["LifecycleFunctionDaily"]
    assert _read(file) == json.loads(schedule["Target"]["Input"])


@pytest.mark.parametrize("file", HOOKS, ids=lambda file: file.stem)
def test_events_of_deployments_are_what_the_hook_takes(file: Path) -> None:
    assert Hook.model_validate(_read(file)).deployment_id == "d-SAMPLE123"


@pytest.mark.parametrize("file", FROM_GATEWAY, ids=lambda file: file.stem)
def test_events_are_what_the_gateway_sends(file: Path) -> None:
    event = _read(file)
    if _function(file) == "authorizer":
        assert event["type"] == "REQUEST"
        assert event["methodArn"].endswith("/live/$connect")
        assert "body" not in event
    else:
        MODELS[_function(file)].model_validate(event)


@pytest.mark.parametrize("file", FROM_GATEWAY, ids=lambda file: file.stem)
def test_answers_to_events_can_be_read_from_a_mailbox(file: Path) -> None:
    assert _read(file)["requestContext"]["connectionId"].startswith("sample")


@pytest.mark.parametrize("file", EVENTS, ids=lambda file: file.stem)
def test_events_hold_no_token(file: Path) -> None:
    assert "eyJ" not in file.read_text("utf-8")


@pytest.mark.parametrize("file", [it for it in EVENTS if _function(it) == "message"], ids=lambda file: file.stem)
def test_message_events_are_the_case_that_their_name_says(file: Path) -> None:
    body, case = _read(file)["body"], file.stem.removeprefix("message-")
    if case in NOT_SERVED:
        with pytest.raises(InvalidRequest) as refusal:
            frames.parse(body)
        assert refusal.value.code == NOT_SERVED[case]
        return
    request = frames.parse(body)
    asked = request.message if isinstance(request, frames.Ask) else ""
    assert (len(asked) > 4000) == (case == "too-long")
    assert (isinstance(request, frames.Ask) and not asked.strip()) == (case == "empty")


def test_env_json_is_a_complete_environment_of_the_twin() -> None:
    variables = _read(ROOT / "events" / "env.json")["Parameters"]
    assert Settings.from_env(variables).stage == "twin"


def test_env_json_leads_a_function_in_a_container_and_one_outside_to_the_twin(tmp_path: Path) -> None:
    variables = _read(ROOT / "events" / "env.json")["Parameters"]
    assert variables["AWS_ENDPOINT_URL"] == "http://host.docker.internal:8081"
    assert variables["CONNECTIONS_ENDPOINT"] == "http://host.docker.internal:8081/live"
    outside = invoke.surroundings(invoke.find("message"), tmp_path, tmp_path, invoke.Twin(9000))
    assert outside["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9001"
    assert outside["CONNECTIONS_ENDPOINT"] == "http://127.0.0.1:9001/live"
    assert outside["TOKEN_JWKS_URL"] == "http://127.0.0.1:9001/issuer/.well-known/jwks.json"


def test_env_json_replaces_only_what_the_template_declares(functions: dict[str, dict[str, Any]]) -> None:
    # sam local invoke drops every other variable without a word
    variables = _read(ROOT / "events" / "env.json")["Parameters"]
    for function in functions.values():
        assert set(variables) <= set(function["Environment"]["Variables"])
