"""Logs, metrics and traces, under names that never change; message text goes into none of them.

Powertools' Tracer brings the X-Ray SDK (about 290 ms of import): it ships, and is imported only when tracing is on.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, Metrics, MetricUnit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools import Tracer
    from aws_lambda_powertools.utilities.typing import LambdaContext

SERVICE = "mangaassist"
NAMESPACE = "MangaAssist"

logger = Logger(service=SERVICE)
metrics = Metrics(service=SERVICE, namespace=NAMESPACE)


def count(name: str, value: float = 1) -> None:
    """Add to a counter of this invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def counted(name: str) -> bool:
    """Whether this invocation has added to a counter."""
    return name in metrics.metric_set


def milliseconds(name: str, value: float) -> None:
    """Record a duration of this invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=value)


def percent(name: str, value: float) -> None:
    """Record a share of this invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Percent, value=value)


def of_window(window: str, **values: float) -> None:
    """Record metrics of one window's capacity; shares are in percent, everything else counts."""
    found = EphemeralMetrics(service=SERVICE, namespace=NAMESPACE)
    found.add_dimension(name="window", value=window)
    for name, value in values.items():
        unit = MetricUnit.Percent if name == "CapacityUtilisation" else MetricUnit.Count
        found.add_metric(name=name, unit=unit, value=value)
    found.flush_metrics()


def version_failed(context: LambdaContext) -> None:
    """Record that a version failed, by its number: a new one's failures end its canary, an old one's do not."""
    found = EphemeralMetrics(service=SERVICE, namespace=NAMESPACE)
    found.add_dimension(name="function", value=context.function_name)
    found.add_dimension(name="version", value=context.function_version)
    found.add_metric(name="VersionFailed", unit=MetricUnit.Count, value=1)
    found.flush_metrics()


@cache
def tracer() -> Tracer:
    from aws_lambda_powertools import Tracer

    return Tracer(service=SERVICE)


@contextmanager
def traced(name: str, *, on: bool) -> Iterator[None]:
    """Record a span as an X-Ray subsegment when tracing is on; costs nothing when it is off.

    An invocation that Lambda does not trace, or that no daemon listens to, leaves no span and no trouble.
    """
    if not on:
        yield
        return
    with tracer().provider.in_subsegment(name=f"## {name}"):
        yield
