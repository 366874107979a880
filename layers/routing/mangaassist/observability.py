"""Logs, metrics and traces, under names that never change; message text goes into none of them.

Powertools keeps an invocation's metrics and the keys of its log lines in one place for the whole process. Here every
thread has its own, so that a process that serves many turns at once (the twin, a host of one's own) mixes none up.

Powertools' Tracer brings the X-Ray SDK (about 290 ms of import): it ships, and is imported only when tracing is on.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import Metrics
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from mangaassist.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools import Tracer
    from aws_lambda_powertools.utilities.typing import LambdaContext

NAMESPACE = "MangaAssist"


class PerThread(MutableMapping[str, Any]):
    """A dictionary of which every thread has its own."""

    def __init__(self) -> None:
        self._threads = threading.local()

    @property
    def _own(self) -> dict[str, Any]:
        own: dict[str, Any] = self._threads.__dict__
        return own

    def __getitem__(self, key: str) -> Any:
        return self._own[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._own[key] = value

    def __delitem__(self, key: str) -> None:
        del self._own[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


class ThreadLogger(Logger):
    """Powertools' logger whose added keys, such as the request's id, are those of the thread that added them."""

    def append_keys(self, **additional_keys: object) -> None:
        """Add keys to every line of this thread."""
        self.thread_safe_append_keys(**additional_keys)

    def set_correlation_id(self, value: str | None) -> None:
        """Name what the lines of this thread belong to."""
        self.thread_safe_append_keys(correlation_id=value)


class Emitter(AmazonCloudWatchEMFProvider):
    """Powertools' metrics, written in one piece: `print` writes a line and its end apart, and others come between."""

    def flush_metrics(self, raise_on_empty_metrics: bool = False) -> None:
        """Write what was recorded, and forget it."""
        if not self.metric_set:
            return super().flush_metrics(raise_on_empty_metrics)
        sys.stdout.write(json.dumps(self.serialize_metric_set(), separators=(",", ":")) + "\n")
        self.clear_metrics()
        return None


logger = ThreadLogger()
emitter = Emitter(
    namespace=NAMESPACE,
    metric_set=cast("dict[str, Any]", PerThread()),
    dimension_set=cast("dict[str, Any]", PerThread()),
    metadata_set=cast("dict[str, Any]", PerThread()),
)
metrics = Metrics(provider=emitter)


def measure(metric: Metric, value: float = 1) -> None:
    """Add to a metric of this invocation."""
    metrics.add_metric(name=metric.name, unit=metric.unit, value=value)


def measured(metric: Metric) -> bool:
    """Whether this invocation has added to a metric."""
    return metric.name in emitter.metric_set


def measure_by(values: Mapping[Metric, float], **dimensions: str) -> None:
    """Record metrics under further dimensions, at once and apart from the invocation's."""
    found = Emitter(namespace=NAMESPACE)
    for name, value in dimensions.items():
        found.add_dimension(name=name, value=value)
    for metric, amount in values.items():
        found.add_metric(name=metric.name, unit=metric.unit, value=amount)
    found.flush_metrics()


def version_failed(context: LambdaContext) -> None:
    """Record that a version failed, by its number: a new one's failures end its canary, an old one's do not."""
    measure_by({Metric.VersionFailed: 1}, function=context.function_name, version=context.function_version)


@cache
def tracer() -> Tracer:
    from aws_lambda_powertools import Tracer

    return Tracer()


class Subsegment:
    """A span that begins here and ends where it is told to, in the same thread."""

    def __init__(self, name: str) -> None:
        self._open = ExitStack()
        self._begun = self._open.enter_context(tracer().provider.in_subsegment(name=name))

    def end(self, **annotations: str) -> None:
        """End it; traces can be searched by its annotations."""
        if self._begun is not None:  # nothing is traced, and nobody listens
            for key, value in annotations.items():
                self._begun.put_annotation(key, value)
        self._open.close()


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
