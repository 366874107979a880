"""`make endpoint` at a stack whose services answer as they are told: loads, routing, and what is said of trouble."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock, current_thread, main_thread
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from mangaassist.errors import Unavailable
from mangaassist.money.prices import Usage
from mangaassist.routing import policy
from mangaassist.routing.backends import Stopped, TextDelta, UsageReport
from mangaassist.routing.policies import PolicyStore
from mangaassist.routing.store import SituationStore
from tests.integration.capacity_shop import STACK, Shop, at
from tests.integration.endpoint_calls import NAME, TARGET
from tests.integration.tables import SITUATION
from tools.endpoint import main
from tools.endpoint_desk import Desk
from tools.place import Place

if TYPE_CHECKING:
    from click.testing import Result
    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.routing.backends import ModelCall, StreamEvent

BRIEF = ("--seconds", "0.4", "--tokens", "10")


def said(desk: Desk | None, *arguments: str, says: str = "") -> Result:
    result = CliRunner(mix_stderr=False).invoke(main, arguments, input=says, obj=desk)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


MOMENT = datetime.fromtimestamp(at("18:00"), UTC)


class CloudFormation:
    """Knows the shop, with an endpoint unless it has none."""

    def __init__(self, *, hosts: bool = True) -> None:
        own = [{"OutputKey": "SageMakerEndpoint", "OutputValue": NAME}] if hosts else []
        self.stack: dict[str, Any] = STACK | {"Outputs": [*STACK["Outputs"], *own]}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        return {"Stacks": [self.stack]}


@dataclass
class SageMaker:
    """Has so many instances at each look; the last stays."""

    instances: list[int] = field(default_factory=lambda: [1])
    refuses: bool = False
    shadow: bool = False

    def describe_endpoint(self, *, EndpointName: str) -> dict[str, Any]:
        if self.refuses:
            refusal = {"Error": {"Code": "AccessDeniedException", "Message": "not you"}}
            raise ClientError(refusal, "DescribeEndpoint")  # type: ignore[arg-type]
        number = self.instances.pop(0) if len(self.instances) > 1 else self.instances[0]
        weights = {"CurrentWeight": 1.0, "DesiredWeight": 0.5}
        variant = {"VariantName": "main", "CurrentInstanceCount": number, "DesiredInstanceCount": number} | weights
        return {
            "EndpointName": EndpointName,
            "EndpointStatus": "Failed" if self.shadow else "InService",
            "EndpointConfigName": "one",
            "CreationTime": MOMENT,
            "LastModifiedTime": MOMENT,
            "ProductionVariants": [variant],
        } | (
            {"FailureReason": "no quota", "ShadowProductionVariants": [{"VariantName": "second"}]}
            if self.shadow
            else {}
        )

    def describe_endpoint_config(self, *, EndpointConfigName: str) -> dict[str, Any]:
        return {"ProductionVariants": [{"VariantName": "main", "InstanceType": "ml.g5.xlarge"}]}

    def describe_inference_component(self, *, InferenceComponentName: str) -> dict[str, Any]:
        return {
            "InferenceComponentName": InferenceComponentName,
            "InferenceComponentStatus": "Failed",
            "FailureReason": "the image cannot be pulled",
            "RuntimeConfig": {"CurrentCopyCount": 1, "DesiredCopyCount": 2},
        }


@dataclass
class Model:
    """Answers within these seconds, longer the more there are at a time."""

    seconds: float = 0.01
    at_once: int = 0
    fails: bool = False
    calls: list[ModelCall] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def open(self, call: ModelCall, limit_s: float) -> Stream:
        if self.fails:
            raise Unavailable("throttled")
        with self.lock:
            self.calls.append(call)
            self.at_once += 1
            return Stream(self, self.seconds * self.at_once**2)


@dataclass
class Stream:
    model: Model
    seconds: float
    said: bool = False

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        if self.said:
            return None
        time.sleep(self.seconds)
        self.said = True
        return (TextDelta("海賊"), Stopped("complete"), UsageReport(Usage(10, 5)))

    def close(self) -> None:
        with self.model.lock:
            self.model.at_once -= 1


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def sagemaker() -> SageMaker:
    return SageMaker()


@pytest.fixture
def desk(dynamodb: DynamoDBClient, model: Model, sagemaker: SageMaker) -> Desk:
    clients: dict[tuple[str, str | None], Any] = {
        ("dynamodb", None): dynamodb,
        ("cloudformation", None): CloudFormation(),
        ("sagemaker", None): sagemaker,
        ("cloudwatch", None): None,
    }
    return Desk(Shop("shop", "", None, clients=clients), chosen=model)


def steps_of(result: Result) -> list[int]:
    return [step["concurrency"] for step in json.loads(result.stdout)["steps"]]


def test_a_deployed_endpoint_is_loaded_only_when_asked_to(desk: Desk, model: Model) -> None:
    told = said(desk, "size", *BRIEF, says="n\n")
    assert (told.exit_code, model.calls) == (1, [])
    assert "Up to 16 at a time will be asked of stack shop." in told.stderr
    assert "shoppers share the capacity" in told.stderr
    assert "nothing was measured" in told.stderr


def test_the_parameter_of_the_template_is_named(desk: Desk) -> None:
    told = said(desk, "size", "--levels", "1,2", *BRIEF, "--yes", "--peak-per-minute", "100000")
    assert told.exit_code == 0, told.stderr
    assert "SageMakerTargetValue=1 with SageMakerScalingMetric=ConcurrentRequests, or" in told.stdout
    assert "with SageMakerScalingMetric=Invocations" in told.stdout
    assert "A peak of 100,000 answers/min needs" in told.stdout
    assert "The template allows 8: take a larger instance type" in told.stdout


def test_more_is_not_tried_once_it_is_far_too_slow(desk: Desk, model: Model) -> None:
    told = said(desk, "size", "--levels", "1,4,8", "--limit-ms", "40", *BRIEF, "--yes", "--json")
    assert steps_of(told) == [1, 4]  # 160 ms with four at a time
    found = json.loads(told.stdout)
    assert (found["size"]["concurrency"], found["size"]["limit_found"], found["size"]["target"]) == (1, True, 1)


def test_every_instance_is_given_its_share(desk: Desk, sagemaker: SageMaker) -> None:
    sagemaker.instances = [2]
    told = said(desk, "size", "--levels", "1,2", *BRIEF, "--yes", "--json")
    assert steps_of(told) == [1, 2]
    assert json.loads(told.stdout)["instances"] == 2


def test_when_instances_come_meanwhile_it_ends(desk: Desk, sagemaker: SageMaker) -> None:
    sagemaker.instances = [1, 1, 2]
    told = said(desk, "size", "--levels", "1,2,3", *BRIEF, "--yes", "--json")
    assert steps_of(told) == [1]
    assert json.loads(told.stdout)["notes"][0].startswith("1 instance became 2 with 2 at a time")


def test_a_failing_model_can_be_recommended_nothing(desk: Desk, model: Model) -> None:
    model.fails = True
    told = said(desk, "size", *BRIEF, "--yes")
    assert told.exit_code == 1
    assert "x throttled" in told.stdout
    assert "answers failed: mend that first" in told.stdout


def test_ctrl_c_prints_what_was_measured(desk: Desk, model: Model) -> None:
    def monotonic() -> float:
        if model.at_once > 1 and current_thread() is main_thread():
            raise KeyboardInterrupt
        return time.monotonic()

    desk.monotonic = monotonic
    told = said(desk, "size", "--levels", "1,2", *BRIEF, "--yes", "--json")
    assert told.exit_code == 130
    assert steps_of(told) == [1]
    assert json.loads(told.stdout)["notes"] == ["Stopped: the level under way is left out."]


def test_questions_differ_and_are_about_as_long_as_asked(desk: Desk, model: Model) -> None:
    said(desk, "size", "--levels", "1", *BRIEF, "--prompt-tokens", "900", "--yes")
    asked = [call.messages[0].text for call in model.calls]
    assert len(set(asked)) == len(asked) > 1
    assert {call.max_tokens for call in model.calls} == {10}
    assert all(600 < len(text) < 1200 for text in asked)


@pytest.mark.parametrize("levels", ["", "0", "1,x", "513"])
def test_levels_that_cannot_be(desk: Desk, levels: str) -> None:
    assert said(desk, "size", "--levels", levels).exit_code == 2


# -- whether turns are sent there --------------------------------------------------------------------------------------


def routing(desk: Desk) -> dict[str, Any]:
    told = said(desk, "status", "--json")
    assert told.exit_code == 0, told.stderr
    return dict(json.loads(told.stdout)["routing"])


def put(dynamodb: DynamoDBClient, **changes: Any) -> None:
    document = policy.preset("current").model_dump(mode="json")
    document["targets"][TARGET] |= changes
    PolicyStore(dynamodb, SITUATION).put(json.dumps(document), 0, "tests", "")


def test_a_policy_may_leave_it_out(desk: Desk, dynamodb: DynamoDBClient) -> None:
    put(dynamodb, deployed=False)
    told = routing(desk)
    assert not told["routed"]
    assert told["why"] == "nothing: sagemaker-custom is not deployed in version 1"


def test_the_policy_in_force_says_the_limit_of_first_texts(desk: Desk, dynamodb: DynamoDBClient) -> None:
    put(dynamodb, first_text_limit_ms=1234)
    told = said(desk, "size", "--levels", "1", *BRIEF, "--yes", "--json")
    assert json.loads(told.stdout)["limit_ms"] == 1234


def test_an_open_breaker_is_told_and_then_its_probe(desk: Desk, dynamodb: DynamoDBClient) -> None:
    situation = SituationStore(
        dynamodb,
        SITUATION,
        default_policy=policy.preset("current"),
        now_s=lambda: at("19:30") - 1,
        on_invalid_policy=lambda version, text: None,
    )
    for _ in range(3):
        situation.note_failure(TARGET, "silent", situation.view())
    assert routing(desk) == {
        "routed": False,
        "policy": "preset current",
        "why": "nothing until 19:30:09 JST: its breaker opened after 3 failures",
    }
    later = Desk(Shop("shop", "", None, clients=desk.place.clients, clock="19:31"))  # type: ignore[attr-defined]
    assert routing(later)["why"].startswith("one question, to see whether it lives again")


def test_why_an_endpoint_failed_is_shown(desk: Desk, sagemaker: SageMaker) -> None:
    sagemaker.shadow = True
    shown = said(desk, "status").stdout
    assert "Failed since 2026-11-23 18:00 JST" in shown
    assert "why: no quota" in shown
    assert "1.0 (becomes 0.5)" in shown
    assert "shadow" in shown


def test_the_copies_of_a_component_are_shown_with_their_trouble(desk: Desk) -> None:
    outputs = desk.place.clients["cloudformation", None].stack["Outputs"]  # type: ignore[attr-defined]
    outputs.append({"OutputKey": "SageMakerComponent", "OutputValue": "shop-copy"})
    shown = said(desk, "status").stdout
    assert "component shop-copy: Failed, 1 of 2 copies loaded" in shown
    assert "why: the image cannot be pulled" in shown


def test_a_stack_without_an_endpoint_says_how_to_have_one(desk: Desk) -> None:
    desk.place.clients["cloudformation", None] = CloudFormation(hosts=False)  # type: ignore[attr-defined]
    told = said(desk, "metrics")
    assert told.exit_code == 1
    assert told.stderr == "Error: stack shop has no endpoint: deploy it with EnableSageMaker=true\n"


def test_aws_that_refuses_is_told_with_its_own_words(desk: Desk, sagemaker: SageMaker) -> None:
    sagemaker.refuses = True
    told = said(desk, "status")
    assert told.exit_code == 1
    assert "cannot ask SageMaker: SageMaker.AccessDeniedException: DescribeEndpoint: not you" in told.stderr


def test_without_an_endpoint_the_twin_says_how_to_have_one() -> None:
    class Bare(Place):
        def endpoint_of_ours(self) -> None:
            return None

    told = said(Desk(Bare(None, "http://127.0.0.1:8080", None)), "status")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "hosts no endpoint: start it with make run ENDPOINT=on" in told.stderr


def test_a_twin_that_is_not_there_is_said_in_one_line() -> None:
    told = said(Desk(Place(None, "http://127.0.0.1:1", None)), "status")
    assert told.exit_code == 1
    assert told.stderr.count("\n") == 1
    assert "does not answer: ConnectError" in told.stderr
