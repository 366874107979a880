"""The endpoint as operators see it: tables for people, documents for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from mangaassist.capacity.endpoint_sizing import HEADROOM, Size, Step, size, verdict
from mangaassist.jst import jst
from mangaassist.money.book import HOSTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mangaassist.capacity.endpoint import Copies, Cost, EndpointUse, Hosting, Whose
    from mangaassist.money.book import Quote
    from tools.endpoint_desk import Routing

WIDTH = 120  # where the output is no terminal
NOTHING = "-"
# What the template allows, which a test compares.
MAXIMA, PEAK_MINIMA, MOST_TARGET = (1, 2, 4, 8), (1, 2, 4), 1000
PARAMETER, METRIC = "SageMakerTargetValue", "SageMakerScalingMetric"


@dataclass
class Sized:
    """What a load test found, and what it was asked to find."""

    endpoint: str
    instances: int
    limit_ms: float
    headroom: float = HEADROOM
    peak_per_minute: float | None = None
    is_twin: bool = False
    steps: list[Step] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> Size | None:
        """What to give one instance."""
        return size(self.steps, self.limit_ms, self.headroom)


def status_document(hosting: Hosting, component: Copies | None, routing: Routing) -> dict[str, Any]:
    """The status for programs."""
    instants = {"created": _iso(hosting.created_s), "since": _iso(hosting.since_s)}
    told = {name: value for name, value in asdict(hosting).items() if not name.endswith("_s")}
    return told | instants | {"component": asdict(component) if component else None, "routing": asdict(routing)}


def show_status(hosting: Hosting, component: Copies | None, routing: Routing) -> None:
    """The status for people."""
    _print(f"{hosting.name}: {hosting.status} since {jst(hosting.since_s):%F %R} JST")
    if hosting.failure:
        _print(f"why: {hosting.failure}")
    if component:
        loaded = f"{_number(component.copies)} of {_number(component.desired)} copies loaded"
        _print(f"component {component.name}: {component.status}, {loaded}")
    if component and component.failure:
        _print(f"why: {component.failure}")
    _print(f"configuration {hosting.configuration}, created {jst(hosting.created_s):%F %R} JST")
    _print(f"gets {routing.why}")
    table = Table(box=box.HORIZONTALS)
    for column in ("variant", "instances", "wanted", "weight", ""):
        table.add_column(column, justify="left" if column in ("variant", "") else "right")
    for it in hosting.variants:
        weight = _number(it.weight, 1)
        if it.desired_weight != it.weight:
            weight += f" (becomes {_number(it.desired_weight, 1)})"
        about = ", ".join(filter(None, ("shadow" if it.shadow else "", it.status)))
        table.add_row(it.name, _number(it.instances), _number(it.desired), weight, about)
    _print(table)


def metrics_document(found: Mapping[Whose, EndpointUse], costs: Mapping[Whose, tuple[Quote, Cost]]) -> dict[str, Any]:
    """The metrics for programs."""
    return {
        "metrics": [
            {"of": whose.dimensions}
            | {name: value for name, value in asdict(use).items() if name != "span"}
            | {"instances": use.instances}
            | {"since": _iso(use.span.since_s), "until": _iso(use.span.until_s), "period_s": use.span.period_s}
            | {"cost": _cost_fields(*costs[whose]) if whose in costs else None}
            for whose, use in found.items()
        ]
    }


def show_metrics(found: Mapping[Whose, EndpointUse], costs: Mapping[Whose, tuple[Quote, Cost]]) -> None:
    """The metrics for people: a column for each variant."""
    span = next(iter(found.values())).span
    period = f"{span.period_s // 60} min"
    _print(f"{jst(span.since_s):%F %R} to {jst(span.until_s):%F %R} JST, in periods of {period}")
    table = Table(box=box.HORIZONTALS)
    table.add_column("")
    for whose in found:
        table.add_column(whose.component or whose.variant, justify="right")
    rows = [_metric_cells(use) | _cost_cells(costs.get(whose)) for whose, use in found.items()]
    for label in rows[0]:
        table.add_row(label, *(cells[label] for cells in rows))
    _print(table)
    for quote in {quote for quote, _ in costs.values()}:
        sure = "" if quote.verified else ", which is not verified"
        _print(f"{quote.name.removeprefix(HOSTING)}: ${quote.usd:g} an hour by {quote.source.split(';')[0]}{sure}")
    if not any(use.invocations for use in found.values()):
        _print("nothing was asked of it in this time, or CloudWatch does not know yet: it is some minutes behind")


def size_document(sized: Sized) -> dict[str, Any]:
    """A load test for programs."""
    found = sized.size
    document: dict[str, Any] = {
        "endpoint": sized.endpoint,
        "instances": sized.instances,
        "limit_ms": sized.limit_ms,
        "headroom": sized.headroom,
        "steps": [asdict(step) for step in sized.steps],
        "failures": sized.failures,
        "notes": sized.notes,
        "size": None,
        "verdict": verdict(sized.steps, sized.limit_ms),
        "peak": None,
    }
    if found:
        document["size"] = asdict(found) | {"answers_per_hour": found.answers_per_hour, "parameter": PARAMETER}
    if found and sized.peak_per_minute:
        needed = found.instances(sized.peak_per_minute)
        document["peak"] = {"answers_per_minute": sized.peak_per_minute, "instances": needed}
    return document


def show_size(sized: Sized) -> None:
    """A load test for people: what was measured, and what follows from it."""
    table = Table(box=box.HORIZONTALS)
    for column in (
        "at a time",
        "answers",
        "errors",
        "first text p50",
        "p95",
        "total p95",
        "answers/s",
        "tokens/s",
        "",
    ):
        table.add_column(column, justify="right")
    for step in sized.steps:
        table.add_row(*_step_cells(step, sized.limit_ms))
    _print(table)
    if sized.instances > 1:
        _print(f"of each of {sized.instances} instances, loaded together")
    for outcome, times in sized.failures.items():
        _print(f"{times} x {outcome}")
    for note in sized.notes:
        _print(note)
    found = sized.size
    for line in advice(found, sized) if found else [verdict(sized.steps, sized.limit_ms)]:
        _print(line)


def instances(number: int) -> str:
    """So many, in words."""
    return f"{number} instance{'' if number == 1 else 's'}"


def advice(found: Size, sized: Sized) -> list[str]:
    """What follows from a load test, line by line."""
    more = "" if found.limit_found else "; more at a time was not measured, and may be (--levels)"
    gives = f"{found.answers_per_minute:,.1f} answers/min, {found.answers_per_hour:,.0f} an hour"
    lines = [
        f"One instance carries {found.concurrency} at a time, first text within {sized.limit_ms:,.0f} ms{more}.",
        f"Target value: {found.target}, with which one instance gives {gives}.",
        *_parameters(found, is_twin=sized.is_twin),
    ]
    if sized.peak_per_minute:
        needed = found.instances(sized.peak_per_minute)
        lines.append(f"A peak of {sized.peak_per_minute:,g} answers/min needs {instances(needed)}.")
        if not sized.is_twin:
            lines[-1] += _as_parameters(needed)
    return lines


def _as_parameters(needed: int) -> str:
    """What so many instances mean for the template, which allows no number of them."""
    if needed > MAXIMA[-1]:
        return f" The template allows {MAXIMA[-1]}: take a larger instance type, or shorter answers."
    most = next(it for it in MAXIMA if it >= needed)
    peak = f"SageMakerPeakMinimumInstances={next((it for it in PEAK_MINIMA if it >= needed), PEAK_MINIMA[-1])}"
    return f" So: SageMakerMaximumInstances={most}, and {peak} if they are to be there from 17:30 JST."


def _parameters(found: Size, *, is_twin: bool) -> list[str]:
    if is_twin:
        return [f"In the twin that is make run ENDPOINT=target={found.target}; on AWS measure again."]
    a_minute = min(MOST_TARGET, max(1, int(found.answers_per_minute)))
    return [
        f"  {PARAMETER}={found.target} with {METRIC}=ConcurrentRequests, or",
        f"  {PARAMETER}={a_minute} with {METRIC}=Invocations, which are counted by the minute.",
    ]


def _step_cells(step: Step, limit_ms: float) -> tuple[str, ...]:
    return (
        f"{step.concurrency}",
        f"{step.answers:,}",
        f"{step.errors:,}",
        _ms(step.first_text_p50_ms),
        _ms(step.first_text_p95_ms),
        _ms(step.total_p95_ms),
        f"{step.answers_per_s:,.2f}",
        f"{step.tokens_per_s:,.1f}",
        "" if step.holds(limit_ms) else "errors" if step.errors else "too slow",
    )


def _metric_cells(use: EndpointUse) -> dict[str, str]:
    cells = {
        "invocations": f"{use.invocations:,}",
        "invocations per instance": _number(use.invocations_per_instance, 1),
        "instances, mean of invocations": _number(use.instances, 1),
        "busiest period, invocations/min": _number(use.busiest_per_minute, 1),
        "model latency p50, median period": _ms(use.model_p50_ms),
        "model latency p99, worst period": _ms(use.model_p99_ms),
        "overhead p50, median period": _ms(use.overhead_p50_ms),
        "overhead p99, worst period": _ms(use.overhead_p99_ms),
        "first part p50, median period": _ms(use.first_p50_ms),
        "first part p99, worst period": _ms(use.first_p99_ms),
        "at a time per model, most": _number(use.most_at_once, 1),
        "at a time per model, mean": _number(use.mean_at_once, 1),
        "4xx errors": f"{use.errors_4xx:,}",
        "5xx errors": f"{use.errors_5xx:,}",
        "broke off after their first part": NOTHING if use.broken is None else f"{use.broken:,}",
    }
    return cells if use.asleep is None else cells | {"calls that found no copy": f"{use.asleep:,}"}


def _cost_cells(found: tuple[Quote, Cost] | None) -> dict[str, str]:
    if found is None:
        return {"instances' hours": NOTHING, "cost per 1,000 answers": NOTHING}
    cost = found[1]
    each = NOTHING if cost.answer_usd is None else f"${1000 * cost.answer_usd:,.2f}"
    return {"instances' hours": f"${cost.total_usd:,.2f}", "cost per 1,000 answers": each}


def _cost_fields(quote: Quote, cost: Cost) -> dict[str, Any]:
    return asdict(cost) | {"instance_type": quote.name.removeprefix(HOSTING), "verified": quote.verified}


def _ms(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f} ms"


def _number(value: float | None, places: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{places}f}"


def _iso(instant_s: float) -> str:
    return jst(instant_s).isoformat(timespec="seconds")


def _print(what: Table | str) -> None:
    console = Console()
    width = None if console.is_terminal else WIDTH
    Console(width=width, highlight=False, markup=False).print(what, soft_wrap=isinstance(what, str))
