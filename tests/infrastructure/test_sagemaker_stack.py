"""Promises of stacks/sagemaker.yaml as a whole: what is made, refused, named and allowed."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest

from tests.infrastructure.cloudformation import role_named_by
from tests.infrastructure.deployment import STACK_ID, Deployment, statements
from tests.infrastructure.sagemaker import (
    ACCOUNT,
    CHOICES,
    ECR,
    LOGS,
    LONGEST,
    OF_EVERYTHING,
    REGION,
    SAGEMAKER_NAME,
    TYPES,
    container,
    granted,
    the,
    variant,
)

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template
    from tests.infrastructure.sagemaker import Deploy


# -- deployment --------------------------------------------------------------------------------------------------------


def test_enabling_it_is_all_that_a_first_endpoint_needs(template: Template, deploy: Deploy) -> None:
    assert Deployment(template, {"EnableSageMaker": "true"}).refusals() == []
    made = deploy()
    assert set(made.resources) >= {"MainModel", "EndpointConfig", "Endpoint", "ExecutionRole", "Instances"}
    assert "SecondVariantModel" not in made.resources
    assert variant(made)["InstanceType"] == "ml.g5.2xlarge"
    assert container(made)["Environment"]["HF_MODEL_ID"] == "Qwen/Qwen2.5-7B-Instruct"
    assert "HF_TOKEN" not in container(made)["Environment"]


@pytest.mark.parametrize("chosen", CHOICES)
def test_nothing_refers_to_what_is_not_made_in_whichever_shape(deploy: Deploy, chosen: dict[str, str]) -> None:
    made = deploy(**chosen)  # resolving it fails at a reference that leads nowhere
    assert made.resources
    assert made.outputs["Endpoint"] == "<Endpoint.EndpointName>"
    assert ("Component" in made.outputs) == ("ScaleToZero" in chosen)
    assert made.waits_for_what_is_made()
    assert list(statements(made))


@pytest.mark.parametrize("zero", ["true", "false"])
def test_functions_are_told_the_endpoint_and_a_component_where_there_is_one(template: Template, zero: str) -> None:
    made = Deployment(template, {"EnableSageMaker": "true", "ScaleToZero": zero})
    told = made.of_type("AWS::Lambda::Function")["MessageFunction"]["Environment"]["Variables"]
    assert told["SAGEMAKER_ENDPOINT"] == "<SageMakerStack.Outputs.Endpoint>"
    assert told["SAGEMAKER_COMPONENT"] == ("<SageMakerStack.Outputs.Component>" if zero == "true" else "")
    assert told["SAGEMAKER_REGION"] == REGION
    assert ("SageMakerComponent" in made.outputs) == (zero == "true")


def test_nothing_is_told_of_a_component_without_an_endpoint(template: Template) -> None:
    made = Deployment(template, {"ScaleToZero": "true"})
    told = made.of_type("AWS::Lambda::Function")["MessageFunction"]["Environment"]["Variables"]
    assert (told["SAGEMAKER_ENDPOINT"], told["SAGEMAKER_COMPONENT"]) == ("", "")
    assert not {"SageMakerEndpoint", "SageMakerComponent", "SageMakerExecutionRole"} & set(made.outputs)


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"SageMakerInstanceType": "ml.inf2.xlarge"}, "needs a SageMakerImage"),
        (
            {
                "SageMakerInstanceType": "ml.inf2.xlarge",
                "SageMakerImage": "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/inf:1",
                "SageMakerEngine": "tgi",
            },
            "needs SageMakerEngine=lmi",
        ),
        ({"SageMakerSecond": "ab"}, "needs SageMakerSecondModel"),
        ({"SageMakerSecond": "shadow"}, "needs SageMakerSecondModel"),
        ({"SageMakerSecond": "ab", "SageMakerSecondModel": "a/b", "ScaleToZero": "true"}, "no second variant"),
        (
            {
                "SageMakerSecond": "ab",
                "SageMakerSecondModel": "a/b",
                "SageMakerUpdate": "rolling",
                "SageMakerMinimumInstances": "2",
            },
            "no second variant",
        ),
        ({"SageMakerUpdate": "rolling"}, "needs SageMakerMinimumInstances=2"),
        ({"SageMakerMinimumInstances": "4"}, "may not be over SageMakerPeakMinimumInstances"),
        ({"SageMakerMaximumInstances": "1"}, "may not be over SageMakerMaximumInstances"),
    ],
)
def test_what_sagemaker_would_refuse_late_is_refused_at_once(
    template: Template, chosen: dict[str, str], reason: str
) -> None:
    (refusal,) = Deployment(template, {"EnableSageMaker": "true", **chosen}).refusals()
    assert reason in refusal


def test_instances_outside_of_the_peak_in_it_and_at_most_are_never_out_of_order(template: Template) -> None:
    names = ("SageMakerMinimumInstances", "SageMakerPeakMinimumInstances", "SageMakerMaximumInstances")
    for counts in itertools.product(*(template.parameters[name]["AllowedValues"] for name in names)):
        refused = Deployment(template, dict(zip(names, map(str, counts), strict=True))).refusals()
        assert bool(refused) == (list(counts) != sorted(counts))


@pytest.mark.parametrize("chosen", [{}, {"ScaleToZero": "true"}])
def test_names_fit_into_what_sagemaker_allows(sagemaker: Template, deploy: Deploy, chosen: dict[str, str]) -> None:
    made = Deployment(sagemaker, {**deploy(**chosen).chosen, "Name": LONGEST})
    names = [the(made, "SageMaker::Endpoint")["EndpointName"]]
    names += [it["InferenceComponentName"] for it in made.of_type("AWS::SageMaker::InferenceComponent").values()]
    for name in names:
        assert re.fullmatch(SAGEMAKER_NAME, name)
        assert name == LONGEST
    # what CloudFormation can only replace must not keep its name, or the new one finds it taken
    assert all("ModelName" not in it for it in made.of_type("AWS::SageMaker::Model").values())
    assert "EndpointConfigName" not in the(made, "SageMaker::EndpointConfig")


def test_another_type_or_shape_makes_an_endpoint_anew_because_a_scaled_one_refuses_them(deploy: Deploy) -> None:
    part = STACK_ID.split("/")[2].split("-")[0]
    names = {deploy(SageMakerInstanceType=it).chosen["Name"] for it in TYPES} | {
        deploy(ScaleToZero="true").chosen["Name"]
    }
    assert len(names) == len(TYPES) + 1
    assert all(name.startswith(f"model-{part}-") for name in names)


# -- rights ------------------------------------------------------------------------------------------------------------


def test_sagemaker_alone_takes_the_execution_role(deploy: Deploy) -> None:
    (trust,) = the(deploy(), "IAM::Role")["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "sagemaker.amazonaws.com"}, "sts:AssumeRole")
    assert "ManagedPolicyArns" not in the(deploy(), "IAM::Role")


@pytest.mark.parametrize("chosen", CHOICES)
def test_only_what_knows_no_resources_is_granted_on_everything(deploy: Deploy, chosen: dict[str, str]) -> None:
    may = granted(deploy(**chosen))
    assert {action for action, resources in may.items() if "*" in resources} == OF_EVERYTHING
    assert not [action for action in may if "*" in action]
    assert set(may) - OF_EVERYTHING - ECR - LOGS <= {"s3:GetObject", "s3:ListBucket", "cloudwatch:DescribeAlarms"}


def test_metrics_can_be_put_into_sagemakers_namespaces_alone(deploy: Deploy) -> None:
    (statement,) = (it for it in statements(deploy()) if it["Action"] == "cloudwatch:PutMetricData")
    names = statement["Condition"]["StringLike"]["cloudwatch:namespace"]
    assert names == ["AWS/SageMaker", "/aws/sagemaker/*"]


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("", f"arn:aws:ecr:{REGION}:763104351884:repository/djl-inference"),
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com/a:1", "arn:aws:ecr:us-east-1:111122223333:repository/a"),
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com/a/b.c:1", "arn:aws:ecr:us-east-1:111122223333:repository/a/b.c"),
        (
            f"111122223333.dkr.ecr.us-east-1.amazonaws.com/a/b@sha256:{'0' * 64}",
            "arn:aws:ecr:us-east-1:111122223333:repository/a/b",
        ),
    ],
)
def test_images_are_pulled_from_exactly_the_repository_in_use(deploy: Deploy, image: str, repository: str) -> None:
    may = granted(deploy(SageMakerImage=image))
    assert {frozenset(may[action]) for action in ECR} == {frozenset([repository])}
    second = {"SageMakerSecond": "ab", "SageMakerSecondModel": "a/b", "SageMakerSecondImage": image}
    main = f"arn:aws:ecr:{REGION}:763104351884:repository/djl-inference"
    assert granted(deploy(**second))["ecr:BatchGetImage"] == {main, repository}


@pytest.mark.parametrize(
    ("model", "objects", "buckets"),
    [
        ("a/b", set(), set()),
        ("s3://bucket/", {"arn:aws:s3:::bucket/*"}, {"arn:aws:s3:::bucket"}),
        ("s3://bucket/models/manga/", {"arn:aws:s3:::bucket/models/manga/*"}, {"arn:aws:s3:::bucket"}),
        ("s3://bucket/m/manga.tar.gz", {"arn:aws:s3:::bucket/m/manga.tar.gz"}, {"arn:aws:s3:::bucket"}),
    ],
)
def test_the_artifact_is_read_and_nothing_else_in_s3(
    deploy: Deploy, model: str, objects: set[str], buckets: set[str]
) -> None:
    may = granted(deploy(SageMakerModel=model))
    assert (may.get("s3:GetObject", set()), may.get("s3:ListBucket", set())) == (objects, buckets)
    second = granted(deploy(SageMakerSecond="ab", SageMakerSecondModel=model))
    assert (second.get("s3:GetObject", set()), second.get("s3:ListBucket", set())) == (objects, buckets)


def test_containers_write_their_own_log(deploy: Deploy) -> None:
    may = granted(deploy())
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:<ContainersLogGroup>"
    assert {frozenset(may[action]) for action in LOGS} == {frozenset([group, "<ContainersLogGroup.Arn>"])}


def test_the_message_function_alone_may_ask_exactly_this_model(sagemaker: Template, deploy: Deploy) -> None:
    ((_, attached),) = sagemaker.of_type("AWS::IAM::RolePolicy").items()
    assert role_named_by(attached) == "MessageRole"
    for zero in ("true", "false"):
        made = deploy(ScaleToZero=zero)
        (statement,) = the(made, "IAM::RolePolicy")["PolicyDocument"]["Statement"]
        assert statement["Action"] == "sagemaker:InvokeEndpointWithResponseStream"
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
        wanted = {f"{arn}:endpoint/{the(made, 'SageMaker::Endpoint')['EndpointName']}"}
        for component in made.of_type("AWS::SageMaker::InferenceComponent").values():
            wanted.add(f"{arn}:inference-component/{component['InferenceComponentName']}")
        assert set(statement["Resource"]) == wanted
