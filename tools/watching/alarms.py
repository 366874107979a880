"""The alarms, and their template `stacks/alarms.yaml`: what rings, when, and whether somebody is woken.

An alarm that *pages* is one that shoppers feel now; one composite alarm, `Paging`, stands for all of them. What is
given as a share rings only from twenty turns (or calls) in a period on, so that a quiet night's one odd turn wakes
nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mangaassist.metric import Metric
from tools.watching.series import Series, of_function, of_gateway, of_machine, ours, waiting_in

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_TURNS = 20
FIRST_TEXT_MS = 3000
END_OF_LIFE_DAYS = 90
ORIGIN_REFUSED = "origin_refused"  # the one reason by which the authorizer answers instead of raising
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
PARAMETERS = {
    "Topic": "ARN of the topic that is told of every alarm",
    "PagingTopic": "ARN of the topic that is told when somebody has to look at once",
    "MessageFunction": "Name of the function that answers questions",
    "AuthorizerFunction": "Name of the function that judges handshakes",
    "ConnectFunction": "Name of the function that opens connections",
    "ReconcileFunction": "Name of the function that holds the ledger against Bedrock's counts",
    "LifecycleFunction": "Name of the function that looks at the models every day",
    "Service": "What the stack's metrics are recorded for: its name",
    "Gateway": "Id of the WebSocket API",
    "Stage": "Name of its stage",
    "ProvisionedThroughput": "ARN of the workflow that buys and closes capacity",
    "CapacityDeadLetters": "Name of the queue of schedules that could not be started",
    "LifecycleDeadLetters": "Name of the queue of daily looks that could not be started",
    "IngestDeadLetters": "Name of the queue of uploads that could not be ingested",
    "LedgerDriftPercent": "From which difference on the ledger and Bedrock's counts disagree",
}


@dataclass(frozen=True)
class Computed:
    """A value computed of others by CloudWatch's metric math; FILL makes a counter that was not touched zero."""

    label: str
    expression: str
    operands: Mapping[str, Series]  # by the names that the expression gives them

    def queries(self, period_s: int) -> list[dict[str, Any]]:
        """The expression and its operands."""
        value = {"Id": "value", "Label": self.label, "Expression": self.expression, "ReturnData": True}
        return [value, *(series.as_query(name, period_s) for name, series in self.operands.items())]


def share(*parts: Metric, whole: Metric = Metric.Turns, apart: bool = False) -> Computed:
    """Some turns in percent of all turns of a period; those `apart` may be no part of the whole, and add to it."""
    named = {f"part{number}": ours(part) for number, part in enumerate(parts)}
    some = " + ".join(f"FILL({name}, 0)" for name in named)
    of = f"(FILL(whole, 0) + {some})" if apart else "whole"
    return Computed(
        f"{' + '.join(part.name for part in parts)} in % of {whole.name}",
        f"IF({of} >= {LEAST_TURNS}, 100 * ({some}) / {of}, 0)",
        {"whole": ours(whole), **named},
    )


def _unjudged() -> Computed:
    """Handshakes that failed by our count, and those that died and could count nothing: Lambda's errors tell of these.

    A refused token is an error to Lambda too, a refused origin is none. A refusal can fall into the minute after its
    error's: a few of many do, so that only from a tenth of the refused tokens on what is left over has died.
    """
    tokens = "(FILL(refused, 0) - FILL(origins, 0))"
    died = f"(FILL(errors, 0) - FILL(failed, 0) - {tokens})"
    return Computed(
        "handshakes that were not judged",
        f"FILL(failed, 0) + IF({died} > {tokens} / 10, {died}, 0)",
        {
            "failed": ours(Metric.HandshakeFailed),
            "errors": of_function("Errors", "AuthorizerFunction"),
            "refused": ours(Metric.HandshakesRefused),
            "origins": ours(Metric.HandshakesRefused, reason=ORIGIN_REFUSED),
        },
    )


@dataclass(frozen=True)
class Alarm:
    """One alarm: it rings when `hits` of `periods` values are at the threshold or beyond."""

    name: str
    meaning: str
    watched: Series | Computed
    threshold: float | dict[str, str] = 1
    comparison: str = "GreaterThanOrEqualToThreshold"
    period_s: int = MINUTE_S
    periods: int = 1
    hits: int = 1
    missing: str = "notBreaching"
    pages: bool = False

    @property
    def resource(self) -> str:
        return f"{self.name}Alarm"

    def properties(self) -> dict[str, Any]:
        """The alarm as CloudFormation takes it."""
        return {
            "AlarmDescription": self.meaning,
            **self._watched(),
            "EvaluationPeriods": self.periods,
            "DatapointsToAlarm": self.hits,
            "Threshold": self.threshold,
            "ComparisonOperator": self.comparison,
            "TreatMissingData": self.missing,
            "AlarmActions": [{"Ref": "Topic"}],
        }

    def _watched(self) -> dict[str, Any]:
        if isinstance(self.watched, Computed):
            return {"Metrics": self.watched.queries(self.period_s)}
        statistic = "ExtendedStatistic" if self.watched.statistic.startswith("p") else "Statistic"
        return {
            "Namespace": self.watched.namespace,
            "MetricName": self.watched.metric,
            "Dimensions": self.watched.as_dimensions(),
            statistic: self.watched.statistic,
            "Period": self.period_s,
        }


SHOPPERS = (
    Alarm(
        "TurnErrors",
        "One turn in a hundred ends in an error; the message function's log has the stacks",
        share(Metric.TurnFailed, Metric.TurnDied, apart=True),  # what fails before it is a turn is none of Turns
        periods=5,
        hits=3,
        pages=True,
    ),
    Alarm(
        "TurnFailed",
        "A turn ended in an internal error; the message function's log has its stack",
        ours(Metric.TurnFailed),
    ),
    Alarm(
        "MessageErrors",
        "Turns end in an exception that no error frame explained",
        of_function("Errors", "MessageFunction"),
        pages=True,
    ),
    Alarm(
        "MessageThrottles",
        "Lambda refuses questions, which shoppers see as an internal error; concurrency is used up",
        of_function("Throttles", "MessageFunction"),
        pages=True,
    ),
    Alarm(
        "FirstText",
        "One shopper in twenty waits longer than three seconds for the first text",
        Computed(
            "FirstText, p95",
            f"IF(FILL(turns, 0) >= {LEAST_TURNS}, first, 0)",
            {"turns": ours(Metric.Turns), "first": ours(Metric.FirstText, "p95")},
        ),
        threshold=FIRST_TEXT_MS,
        comparison="GreaterThanThreshold",
        periods=5,
        hits=3,
        pages=True,
    ),
    Alarm(
        "CatalogueShare",
        "One turn in twenty gets the catalogue alone; models do not answer, tables refuse, or the budget is spent",
        share(Metric.CatalogueAnswers),
        threshold=5,
        periods=5,
        hits=3,
        pages=True,
    ),
    Alarm(
        "AuthorizerErrors",
        "Handshakes cannot be judged; shoppers cannot connect, perhaps not all of them",
        _unjudged(),
        periods=5,
        hits=3,  # our counts come a minute or two later than Lambda's, and are none until then
        pages=True,
    ),
    Alarm(
        "ConnectErrors",
        "Connections cannot be opened",
        Computed(
            "connections that could not be opened",
            "FILL(failed, 0) + FILL(errors, 0)",
            {"failed": ours(Metric.ConnectFailed), "errors": of_function("Errors", "ConnectFunction")},
        ),
        periods=3,
        hits=2,
        pages=True,
    ),
    Alarm(
        "DoorThrottles",
        "Lambda refuses to judge handshakes or to open connections; concurrency is used up",
        Computed(
            "handshakes and connections throttled",
            "FILL(judging, 0) + FILL(opening, 0)",
            {
                "judging": of_function("Throttles", "AuthorizerFunction"),
                "opening": of_function("Throttles", "ConnectFunction"),
            },
        ),
        threshold=5,  # a client whose handshake was throttled tries again by itself
        periods=3,
        hits=2,
        pages=True,
    ),
    Alarm(
        "GatewayErrors",
        "The gateway cannot call the functions; shoppers see an internal error",
        of_gateway("ExecutionError"),
        threshold=5,
        periods=3,
        hits=2,
        pages=True,
    ),
    Alarm(
        "IssuerUnreachable",
        "The token issuer's keys cannot be fetched; who comes with a new key is refused",
        ours(Metric.IssuerUnreachable),
        periods=3,
        hits=2,
    ),
    Alarm(
        "PostsForbidden",
        "The gateway forbids posts to connections; the message function's role has to grant them",
        ours(Metric.PostsForbidden),
        pages=True,
    ),
    Alarm(
        "StoreUnavailable",
        "Tables are out of reach again and again; turns go on without them, unrecorded and without models",
        ours(Metric.StoreUnavailable),
        threshold=10,
        periods=3,
        hits=2,
    ),
)
MODELS = (
    Alarm(
        "FallbackShare",
        "One turn in ten needs more than one target; the log names the targets that fail",
        share(Metric.Fallbacks),
        threshold=10,
        period_s=300,
        periods=3,
        hits=2,
    ),
    Alarm(
        "DowngradeShare",
        "One turn in twenty is a complex question that the fast class answers",
        share(Metric.Downgrades),
        threshold=5,
        period_s=300,
        periods=3,
        hits=2,
    ),
    Alarm(
        "TargetThrottles",
        "One call to a model in fifty is throttled; a quota is too small for this traffic",
        share(Metric.TargetThrottled, whole=Metric.Attempts),
        threshold=2,
        period_s=300,
        periods=3,
        hits=2,
    ),
    Alarm(
        "TargetRefused",
        "A target refuses calls (denied, invalid, retired); no other model cures that",
        ours(Metric.TargetRefused),
    ),
    Alarm(
        "InvalidPolicy",
        "The stored routing policy is invalid; environments keep the last good one, and new ones begin with the preset",
        ours(Metric.InvalidPolicy),
    ),
    Alarm(
        "ModelEndOfLife",
        "A model of the routing policy ends within 90 days, or is not offered any more; choose its successor",
        ours(Metric.ModelEndOfLifeDays, "Minimum"),
        threshold=END_OF_LIFE_DAYS,
        comparison="LessThanOrEqualToThreshold",
        period_s=DAY_S,
        missing="ignore",  # a look that comes a little later than yesterday's cures nothing
    ),
    Alarm(
        "ModelProbeFailed",
        "A model of the routing policy did not answer its daily probe: three times in a row, or with a final refusal",
        ours(Metric.ModelProbeFailed),
        period_s=DAY_S,
        missing="ignore",
    ),
    Alarm(
        "LifecycleErrors",
        "The daily look at the models failed; until it succeeds nobody knows of their end",
        of_function("Errors", "LifecycleFunction"),
    ),
    Alarm(
        "LifecycleDeadLetters",
        "The scheduler could not start the daily look at the models",
        waiting_in("LifecycleDeadLetters"),
    ),
)
MONEY = (
    Alarm(
        "SpendPace",
        "Three quarters of what the day's curve allows are spent; answers are shorter now, and the fast class is next",
        ours(Metric.SpendPace, "Maximum"),
        threshold=75,
        periods=10,
        hits=10,
    ),
    Alarm(
        "BudgetGuard",
        "The day's money is nearly spent or spent; the fast class answers on demand, then the catalogue",
        ours(Metric.BudgetGuarded),
        pages=True,
    ),
    Alarm(
        "LedgerWriteFailed",
        "An account could not be settled; its lines are in the message function's log",
        ours(Metric.LedgerWriteFailed),
    ),
    Alarm(
        "LedgerDrift",
        'Bedrock counted other tokens than the ledger; make ledger ARGS="--metered" tells of which model',
        ours(Metric.LedgerDrift, "Maximum"),
        threshold={"Ref": "LedgerDriftPercent"},
        comparison="GreaterThanThreshold",
        period_s=HOUR_S,
    ),
    Alarm(
        "ReconcileErrors",
        "The ledger could not be held against what Bedrock counted; the function's log says why",
        of_function("Errors", "ReconcileFunction"),
        period_s=HOUR_S,
    ),
)
CAPACITY = (
    Alarm(
        "CapacityNotServing",
        "A window has begun and no provisioned throughput serves in it; turns go on demand",
        ours(Metric.CapacityNotServing),
        period_s=600,  # the schedule looks every five minutes
    ),
    Alarm(
        "CapacityStray",
        "Provisioned throughput was alive, and billed, outside its window; the sweep closes it",
        ours(Metric.CapacityStray),
    ),
    Alarm(
        "CapacityExecutions",
        "An execution of the provisioned-throughput workflow failed; its notice, or its history, says why",
        of_machine("ExecutionsFailed", "ProvisionedThroughput"),
        period_s=600,
    ),
    Alarm(
        "CapacityTimeouts",
        "An execution of the provisioned-throughput workflow took too long and was ended; the next tick goes on",
        of_machine("ExecutionsTimedOut", "ProvisionedThroughput"),
    ),
    Alarm(
        "CapacityDeadLetters",
        "The scheduler could not start executions of the provisioned-throughput workflow, or the reconciliation",
        waiting_in("CapacityDeadLetters"),
    ),
)
CATALOGUE = (
    Alarm(
        "IngestFailedRows",
        "Sound rows of an upload could not be loaded; its report names them, and the same file again loads them",
        ours(Metric.IngestFailedRows),
    ),
    Alarm(
        "IngestDeadLetters",
        "An uploaded catalogue could not be ingested; the queue's message names it",
        waiting_in("IngestDeadLetters"),
    ),
)
ALARMS = (*SHOPPERS, *MODELS, *MONEY, *CAPACITY, *CATALOGUE)


def template() -> dict[str, Any]:
    """The template, for the main one to nest."""
    alarms = {alarm.resource: {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm.properties()} for alarm in ALARMS}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "MangaAssist - alarms",
        "Parameters": {
            name: {
                "Type": "Number" if name == "LedgerDriftPercent" else "String",
                **({"MinValue": 0} if name == "LedgerDriftPercent" else {"MinLength": 1}),
                "Description": meaning,
            }
            for name, meaning in PARAMETERS.items()
        },
        "Resources": {**alarms, "Paging": _paging()},
        "Outputs": {"Paging": {"Description": "The alarm that pages", "Value": {"Fn::GetAtt": ["Paging", "Arn"]}}},
    }


def _paging() -> dict[str, Any]:
    paging = [alarm.resource for alarm in ALARMS if alarm.pages]
    return {
        "Type": "AWS::CloudWatch::CompositeAlarm",
        "Properties": {
            "AlarmDescription": "Shoppers feel it now; the alarms that ring beside this one say what it is",
            "AlarmRule": {"Fn::Join": [" OR ", [{"Fn::Sub": f'ALARM("${{{name}}}")'} for name in paging]]},
            "AlarmActions": [{"Ref": "PagingTopic"}],
            "OKActions": [{"Ref": "PagingTopic"}],
        },
    }
