"""Alarms: they watch what exists and what is emitted, ring in time, and reach somebody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mangaassist import observability
from mangaassist.chat import report
from tests.infrastructure import code
from tests.infrastructure.cloudformation import chosen_by

if TYPE_CHECKING:
    import pytest

    from tests.infrastructure.cloudformation import Template

# What AWS itself measures: the dimension, what that names, and the metrics that we watch.
WATCHED = {
    "AWS/Lambda": ("FunctionName", "AWS::Lambda::Function", {"Errors", "Throttles", "Duration"}),
    "AWS/States": ("StateMachineArn", "AWS::StepFunctions::StateMachine", {"ExecutionsFailed", "ExecutionsTimedOut"}),
    "AWS/SQS": ("QueueName", "AWS::SQS::Queue", {"ApproximateNumberOfMessagesVisible"}),
}
OF_RELEASES = {"MessageVersionErrorsAlarm", "MessageVersionFailedAlarm", "AuthorizerVersionFailedAlarm"}


def test_every_alarm_watches_something_that_exists(template: Template) -> None:
    for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
        if name in OF_RELEASES:
            continue
        (dimension,) = alarm["Dimensions"]
        if alarm["Namespace"] in WATCHED:
            named, kind, metrics = WATCHED[alarm["Namespace"]]
            assert alarm["MetricName"] in metrics
            assert dimension["Name"] == named
            for held in ((), ("RunsOnInstances",)):
                (watched,) = chosen_by(dimension["Value"], held).values()
                assert (watched if isinstance(watched, str) else watched[0]) in template.of_type(kind)
        else:
            assert alarm["MetricName"] in code.counted()
            assert alarm["Namespace"] == observability.NAMESPACE
            assert dimension == {"Name": "service", "Value": observability.SERVICE}


def test_what_only_operators_can_mend_raises_an_alarm_at_once(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm").values()
    watched = {alarm["MetricName"] for alarm in alarms}
    assert watched == {
        "Errors",
        "VersionFailed",
        "InvalidPolicy",
        "TargetRefused",
        "LedgerWriteFailed",
        "LedgerDrift",
        "CapacityNotServing",
        "CapacityStray",
        "ExecutionsFailed",
        "ExecutionsTimedOut",
        "IngestFailedRows",
        "ModelEndOfLifeDays",
        "ModelProbeFailed",
        "ApproximateNumberOfMessagesVisible",
    }
    for alarm in alarms:
        assert alarm["AlarmDescription"]
        assert chosen_by(alarm["AlarmActions"], ("HasAlarmTopic",)) == [{"Ref": "AlarmTopicArn"}]
        assert chosen_by(alarm["AlarmActions"], ()) == [{"Ref": "NoticesTopic"}]
        if alarm["MetricName"].startswith("Model"):
            continue
        assert alarm["TreatMissingData"] == "notBreaching"
        if alarm["Period"] == 3600:  # of what happens once a day
            continue
        assert alarm["Statistic"] == ("Maximum" if alarm["Namespace"] == "AWS/SQS" else "Sum")
        is_of_ticks = alarm["MetricName"] in ("CapacityNotServing", "ExecutionsFailed")  # of every fifth minute
        period_s = 600 if is_of_ticks else 60
        assert (alarm["Period"], alarm["EvaluationPeriods"]) == (period_s, 1)
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
        assert alarm["TreatMissingData"] == "notBreaching"


def test_a_model_that_ends_or_does_not_answer_raises_an_alarm_that_lasts_until_the_next_daily_look(
    template: Template,
) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm")
    end, probe = alarms["ModelEndOfLifeAlarm"], alarms["ModelProbeFailedAlarm"]
    assert (end["Statistic"], end["Threshold"], end["ComparisonOperator"]) == (
        "Minimum",
        90,
        "LessThanOrEqualToThreshold",
    )
    assert (probe["Statistic"], probe["Threshold"], probe["ComparisonOperator"]) == (
        "Sum",
        1,
        "GreaterThanOrEqualToThreshold",
    )
    for alarm in (end, probe):
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (86_400, 1, "ignore")


def test_the_models_are_looked_at_every_morning_in_japan_and_a_look_that_is_not_begun_is_known(
    template: Template,
) -> None:
    schedule = template.of_type("AWS::Scheduler::Schedule")["LifecycleFunctionDaily"]
    assert (schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]) == (
        "cron(30 6 * * ? *)",
        "Asia/Tokyo",
    )
    assert schedule["Target"]["Arn"] == {"Ref": "LifecycleFunctionAliaslive"}
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["LifecycleDeadLetters", "Arn"]}}


def test_what_happens_once_a_day_rings_within_the_hour(template: Template) -> None:
    daily = {
        alarm["MetricName"]: (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"])
        for alarm in template.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Period"] == 3600
    }
    assert daily == {
        "LedgerDrift": ("Maximum", "GreaterThanThreshold", {"Ref": "LedgerDriftPercent"}),
        "Errors": ("Sum", "GreaterThanOrEqualToThreshold", 1),
    }


def test_a_counter_is_emitted_where_its_alarm_looks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    observability.metrics.clear_metrics()  # what other tests have left
    report.invalid_policy(1, "a test")
    observability.metrics.flush_metrics()
    emitted = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line)
    (directive,) = emitted["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == (observability.NAMESPACE, [["service"]])
    assert directive["Metrics"] == [{"Name": "InvalidPolicy", "Unit": "Count"}]
    assert emitted["service"] == observability.SERVICE
