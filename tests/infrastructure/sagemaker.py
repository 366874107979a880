"""The endpoint's stack in the shapes that its parameters give it, and ways to look at it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.infrastructure.cloudformation import PSEUDO_PARAMETERS, Template, listed
from tests.infrastructure.deployment import Deployment

type Deploy = Callable[..., Deployment]

REGION, ACCOUNT = PSEUDO_PARAMETERS["AWS::Region"], PSEUDO_PARAMETERS["AWS::AccountId"]
LONGEST = "n" * 48  # what the parameter Name allows
SAGEMAKER_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
SAGEMAKER_LIMIT_S = 60  # for a container's answer
# Accelerators of the instance types, and what a model is split over: GPUs, or the two cores of each Inferentia chip.
TYPES = {
    "ml.g5.xlarge": (1, 1),
    "ml.g5.2xlarge": (1, 1),
    "ml.g5.12xlarge": (4, 4),
    "ml.p4d.24xlarge": (8, 8),
    "ml.inf2.xlarge": (1, 2),
}
# Which dimension each predefined metric is of; each brings the one statistic that is right for it.
PREDEFINED = {
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": "sagemaker:variant:DesiredInstanceCount",
    "SageMakerVariantInvocationsPerInstance": "sagemaker:variant:DesiredInstanceCount",
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": (
        "sagemaker:inference-component:DesiredCopyCount"
    ),
    "SageMakerInferenceComponentInvocationsPerCopy": "sagemaker:inference-component:DesiredCopyCount",
}
# Statistics that mean something, of what AWS measures of an endpoint.
STATISTICS = {
    "Invocation5XXErrors": {"Sum"},
    "ModelLatency": {"p99"},
    "NoCapacityInvocationFailures": {"Sum"},
    "Invocations": {"Sum"},
    "InvocationsPerInstance": {"Sum"},
    "InvocationsPerCopy": {"Sum"},
}
ECR = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
LOGS = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"}
OF_EVERYTHING = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}  # they know no resources
ROLE = f"arn:aws:iam::{ACCOUNT}:role/message"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:huggingface-Ab12Cd"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SHAPES: dict[str, dict[str, str]] = {
    "instances": {},
    "zero": {"ScaleToZero": "true"},
    "ab": {"SageMakerSecond": "ab", "SageMakerSecondModel": "a/b"},
    "shadow": {"SageMakerSecond": "shadow", "SageMakerSecondModel": "s3://bucket/b/"},
}
MODELS = {"hub": "a/b", "prefix": "s3://bucket/models/manga/", "archive": "s3://bucket/models/manga.tar.gz"}
REST: dict[str, dict[str, str]] = {
    "lmi": {},
    "tgi": {"SageMakerEngine": "tgi", "SageMakerTokenSecret": SECRET, "SageMakerKmsKey": KEY},
    "inferentia": {"SageMakerInstanceType": "ml.inf2.xlarge", "SageMakerScalingMetric": "Invocations"},
    "rolling": {"SageMakerUpdate": "rolling"},
}
CHOICES = [
    pytest.param({**SHAPES[shape], "SageMakerModel": MODELS[model], **REST[rest]}, id=f"{shape}-{model}-{rest}")
    for shape, model, rest in itertools.product(SHAPES, MODELS, REST)
]


def deployed(template: Template, sagemaker: Template, **chosen: str) -> Deployment:
    """The nested stack as the main template makes it with EnableSageMaker=true and what is chosen besides."""
    main = Deployment(template, {"EnableSageMaker": "true", **chosen})
    parameters = main.of_type("AWS::CloudFormation::Stack")["SageMakerStack"]["Parameters"]
    for name, value in parameters.items():
        if not str(value).startswith("<"):
            _accepts(sagemaker.parameters[name], str(value))
    return Deployment(sagemaker, {**{name: str(value) for name, value in parameters.items()}, "MessageRole": ROLE})


def the(deployment: Deployment, kind: str) -> dict[str, Any]:
    """The properties of the one resource of a type."""
    ((_, properties),) = deployment.of_type(f"AWS::{kind}").items()
    return properties


def variant(deployment: Deployment) -> dict[str, Any]:
    """The main variant."""
    main: dict[str, Any] = the(deployment, "SageMaker::EndpointConfig")["ProductionVariants"][0]
    return main


def container(deployment: Deployment, model: str = "MainModel") -> dict[str, Any]:
    primary: dict[str, Any] = deployment.resources[model]["PrimaryContainer"]
    return primary


def granted(deployment: Deployment) -> dict[str, set[str]]:
    """The actions of the execution role, and what they may be done to."""
    actions: dict[str, set[str]] = {}
    for it in the(deployment, "IAM::Role")["Policies"][0]["PolicyDocument"]["Statement"]:
        assert it["Effect"] == "Allow"
        for action in listed(it["Action"]):
            actions.setdefault(action, set()).update(listed(it["Resource"]))
    return actions


def policies(deployment: Deployment) -> dict[str, dict[str, Any]]:
    return deployment.of_type("AWS::ApplicationAutoScaling::ScalingPolicy")


def measures(alarm: dict[str, Any]) -> list[tuple[str, str, list[dict[str, str]]]]:
    """The metrics of an alarm with their statistics and dimensions."""
    if "Metrics" not in alarm:
        return [(alarm["MetricName"], alarm.get("Statistic") or alarm["ExtendedStatistic"], alarm["Dimensions"])]
    of_aws = [(it["MetricStat"]["Metric"], it["MetricStat"]["Stat"]) for it in alarm["Metrics"] if "MetricStat" in it]
    return [(metric["MetricName"], statistic, metric["Dimensions"]) for metric, statistic in of_aws]


def _accepts(parameter: dict[str, Any], value: str) -> None:
    if "AllowedValues" in parameter:
        assert value in map(str, parameter["AllowedValues"])
    if "AllowedPattern" in parameter:
        assert re.fullmatch(parameter["AllowedPattern"], value), (parameter, value)
    if "MinValue" in parameter:
        assert parameter["MinValue"] <= int(value) <= parameter["MaxValue"]
