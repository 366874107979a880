"""Promises of the endpoint in stacks/sagemaker.yaml: what it serves, and how it is replaced."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.infrastructure.sagemaker import (
    ACCOUNT,
    KEY,
    REGION,
    SAGEMAKER_LIMIT_S,
    SECRET,
    TYPES,
    container,
    granted,
    the,
    variant,
)

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template
    from tests.infrastructure.sagemaker import Deploy


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
