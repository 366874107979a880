"""The dashboard, and its template `stacks/dashboard.yaml`: how shoppers fare, who answers, what it costs, on one page.

Written in the rows of a person's questions, from above: is it well, how fast, who answers, for how much money, by what
capacity, what breaks. The body is CloudWatch's JSON (its `GetDashboard` structure), with the stack's names filled in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mangaassist.metric import Metric
from mangaassist.routing.policy import CATALOGUE, KEPT, preset
from tools.watching.alarms import FIRST_TEXT_MS
from tools.watching.queries import QUERIES
from tools.watching.series import Series, of_function, of_gateway, ours

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH, HEIGHT, TITLE_HEIGHT = 24, 6, 1
MINUTE_S, HOUR_S = 60, 3600
NANO_PER_USD = 1_000_000_000
POLICY = preset("current")
TARGETS = (*POLICY.targets, KEPT, CATALOGUE)
WINDOWS = tuple(window.name for window in POLICY.windows)
PARAMETERS = {
    "Name": "Name of the dashboard",
    "MessageFunction": "Name of the function that answers questions",
    "Service": "What the stack's metrics are recorded for: its name",
    "Gateway": "Id of the WebSocket API",
    "Stage": "Name of its stage",
    "MessageLogGroup": "Log group of the function that answers questions",
    "PagingAlarm": "ARN of the alarm that pages",
}


@dataclass(frozen=True)
class Line:
    """A line of a graph: values of its own, or an expression of others by their ids."""

    label: str
    of: Series | str
    id: str = ""
    hidden: bool = False
    right: bool = False

    def drawn(self) -> list[Any]:
        """The line as CloudWatch takes it."""
        options: dict[str, Any] = {"label": self.label}
        if self.id:
            options["id"] = self.id
        if self.hidden:
            options["visible"] = False
        if self.right:
            options["yAxis"] = "right"
        if isinstance(self.of, str):
            return [{**options, "expression": self.of}]
        dimensions = [it for name, value in self.of.dimensions.items() for it in (name, _filled(value))]
        return [self.of.namespace, self.of.metric, *dimensions, {**options, "stat": self.of.statistic}]


@dataclass(frozen=True)
class Graph:
    """One graph: its lines, the unit on its left, and levels that matter."""

    title: str
    lines: tuple[Line, ...]
    unit: str = ""
    stacked: bool = False
    period_s: int = MINUTE_S
    levels: dict[str, float] = field(default_factory=dict)
    view: str = "timeSeries"

    def widget(self) -> dict[str, Any]:
        """The graph without its place."""
        properties: dict[str, Any] = {
            "title": self.title,
            "region": "${AWS::Region}",
            "view": self.view,
            "period": self.period_s,
            "metrics": [line.drawn() for line in self.lines],
        }
        if self.view == "timeSeries":
            properties["stacked"] = self.stacked
            properties["yAxis"] = {"left": {"min": 0, "label": self.unit, "showUnits": False}}
        if self.levels:
            drawn = [{"label": label, "value": value} for label, value in self.levels.items()]
            properties["annotations"] = {"horizontal": drawn}
        return {"type": "metric", "properties": properties}


@dataclass(frozen=True)
class Row:
    """One question of a person, and the graphs that answer it side by side."""

    question: str
    graphs: tuple[Graph, ...]
    height: int = HEIGHT


def _each(metric: Metric, by: str, names: Iterable[str], statistic: str = "Sum") -> tuple[Line, ...]:
    """A line for each value of a dimension."""
    return tuple(Line(name, ours(metric, statistic, **{by: name})) for name in names)


def _shares(whole: Metric, *parts: tuple[str, Metric]) -> tuple[Line, ...]:
    """Counters in percent of another one; what was not counted is zero."""
    operands = (Line(part.name, ours(part), id=f"part{number}", hidden=True) for number, (_, part) in enumerate(parts))
    shares = (
        Line(label, f"100 * FILL(part{number}, 0) / whole", id=f"share{number}")
        for number, (label, _) in enumerate(parts)
    )
    return (Line(whole.name, ours(whole), id="whole", hidden=True), *operands, *shares)


ROWS = (
    Row(
        "Is it well?",
        (
            Graph("Turns a minute", (Line("turns", ours(Metric.Turns)),), view="singleValue"),
            Graph("First text, p95", (Line("ms", ours(Metric.FirstText, "p95")),), view="singleValue"),
            Graph(
                "Turns without a model, %",
                _shares(Metric.Turns, ("catalogue", Metric.CatalogueAnswers)),
                view="singleValue",
            ),
            Graph("Spent, % of the curve", (Line("pace", ours(Metric.SpendPace, "Maximum")),), view="singleValue"),
        ),
        height=4,
    ),
    Row(
        "How many come, and how fast are they served?",
        (
            Graph(
                "Traffic",
                (
                    Line("turns", ours(Metric.Turns)),
                    Line("connections opened", ours(Metric.Connects)),
                    Line("handshakes refused", ours(Metric.HandshakesRefused)),
                    Line("frames refused", ours(Metric.InvalidRequests)),
                ),
                "a minute",
            ),
            Graph(
                "First text",
                tuple(Line(which, ours(Metric.FirstText, which)) for which in ("p50", "p95", "p99")),
                "ms",
                levels={"promised": FIRST_TEXT_MS},
            ),
            Graph(
                "Whole turn",
                tuple(Line(which, ours(Metric.TotalTime, which)) for which in ("p50", "p95", "p99")),
                "ms",
            ),
        ),
    ),
    Row(
        "Who answers?",
        (
            Graph("Turns by who answered", _each(Metric.Answers, "target", TARGETS), "a minute", stacked=True),
            Graph(
                "Fallbacks and downgrades",
                _shares(
                    Metric.Turns,
                    ("more than one target", Metric.Fallbacks),
                    ("fast class for complex", Metric.Downgrades),
                    ("catalogue", Metric.CatalogueAnswers),
                ),
                "% of turns",
                period_s=300,
            ),
            Graph(
                "Depth of the chain",
                (
                    Line("mean", ours(Metric.Attempts, "Average")),
                    Line("p99", ours(Metric.Attempts, "p99")),
                ),
                "calls a turn",
            ),
            Graph("Failed calls", _each(Metric.AttemptsFailed, "target", POLICY.targets), "a minute", stacked=True),
        ),
    ),
    Row(
        "What does it cost?",
        (
            Graph(
                "Cost by target",
                (
                    *(
                        Line(target, ours(Metric.AttemptCostNanoUsd, target=target), id=f"cost{number}", hidden=True)
                        for number, target in enumerate(POLICY.targets)
                    ),
                    *(
                        Line(target, f"cost{number} / {NANO_PER_USD}", id=f"usd{number}")
                        for number, target in enumerate(POLICY.targets)
                    ),
                ),
                "$ an hour",
                stacked=True,
                period_s=HOUR_S,
            ),
            Graph(
                "Cost of a thousand turns",
                (
                    Line("cost", ours(Metric.CostNanoUsd), id="cost", hidden=True),
                    Line("turns", ours(Metric.Turns), id="turns", hidden=True),
                    Line("tokens and lookups", f"1000 * cost / turns / {NANO_PER_USD}", id="usd"),
                ),
                "$",
                period_s=HOUR_S,
            ),
            Graph(
                "Pace of the day's money",
                (
                    Line("spent, of the curve", ours(Metric.SpendPace, "Maximum")),
                    Line("turns under a tier", ours(Metric.BudgetTiers), right=True),
                ),
                "%",
                levels={tier.name: 100 * tier.at for tier in POLICY.budget.tiers if tier.of == "pace"},
            ),
        ),
    ),
    Row(
        "Does bought capacity serve, and is it used?",
        (
            Graph("Serving (1) or not (0)", _each(Metric.CapacityServing, "window", WINDOWS, "Minimum"), period_s=300),
            Graph(
                "Used of its throughput",
                _each(Metric.CapacityUtilisation, "window", WINDOWS, "Maximum"),
                "%",
                period_s=300,
                levels={"full": 100},
            ),
            Graph(
                "Kept off because it was full, or throttled",
                (
                    *(Line(f"kept off: {name}", ours(Metric.SpillOver, window=name)) for name in WINDOWS),
                    *(Line(f"throttled: {name}", ours(Metric.ProvisionedThrottles, window=name)) for name in WINDOWS),
                    Line("alive outside its window", ours(Metric.CapacityStray)),
                ),
                "a minute",
            ),
        ),
    ),
    Row(
        "Do kept answers and the catalogue help?",
        (
            Graph(
                "Kept answers",
                (
                    Line("hits", ours(Metric.CacheHits), id="hits", hidden=True),
                    Line("misses", ours(Metric.CacheMisses), id="misses", hidden=True),
                    Line("hits", "100 * FILL(hits, 0) / (FILL(hits, 0) + FILL(misses, 0))", id="share"),
                ),
                "% of questions that could be kept",
                period_s=300,
            ),
            Graph(
                "Outdated, unreachable, incomplete",
                (
                    Line("kept answers overtaken", ours(Metric.CacheOutdated)),
                    Line("cache out of reach", ours(Metric.CacheUnavailable)),
                    Line("knowledge incomplete", ours(Metric.KnowledgePartial)),
                    Line("prices corrected", ours(Metric.PriceCorrected)),
                ),
                "a minute",
            ),
            Graph(
                "Ratings",
                (Line("up", ours(Metric.FeedbackUp)), Line("down", ours(Metric.FeedbackDown))),
                "an hour",
                period_s=HOUR_S,
            ),
        ),
    ),
    Row(
        "What breaks?",
        (
            Graph(
                "Turns",
                (
                    Line("internal errors", ours(Metric.TurnFailed)),
                    Line("died", ours(Metric.TurnDied)),
                    Line("not delivered", ours(Metric.AnswerLost)),
                    Line("parts of an ending", ours(Metric.TurnPartFailed)),
                ),
                "a minute",
            ),
            Graph(
                "Around turns",
                (
                    Line("tables out of reach", ours(Metric.StoreUnavailable)),
                    Line("accounts not settled", ours(Metric.LedgerWriteFailed)),
                    Line("targets refuse", ours(Metric.TargetRefused)),
                    Line("targets throttle", ours(Metric.TargetThrottled)),
                    Line("policy invalid", ours(Metric.InvalidPolicy)),
                    Line("issuer out of reach", ours(Metric.IssuerUnreachable)),
                ),
                "a minute",
            ),
            Graph(
                "The message function",
                (
                    Line("errors", of_function("Errors", "MessageFunction")),
                    Line("throttles", of_function("Throttles", "MessageFunction")),
                    Line("at once", of_function("ConcurrentExecutions", "MessageFunction", "Maximum"), right=True),
                ),
                "a minute",
            ),
            Graph(
                "The gateway",
                (
                    Line("refused", of_gateway("ClientError")),
                    Line("function not called", of_gateway("ExecutionError")),
                    Line("function failed", of_gateway("IntegrationError")),
                    Line("messages", of_gateway("MessageCount"), right=True),
                ),
                "a minute",
            ),
        ),
    ),
)


def body() -> dict[str, Any]:
    """The dashboard in CloudWatch's structure, with places for the stack's names."""
    alarm = {"title": "Paging", "alarms": ["${PagingAlarm}"]}
    widgets: list[dict[str, Any]] = [
        {"type": "alarm", "x": 0, "y": 0, "width": WIDTH, "height": 2, "properties": alarm}
    ]
    y = 2
    for row in ROWS:
        heading = {"markdown": f"## {row.question}", "background": "transparent"}
        widgets.append({"type": "text", "x": 0, "y": y, "width": WIDTH, "height": TITLE_HEIGHT, "properties": heading})
        width = WIDTH // len(row.graphs)
        for place, graph in enumerate(row.graphs):
            at = {"x": place * width, "y": y + TITLE_HEIGHT, "width": width, "height": row.height}
            widgets.append({**at, **graph.widget()})
        y += TITLE_HEIGHT + row.height
    failed = {
        "title": "The last turns that met trouble",
        "region": "${AWS::Region}",
        "view": "table",
        "query": f"SOURCE '${{MessageLogGroup}}' | {QUERIES['turns-in-trouble'].text}",
    }
    widgets.append({"type": "log", "x": 0, "y": y, "width": WIDTH, "height": HEIGHT, "properties": failed})
    return {"start": "-PT6H", "periodOverride": "inherit", "widgets": widgets}


def template() -> dict[str, Any]:
    """The template, for the main one to nest: the dashboard, and the queries for CloudWatch Logs Insights."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "MangaAssist - dashboard, and queries of the log",
        "Parameters": {
            name: {"Type": "String", "MinLength": 1, "Description": meaning} for name, meaning in PARAMETERS.items()
        },
        "Resources": {
            "Dashboard": {
                "Type": "AWS::CloudWatch::Dashboard",
                "Properties": {"DashboardName": {"Ref": "Name"}, "DashboardBody": {"Fn::Sub": _text(body())}},
            },
            **{query.resource: query.definition() for query in QUERIES.values()},
        },
    }


def _text(document: dict[str, Any]) -> str:
    """The body as JSON, with a line for each widget."""
    head = json.dumps({name: value for name, value in document.items() if name != "widgets"})
    widgets = ",\n".join(json.dumps(widget, ensure_ascii=False) for widget in document["widgets"])
    return f'{head.removesuffix("}")}, "widgets": [\n{widgets}\n]}}'


def _filled(value: Any) -> str:
    """A parameter's value where CloudFormation fills it into the body."""
    return value if isinstance(value, str) else f"${{{value['Ref']}}}"
