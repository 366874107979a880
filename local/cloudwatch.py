"""CloudWatch's GetMetricData, of the emulated endpoint and models: statistics and percentiles, no expressions.

The client speaks awsJson 1.0 here, though the service's first protocol is CBOR; botocore prefers JSON.
"""

from __future__ import annotations

import json
import math
import re
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local import bedrock_metrics, endpoint_metrics
from local.intrinsics import REGION
from local.wire import JSON_1_0, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.bedrock_metrics import ModelMetrics
    from local.endpoint_metrics import Metrics, Point
    from local.wire import Exchange

STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "SampleCount": lambda values: float(len(values)),
    "Sum": sum,
    "Average": lambda values: sum(values) / len(values),
    "Minimum": min,
    "Maximum": max,
}
PERCENTILE = re.compile(r"^p(\d{1,2}(\.\d{1,10})?|100)$")
SHORT_PERIODS = (1, 5, 10, 20, 30)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Dimension(_Part):
    Name: str
    Value: str


class _Metric(_Part):
    Namespace: str
    MetricName: str
    Dimensions: list[_Dimension] = []


class _Stat(_Part):
    Metric: _Metric
    Period: Annotated[int, Field(ge=1)]
    Stat: str
    Unit: str | None = None


class _Query(_Part):
    Id: Annotated[str, Field(pattern=r"^[a-z][a-zA-Z0-9_]*$")]
    MetricStat: _Stat | None = None
    Expression: str | None = None
    Label: str | None = None
    ReturnData: bool = True
    Period: int | None = None
    AccountId: str | None = None


class _Asked(_Part):
    MetricDataQueries: Annotated[list[_Query], Field(min_length=1, max_length=500)]
    StartTime: float
    EndTime: float
    ScanBy: Literal["TimestampDescending", "TimestampAscending"] = "TimestampDescending"
    MaxDatapoints: int | None = None
    NextToken: str | None = None
    LabelOptions: dict[str, Any] | None = None


class Source(Protocol):
    """What has metrics of one namespace in one region."""

    def unit(self, name: str) -> str: ...

    def points(self, name: str, dimensions: dict[str, str], start_s: float, end_s: float) -> list[Point]: ...


class CloudWatch:
    """The service; of anything but the endpoint and the models it has no data."""

    def __init__(self, endpoint: Metrics | None, models: ModelMetrics) -> None:
        self._endpoint = endpoint
        self._models = models

    async def __call__(self, exchange: Exchange) -> None:
        operation = exchange.headers.get("x-amz-target", "").rpartition(".")[2]
        body = await exchange.body()
        try:
            if operation != "GetMetricData":
                raise ServiceError(400, "InvalidAction", f"The twin emulates no {operation} of CloudWatch.")
            answer = self._data(_asked(body), exchange.region)
        except ServiceError as error:
            named = json.dumps({"__type": error.code, "message": error.message}).encode()
            headers = [("x-amzn-query-error", f"{error.code};Sender")]
            await exchange.answer(error.status, named, JSON_1_0, headers)
        else:
            await exchange.answer(200, json.dumps(answer).encode(), JSON_1_0)

    def _data(self, asked: _Asked, region: str) -> dict[str, Any]:
        known: dict[str, Source] = {bedrock_metrics.NAMESPACE: self._models.of(region)}
        if self._endpoint and region == REGION:
            known[endpoint_metrics.NAMESPACE] = self._endpoint
        results = [_result(query, asked, known) for query in asked.MetricDataQueries if query.ReturnData]
        return {"MetricDataResults": results, "Messages": []}


def _result(query: _Query, asked: _Asked, known: Mapping[str, Source]) -> dict[str, Any]:
    if query.MetricStat is None:
        raise _invalid("The twin evaluates no expressions.")
    stat = query.MetricStat
    points = _points(stat, known.get(stat.Metric.Namespace), asked.StartTime, asked.EndTime)
    if asked.ScanBy == "TimestampDescending":
        points.reverse()
    return {
        "Id": query.Id,
        "Label": query.Label or stat.Metric.MetricName,
        "Timestamps": [at_s for at_s, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": "Complete",
    }


def _points(stat: _Stat, source: Source | None, start_s: float, end_s: float) -> list[tuple[int, float]]:
    """A point for each period that begins in the span and has any data."""
    if stat.Period not in SHORT_PERIODS and stat.Period % 60:
        raise _invalid(f"Period {stat.Period} is neither 1, 5, 10, 20, 30 nor a multiple of 60.")
    metric, period = stat.Metric, stat.Period
    statistic = _statistic(stat.Stat)
    if source is None or stat.Unit not in (None, source.unit(metric.MetricName)):
        return []
    dimensions = {dimension.Name: dimension.Value for dimension in metric.Dimensions}
    first, last = math.ceil(start_s / period) * period, math.ceil(end_s / period) * period
    points = sorted(source.points(metric.MetricName, dimensions, first, last))
    return [
        (int(begin) * period, statistic([value for _, value in within]))
        for begin, within in groupby(points, key=lambda point: point[0] // period)
    ]


def _asked(body: bytes) -> _Asked:
    try:
        asked = _Asked.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(
            "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        ) from error
    if asked.StartTime >= asked.EndTime:
        raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
    if len({query.Id for query in asked.MetricDataQueries}) < len(asked.MetricDataQueries):
        raise _invalid("The values for parameter id in MetricDataQueries are not unique.")
    return asked


def _statistic(name: str) -> Callable[[list[float]], float]:
    if name in STATISTICS:
        return STATISTICS[name]
    if (match := PERCENTILE.match(name)) is None:
        raise _invalid(f"The parameter Stat must be a statistic or a percentile, not {name}.")
    share = float(match.group(1)) / 100
    return lambda values: _percentile(sorted(values), share)


def _percentile(values: list[float], share: float) -> float:
    """Between the two neighbours as far as the rank lies between them."""
    rank = share * (len(values) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (rank - below)


def _invalid(text: str) -> ServiceError:
    return ServiceError(400, "ValidationError", text)
