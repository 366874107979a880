"""`make endpoint` at the twin's endpoint, over real sockets: its state, an answer, metrics, a measurement."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tests.e2e.running import running
from tests.integration.endpoint_calls import NAME, TARGET, fast
from tests.integration.test_endpoint_command import BRIEF, said
from tools.advise import main as advise
from tools.ledger import main as ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from tests.e2e.running import Running


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--endpoint", "starting_s=0") as twin:
        fast(twin, token_ms=5)
        yield twin


def of_twin(twin: Running, *arguments: str) -> Result:
    return said(None, "--twin", twin.page, *arguments)


def test_the_twins_endpoint_is_shown(twin: Running) -> None:
    shown = of_twin(twin, "status")
    assert shown.exit_code == 0, shown.stderr
    assert f"{NAME}: InService since" in shown.stdout
    assert "gets catalogue questions, by preset current" in shown.stdout
    document = json.loads(of_twin(twin, "status", "--json").stdout)
    (variant,) = document["variants"]
    assert (variant["name"], variant["instances"], variant["desired"], variant["weight"]) == ("main", 1, 1, 1)
    assert (document["component"], document["routing"]["routed"]) == (None, True)


def test_one_answer_streams_to_its_end_and_is_in_the_metrics(twin: Running) -> None:
    before = metrics_of(twin)["invocations"]
    told = of_twin(twin, "invoke", "ワンピースに似た作品は?")
    assert told.exit_code == 0, told.stderr
    assert told.stdout.startswith("【エミュレーター】「ワンピースに似た作品は?」")
    assert told.stderr.startswith("first text ")
    assert "tokens read" in told.stderr
    assert "estimated" not in told.stderr
    after = metrics_of(twin)
    assert after["invocations"] == before + 1
    assert after["instances"] == pytest.approx(1)
    assert 0 < after["model_p50_ms"] <= after["model_p99_ms"] < 60_000
    assert after["cost"]["instance_type"] == "ml.g5.2xlarge"
    assert 0 < after["cost"]["total_usd"] < 5 / 60 * 1.89, "it was created a moment ago"
    assert after["cost"]["answer_usd"] == pytest.approx(after["cost"]["total_usd"] / after["invocations"])
    shown = of_twin(twin, "metrics", "--hours", "24").stdout
    assert "busiest period" in shown
    assert "ml.g5.2xlarge: $1.89 an hour by the brief's table 4.2, which is not verified" in shown


def test_the_days_books_have_the_instances_hours_and_what_of_them_was_idle(twin: Running) -> None:
    assert of_twin(twin, "invoke", "ワンピースに似た作品は?").exit_code == 0
    told = CliRunner(mix_stderr=False).invoke(ledger, ["--twin", twin.page, "--json"])
    assert told.exit_code == 0, told.stderr
    (hours,) = json.loads(told.stdout)["hours"]
    assert hours["what"] == f"{NAME}, main, instances"
    assert hours["answers"] >= 1
    assert 0 < hours["idle_usd"] <= hours["cost_usd"] == pytest.approx(1.89 * hours["hours"])
    assert not hours["is_price_verified"]
    assert "instances" in CliRunner(mix_stderr=False).invoke(ledger, ["--twin", twin.page]).stdout


def metrics_of(twin: Running) -> dict[str, Any]:
    told = of_twin(twin, "metrics", "--json")
    assert told.exit_code == 0, told.stderr
    (found,) = json.loads(told.stdout)["metrics"]
    assert found["of"] == {"EndpointName": NAME, "VariantName": "main"}
    assert found["period_s"] == 60
    return dict(found)


def test_the_twins_instance_is_measured(twin: Running) -> None:
    told = of_twin(twin, "size", "--levels", "1,3", *BRIEF, "--peak-per-minute", "5000", "--json")
    assert told.exit_code == 0, told.stderr
    document = json.loads(told.stdout)
    assert [step["concurrency"] for step in document["steps"]] == [1, 3]
    assert all(step["answers"] > 1 and not step["errors"] for step in document["steps"])
    assert document["size"]["target"] == 2  # 3 x 0.7 = 2.1
    assert document["limit_ms"] == 1500
    assert document["peak"]["instances"] >= 1


def test_what_fails_is_said_in_one_line(twin: Running) -> None:
    twin.put("faults", {TARGET: {"fault": "unavailable", "count": 1}})
    try:
        told = of_twin(twin, "invoke", "?")
    finally:
        fast(twin, token_ms=5)
    assert told.exit_code == 1
    assert "the model does not answer: unavailable: ServiceUnavailable, status 503" in told.stderr


def test_a_component_that_is_not_there_yet_is_shown_and_cannot_be_measured() -> None:
    with running("--endpoint", "minimum=0") as asleep:
        shown = of_twin(asleep, "status")
        counted = of_twin(asleep, "metrics")
        measured = of_twin(asleep, "size")
    assert f"{NAME}: Creating since" in shown.stdout
    assert f"component {NAME}: Creating, 0 of" in shown.stdout
    assert "calls that found no copy" in counted.stdout
    assert measured.exit_code == 1
    assert "no instance of manga-assist-fm serves, it is Creating. make run ENDPOINT=starting_s=0" in measured.stderr


def test_what_an_answer_has_cost_is_told_beside_the_advice(twin: Running, tmp_path: Path) -> None:
    of_twin(twin, "invoke", "ワンピースに似た作品は?")
    asked = ["--twin", twin.page, "--messages", "20000", "--endpoint-hours", "1"]
    told = CliRunner(mix_stderr=False).invoke(advise, [*asked, "--json"])
    assert told.exit_code == 0, told.stderr
    (measured,) = json.loads(told.stdout)["measured_endpoint"]
    assert measured["answers"] >= 1
    assert measured["answer_usd"] == pytest.approx(measured["cost_usd"] / measured["answers"])
    out = tmp_path / "advice.html"
    told = CliRunner(mix_stderr=False).invoke(advise, [*asked, "--out", str(out)])
    assert "more than the" in told.stdout, "a handful of answers does not pay for an instance"
    assert "answers an hour on" in told.stdout
    assert "Your endpoint, measured" in out.read_text("utf-8")
