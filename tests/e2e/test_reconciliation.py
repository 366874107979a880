"""The twin's ledger against what its Bedrock counted: the same, on both sides of midnight, and told once a day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tests.e2e.conftest import OFF_PEAK, ask, until
from tests.e2e.running import Running, running
from tools.ledger import main

if TYPE_CHECKING:
    from collections.abc import Iterator

TODAY, NIGHT, MORNING = "2026-11-25", "2026-11-26T03:29:00+09:00", "2026-11-26T03:31:00+09:00"


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    """One that keeps its schedule."""
    with running("--set", "ANSWER_CACHE=off", "--pace", "0.2", daily=True) as twin:
        twin.put("clock", {"now": OFF_PEAK})
        yield twin


def metered(twin: Running, day: str) -> dict[str, Any]:
    told = CliRunner(mix_stderr=False).invoke(main, ["--twin", twin.page, "--day", day, "--metered", "--json"])
    assert told.exit_code == 0, told.stderr
    document: dict[str, Any] = json.loads(told.stdout)
    return document


def test_what_the_ledger_says_is_what_bedrock_counted(twin: Running) -> None:
    with twin.connect("anna") as connection:
        ask(connection, "送料はいくらですか?")
        ask(connection, "『寄生獣』と『亜人』の主題を比べて、それぞれの結末が何を問いかけているか論じてください。")
    found = metered(twin, TODAY)
    assert {it["model"].rpartition(".")[2] for it in found["models"]} == {"claude-haiku-5-5", "claude-sonnet-4-6"}
    for it in found["models"]:
        assert it["ours"] == it["theirs"]
        assert it["ours"]["output_tokens"] > 0
    assert found["drift_percent"] == 0


def test_the_night_after_the_function_reconciles_by_itself(twin: Running) -> None:
    """As the template's schedule starts it: at half past three in Japan, for the day before."""
    log = Path(twin.ready_line.rpartition("log ")[2].strip())
    twin.put("clock", {"now": NIGHT})
    twin.put("clock", {"now": MORNING})
    until(lambda: f'"day":"{TODAY}","drift_percent":0' in log.read_text("utf-8"), 20)
