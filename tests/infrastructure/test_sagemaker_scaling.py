"""Promises of stacks/sagemaker.yaml about load: how the endpoint grows, goes to zero and back, and rings."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import botocore.session
import pytest

from mangaassist.capacity.endpoint_sizing import Step
from mangaassist.routing import policy
from tests.infrastructure.sagemaker import (
    ACCOUNT,
    CHOICES,
    PREDEFINED,
    REGION,
    STATISTICS,
    measures,
    policies,
    the,
    variant,
)
from tools.endpoint_tables import Sized, advice

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template
    from tests.infrastructure.sagemaker import Deploy


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


def test_the_predefined_metrics_and_dimensions_are_those_that_aws_knows() -> None:
    model = botocore.session.get_session().get_service_model("application-autoscaling")
    assert set(PREDEFINED) <= set(model.shape_for("MetricType").metadata["enum"])
    assert set(PREDEFINED.values()) <= set(model.shape_for("ScalableDimension").metadata["enum"])


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


@pytest.mark.parametrize("peak_per_minute", [1, 1000, 2000, 2500, 3500, 5000, 9000, 60_000])
def test_what_make_endpoint_recommends_are_parameters_of_the_template(
    template: Template, peak_per_minute: float
) -> None:
    found = [Step(number, 50, 0, 100.0, 200.0, 900.0, 5.0 * number, 250.0) for number in (1, 2, 4)]
    sized = Sized("manga-assist-fm", 1, 1500, peak_per_minute=peak_per_minute, steps=found)
    size = sized.size
    assert size is not None
    said = " ".join(advice(size, sized))
    named = re.findall(r"(SageMaker\w+)(?:=(\w+))?", said)
    of_instances = {"SageMakerMaximumInstances", "SageMakerPeakMinimumInstances"}
    too_many = "The template allows 8" in said
    assert too_many == (size.instances(peak_per_minute) > 8)
    assert {name for name, _ in named} >= {"SageMakerTargetValue", "SageMakerScalingMetric"} | (
        set() if too_many else of_instances
    )
    for name, value in named:
        parameter = template.parameters[name]
        assert value, "a number to set, not a bound"
        if "AllowedValues" in parameter:
            assert value in map(str, parameter["AllowedValues"])
        elif parameter["Type"] == "Number":
            assert float(parameter["MinValue"]) <= float(value) <= float(parameter["MaxValue"])
