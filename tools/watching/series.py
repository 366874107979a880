"""What alarms and graphs look at: a metric of ours or of AWS, by name, dimensions and statistic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mangaassist.observability import NAMESPACE

if TYPE_CHECKING:
    from mangaassist.metric import Metric

type Told = str | dict[str, str]  # a text, or a reference to a parameter


@dataclass(frozen=True)
class Series:
    """One metric's values, put together by a statistic (`Sum`, `Maximum`, `p95`)."""

    namespace: str
    metric: str
    statistic: str
    dimensions: dict[str, Told] = field(default_factory=dict)

    def as_dimensions(self) -> list[dict[str, Told]]:
        """The dimensions as an alarm takes them."""
        return [{"Name": name, "Value": value} for name, value in self.dimensions.items()]

    def as_query(self, id_: str, period_s: int) -> dict[str, Any]:
        """The values as an operand of an alarm's expression."""
        metric = {"Namespace": self.namespace, "MetricName": self.metric, "Dimensions": self.as_dimensions()}
        return {
            "Id": id_,
            "ReturnData": False,
            "MetricStat": {"Metric": metric, "Period": period_s, "Stat": self.statistic},
        }


def ours(metric: Metric, statistic: str = "Sum", **dimensions: Told) -> Series:
    """A metric of the application, as the stack `Service` records it; raises ValueError for dimensions it is not by."""
    if unknown := set(dimensions) - set(metric.by):
        raise ValueError(f"{metric.name} is not recorded by {', '.join(sorted(unknown))}")
    return Series(NAMESPACE, metric.name, statistic, {"service": {"Ref": "Service"}, **dimensions})


def of_function(metric: str, parameter: str, statistic: str = "Sum") -> Series:
    """What Lambda measures of a function, whose name a parameter tells."""
    return Series("AWS/Lambda", metric, statistic, {"FunctionName": {"Ref": parameter}})


def of_gateway(metric: str) -> Series:
    """What API Gateway measures of the WebSocket API's stage, whose names parameters tell."""
    return Series("AWS/ApiGateway", metric, "Sum", {"ApiId": {"Ref": "Gateway"}, "Stage": {"Ref": "Stage"}})


def of_machine(metric: str, parameter: str) -> Series:
    """What Step Functions measures of a state machine, whose ARN a parameter tells."""
    return Series("AWS/States", metric, "Sum", {"StateMachineArn": {"Ref": parameter}})


def waiting_in(parameter: str) -> Series:
    """Messages in a queue, whose name a parameter tells."""
    return Series("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", {"QueueName": {"Ref": parameter}})
