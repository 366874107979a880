"""The dashboard and the queries: they show what is recorded, under the names it is recorded by."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest

from mangaassist import observability
from mangaassist.metric import Metric
from mangaassist.routing.policy import CATALOGUE, KEPT, preset
from tests.infrastructure import code
from tests.infrastructure.cloudformation import nested
from tests.infrastructure.deployment import Deployment
from tools.watching.queries import FOLDER, QUERIES, Query, read
from tools.watching.series import ours

TOLD = {
    "Name": "mangaassist-ap-northeast-1",
    "MessageFunction": "mangaassist-MessageFunction",
    "Service": "mangaassist-prod",
    "Gateway": "a1b2c3d4e5",
    "Stage": "live",
    "MessageLogGroup": "mangaassist-MessageLogGroup",
    "PagingAlarm": "arn:aws:cloudwatch:ap-northeast-1:123456789012:alarm:paging",
}
DASHBOARD = Deployment(nested("stacks/dashboard.yaml"), TOLD)
WIDGETS: list[dict[str, Any]] = json.loads(
    DASHBOARD.of_type("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]
)["widgets"]
GRAPHS = {it["properties"]["title"]: it["properties"] for it in WIDGETS if it["type"] == "metric"}
COLUMNS = 24
WORDS = {
    *("fields", "filter", "stats", "sort", "limit", "by", "as", "and", "or", "asc", "desc", "like", "in"),
    *("count", "sum", "max", "min", "avg", "pct", "bin", "ispresent", "strcontains", "m", "h", "d"),
}
BY_LAMBDA = {"timestamp", "level", "message", "correlation_id", "exception_name"}  # and by Powertools


def drawn(graph: dict[str, Any]) -> list[tuple[str, str, dict[str, str], dict[str, Any]]]:
    """The metrics of a graph: namespace, name, dimensions and options."""
    lines = [line for line in graph["metrics"] if len(line) > 1]
    return [(line[0], line[1], dict(zip(line[2:-1:2], line[3:-1:2], strict=True)), line[-1]) for line in lines]


@pytest.mark.parametrize("title", GRAPHS)
def test_a_graph_shows_what_the_code_records_by_a_statistic_that_means_something(title: str) -> None:
    for namespace, name, dimensions, options in drawn(GRAPHS[title]):
        if namespace == "AWS/Lambda":
            assert dimensions == {"FunctionName": TOLD["MessageFunction"]}
            continue
        if namespace == "AWS/ApiGateway":
            assert dimensions == {"ApiId": TOLD["Gateway"], "Stage": TOLD["Stage"]}
            assert name in ("ClientError", "ExecutionError", "IntegrationError", "MessageCount")
            continue
        assert namespace == observability.NAMESPACE
        assert dimensions.pop("service") == TOLD["Service"]
        assert (name, tuple(dimensions)) in code.measured()
        if Metric[name].unit != "Count":
            assert options["stat"] != "Sum"


@pytest.mark.parametrize("title", GRAPHS)
def test_an_expression_uses_lines_of_its_own_graph(title: str) -> None:
    lines = GRAPHS[title]["metrics"]
    known = {line[-1]["id"] for line in lines if "id" in line[-1]}
    for (line,) in (it for it in lines if len(it) == 1):
        used = set(re.findall(r"\b[a-z]\w*", line["expression"]))
        assert used
        assert used <= known


def test_targets_and_windows_are_those_of_the_policy() -> None:
    policy = preset("current")
    shown = {dimensions["target"] for _, _, dimensions, _ in drawn(GRAPHS["Turns by who answered"])}
    assert shown == {*policy.targets, KEPT, CATALOGUE}
    assert {dimensions["window"] for _, _, dimensions, _ in drawn(GRAPHS["Used of its throughput"])} == {
        window.name for window in policy.windows
    }


def test_the_widgets_fill_the_page_without_lying_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for it in WIDGETS:
        cells = {(x, y) for x in range(it["x"], it["x"] + it["width"]) for y in range(it["y"], it["y"] + it["height"])}
        assert not cells & taken
        assert all(x < COLUMNS for x, _ in cells)
        taken |= cells
    assert len(taken) == COLUMNS * (1 + max(y for _, y in taken))


def test_the_lines_that_matter_are_drawn() -> None:
    assert GRAPHS["First text"]["annotations"]["horizontal"] == [{"label": "promised", "value": 3000}]
    levels = {it["label"]: it["value"] for it in GRAPHS["Pace of the day's money"]["annotations"]["horizontal"]}
    assert levels == {"shorter_answers": 75, "fast_class": 90}


def test_the_alarm_that_pages_is_at_the_top() -> None:
    assert WIDGETS[0]["properties"]["alarms"] == [TOLD["PagingAlarm"]]


def test_a_metric_is_not_drawn_by_what_it_is_not_recorded_by() -> None:
    with pytest.raises(ValueError, match="Turns is not recorded by target"):
        ours(Metric.Turns, target="ondemand-haiku")


@pytest.mark.parametrize("query", QUERIES.values(), ids=lambda query: query.name)
def test_a_query_asks_for_what_is_logged(query: Query) -> None:
    asked = re.sub(r'"[^"]*"', "", query.text)
    made = set(re.findall(r"\bas (\w+)", asked))
    names = set(re.findall(r"@?\b[a-z_]\w*", asked)) - made - WORDS
    assert {name.lstrip("@") for name in names} <= logged() | BY_LAMBDA


@pytest.mark.parametrize("query", QUERIES.values(), ids=lambda query: query.name)
def test_a_query_looks_for_lines_that_are_written(query: Query) -> None:
    sources = "\n".join(file.read_text("utf-8") for file in code.modules())
    for message in re.findall(r'message = "([^"]+)"', query.text):
        assert f'"{message}"' in sources


def test_every_query_is_in_the_console_and_its_meaning_with_it() -> None:
    definitions = DASHBOARD.of_type("AWS::Logs::QueryDefinition").values()
    assert {it["Name"] for it in definitions} == {f"{TOLD['Name']}/{name}" for name in QUERIES}
    assert len(QUERIES) == len(list(FOLDER.iterdir()))
    for it in definitions:
        assert it["LogGroupNames"] == [TOLD["MessageLogGroup"]]
        assert it["QueryString"].startswith("# ")


def test_a_query_without_a_meaning_is_refused(tmp_path: Any) -> None:
    file = tmp_path / "bare.txt"
    file.write_text("fields @timestamp\n", "utf-8")
    with pytest.raises(ValueError, match=r"bare\.txt: its first line has to say what it answers"):
        read(file)


def logged() -> set[str]:
    """The names under which something is put into log lines: keys of every `extra`."""
    found: set[str] = set()
    for file in code.modules():
        for call in (it for it in ast.walk(code.parsed(file)) if isinstance(it, ast.Call)):
            for keyword in call.keywords:
                if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                    found |= {str(key.value) for key in keyword.value.keys if isinstance(key, ast.Constant)}
    return found
