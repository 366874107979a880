"""A short load on a twin whose functions run in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_a_short_load_loses_nothing_and_is_told(tmp_path: Path) -> None:
    page, markdown = tmp_path / "load.html", tmp_path / "load.md"
    load = {"rate": 3, "seconds": 6, "warm-up": 2, "think": 3, "drops": 0.3, "environments": 1}
    options = [word for name, value in load.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "load", *options, "--out", str(page), "--write", str(markdown)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (run,) = json.loads(page.with_suffix(".json").read_text("utf-8"))["runs"]
    assert (run["lost"], run["left"]) == (0, {})
    assert run["started"] > 5
    assert run["reconnects"] > 0
    assert 3 <= run["posts_per_answer"] <= 20
    assert "<svg" in page.read_text("utf-8")
    assert "None of" in markdown.read_text("utf-8")


def test_a_load_that_cannot_connect_says_why_before_it_begins() -> None:
    command = [sys.executable, "-m", "load", "--url", "ws://127.0.0.1:9/live", "--seconds", "600"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    assert "nobody can connect to ws://127.0.0.1:9/live: " in ran.stderr
