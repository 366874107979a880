"""No role of any template may do everything, or something to everything, but where AWS knows no narrower way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.infrastructure.cloudformation import ROOT, Template, listed, nested

if TYPE_CHECKING:
    from collections.abc import Iterator

NESTED = sorted(file.name for file in (ROOT / "stacks").iterdir())
# Lists and deliveries, which know no resources, by who may do them to everything.
ABOUT_EVERYTHING = {
    "template.yaml": {
        "CapacityFunctionRole": {
            "bedrock:ListFoundationModels",
            "bedrock:ListProvisionedModelThroughputs",
            "servicequotas:ListServiceQuotas",
        },
        "LifecycleFunctionRole": {"bedrock:ListFoundationModels"},
        "ReconcileFunctionRole": {"cloudwatch:GetMetricData"},
        "ProvisionedThroughputRole": {
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
        },
        "ReleaseRole": {"cloudwatch:DescribeAlarms"},
    },
    "cache.yaml": {"MessageEntersTheNetwork": {"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"}},
    "sagemaker.yaml": {"ExecutionRole": {"ecr:GetAuthorizationToken"}},
    "setup.yaml": {"Deployer": {"cloudformation:GetTemplateSummary"}},
}
MAKES_STACKS = {"Stacks", "StacksMayHaveOptions"}  # CloudFormation's own, whose reach is a matter of test_setup


def policies(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement that grants, with the role or policy that it is in."""
    for name, resource in template.resources.items():
        properties = resource.get("Properties", {})
        documents = [it["PolicyDocument"] for it in properties.get("Policies", [])]
        if resource["Type"] == "AWS::IAM::RolePolicy":
            documents.append(properties["PolicyDocument"])
        for document in documents:
            for statement in document["Statement"]:
                for chosen in _branches(statement):
                    if chosen.get("Effect") == "Allow":
                        yield name, chosen


def _branches(statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A statement, or all that a condition may make of it."""
    if "Fn::If" in statement:
        for branch in statement["Fn::If"][1:]:
            yield from _branches(branch)
    else:
        yield statement


@pytest.fixture(scope="module", params=["template.yaml", *NESTED])
def named(request: pytest.FixtureRequest, template: Template) -> tuple[str, Template]:
    """A template by its file's name."""
    main = request.param == "template.yaml"
    return request.param, template if main else nested(f"stacks/{request.param}")


def test_no_action_is_a_wildcard_and_nothing_is_granted_by_exception(named: tuple[str, Template]) -> None:
    _, template = named
    for name, statement in policies(template):
        assert not {"NotAction", "NotResource"} & set(statement), name
        if name not in MAKES_STACKS:
            assert not [action for action in listed(statement["Action"]) if "*" in action], name


def test_what_is_granted_on_everything_is_what_knows_no_resources(named: tuple[str, Template]) -> None:
    file, template = named
    found: dict[str, set[str]] = {}
    for name, statement in policies(template):
        narrowed = "Condition" in statement
        if "*" in listed(statement["Resource"]) and not narrowed and name not in MAKES_STACKS:
            found.setdefault(name, set()).update(listed(statement["Action"]))
    assert found == ABOUT_EVERYTHING.get(file, {})


def test_managed_policies_are_those_for_logs_and_traces_alone(named: tuple[str, Template]) -> None:
    _, template = named
    held = {
        arn.rpartition("/")[2]
        for role in template.of_type("AWS::IAM::Role").values()
        for managed in role.get("ManagedPolicyArns", [])
        for arn in _arns(managed)
    }
    assert held <= {
        "AWSLambdaBasicExecutionRole",
        "AWSXRayDaemonWriteAccess",
        "AWSXrayWriteOnlyAccess",  # SAM's, for the workflow
        "AmazonAPIGatewayPushToCloudWatchLogs",
    }


def _arns(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case {"Fn::Sub": str(text)}:
            yield text
        case {"Fn::If": [_, then, otherwise]}:
            yield from _arns(then)
            yield from _arns(otherwise)
        case {"Ref": "AWS::NoValue"}:
            return
        case _:
            raise AssertionError(value)
