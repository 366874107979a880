"""A few cells of the fault matrix against a real twin."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


def test_the_quick_cells_hold_and_are_told(tmp_path: Path) -> None:
    out, markdown = tmp_path / "chaos.json", tmp_path / "reliability.md"
    options = ["--quick", "--only", "model", "--shoppers", "4", "--seconds", "3"]
    command = [sys.executable, "-m", "chaos", *options]
    ran = subprocess.run(
        [*command, "--out", str(out), "--write", str(markdown)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    document = json.loads(out.read_text("utf-8"))
    totals = document["totals"]
    assert totals["turns"] == totals["ended"] == totals["useful"] >= 8
    assert totals["inexact"] == totals["wrong_lines"] == totals["broken_budgets"] == totals["overshot"] == 0
    by_cell = {cell["name"]: cell["answered_by"] for cell in document["cells"]}
    assert "ondemand-sonnet" not in by_cell["quality model: cut, 100%"]
    assert "catalogue" in by_cell["all models on demand: hang, 100%"]
    assert "100.00% came to an `end`" in markdown.read_text("utf-8")
