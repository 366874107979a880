"""Promises of the first-time set-up: who may deploy what, and that it suffices for the template."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.infrastructure.cloudformation import Template, listed, nested
from tests.infrastructure.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

CHOSEN = {"Repository": "owner/manga", "Environment": "staging"}
PREFIX = "mangaassist-staging"
GITHUB = "token.actions.githubusercontent.com"
# What knows no resources, or resources with ids of AWS's own.
ABOUT_EVERYTHING = {
    "cloudformation:GetTemplateSummary",
    "cloudwatch:DescribeAlarms",
    "lambda:GetLayerVersion",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DeleteQueryDefinition",
    "logs:DescribeLogGroups",
    "logs:DescribeQueryDefinitions",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutQueryDefinition",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "states:ValidateStateMachineDefinition",
}
NAMED_BY_OTHERS = (
    "layer:RoutingLayer*",
    "stateMachine:ProvisionedThroughput-*",
    "parameter/CFN-AllowedOriginsParameter-*",
    "transform/Serverless-2016-10-31",
    "role/aws-service-role/*",
    "deploymentconfig:CodeDeployDefault.Lambda*",
)
SERVICES = {  # IAM's prefix of what a type of resource belongs to
    "ApiGateway": "apigateway",
    "ApiGatewayV2": "apigateway",
    "ApplicationAutoScaling": "application-autoscaling",
    "CloudFormation": "cloudformation",
    "CloudWatch": "cloudwatch",
    "CodeDeploy": "codedeploy",
    "DynamoDB": "dynamodb",
    "EC2": "ec2",
    "ElastiCache": "elasticache",
    "Events": "events",
    "IAM": "iam",
    "Lambda": "lambda",
    "Logs": "logs",
    "OpenSearchServerless": "aoss",
    "S3": "s3",
    "SNS": "sns",
    "SQS": "sqs",
    "SSM": "ssm",
    "SageMaker": "sagemaker",
    "Scheduler": "scheduler",
    "StepFunctions": "states",
}


@pytest.fixture(scope="module")
def setup() -> Deployment:
    return Deployment(nested("stacks/setup.yaml"), CHOSEN)


def granted(setup: Deployment, role: str) -> Iterator[dict[str, Any]]:
    for policy in setup.resources[role]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def services(statements: Iterator[dict[str, Any]]) -> set[str]:
    return {action.partition(":")[0] for it in statements for action in listed(it["Action"])}


def test_only_the_environments_jobs_of_the_repository_become_the_deployer(setup: Deployment) -> None:
    (statement,) = setup.resources["Deployer"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{GITHUB}"}
    assert statement["Condition"] == {
        "StringEquals": {
            f"{GITHUB}:aud": "sts.amazonaws.com",
            f"{GITHUB}:sub": "repo:owner/manga:environment:staging",
        }
    }


def test_a_pattern_lets_no_other_repository_in(setup: Deployment) -> None:
    pattern = setup.template.parameters["Repository"]["AllowedPattern"]
    assert re.fullmatch(pattern, "owner/manga")
    for wrong in ("owner/*", "*", "owner/manga:ref:refs/heads/main", "owner"):
        assert not re.fullmatch(pattern, wrong)


def test_the_deployer_changes_nothing_but_by_cloudformation_in_its_environments_stack(setup: Deployment) -> None:
    statements = list(granted(setup, "Deployer"))
    assert services(iter(statements)) == {"cloudformation", "s3", "dynamodb", "iam"}
    for statement in statements:
        actions, resources = listed(statement["Action"]), listed(statement["Resource"])
        assert not [action for action in actions if "*" in action]
        if actions[0].startswith("dynamodb:"):
            assert actions == ["dynamodb:GetItem", "dynamodb:Query"]
            assert resources[0].endswith(f"table/{PREFIX}-SituationTable-*")
        if actions[0].startswith("cloudformation:") and resources != ["*"] and "transform" not in resources[0]:
            assert resources[0].endswith(f":stack/{PREFIX}/*")
        if actions == ["iam:PassRole"]:
            assert resources == ["<Stacks.Arn>"]
            assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}


def test_another_environments_resources_are_out_of_reach(setup: Deployment) -> None:
    for role in ("Deployer", "Stacks"):
        for statement in granted(setup, role):
            for resource in listed(statement["Resource"]):
                if resource == "*":
                    actions = set(listed(statement["Action"]))
                    assert {it for it in actions if not it.startswith("application-autoscaling:")} <= ABOUT_EVERYTHING
                elif not resource.startswith(("<", "arn:aws:apigateway:")):
                    assert PREFIX in resource or resource.endswith(NAMED_BY_OTHERS), resource


def test_nobody_can_pass_a_role_on_but_to_services_that_the_template_names_them_to(setup: Deployment) -> None:
    for role in ("Deployer", "Stacks"):
        for statement in granted(setup, role):
            actions = listed(statement["Action"])
            assert not {"iam:*", "iam:CreateUser", "iam:CreateAccessKey"} & set(actions)
            if {"iam:PassRole", "iam:CreateServiceLinkedRole"} & set(actions):
                assert len(actions) == 1
                assert statement["Condition"]["StringEquals"]


@pytest.mark.parametrize(
    ("templates", "options"),
    [((), "false"), (("cache", "knowledge", "sagemaker"), "true")],
    ids=["as it is", "with all options"],
)
def test_what_a_deployment_makes_its_role_may_make(
    template: Template, templates: tuple[str, ...], options: str
) -> None:
    setup = Deployment(nested("stacks/setup.yaml"), CHOSEN | {"Options": options})
    made = list(template.resources.values())
    for name in templates:
        made = [*made, *nested(f"stacks/{name}.yaml").resources.values()]
    wanted = {SERVICES[it["Type"].split("::")[1]] for it in made}
    may = services(granted(setup, "Stacks"))
    if options == "true":
        may |= services(iter(setup.resources["StacksMayHaveOptions"]["PolicyDocument"]["Statement"]))
    assert wanted <= may


def test_the_inline_policies_fit_into_a_role(setup: Deployment) -> None:
    for role in ("Deployer", "Stacks"):
        policies = [policy["PolicyDocument"] for policy in setup.resources[role]["Policies"]]
        assert len(re.sub(r"\s", "", str(policies))) < 10_240


def test_a_key_of_ones_own_is_used_by_the_two_roles_and_no_other_key(setup: Deployment) -> None:
    key = "arn:aws:kms:ap-northeast-1:123456789012:key/0a1b"
    keyed = Deployment(nested("stacks/setup.yaml"), CHOSEN | {"KmsKeyArn": key})
    assert not [name for name in setup.resources if name.endswith("MayUseKey")]
    for name in ("StacksMayUseKey", "DeployerMayUseKey"):
        policy = keyed.resources[name]
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Resource"] == key
            assert "*" not in "".join(listed(statement["Action"]))
    (reads,) = keyed.resources["DeployerMayUseKey"]["PolicyDocument"]["Statement"]
    assert listed(reads["Action"]) == ["kms:DescribeKey", "kms:Decrypt"]


def test_functions_on_instances_may_be_deployed_with_the_options() -> None:
    optional = Deployment(nested("stacks/setup.yaml"), CHOSEN | {"Options": "true"})
    statements = optional.resources["StacksMayHaveOptions"]["PolicyDocument"]["Statement"]
    (passes,) = (it for it in statements if "lambda:PassCapacityProvider" in listed(it["Action"]))
    assert passes["Resource"].endswith(":capacity-provider:*")


def test_artifacts_are_private_encrypted_and_travel_by_tls(setup: Deployment) -> None:
    bucket = setup.resources["Artifacts"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (statement,) = setup.resources["ArtifactsPolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_second_environment_of_the_account_makes_no_second_provider() -> None:
    existing = Deployment(nested("stacks/setup.yaml"), CHOSEN | {"OidcProvider": "existing"})
    assert not existing.of_type("AWS::IAM::OIDCProvider")
