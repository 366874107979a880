"""The message function on Lambda Managed Instances: the same function elsewhere, and only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.infrastructure.deployment import Deployment

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template

PROVIDER = "arn:aws:lambda:ap-northeast-1:123456789012:capacity-provider:turns"
USUAL, HOSTED = "MessageFunction", "MessageOnInstancesFunction"
OF_PLACE = {  # what the place decides, and the description
    "CapacityProviderConfig",
    "Description",
    "MemorySize",
    "ReservedConcurrentExecutions",
    "SnapStart",
    "VpcConfig",
}


@pytest.fixture
def hosted(template: Template) -> Deployment:
    chosen = {"CapacityProvider": PROVIDER, "TurnsPerEnvironment": "32", "EnvironmentMemory": "8192"}
    return Deployment(template, chosen)


def served_by(deployment: Deployment) -> str:
    """The alias that questions are sent to."""
    uri = deployment.of_type("AWS::ApiGatewayV2::Integration")["ChatApiDefaultIntegration"]["IntegrationUri"]
    alias, _, _ = str(uri).partition(":function:<")[2].partition(">:live/")
    return alias


def test_without_a_provider_there_are_no_instances(template: Template) -> None:
    plain = Deployment(template)
    assert HOSTED not in plain.resources
    assert served_by(plain) == f"{USUAL}Aliaslive"


def test_with_one_every_question_goes_there_and_the_gateway_may_call_it(hosted: Deployment) -> None:
    assert served_by(hosted) == f"{HOSTED}Aliaslive"
    permission = hosted.of_type("AWS::Lambda::Permission")["ChatApiDefaultPermission"]
    assert permission["FunctionName"].endswith(f":function:<{HOSTED}Aliaslive>:live")
    stacks = hosted.of_type("AWS::CloudFormation::Stack")
    assert {stacks[name]["Parameters"]["MessageFunction"] for name in ("AlarmsStack", "DashboardStack")} == {
        f"<{HOSTED}>"
    }


def test_it_is_the_message_function_in_everything_but_its_place(hosted: Deployment) -> None:
    functions = hosted.of_type("AWS::Lambda::Function")
    usual, elsewhere = functions[USUAL], functions[HOSTED]
    for name in (set(usual) | set(elsewhere)) - OF_PLACE:
        assert usual[name] == elsewhere[name], name
    assert elsewhere["MemorySize"] == "8192"
    assert elsewhere["CapacityProviderConfig"] == {
        "LambdaManagedInstancesCapacityProviderConfig": {
            "CapacityProviderArn": PROVIDER,
            "PerExecutionEnvironmentMaxConcurrency": "32",
        }
    }


@pytest.mark.parametrize(
    ("chosen", "part"),
    [
        ({"ColdStart": "snapstart"}, "ColdStart"),
        ({"ColdStart": "provisioned"}, "ColdStart"),
        ({"EnableCache": "true", "AnswerCache": "redis"}, "EnableCache"),
    ],
)
def test_what_instances_cannot_have_is_refused_before_anything_is_made(
    template: Template, chosen: dict[str, str], part: str
) -> None:
    assert Deployment(template, chosen).refusals() == []
    (refusal,) = Deployment(template, chosen | {"CapacityProvider": PROVIDER}).refusals()
    assert refusal.startswith("CapacityProvider")
    assert part in refusal
