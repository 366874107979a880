"""Promises of stacks/sagemaker.yaml: a model of our own that is served, scaled, watched and paid for as meant."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.routing import policy
from tests.infrastructure.cloudformation import PSEUDO_PARAMETERS, Template, listed, role_named_by
from tests.infrastructure.deployment import STACK_ID, Deployment, statements

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.fixture
def deploy(template: Template, sagemaker: Template) -> Deploy:
    """The nested stack as the main template makes it with EnableSageMaker=true and what is chosen besides."""

    def deployed(**chosen: str) -> Deployment:
        main = Deployment(template, {"EnableSageMaker": "true", **chosen})
        parameters = main.of_type("AWS::CloudFormation::Stack")["SageMakerStack"]["Parameters"]
        for name, value in parameters.items():
            if not str(value).startswith("<"):
                _accepts(sagemaker.parameters[name], str(value))
        return Deployment(sagemaker, {**{name: str(value) for name, value in parameters.items()}, "MessageRole": ROLE})

    return deployed


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
        ({"SageMakerSecond": "ab"}, "needs SageMakerSecondModel"),
        ({"SageMakerSecond": "shadow"}, "needs SageMakerSecondModel"),
        ({"SageMakerSecond": "ab", "SageMakerSecondModel": "a/b", "ScaleToZero": "true"}, "no second variant"),
        ({"SageMakerSecond": "ab", "SageMakerSecondModel": "a/b", "SageMakerUpdate": "rolling"}, "no second variant"),
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


# -- what is served ----------------------------------------------------------------------------------------------------


def test_instance_types_are_the_same_wherever_they_are_named(template: Template, sagemaker: Template) -> None:
    assert template.parameters["SageMakerInstanceType"]["AllowedValues"] == list(TYPES)
    assert sagemaker.parameters["InstanceType"]["AllowedValues"] == list(TYPES)
    assert list(sagemaker.document["Mappings"]["Instances"]) == list(TYPES)


@pytest.mark.parametrize("engine", ["lmi", "tgi"])
@pytest.mark.parametrize("kind", TYPES)
def test_a_model_is_split_over_all_accelerators_of_its_instance(deploy: Deploy, engine: str, kind: str) -> None:
    chosen = {"SageMakerSecond": "ab", "SageMakerSecondModel": "a/b"}
    made = deploy(SageMakerEngine=engine, SageMakerInstanceType=kind, **chosen)
    variable = {"lmi": "TENSOR_PARALLEL_DEGREE", "tgi": "SM_NUM_GPUS"}[engine]
    for model in ("MainModel", "SecondVariantModel"):
        assert container(made, model)["Environment"][variable] == str(TYPES[kind][1])


@pytest.mark.parametrize("kind", TYPES)
def test_a_copy_takes_a_whole_instance_and_no_more_memory_than_it_has(deploy: Deploy, kind: str) -> None:
    made = deploy(SageMakerInstanceType=kind, ScaleToZero="true")
    needs = the(made, "SageMaker::InferenceComponent")["Specification"]["ComputeResourceRequirements"]
    assert needs["NumberOfAcceleratorDevicesRequired"] == str(TYPES[kind][0])
    gigabytes = {"ml.g5.xlarge": 16, "ml.g5.2xlarge": 32, "ml.g5.12xlarge": 192, "ml.p4d.24xlarge": 1152}
    assert int(needs["MinMemoryRequiredInMb"]) == gigabytes.get(kind, 16) * 1024 // 2


def test_lmi_runs_vllms_own_loop_on_gpus(deploy: Deploy) -> None:
    assert container(deploy())["Environment"] == {
        "HF_MODEL_ID": "Qwen/Qwen2.5-7B-Instruct",
        "OPTION_ASYNC_MODE": "true",
        "OPTION_ENTRYPOINT": "djl_python.lmi_vllm.vllm_async_service",
        "OPTION_ROLLING_BATCH": "disable",
        "TENSOR_PARALLEL_DEGREE": "1",
        "OPTION_MAX_MODEL_LEN": "8192",
        "OPTION_DTYPE": "bf16",
        "OPTION_MODEL_LOADING_TIMEOUT": "1800",
        "SERVING_FAIL_FAST": "true",
    }
    on_inferentia = container(deploy(SageMakerInstanceType="ml.inf2.xlarge"))["Environment"]
    assert on_inferentia["OPTION_ROLLING_BATCH"] == "vllm"
    assert not {"OPTION_ASYNC_MODE", "OPTION_ENTRYPOINT"} & set(on_inferentia)


@pytest.mark.parametrize("context", [4096, 8192, 16384, 32768])
def test_tgi_speaks_messages_and_keeps_room_for_the_answer(deploy: Deploy, context: int) -> None:
    environment = container(deploy(SageMakerEngine="tgi", SageMakerContextTokens=str(context)))["Environment"]
    assert environment == {
        "HF_MODEL_ID": "Qwen/Qwen2.5-7B-Instruct",
        "SM_NUM_GPUS": "1",
        "MAX_INPUT_TOKENS": str(context - 1024),
        "MAX_TOTAL_TOKENS": str(context),
        "MESSAGES_API_ENABLED": "true",
    }


@pytest.mark.parametrize("engine", ["lmi", "tgi"])
@pytest.mark.parametrize("model", ["a/b", "s3://bucket/models/manga/", "s3://bucket/models/manga.tar.gz"])
def test_a_second_variant_is_served_exactly_as_the_main_one(deploy: Deploy, engine: str, model: str) -> None:
    chosen = {"SageMakerModel": model, "SageMakerSecond": "ab", "SageMakerSecondModel": model}
    made = deploy(SageMakerEngine=engine, SageMakerTokenSecret=SECRET, **chosen)
    assert made.resources["MainModel"] == made.resources["SecondVariantModel"]


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", None),
        ("s3://bucket/models/manga/", ("S3Prefix", "None")),
        ("s3://bucket/", ("S3Prefix", "None")),
        ("s3://bucket/models/manga.tar.gz", ("S3Object", "Gzip")),
    ],
)
def test_a_model_comes_from_where_it_is_and_only_one_of_the_hub_may_use_the_network(
    deploy: Deploy, model: str, source: tuple[str, str] | None
) -> None:
    made = deploy(SageMakerModel=model)
    container_of_it = container(made)
    assert the(made, "SageMaker::Model")["EnableNetworkIsolation"] is (source is not None)
    if source is None:
        assert "ModelDataSource" not in container_of_it
        assert container_of_it["Environment"]["HF_MODEL_ID"] == model
    else:
        data = container_of_it["ModelDataSource"]["S3DataSource"]
        assert (data["S3Uri"], data["S3DataType"], data["CompressionType"]) == (model, *source)
        assert container_of_it["Environment"]["HF_MODEL_ID"] == "/opt/ml/model"
        zero = the(deploy(SageMakerModel=model, ScaleToZero="true"), "SageMaker::EndpointConfig")
        assert zero["EnableNetworkIsolation"] is True


@pytest.mark.parametrize(
    "model", ["", "manga", "s3://bucket/manga", "s3://bucket", "https://example.com/m.tar.gz", "a/b/c"]
)
def test_what_is_neither_of_the_hub_nor_an_artifact_is_refused(
    template: Template, sagemaker: Template, model: str
) -> None:
    for parameter in (template.parameters["SageMakerModel"], sagemaker.parameters["Model"]):
        assert not re.fullmatch(parameter["AllowedPattern"], model)


@pytest.mark.parametrize("engine", ["lmi", "tgi"])
def test_the_image_is_the_engines_own_unless_another_is_given(deploy: Deploy, engine: str) -> None:
    registry = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/"
    repository = {"lmi": "djl-inference:0.36.0-lmi20.0.0-cu128", "tgi": "huggingface-pytorch-tgi-inference:2.7.0-tgi3."}
    assert container(deploy(SageMakerEngine=engine))["Image"].startswith(registry + repository[engine])
    ours, other = (
        f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}" for name in ("ours:1", f"other@sha256:{'0' * 64}")
    )
    chosen = {"SageMakerImage": ours, "SageMakerSecond": "ab", "SageMakerSecondModel": "a/b"}
    assert container(deploy(**chosen), "SecondVariantModel")["Image"] == ours
    assert container(deploy(**chosen, SageMakerSecondImage=other), "SecondVariantModel")["Image"] == other


def test_a_token_is_never_a_parameter_and_stands_nowhere_but_in_its_secret(deploy: Deploy, sagemaker: Template) -> None:
    for engine in ("lmi", "tgi"):
        environment = container(deploy(SageMakerEngine=engine, SageMakerTokenSecret=SECRET))["Environment"]
        assert environment["HF_TOKEN"] == f"{{{{resolve:secretsmanager:{SECRET}:SecretString}}}}"
    assert not re.fullmatch(sagemaker.parameters["TokenSecret"]["AllowedPattern"], "hf_abcdefghijklmnopqrstuvwxyz")


# -- the endpoint ------------------------------------------------------------------------------------------------------


def test_what_shoppers_say_is_not_captured(sagemaker: Template) -> None:
    text = json.dumps(sagemaker.resources)
    assert "DataCaptureConfig" not in text.replace('"VariantPropertyType": "DataCaptureConfig"', "")
    assert "CoreDump" not in text
    assert "EnableSSMAccess" not in text


@pytest.mark.parametrize("zero", ["true", "false"])
def test_a_large_model_has_the_time_to_be_downloaded_and_to_start(
    deploy: Deploy, template: Template, zero: str
) -> None:
    made = deploy(ScaleToZero=zero)
    holder = variant(made)
    if zero == "true":
        assert not {it for it in holder if it.endswith("TimeoutInSeconds")}  # it holds no model
        holder = the(made, "SageMaker::InferenceComponent")["Specification"]["StartupParameters"]
    assert holder["ModelDataDownloadTimeoutInSeconds"] == "1800"
    assert holder["ContainerStartupHealthCheckTimeoutInSeconds"] == "1800"
    bounds = template.parameters["SageMakerStartupSeconds"]
    assert (bounds["MinValue"], bounds["MaxValue"]) == (600, 3600)  # SageMaker allows no more


def test_turns_end_before_sagemaker_gives_a_container_up(functions: dict[str, dict[str, Any]]) -> None:
    assert functions["MessageFunction"]["Timeout"] < SAGEMAKER_LIMIT_S


def test_a_bad_update_is_rolled_back_before_the_old_instances_are_gone(deploy: Deploy, sagemaker: Template) -> None:
    longest_s = 2 * sagemaker.parameters["StartupSeconds"]["MaxValue"]
    update = the(deploy(), "SageMaker::Endpoint")["DeploymentConfig"]
    assert update["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "<ErrorsAlarm>"}]}
    assert "RollingUpdatePolicy" not in update
    blue_green = update["BlueGreenUpdatePolicy"]
    assert blue_green["TrafficRoutingConfiguration"] == {"Type": "ALL_AT_ONCE"}  # a canary needs two instances
    assert blue_green["TerminationWaitInSeconds"] >= 300
    assert blue_green["MaximumExecutionTimeoutInSeconds"] > longest_s + blue_green["TerminationWaitInSeconds"]
    rolling = the(deploy(SageMakerUpdate="rolling"), "SageMaker::Endpoint")["DeploymentConfig"]
    assert set(rolling) == {"RollingUpdatePolicy", "AutoRollbackConfiguration"}
    assert rolling["RollingUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] > 2 * longest_s
    component = the(deploy(ScaleToZero="true"), "SageMaker::InferenceComponent")
    assert component["DeploymentConfig"]["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "<ErrorsAlarm>"}]}


def test_an_update_keeps_the_instances_of_the_hour_and_takes_over_the_weights(deploy: Deploy) -> None:
    endpoint = the(deploy(), "SageMaker::Endpoint")
    assert endpoint["RetainAllVariantProperties"] is True
    excluded = {it["VariantPropertyType"] for it in endpoint["ExcludeRetainedVariantProperties"]}
    assert excluded == {"DesiredWeight", "DataCaptureConfig"}


def test_ab_shares_questions_and_watches_both_variants(deploy: Deploy) -> None:
    made = deploy(SageMakerSecond="ab", SageMakerSecondModel="a/b", SageMakerSecondWeight="25")
    config = the(made, "SageMaker::EndpointConfig")
    weights = {it["VariantName"]: int(it["InitialVariantWeight"]) for it in config["ProductionVariants"]}
    assert weights == {"main": 100, "second": 25}
    assert "ShadowProductionVariants" not in config
    alarms = the(made, "SageMaker::Endpoint")["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [it["AlarmName"] for it in alarms] == ["<ErrorsAlarm>", "<SecondErrorsAlarm>"]
    assert granted(made)["cloudwatch:DescribeAlarms"] == {"<ErrorsAlarm.Arn>", "<SecondErrorsAlarm.Arn>"}


def test_a_shadow_gets_its_percentage_of_copies_and_answers_nobody(deploy: Deploy) -> None:
    config = the(
        deploy(SageMakerSecond="shadow", SageMakerSecondModel="a/b", SageMakerSecondWeight="25"),
        "SageMaker::EndpointConfig",
    )
    (main,) = config["ProductionVariants"]
    (shadow,) = config["ShadowProductionVariants"]
    assert (main["VariantName"], main["InitialVariantWeight"]) == ("main", 100)
    assert (shadow["VariantName"], int(shadow["InitialVariantWeight"])) == ("second", 25)


def test_a_second_variant_can_be_taken_away_because_nothing_scales_it(deploy: Deploy) -> None:
    made = deploy(SageMakerSecond="ab", SageMakerSecondModel="a/b")
    assert the(made, "ApplicationAutoScaling::ScalableTarget")["ResourceId"].endswith("/variant/main")


def test_a_key_and_a_machine_image_are_used_when_they_are_given_and_only_then(deploy: Deploy) -> None:
    version = "al2023-ami-sagemaker-inference-gpu-4-1"
    given = deploy(SageMakerKmsKey=KEY, SageMakerAmiVersion=version)
    assert the(given, "SageMaker::EndpointConfig")["KmsKeyId"] == KEY
    assert variant(given)["InferenceAmiVersion"] == version
    assert "KmsKeyId" not in the(deploy(), "SageMaker::EndpointConfig")
    assert "InferenceAmiVersion" not in variant(deploy())


def test_only_instances_without_local_disks_ask_for_a_volume(deploy: Deploy) -> None:
    assert {it for it in TYPES if "VolumeSizeInGB" in variant(deploy(SageMakerInstanceType=it))} == {"ml.inf2.xlarge"}


@pytest.mark.parametrize(("zero", "kind"), [("true", "InferenceComponents"), ("false", "Endpoints")])
def test_the_containers_logs_go_away_in_time(deploy: Deploy, zero: str, kind: str) -> None:
    made = deploy(ScaleToZero=zero)
    group = the(made, "Logs::LogGroup")
    assert group == {"LogGroupName": f"/aws/sagemaker/{kind}/{made.chosen['Name']}", "RetentionInDays": "30"}
    assert made.template.resources["Endpoint"]["DependsOn"] == "ContainersLogGroup"


# -- scaling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["ConcurrentRequests", "Invocations"])
@pytest.mark.parametrize("zero", ["true", "false"])
def test_load_is_tracked_by_a_predefined_metric_of_what_is_scaled(deploy: Deploy, zero: str, metric: str) -> None:
    made = deploy(ScaleToZero=zero, SageMakerScalingMetric=metric)
    target = the(made, "ApplicationAutoScaling::ScalableTarget")
    (tracking,) = (it for it in policies(made).values() if it["PolicyType"] == "TargetTrackingScaling")
    chosen = tracking["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"][
        "PredefinedMetricType"
    ]
    assert PREDEFINED[chosen] == target["ScalableDimension"]
    assert metric in chosen
    name = made.chosen["Name"]
    resources = {"true": f"inference-component/{name}", "false": "endpoint/<Endpoint.EndpointName>/variant/main"}
    assert target["ResourceId"] == resources[zero]
    assert target["ServiceNamespace"] == "sagemaker"


def test_no_metric_is_averaged_that_can_only_be_summed(sagemaker: Template) -> None:
    assert "CustomizedMetricSpecification" not in json.dumps(sagemaker.document)


def test_concurrency_is_what_instances_are_counted_by_unless_told_otherwise(deploy: Deploy) -> None:
    (tracking,) = policies(deploy()).values()
    metric = tracking["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]
    assert metric == {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"}


@pytest.mark.parametrize(("zero", "least"), [("true", "0"), ("false", "1")])
def test_it_grows_within_a_minute_shrinks_after_five_and_never_over_its_limit(
    deploy: Deploy, zero: str, least: str
) -> None:
    made = deploy(ScaleToZero=zero)
    target = the(made, "ApplicationAutoScaling::ScalableTarget")
    assert (str(target["MinCapacity"]), target["MaxCapacity"]) == (least, "4")
    tracking = policies(made)["CopiesFollowLoad" if zero == "true" else "InstancesFollowLoad"]
    configuration = tracking["TargetTrackingScalingPolicyConfiguration"]
    assert (configuration["ScaleOutCooldown"], configuration["ScaleInCooldown"]) == (60, 300)
    assert configuration["TargetValue"] == "8"


@pytest.mark.parametrize(("zero", "least"), [("true", "0"), ("false", "1")])
def test_instances_are_there_half_an_hour_before_the_evening_in_japan(deploy: Deploy, zero: str, least: str) -> None:
    begins, ends = the(deploy(ScaleToZero=zero), "ApplicationAutoScaling::ScalableTarget")["ScheduledActions"]
    assert (begins["Schedule"], ends["Schedule"]) == ("cron(30 17 * * ? *)", "cron(0 0 * * ? *)")
    assert {begins["Timezone"], ends["Timezone"]} == {"Asia/Tokyo"}
    assert begins["ScalableTargetAction"] == {"MinCapacity": "2", "MaxCapacity": "4"}
    assert {name: str(it) for name, it in ends["ScalableTargetAction"].items()} == {
        "MinCapacity": least,
        "MaxCapacity": "4",
    }


@pytest.mark.parametrize("preset", ["current", "claude-3"])
def test_the_schedule_is_that_of_the_policys_peak(preset: str) -> None:
    windows = policy.preset(preset).model_dump(mode="json")["windows"]
    evening = [it for it in windows if it["start"].startswith("18:00")]
    assert [it["end"][:5] for it in evening] in (["24:00"], ["00:00"])


def test_it_finds_its_way_back_from_zero(deploy: Deploy) -> None:
    made = deploy(ScaleToZero="true")
    alarm = made.resources["WakeAlarm"]
    component = the(made, "SageMaker::InferenceComponent")["InferenceComponentName"]
    ((metric, statistic, dimensions),) = measures(alarm)
    assert (metric, statistic, alarm["Period"], alarm["EvaluationPeriods"]) == (
        "NoCapacityInvocationFailures",
        "Sum",
        60,
        1,
    )
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")  # the first one
    assert dimensions == [{"Name": "InferenceComponentName", "Value": component}]
    assert alarm["AlarmActions"] == ["<CopiesWake>"]
    wake = policies(made)["CopiesWake"]
    assert (wake["PolicyType"], wake["ScalingTargetId"]) == ("StepScaling", "<Copies>")
    steps = wake["StepScalingPolicyConfiguration"]
    assert steps["AdjustmentType"] == "ChangeInCapacity"
    assert steps["StepAdjustments"] == [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]


def test_zero_needs_a_component_on_a_variant_without_a_model(deploy: Deploy) -> None:
    made = deploy(ScaleToZero="true")
    config = the(made, "SageMaker::EndpointConfig")
    assert config["ExecutionRoleArn"] == "<ExecutionRole.Arn>"
    assert not {"ModelName", "InitialVariantWeight"} & set(variant(made))
    managed = variant(made)["ManagedInstanceScaling"]
    assert managed == {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": "4"}
    component = the(made, "SageMaker::InferenceComponent")
    assert (component["EndpointName"], component["VariantName"]) == ("<Endpoint.EndpointName>", "main")
    assert component["Specification"]["ModelName"] == "<MainModel.ModelName>"
    assert component["RuntimeConfig"] == {"CopyCount": 1}
    assert not {"Instances", "InstancesFollowLoad"} & set(made.resources)


def test_without_zero_the_variant_holds_the_model_and_nothing_of_the_other_shape_is_made(deploy: Deploy) -> None:
    made = deploy()
    assert variant(made)["ModelName"] == "<MainModel.ModelName>"
    assert "ManagedInstanceScaling" not in variant(made)
    assert "ExecutionRoleArn" not in the(made, "SageMaker::EndpointConfig")
    others = {"Component", "Copies", "CopiesFollowLoad", "CopiesWake", "WakeAlarm", "NoCapacityAlarm"}
    assert not others & set(made.resources)


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


# -- alarms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", CHOICES)
def test_alarms_watch_what_aws_measures_by_statistics_that_mean_something(
    deploy: Deploy, chosen: dict[str, str]
) -> None:
    made = deploy(**chosen)
    name = made.chosen["Name"]
    of_variants = [
        [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": it}] for it in ("main", "second")
    ]
    of_component = [[{"Name": "InferenceComponentName", "Value": name}]]
    for logical_id, alarm in made.of_type("AWS::CloudWatch::Alarm").items():
        for metric, statistic, dimensions in measures(alarm):
            assert statistic in STATISTICS[metric]
            assert dimensions in (of_component if "ScaleToZero" in chosen else of_variants)
        assert alarm["AlarmDescription"]
        assert alarm["TreatMissingData"] == "notBreaching"
        notified = "<CopiesWake>" if logical_id == "WakeAlarm" else made.chosen["AlarmTopic"]
        assert alarm["AlarmActions"] == [notified]


@pytest.mark.parametrize(
    ("chosen", "alarms"),
    [
        ({}, {"ErrorsAlarm", "LatencyAlarm", "AtMaximumAlarm"}),
        ({"ScaleToZero": "true"}, {"ErrorsAlarm", "LatencyAlarm", "AtMaximumAlarm", "NoCapacityAlarm", "WakeAlarm"}),
        (
            {"SageMakerSecond": "ab", "SageMakerSecondModel": "a/b"},
            {"ErrorsAlarm", "SecondErrorsAlarm", "LatencyAlarm", "AtMaximumAlarm"},
        ),
        ({"SageMakerMaximumInstances": "2"}, {"ErrorsAlarm", "LatencyAlarm"}),  # there every evening
    ],
)
def test_what_operators_have_to_know_of_the_endpoint_rings(
    deploy: Deploy, chosen: dict[str, str], alarms: set[str]
) -> None:
    assert set(deploy(**chosen).of_type("AWS::CloudWatch::Alarm")) == alarms


def test_alarms_go_to_the_topic_of_all_others(deploy: Deploy) -> None:
    assert deploy().chosen["AlarmTopic"] == "<NoticesTopic>"
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:ours"
    assert deploy(AlarmTopicArn=topic).chosen["AlarmTopic"] == topic


def test_latency_is_compared_in_microseconds_with_the_milliseconds_that_were_given(deploy: Deploy) -> None:
    assert int(deploy(SageMakerLatencyAlarmMs="15000").resources["LatencyAlarm"]["Threshold"]) == 15_000_000


def test_long_at_the_maximum_means_half_an_hour_of_as_many_instances(deploy: Deploy) -> None:
    for zero, share in (("false", "InvocationsPerInstance"), ("true", "InvocationsPerCopy")):
        alarm = deploy(ScaleToZero=zero, SageMakerMaximumInstances="8").resources["AtMaximumAlarm"]
        assert {metric for metric, _, _ in measures(alarm)} == {"Invocations", share}
        (returned,) = (it for it in alarm["Metrics"] if it["ReturnData"])
        assert "invocations / shares" in returned["Expression"]
        periods = {it["MetricStat"]["Period"] for it in alarm["Metrics"] if "MetricStat" in it}
        assert {period * alarm["EvaluationPeriods"] for period in periods} == {1800}
        assert alarm["Threshold"] == "8"


def _accepts(parameter: dict[str, Any], value: str) -> None:
    if "AllowedValues" in parameter:
        assert value in map(str, parameter["AllowedValues"])
    if "AllowedPattern" in parameter:
        assert re.fullmatch(parameter["AllowedPattern"], value), (parameter, value)
    if "MinValue" in parameter:
        assert parameter["MinValue"] <= int(value) <= parameter["MaxValue"]
