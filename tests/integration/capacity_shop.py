"""A stack called shop for `make capacity`: its tables in memory, and services that answer as they are told to."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.stub import ANY, Stubber
from click.testing import CliRunner

from mangaassist.capacity.register import Register
from mangaassist.capacity.utilisation import Utilisation
from mangaassist.jst import JST
from mangaassist.routing.situation import Capacity
from tests.integration.tables import SITUATION
from tools.capacity import Desk, main
from tools.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result
    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.capacity.use import Use

MACHINE = "arn:aws:states:ap-northeast-1:123456789012:stateMachine:ProvisionedThroughput-a1b2"
EXECUTION = MACHINE.replace("stateMachine", "execution") + ":one"
BOUGHT = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl"
NOVA_PRO = "amazon.nova-pro-v1:0:300k"
DAY = "2026-11-23"
STACK = {
    "StackName": "shop",
    "StackId": "arn:aws:cloudformation:ap-northeast-1:123456789012:stack/shop/1",
    "Outputs": [
        {"OutputKey": "SituationTable", "OutputValue": SITUATION},
        {"OutputKey": "ProvisionedThroughput", "OutputValue": MACHINE},
    ],
    "Parameters": [
        {"ParameterKey": "PolicyPreset", "ParameterValue": "current"},
        {"ParameterKey": "CapacityMode", "ParameterValue": "dry-run"},
        {"ParameterKey": "CapacityRegion", "ParameterValue": "us-east-1"},
        {"ParameterKey": "CapacityLeadMinutes", "ParameterValue": "30"},
    ],
}


def at(clock: str, day: str = DAY) -> float:
    """The instant of a clock's time in Japan."""
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=JST).timestamp()


class CloudFormation:
    """Knows one stack."""

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        assert StackName == "shop"
        return {"Stacks": [STACK]}


@dataclass
class Shop(Place):
    """A deployment whose clients are these, at half past seven in the evening."""

    clients: dict[tuple[str, str | None], Any] = field(default_factory=dict)
    clock: str = "19:30"

    def client(self, service: Any, region: str | None = None) -> Any:
        return self.clients[service, region]

    def now_s(self) -> float:
        return at(self.clock)


@dataclass
class Evening:
    """The command at a stack called shop, whose services answer as they are told to."""

    shop: Shop
    states: Stubber
    bedrock: Stubber
    register: Register
    utilisation: Callable[[str], Utilisation]
    slept: list[float] = field(default_factory=list)
    wake: Callable[[], None] = lambda: None

    def __call__(self, *arguments: str, says: str = "") -> Result:
        result = CliRunner(mix_stderr=False).invoke(main, arguments, input=says, obj=Desk(self.shop, self._sleep))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        self.states.assert_no_pending_responses()
        self.bedrock.assert_no_pending_responses()
        return result

    def starts(self, request: dict[str, Any]) -> None:
        """An execution with this input is the next thing asked for."""
        parameters = {"stateMachineArn": MACHINE, "name": ANY, "input": json.dumps(request)}
        self.states.add_response("start_execution", {"executionArn": EXECUTION, "startDate": NEVER}, parameters)

    def runs(self, *entered: str) -> None:
        """A look finds it running, with these states entered, the last one last."""
        self.states.add_response("describe_execution", execution("RUNNING"))
        events = [
            {"timestamp": NEVER, "type": "TaskStateEntered", "id": number, "stateEnteredEventDetails": {"name": name}}
            for number, name in enumerate(entered, start=2)
        ]
        events.append({"timestamp": NEVER, "type": "ExecutionStarted", "id": 1})
        self.states.add_response("get_execution_history", {"events": events})

    def ends(self, status: str, **ending: str) -> None:
        """A look finds it ended so."""
        self.states.add_response("describe_execution", execution(status, **ending))

    def reports(self, summary: str, **output: object) -> None:
        """It ends well with this sentence."""
        self.ends("SUCCEEDED", output=json.dumps({"report": {"ok": True, "summary": summary}} | output))

    def owns(self, *purchases: dict[str, Any]) -> None:
        """Bedrock has these, ours and others', when it is asked."""
        self.bedrock.add_response("list_provisioned_model_throughputs", {"provisionedModelSummaries": list(purchases)})
        for purchase in purchases:
            owner, window, day = purchase["provisionedModelName"].split("_")
            tags = {
                "mangaassist:owner": f"{owner}-ap-northeast-1",
                "mangaassist:window": window,
                "mangaassist:day": day,
            }
            listed = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
            self.bedrock.add_response(
                "list_tags_for_resource", listed, {"resourceARN": purchase["provisionedModelArn"]}
            )

    def serves(self, window: str = "peak", day: str = DAY, **changes: object) -> None:
        """Two units of a thousand tokens a minute serve since six, bought half an hour earlier for $1 an hour each."""
        fields = {
            "state": "serving",
            "arn": BOUGHT,
            "model": NOVA_PRO,
            "target": "provisioned-sonnet",
            "units": 2,
            "unit_hour_nano_usd": 1_000_000_000,
            "unit_tokens_per_minute": 1000,
            "number": 1,
            "created_s": at("17:30", day),
            "serving_s": at("18:00", day),
            "ends_s": at("18:00", day) + 6 * 3600,
        }
        self.register.note(window, day, **(fields | changes))

    def publishes(self, window: str = "peak", until: str = "23:59") -> None:
        """Turns are sent to it until then."""
        self.register.row(window)
        published = {"arn": BOUGHT, "target": "provisioned-sonnet", "units": 2, "until_s": at(until), "day": DAY}
        assert self.register.publish(window, 0, published)

    def used(self, clock: str, use: Use, window: str = "peak", day: str = DAY) -> None:
        """So much was asked of a window in a minute."""
        capacity = Capacity(BOUGHT, 2, 0.0, window=window, day=day)
        self.utilisation(f"{day}T{clock}").note(capacity, use)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.wake()


NEVER = datetime(2026, 11, 23, tzinfo=JST)


def execution(status: str, **ending: str) -> dict[str, Any]:
    return {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": status, "startDate": NEVER} | ending


def purchase(name: str, arn: str = BOUGHT, status: str = "InService") -> dict[str, Any]:
    """A summary as Bedrock lists it; the name is owner, window and day."""
    model = f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA_PRO}"
    return {
        "provisionedModelName": name,
        "provisionedModelArn": arn,
        "modelArn": model,
        "desiredModelArn": model,
        "foundationModelArn": model,
        "modelUnits": 2,
        "desiredModelUnits": 2,
        "status": status,
        "creationTime": datetime.fromtimestamp(at("17:30"), JST),
        "lastModifiedTime": datetime.fromtimestamp(at("17:45"), JST),
    }


@cache
def wires() -> dict[tuple[str, str | None], Any]:
    """Clients that validate what is sent; made once, because making one takes longer than most tests."""
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="ap-northeast-1")
    return {
        ("stepfunctions", None): session.client("stepfunctions"),
        ("bedrock", "us-east-1"): session.client("bedrock", region_name="us-east-1"),
        ("service-quotas", "us-east-1"): None,  # it is not asked
    }


@contextmanager
def evening(dynamodb: DynamoDBClient) -> Iterator[Evening]:
    """The command at the shop, in which nothing has happened yet."""
    clients = wires() | {("dynamodb", None): dynamodb, ("cloudformation", None): CloudFormation()}
    with Stubber(clients["stepfunctions", None]) as states, Stubber(clients["bedrock", "us-east-1"]) as bedrock:
        yield Evening(
            shop=Shop("shop", "", None, clients=clients),
            states=states,
            bedrock=bedrock,
            register=Register(dynamodb, SITUATION),
            utilisation=lambda moment: Utilisation(
                dynamodb,
                unrepeated=dynamodb,
                situation_table=SITUATION,
                now_s=lambda: datetime.fromisoformat(moment).replace(tzinfo=JST).timestamp(),
            ),
        )
