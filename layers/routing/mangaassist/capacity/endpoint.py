"""How a SageMaker endpoint is and what it did, as AWS tells it: DescribeEndpoint, and CloudWatch's numbers of a span.

Every failure is a ControlPlaneError. What percentiles of many periods make together nobody can compute: of a span there
is the median period's p50 and the worst period's p99.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mangaassist.capacity import metric_data
from mangaassist.capacity.control_plane import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mangaassist.capacity.metric_data import MetricData

MICROSECONDS_PER_MS = 1000
MOST_POINTS = 100  # of each metric
PERIODS_S = (60, 300, 900, 3600, 6 * 3600, 24 * 3600)
KEPT_S = (
    (15 * 86_400, 60),
    (63 * 86_400, 300),
)  # how long ago points of a period are still known; older ones by the hour
OLDEST_PERIOD_S = 3600

# InvocationsPerInstance: each call counts 1/instances, so only the sum means anything; its average is never over 1.
METRICS = {
    "invocations": ("Invocations", "Sum"),
    "shares": ("InvocationsPerInstance", "Sum"),
    "model_p50": ("ModelLatency", "p50"),
    "model_p99": ("ModelLatency", "p99"),
    "overhead_p50": ("OverheadLatency", "p50"),
    "overhead_p99": ("OverheadLatency", "p99"),
    "most_at_once": ("ConcurrentRequestsPerModel", "Maximum"),
    "mean_at_once": ("ConcurrentRequestsPerModel", "Average"),
    "errors_4xx": ("Invocation4XXErrors", "Sum"),
    "errors_5xx": ("Invocation5XXErrors", "Sum"),
    # Of these two AWS's own pages do not tell (unverified); where CloudWatch has none, nothing is shown.
    "first_p50": ("FirstChunkLatency", "p50"),
    "first_p99": ("FirstChunkLatency", "p99"),
    "broken": ("MidStreamErrors", "Sum"),
}
OF_COMPONENTS = {
    "InvocationsPerInstance": "InvocationsPerCopy",
    "ConcurrentRequestsPerModel": "ConcurrentRequestsPerCopy",
}
ASLEEP = {"asleep": ("NoCapacityInvocationFailures", "Sum")}  # a component alone can have no copy

type Points = Mapping[float, float]  # values by the epoch second at which their period begins


class Endpoints(Protocol):
    """What is taken of SageMaker's client."""

    def describe_endpoint(self, *, EndpointName: str) -> Any: ...

    def describe_endpoint_config(self, *, EndpointConfigName: str) -> Any: ...

    def describe_inference_component(self, *, InferenceComponentName: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Variant:
    """A production variant; counts and weights are None where SageMaker does not tell them."""

    name: str
    instances: int | None
    desired: int | None
    weight: float | None
    desired_weight: float | None
    status: str = ""  # what is being done to it
    shadow: bool = False  # gets copies of questions, and answers nobody


@dataclass(frozen=True, slots=True)
class Hosting:
    """An endpoint as SageMaker describes it; instants are epoch seconds."""

    name: str
    status: str
    created_s: float
    since_s: float
    configuration: str
    failure: str
    variants: tuple[Variant, ...]

    @property
    def instances(self) -> int:
        """Those that answer."""
        return sum(variant.instances or 0 for variant in self.variants if not variant.shadow)


@dataclass(frozen=True, slots=True)
class Copies:
    """An inference component: copies of the model that are loaded, and that are wanted."""

    name: str
    status: str
    copies: int | None
    desired: int | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose metrics are meant: a variant's, or those of the component where there is one, which has them instead."""

    endpoint: str
    variant: str
    component: str = ""

    @property
    def dimensions(self) -> dict[str, str]:
        """As CloudWatch keeps them apart."""
        if self.component:
            return {"InferenceComponentName": self.component}
        return {"EndpointName": self.endpoint, "VariantName": self.variant}

    def metrics(self) -> dict[str, tuple[str, str]]:
        """Each metric and its statistic, by our name of it."""
        if not self.component:
            return METRICS
        known = {ours: (OF_COMPONENTS.get(name, name), stat) for ours, (name, stat) in METRICS.items()}
        return known | ASLEEP


@dataclass(frozen=True, slots=True)
class Span:
    """A time in whole periods, in epoch seconds."""

    since_s: int
    until_s: int
    period_s: int

    @classmethod
    def around(cls, since_s: float, until_s: float, now_s: float) -> Span:
        """The whole periods of a time: few, and none finer than CloudWatch still knows of a time so long ago."""
        known_s = next((period for kept, period in KEPT_S if now_s - since_s <= kept), OLDEST_PERIOD_S)
        fitting = (it for it in PERIODS_S if it >= known_s and (until_s - since_s) / it <= MOST_POINTS)
        period_s = next(fitting, PERIODS_S[-1])
        whole = int(since_s // period_s) * period_s
        return cls(whole, max(whole + period_s, int(-(-until_s // period_s)) * period_s), period_s)


@dataclass(frozen=True, slots=True)
class Cost:
    """What instances cost in a span; no cost per answer where nothing was answered."""

    instance_hour_usd: float
    total_usd: float
    answer_usd: float | None


@dataclass(frozen=True, slots=True)
class EndpointUse:
    """What an endpoint was asked in a span and how it answered; None is what nothing was said of."""

    span: Span
    invocations: int
    invocations_per_instance: float
    busiest_per_minute: float
    model_p50_ms: float | None
    model_p99_ms: float | None
    overhead_p50_ms: float | None
    overhead_p99_ms: float | None
    first_p50_ms: float | None  # to the first part of a stream
    first_p99_ms: float | None
    most_at_once: float | None  # for each instance
    mean_at_once: float | None
    errors_4xx: int
    errors_5xx: int
    asleep: int | None  # calls that found no copy; None where there is always one
    broken: int | None  # answers that broke off after their first byte; None where CloudWatch does not tell
    fleet: Mapping[float, float]  # instances by the beginning of each period that tells them

    @property
    def instances(self) -> float | None:
        """How many instances served, on the average of all calls."""
        return self.invocations / self.invocations_per_instance if self.invocations_per_instance else None

    @property
    def answered(self) -> int:
        """Calls that got a whole answer."""
        return self.invocations - self.errors_4xx - self.errors_5xx - (self.broken or 0)

    def cost(
        self, instance_hour_usd: float, instances: int | None, created_s: float = 0.0, now_s: float = math.inf
    ) -> Cost | None:
        """What the span has cost, period by period: its instances as calls told them, else those of the period before.

        `instances` are those of now, for a span in which no call told any; None where nobody knows.
        """
        count = next((self.fleet[instant] for instant in sorted(self.fleet)), instances)
        if count is None:
            return None
        instance_s = 0.0
        for since_s in range(self.span.since_s, self.span.until_s, self.span.period_s):
            count = self.fleet.get(since_s, count)
            lived_s = min(since_s + self.span.period_s, now_s) - max(since_s, created_s)
            instance_s += count * max(0.0, lived_s)
        total_usd = instance_s / 3600 * instance_hour_usd
        return Cost(instance_hour_usd, total_usd, total_usd / self.answered if self.answered > 0 else None)


class EndpointWatch:
    """SageMaker and CloudWatch in the endpoint's region; every method raises ControlPlaneError."""

    def __init__(self, sagemaker: Endpoints, cloudwatch: MetricData) -> None:
        self._sagemaker = sagemaker
        self._cloudwatch = cloudwatch

    def hosting(self, endpoint: str) -> Hosting:
        """The endpoint as it is now."""
        with named("SageMaker"):
            return _hosting(self._sagemaker.describe_endpoint(EndpointName=endpoint))

    def instance_types(self, configuration: str) -> dict[str, str]:
        """What each variant's instances are, by the name of the variant; none for those without instances."""
        with named("SageMaker"):
            told = self._sagemaker.describe_endpoint_config(EndpointConfigName=configuration)
        variants = (*told.get("ProductionVariants", []), *told.get("ShadowProductionVariants", []))
        return {it["VariantName"]: it["InstanceType"] for it in variants if "InstanceType" in it}

    def copies(self, component: str) -> Copies:
        """The endpoint's inference component as it is now."""
        with named("SageMaker"):
            told = self._sagemaker.describe_inference_component(InferenceComponentName=component)
        running = told.get("RuntimeConfig", {})
        return Copies(
            name=told["InferenceComponentName"],
            status=told["InferenceComponentStatus"],
            copies=running.get("CurrentCopyCount"),
            desired=running.get("DesiredCopyCount"),
            failure=told.get("FailureReason", ""),
        )

    def uses(self, all_of: Sequence[Whose], span: Span) -> dict[Whose, EndpointUse]:
        """What each of these did; one request for all."""
        queries = [it for number, whose in enumerate(all_of) for it in _queries(whose, number, span.period_s)]
        points = metric_data.points(self._cloudwatch, queries, span.since_s, span.until_s) if queries else {}
        return {
            whose: used({ours: points[f"{ours}_{number}"] for ours in whose.metrics()}, span)
            for number, whose in enumerate(all_of)
        }


def used(points: Mapping[str, Points], span: Span) -> EndpointUse:
    """What the periods of a span make together."""
    calls = points["invocations"]
    shares = points["shares"]
    fleet = {instant: calls[instant] / share for instant, share in shares.items() if share and instant in calls}
    if "asleep" in points:  # a component: where it has no copy, nobody measures how busy one is
        awake = points["mean_at_once"].keys() | fleet.keys()
        asleep = (it for it in range(span.since_s, span.until_s, span.period_s) if it not in awake)
        fleet |= dict.fromkeys(map(float, asleep), 0.0)
    return EndpointUse(
        span=span,
        invocations=_sum(calls),
        invocations_per_instance=sum(points["shares"].values()),
        busiest_per_minute=max(calls.values(), default=0.0) * 60 / span.period_s,
        model_p50_ms=_milliseconds(_middle(points["model_p50"], calls)),
        model_p99_ms=_milliseconds(_most(points["model_p99"])),
        overhead_p50_ms=_milliseconds(_middle(points["overhead_p50"], calls)),
        overhead_p99_ms=_milliseconds(_most(points["overhead_p99"])),
        first_p50_ms=_milliseconds(_middle(points["first_p50"], calls)),
        first_p99_ms=_milliseconds(_most(points["first_p99"])),
        most_at_once=_most(points["most_at_once"]),
        mean_at_once=_mean(points["mean_at_once"].values()),
        errors_4xx=_sum(points["errors_4xx"]),
        errors_5xx=_sum(points["errors_5xx"]),
        asleep=_sum(points["asleep"]) if "asleep" in points else None,
        broken=_sum(points["broken"]) if points.get("broken") else None,
        fleet=fleet,
    )


def _queries(whose: Whose, number: int, period_s: int) -> list[dict[str, Any]]:
    return [
        metric_data.asked(f"{ours}_{number}", ("AWS/SageMaker", name), whose.dimensions, period_s, statistic)
        for ours, (name, statistic) in whose.metrics().items()
    ]


def _hosting(told: Mapping[str, Any]) -> Hosting:
    variants = [_variant(one) for one in told.get("ProductionVariants", [])]
    shadows = [_variant(one, shadow=True) for one in told.get("ShadowProductionVariants", [])]
    return Hosting(
        name=told["EndpointName"],
        status=told["EndpointStatus"],
        created_s=told["CreationTime"].timestamp(),
        since_s=told["LastModifiedTime"].timestamp(),
        configuration=told.get("EndpointConfigName", ""),
        failure=told.get("FailureReason", ""),
        variants=(*variants, *shadows),
    )


def _variant(told: Mapping[str, Any], *, shadow: bool = False) -> Variant:
    doing: Sequence[Mapping[str, Any]] = told.get("VariantStatus", [])
    return Variant(
        name=told["VariantName"],
        instances=told.get("CurrentInstanceCount"),
        desired=told.get("DesiredInstanceCount"),
        weight=told.get("CurrentWeight"),
        desired_weight=told.get("DesiredWeight"),
        status=", ".join(step["Status"] for step in doing),
        shadow=shadow,
    )


def _sum(points: Points) -> int:
    return round(sum(points.values()))


def _most(points: Points) -> float | None:
    return max(points.values(), default=None)


def _mean(values: Iterable[float]) -> float | None:
    known = [*values]
    return sum(known) / len(known) if known else None


def _middle(points: Points, calls: Points) -> float | None:
    """The median of the periods' values, each as heavy as the calls that came in it."""
    ordered = sorted((value, calls.get(instant, 1.0)) for instant, value in points.items())
    half, passed = sum(weight for _, weight in ordered) / 2, 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= half:
            return value
    return None


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / MICROSECONDS_PER_MS
