"""A few cells of the fault matrix against a real twin."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


def run(tmp_path: Path, word: str) -> tuple[dict[str, Any], str]:
    """Run the quick cells with a word in their names; their document, and the page for docs."""
    out, markdown = tmp_path / "chaos.json", tmp_path / "reliability.md"
    options = ["--quick", "--only", word, "--shoppers", "4", "--turns", "2", "--out", str(out)]
    command = [sys.executable, "-m", "chaos", *options, "--write", str(markdown)]
    ran = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        told, _ = ran.communicate(timeout=280)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(ran.pid, signal.SIGKILL)  # and its twin, which would slow all that follows
    assert ran.returncode == 0, told.decode()
    document: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return document, markdown.read_text("utf-8")


def test_models_that_fail_are_replaced_and_it_is_told(tmp_path: Path) -> None:
    document, page = run(tmp_path, "model")
    totals = document["totals"]
    assert totals["turns"] == totals["ended"] == totals["useful"] == 16
    assert totals["inexact"] == totals["wrong_lines"] == totals["overspent"] == totals["overshot"] == 0
    assert totals["holding"] == totals["cells"] == 2
    by_cell = {cell["name"]: cell["answered_by"] for cell in document["cells"]}
    assert "ondemand-sonnet" not in by_cell["quality model: cut, 100%"]
    assert "catalogue" in by_cell["all models on demand: hang, 100%"]
    assert "100.00% came to an `end`" in page


def test_turns_whose_tables_fail_are_answered_all_the_same(tmp_path: Path) -> None:
    document, _ = run(tmp_path, "tables")
    assert document["totals"]["turns"] == document["totals"]["useful"] == 8


def test_turns_whose_function_is_killed_are_told_so(tmp_path: Path) -> None:
    document, _ = run(tmp_path, "killed")
    (cell,) = document["cells"]
    assert cell["met"]["handler"] >= 1
    assert cell["ended"] == cell["turns"] == 8
    assert cell["useful"] < 8
    assert set(cell["errors"]) <= {"error: turn_lost", "error: gateway"}
