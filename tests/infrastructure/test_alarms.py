"""Alarms: they watch what exists and what is emitted, by a statistic that means something, and reach somebody."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist import observability
from mangaassist.chat import report
from mangaassist.metric import Metric
from tests.conftest import STACK
from tests.infrastructure import code
from tests.infrastructure.cloudformation import chosen_by, nested
from tools.watching.__main__ import written

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template

# What AWS itself measures: the dimension, what that names, and the metrics that we watch.
WATCHED = {
    "AWS/Lambda": ("FunctionName", "AWS::Lambda::Function", {"Errors", "Throttles"}),
    "AWS/States": ("StateMachineArn", "AWS::StepFunctions::StateMachine", {"ExecutionsFailed", "ExecutionsTimedOut"}),
    "AWS/SQS": ("QueueName", "AWS::SQS::Queue", {"ApproximateNumberOfMessagesVisible"}),
}
ALARMS = nested("stacks/alarms.yaml")
SINGLE = {name: it for name, it in ALARMS.of_type("AWS::CloudWatch::Alarm").items() if "MetricName" in it}
COMPUTED = {name: it for name, it in ALARMS.of_type("AWS::CloudWatch::Alarm").items() if "Metrics" in it}
PAGING = {
    "AuthorizerErrorsAlarm",
    "BudgetGuardAlarm",
    "CatalogueShareAlarm",
    "ConnectErrorsAlarm",
    "DoorThrottlesAlarm",
    "FirstTextAlarm",
    "GatewayErrorsAlarm",
    "MessageErrorsAlarm",
    "MessageThrottlesAlarm",
    "PostsForbiddenAlarm",
    "TurnErrorsAlarm",
}


@pytest.mark.parametrize("name", ["alarms", "dashboard"])
def test_the_templates_are_what_the_metrics_say(name: str) -> None:
    assert (code.ROOT / "stacks" / f"{name}.yaml").read_text("utf-8") == written(name)


def test_every_metric_is_recorded_by_the_dimensions_that_it_names_and_none_is_only_described() -> None:
    assert code.measured() == {(metric.name, metric.by) for metric in Metric} | {("HandshakesRefused", ())}


@pytest.mark.parametrize("name", SINGLE)
def test_an_alarm_watches_something_that_exists(template: Template, name: str) -> None:
    _exists(template, SINGLE[name])


@pytest.mark.parametrize("name", SINGLE)
def test_counts_are_summed_and_durations_and_shares_are_not(name: str) -> None:
    alarm = SINGLE[name]
    if alarm["Namespace"] != observability.NAMESPACE:
        assert alarm["Statistic"] == ("Maximum" if alarm["Namespace"] == "AWS/SQS" else "Sum")
        return
    unit = Metric[alarm["MetricName"]].unit
    if unit == "Milliseconds":
        assert re.fullmatch(r"p\d+", alarm["ExtendedStatistic"])
    elif unit == "Percent":
        assert alarm["Statistic"] == "Maximum"
    else:
        assert alarm["Statistic"] == ("Minimum" if alarm["MetricName"] == "ModelEndOfLifeDays" else "Sum")


@pytest.mark.parametrize("name", COMPUTED)
def test_what_is_computed_is_of_operands_that_exist(template: Template, name: str) -> None:
    value, *operands = COMPUTED[name]["Metrics"]
    named = {it["Id"]: it["MetricStat"] for it in operands}
    assert set(re.findall(r"\b[a-z]\w*\b", value["Expression"])) == set(named)
    assert [it["ReturnData"] for it in (value, *operands)] == [True, *(False for _ in operands)]
    for statistic in named.values():
        _exists(template, statistic["Metric"])
        of_ours = statistic["Metric"]["Namespace"] == observability.NAMESPACE
        unit = Metric[statistic["Metric"]["MetricName"]].unit if of_ours else "Count"
        assert (unit, statistic["Stat"]) in (("Count", "Sum"), ("Milliseconds", "p95"))


@pytest.mark.parametrize(
    ("name", "counted", "value"),
    [
        ("TurnErrors", {"whole": 1000, "part0": 20}, 100 * 20 / 1020),
        ("TurnErrors", {"part0": 25}, 100),  # all fail before they are turns
        ("TurnErrors", {"whole": 1000}, 0),
        ("TurnErrors", {"whole": 3, "part1": 1}, 0),  # a quiet night
        ("CatalogueShare", {"whole": 100, "part0": 6}, 6),
        ("CatalogueShare", {"whole": 19, "part0": 19}, 0),
        ("CatalogueShare", {}, None),
        ("FallbackShare", {"whole": 40, "part0": 4}, 10),
        ("TargetThrottles", {"whole": 200, "part0": 4}, 2),
        ("AuthorizerErrors", {"errors": 50, "refused": 50}, 0),  # tokens that are refused, as they should be
        ("AuthorizerErrors", {"refused": 7, "origins": 7}, 0),  # other people's pages, which are answered
        ("AuthorizerErrors", {"errors": 2, "failed": 2}, 2),
        ("AuthorizerErrors", {"errors": 20, "refused": 5}, 15),  # cold environments die, warm ones go on
        ("AuthorizerErrors", {"errors": 7, "refused": 9, "origins": 4}, 2),
        ("AuthorizerErrors", {"errors": 3}, 3),  # the code is not even reached
        ("AuthorizerErrors", {"errors": 51, "refused": 50}, 0),  # one is counted a moment later: in the next minute
        ("AuthorizerErrors", {"errors": 49, "refused": 50}, 0),
        ("ConnectErrors", {"failed": 2}, 2),  # a table is out of reach: the function answers, with a 503
        ("ConnectErrors", {"errors": 1}, 1),
        ("DoorThrottles", {"opening": 4}, 4),
        ("DoorThrottles", {}, 0),
    ],
)
def test_what_is_computed_is_what_shoppers_feel(name: str, counted: dict[str, int], value: float | None) -> None:
    assert computed(COMPUTED[f"{name}Alarm"], counted) == value


@pytest.mark.parametrize(
    ("name", "minutes"),
    [
        ("AuthorizerErrors", [{"errors": 9, "refused": 9}, {"errors": 9}, {"errors": 9}]),  # our counts come late
        ("DoorThrottles", [{}, {}, {"judging": 1}]),  # the client comes again by itself
        ("DoorThrottles", [{}, {"judging": 40, "opening": 20}, {"judging": 2}]),  # Lambda scales with the evening
    ],
)
def test_what_is_over_by_itself_wakes_nobody(name: str, minutes: list[dict[str, int]]) -> None:
    assert not rings(COMPUTED[f"{name}Alarm"], minutes)


@pytest.mark.parametrize(
    ("name", "minute"),
    [
        ("AuthorizerErrors", {"errors": 1}),  # by night
        ("AuthorizerErrors", {"errors": 20, "refused": 5}),
        ("ConnectErrors", {"failed": 1}),
        ("DoorThrottles", {"judging": 3, "opening": 2}),
    ],
)
def test_what_shuts_shoppers_out_and_stays_wakes_somebody(name: str, minute: dict[str, int]) -> None:
    assert rings(COMPUTED[f"{name}Alarm"], [{}, {}, minute, minute, minute])


def test_every_alarm_says_what_it_means_and_tells_the_topic() -> None:
    for alarm in (*SINGLE.values(), *COMPUTED.values()):
        assert alarm["AlarmDescription"]
        assert alarm["AlarmActions"] == [{"Ref": "Topic"}]
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]


def test_what_only_operators_can_mend_rings_at_the_first_time() -> None:
    at_once = {
        alarm["MetricName"]
        for alarm in SINGLE.values()
        if (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (1, 1, "notBreaching")
    }
    assert at_once == {
        "ApproximateNumberOfMessagesVisible",
        "BudgetGuarded",
        "CapacityNotServing",
        "CapacityStray",
        "Errors",
        "ExecutionsFailed",
        "ExecutionsTimedOut",
        "IngestFailedRows",
        "InvalidPolicy",
        "LedgerWriteFailed",
        "PostsForbidden",
        "TargetRefused",
        "Throttles",
        "TurnFailed",
    }


def test_what_is_looked_at_once_a_day_rings_until_the_next_look() -> None:
    end, probe = SINGLE["ModelEndOfLifeAlarm"], SINGLE["ModelProbeFailedAlarm"]
    assert (end["Threshold"], end["ComparisonOperator"]) == (90, "LessThanOrEqualToThreshold")
    assert (probe["Threshold"], probe["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
    for alarm in (end, probe):
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (86_400, 1, "ignore")


def test_the_ledgers_drift_rings_from_the_percentage_that_the_account_chooses(template: Template) -> None:
    alarm = SINGLE["LedgerDriftAlarm"]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (
        {"Ref": "LedgerDriftPercent"},
        "GreaterThanThreshold",
    )
    assert _told(template)["LedgerDriftPercent"] == {"Ref": "LedgerDriftPercent"}


def test_the_promise_to_the_shopper_is_the_threshold_of_the_first_text() -> None:
    alarm = COMPUTED["FirstTextAlarm"]
    stats = {it["Id"]: (it["MetricStat"]["Stat"], it["MetricStat"]["Period"]) for it in alarm["Metrics"][1:]}
    assert (stats["first"], alarm["Threshold"]) == (("p95", 60), 3000)
    busy, lone = {"turns": 20, "first": 3_001}, {"turns": 19, "first": 9_000}
    assert rings(alarm, [busy] * 5)
    assert not rings(alarm, [lone] * 5), "a quiet night's slow turns wake nobody"


def test_somebody_is_woken_by_what_shoppers_feel_and_told_when_it_is_over(template: Template) -> None:
    (paging,) = ALARMS.of_type("AWS::CloudWatch::CompositeAlarm").values()
    operator, parts = paging["AlarmRule"]["Fn::Join"]
    assert operator == " OR "
    assert {part["Fn::Sub"] for part in parts} == {f'ALARM("${{{name}}}")' for name in PAGING}
    assert paging["AlarmActions"] == paging["OKActions"] == [{"Ref": "PagingTopic"}]
    topic = _told(template)["PagingTopic"]
    assert chosen_by(topic, ("HasPagingTopic", "HasAlarmTopic")) == {"Ref": "PagingTopicArn"}
    assert chosen_by(topic, ("HasAlarmTopic",)) == {"Ref": "AlarmTopicArn"}
    assert chosen_by(topic, ()) == {"Ref": "NoticesTopic"}


def test_alarms_of_releases_reach_the_same_topic(template: Template) -> None:
    own = template.of_type("AWS::CloudWatch::Alarm")
    assert set(own) == {"MessageVersionErrorsAlarm", "MessageVersionFailedAlarm", "AuthorizerVersionFailedAlarm"}
    for alarm in own.values():
        assert [chosen_by(it, ()) for it in alarm["AlarmActions"]] == [chosen_by(_told(template)["Topic"], ())]


def test_every_queue_of_dead_letters_has_its_alarm(template: Template) -> None:
    watched = {_named(_told(template)[it["Dimensions"][0]["Value"]["Ref"]]) for it in _of("AWS/SQS")}
    assert watched == set(template.of_type("AWS::SQS::Queue"))


def test_a_counter_is_emitted_where_its_alarm_looks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    observability.metrics.clear_metrics()  # what other tests have left
    report.invalid_policy(1, "a test")
    observability.metrics.flush_metrics()
    emitted = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line)
    (directive,) = emitted["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == (observability.NAMESPACE, [["service"]])
    assert directive["Metrics"] == [{"Name": "InvalidPolicy", "Unit": "Count"}]
    assert emitted["service"] == STACK


def test_every_function_records_for_its_stack_and_no_other(template: Template) -> None:
    for function in template.of_type("AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


def test_the_runbook_answers_every_alarm_and_no_other(template: Template) -> None:
    """Those of the endpoint's stack are one row."""
    answered = {f"{name}Alarm": row[1].strip() for row in runbook() for name in re.findall(r"`(\w+)`", row[0])}
    assert set(answered) == {*SINGLE, *COMPUTED, *template.of_type("AWS::CloudWatch::Alarm")}
    assert {name for name, mark in answered.items() if mark == "●"} == PAGING


def test_who_is_woken_by_turns_without_a_model_is_told_of_a_role_or_key_that_was_lost() -> None:
    rows = {row[0].strip("| `"): " ".join(row[2:]) for row in runbook()}
    for name in ("CatalogueShare", "StoreUnavailable"):
        assert "`a table refuses calls`" in rows[name]
    assert {"role", "key"} <= set(re.findall(r"\w+", rows["StoreUnavailable"]))


def test_the_log_lines_that_the_runbook_names_are_written() -> None:
    sources = "".join(file.read_text("utf-8") for file in (*code.modules(), *code.handlers()))
    looked_for = {line for row in runbook() for line in re.findall(r"`(an? [^`]+)`", " ".join(row))}
    assert len(looked_for) > 2
    assert [line for line in looked_for if f'"{line}"' not in sources] == []


def runbook() -> list[list[str]]:
    """The rows of the alarms' table in the operations' page, by column."""
    _, _, section = (code.ROOT / "docs/operations.md").read_text("utf-8").partition("\n## Alarms\n")
    return [line.split(" | ") for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]


def computed(alarm: dict[str, Any], counted: dict[str, int]) -> float | None:
    """The value of an alarm's expression in a period, as CloudWatch computes it; None where it has none."""

    def choose(condition: bool, one: float, other: float) -> float:
        return one if condition else other

    value, *operands = alarm["Metrics"]
    math = {"FILL": lambda it, instead: instead if it is None else it, "IF": choose, "__builtins__": {}}
    try:
        expression = re.sub(r"100 \* (.+) / (.+), 0\)$", r"share(\1, \2), 0)", value["Expression"])
        math["share"] = lambda some, of: 100 * some / of if of else 0
        result: float = eval(expression, math, {it["Id"]: counted.get(it["Id"]) for it in operands})  # noqa: S307
    except TypeError:  # an operand without a value
        return None
    return result


def rings(alarm: dict[str, Any], minutes: list[dict[str, int]]) -> bool:
    """Whether an alarm rings after these minutes, as CloudWatch judges the last of them."""
    values = [computed(alarm, counted) for counted in minutes[-alarm["EvaluationPeriods"] :]]
    beyond = [value for value in values if value is not None and value >= alarm["Threshold"]]
    return len(beyond) >= int(alarm["DatapointsToAlarm"])


def _exists(template: Template, metric: dict[str, Any]) -> None:
    """A metric is one that the code records, or one that AWS records of a resource of the template."""
    if metric["Namespace"] == "AWS/ApiGateway":
        told = {it["Name"]: _told(template)[it["Value"]["Ref"]] for it in metric["Dimensions"]}
        assert told == {"ApiId": {"Ref": "ChatApi"}, "Stage": "live"}
        assert template.document["Resources"]["ChatApi"]["Type"] == "AWS::ApiGatewayV2::Api"
        assert "live" in [it["StageName"] for it in template.of_type("AWS::ApiGatewayV2::Stage").values()]
        assert metric["MetricName"] in ("ClientError", "ExecutionError", "IntegrationError")
        return
    dimension, *others = metric["Dimensions"]
    if metric["Namespace"] in WATCHED:
        assert not others
        named, kind, metrics = WATCHED[metric["Namespace"]]
        assert metric["MetricName"] in metrics
        assert dimension["Name"] == named
        for held in ((), ("RunsOnInstances",)):
            assert _named(chosen_by(_told(template)[dimension["Value"]["Ref"]], held)) in template.of_type(kind)
    else:
        assert metric["Namespace"] == observability.NAMESPACE
        assert (metric["MetricName"], tuple(it["Name"] for it in others)) in code.measured()
        assert dimension == {"Name": "service", "Value": {"Ref": "Service"}}
        assert _told(template)["Service"] == {"Ref": "AWS::StackName"}


def _of(namespace: str) -> list[dict[str, Any]]:
    return [alarm for alarm in SINGLE.values() if alarm["Namespace"] == namespace]


def _told(template: Template) -> dict[str, Any]:
    """What the main template tells the alarms' stack."""
    told: dict[str, Any] = template.of_type("AWS::CloudFormation::Stack")["AlarmsStack"]["Parameters"]
    return told


def _named(value: Any) -> str:
    """The resource that a value is of."""
    (named,) = value.values()
    return named if isinstance(named, str) else str(named[0])
