"""One row per thing measured: what it was, what is aimed at, and whether that was reached."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 150  # where the output is no terminal


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement; `met` is None where nothing is aimed at, and `figures` holds its numbers for programs."""

    part: str
    what: str
    measured: str
    aim: str = ""
    met: bool | None = None
    figures: dict[str, float] = field(default_factory=dict)


def machine() -> dict[str, str | int]:
    """Where it was measured."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }


def as_json(rows: list[Row], seconds: float) -> dict[str, object]:
    """The report for programs."""
    return {"machine": machine(), "seconds": round(seconds, 1), "rows": [asdict(row) for row in rows]}


def show(rows: list[Row], seconds: float) -> None:
    """The report for people."""
    where = machine()
    table = Table(
        title=f"{where['cpu']}, {where['cores']} cores, {where['architecture']}, CPython {where['python']}",
        caption=f"measured in {seconds:.0f} s; all ratios and differences within one run",
    )
    table.add_column("part")
    table.add_column("what", overflow="fold")
    table.add_column("measured", overflow="fold")
    table.add_column("aim", overflow="fold")
    table.add_column("")
    part = ""
    for row in rows:
        if part and row.part != part:
            table.add_section()
        table.add_row(row.part if row.part != part else "", row.what, row.measured, row.aim, _verdict(row.met))
        part = row.part
    console = Console()
    Console(width=None if console.is_terminal else WIDTH).print(table)


def _verdict(met: bool | None) -> Text:
    if met is None:
        return Text("")
    return Text("met", style="green") if met else Text("missed", style="bold red")


def _cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = {key.strip(): value.strip() for key, _, value in map(_halves, info.read_text("utf-8").splitlines())}
        if name := found.get("model name"):
            return name
    return platform.processor() or "unknown processor"


def _halves(line: str) -> tuple[str, str, str]:
    return line.partition(":")
