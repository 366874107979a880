"""CloudWatch's GetMetricData, whole: all pages, and no result that says of itself that it is incomplete."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from mangaassist.capacity.control_plane import named
from mangaassist.errors import ControlPlaneError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INCOMPLETE = ("InternalError", "Forbidden")  # what a metric says of itself in an answer that otherwise succeeds


class MetricData(Protocol):
    """What is taken of CloudWatch's client."""

    def get_metric_data(self, **request: Any) -> Any: ...


def asked(
    name: str, metric: tuple[str, str], dimensions: Mapping[str, str], period_s: int, stat: str
) -> dict[str, Any]:
    """One query, under our name of it; a metric is its namespace and its name."""
    namespace, metric_name = metric
    told = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    what = {"Namespace": namespace, "MetricName": metric_name, "Dimensions": told}
    return {"Id": name, "MetricStat": {"Metric": what, "Period": period_s, "Stat": stat}}


def points(
    client: MetricData, queries: Sequence[Mapping[str, Any]], since_s: float, until_s: float
) -> dict[str, dict[float, float]]:
    """Values by our names, each by the epoch second at which its period begins; raises ControlPlaneError.

    One request for all metrics, and more only if the answer comes in pages.
    """
    request = {
        "MetricDataQueries": queries,
        "StartTime": datetime.fromtimestamp(since_s, UTC),
        "EndTime": datetime.fromtimestamp(until_s, UTC),
        "ScanBy": "TimestampAscending",
    }
    found: dict[str, dict[float, float]] = {it["Id"]: {} for it in queries}
    token = None
    while token is None or token:
        with named("CloudWatch"):
            page = client.get_metric_data(**request, **({"NextToken": token} if token else {}))
        for result in page["MetricDataResults"]:
            found[result["Id"]] |= _told(result)
        token = page.get("NextToken", "")
    return found


def _told(result: Mapping[str, Any]) -> dict[float, float]:
    if (status := result.get("StatusCode")) in INCOMPLETE:
        raise ControlPlaneError(f"CloudWatch.{status}Exception", f"GetMetricData: {result['Id']}")
    return {instant.timestamp(): value for instant, value in zip(result["Timestamps"], result["Values"], strict=True)}
