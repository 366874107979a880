"""Simulate a day of the store in Japan through the real router, budget and prices, and report it as a page.

The same seed gives the same day, so two policies can be compared on it.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mangaassist.errors import PolicyInvalid
from mangaassist.routing import policy as policies
from simulator import report
from simulator.arrivals import Traffic, arrivals
from simulator.day import Day, Fault, Setting
from tools.place import write_page
from tools.ranges import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from simulator.outcome import Outcome

CLIFF_EDGE = "cliff-edge"
FAULTS = ("throttled", "silent")
SHARE = FiniteRange(0, 1)
FIRST_DAY = datetime(2024, 1, 1)  # before the first price


class Named(click.ParamType):
    """A policy: a preset's name or a file."""

    name = "policy"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Its name and document; click has its own way to refuse."""
        if isinstance(value, tuple) or value == CLIFF_EDGE:
            return value if isinstance(value, tuple) else (CLIFF_EDGE, "")
        path = Path(value)
        try:
            document = path.read_text(encoding="utf-8") if path.is_file() else policies.preset_document(value)
            policies.load(document)
        except (PolicyInvalid, OSError, UnicodeDecodeError) as error:
            self.fail(f"{value}: {error}", param, ctx)
        return path.stem, document


class Scripted(click.ParamType):
    """A fault as TARGET:KIND:SHARE."""

    name = "target:kind:share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fault:
        """Read it; click has its own way to refuse."""
        if isinstance(value, Fault):
            return value
        target, _, rest = str(value).partition(":")
        kind, _, share = rest.partition(":")
        if target not in policies.TARGETS or kind not in FAULTS:
            self.fail(
                f"one of {', '.join(policies.TARGETS)} with {' or '.join(FAULTS)} is expected: {value}", param, ctx
            )
        try:
            return Fault(target, kind, SHARE.convert(share, param, ctx))
        except ValueError:
            self.fail(f"{share} is no share", param, ctx)


@dataclass(frozen=True, slots=True)
class Job:
    """One day to simulate; it can be sent to another process."""

    name: str
    document: str
    day: date
    traffic: Traffic
    seed: int
    faults: tuple[Fault, ...]
    endpoint_instances: int
    units_are_bought: bool

    def run(self, on_share: Callable[[float], object] = lambda share: None) -> Outcome:
        """Simulate it."""
        setting = Setting(
            policies.load(self.document), self.day, self.faults, self.endpoint_instances, self.units_are_bought
        )
        return Day(setting, arrivals(self.traffic, self.seed)).run(on_share)


@click.command(help=__doc__)
@click.option("--messages", type=click.IntRange(1, 20_000_000), default=1_000_000, show_default=True)
@click.option("--complex", "complex_share", type=SHARE, default=0.1, show_default=True, help="Share of messages.")
@click.option("--catalogue", "catalogue_share", type=SHARE, default=0.3, show_default=True, help="Share of messages.")
@click.option("--input-tokens", type=click.IntRange(1, 100_000), default=350, show_default=True, help="Mean.")
@click.option("--output-tokens", type=click.IntRange(1, 8192), default=150, show_default=True, help="Mean.")
@click.option("--policy", type=Named(), default="current", show_default=True, help="A preset or a JSON file.")
@click.option("--against", type=Named(), help=f"Another one, or {CLIFF_EDGE}: the same without tiers that pace.")
@click.option("--budget", type=FiniteRange(0.01, 1_000_000), help="US dollars a day, in place of the policies'.")
@click.option(
    "--endpoint-instances", type=click.IntRange(0, 1000), default=0, show_default=True, help="0: no endpoint."
)
@click.option("--no-units", is_flag=True, help="Nothing is bought for the windows.")
@click.option("--fault", "faults", type=Scripted(), multiple=True, help="Such as ondemand-sonnet:silent:0.05.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), default="2026-11-26", show_default=True, help="Of prices.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=".reports/simulated-day.html")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document; no page is written.")
def main(
    complex_share: float,
    catalogue_share: float,
    messages: int,
    input_tokens: int,
    output_tokens: int,
    policy: tuple[str, str],
    against: tuple[str, str] | None,
    budget: float | None,
    endpoint_instances: int,
    no_units: bool,
    faults: tuple[Fault, ...],
    day: datetime,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Simulate, and tell."""
    if complex_share + catalogue_share > 1:
        raise click.UsageError("--complex and --catalogue are shares of the same messages: together at most 1")
    if len({fault.target for fault in faults}) < len(faults):
        raise click.UsageError("--fault: a target has one fault at a time")
    if day < FIRST_DAY:
        raise click.UsageError(f"--day: prices begin on {FIRST_DAY:%F}")
    if policy[0] == CLIFF_EDGE:
        raise click.UsageError(f"{CLIFF_EDGE} is what --policy can be compared --against")
    traffic = Traffic(messages, complex_share, catalogue_share, input_tokens, output_tokens)
    chosen = [policy, *([against] if against else [])]
    if against and against[0] == CLIFF_EDGE:
        chosen[1] = (CLIFF_EDGE, _without_pace(policy[1]))
    if against and chosen[0][0] == chosen[1][0]:
        chosen = [(f"{name} ({number})", document) for number, (name, document) in enumerate(chosen, start=1)]
    jobs = [
        Job(name, _with_budget(document, budget), day.date(), traffic, seed, faults, endpoint_instances, not no_units)
        for name, document in chosen
    ]
    runs = [
        (job.name, policies.load(job.document), outcome) for job, outcome in zip(jobs, _simulated(jobs), strict=True)
    ]
    if as_json:
        click.echo(json.dumps({name: outcome.document() for name, _, outcome in runs}, indent=2))
        return
    write_page(report.page(runs, traffic, seed), out)
    _show(report.rows(runs).columns, report.rows(runs).rows)
    click.echo(report.verdict(runs))
    click.echo(f"{out} has the plots")


def _simulated(jobs: list[Job]) -> list[Outcome]:
    """Run the first here, with a bar, and another beside it."""
    console = Console(stderr=True)
    with (
        ProcessPoolExecutor(max_workers=1) as beside,
        Progress(console=console, disable=not console.is_terminal, transient=True) as progress,
    ):
        others = [beside.submit(job.run) for job in jobs[1:]]
        task = progress.add_task(f"{jobs[0].traffic.messages:,} messages", total=1.0)
        first = jobs[0].run(lambda share: progress.update(task, completed=share))
        return [first, *(other.result() for other in others)]


def _without_pace(document: str) -> str:
    """The same policy with a guard at the cliff's edge: only tiers that look at the whole day."""
    told = policies.load(document).model_dump(mode="json")
    told["budget"]["tiers"] = [tier for tier in told["budget"]["tiers"] if tier["of"] == "day"]
    return json.dumps(told)


def _with_budget(document: str, budget: float | None) -> str:
    if budget is None:
        return document
    told = json.loads(document)
    told["budget"] = told.get("budget", {}) | {"daily_usd": str(Decimal(str(budget)))}
    return json.dumps(told)


def _show(columns: Any, rows: Any) -> None:
    table = Table(box=box.HORIZONTALS)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 100, highlight=False).print(table)


if __name__ == "__main__":
    main()
