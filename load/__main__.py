"""Ask a running MangaAssist as many turns a second as its shoppers would, and see what they saw.

Without --url a twin is started for each run, with its functions in processes of their own and quotas raised, and
stopped afterwards. The exit code is 1 when a turn was lost, or when connections or model streams were left at rest.
"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from load import outcome, report
from load.run import NobodyConnects, Place, Run, run
from load.schedule import RATE, Traffic, labelled, plan
from local.invoke import HOST, own_twin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from load.outcome import Outcome

SHARE = click.FloatRange(0, 1)
WIDTH = 150  # where the output is no terminal
STALLING, STALLS_AFTER_TOKENS = ("ondemand-sonnet", "ondemand-haiku"), 12
TWIN = ("--quotas", "100", "--set", "CAPACITY_MODE=off", "--seed", "1")


class Hours(click.ParamType):
    """Hours of Japan as FROM-TO."""

    name = "from-to"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read them; click has its own way to refuse."""
        if isinstance(value, tuple):
            return value
        begin, _, end = str(value).partition("-")
        if not (begin.isdigit() and end.isdigit() and 0 <= int(begin) < int(end) <= 24):
            self.fail(f"two hours such as 18-24 are expected, not {value}", param, ctx)
        return int(begin), int(end)


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--url", help="Where shoppers connect, such as ws://127.0.0.1:8080/live.")
@click.option("--tokens", type=click.File(), help="Of a deployment: shoppers' tokens, one a line, used in turn.")
@click.option(
    "--rate",
    "rates",
    type=click.FloatRange(0.1, 1000),
    multiple=True,
    help="Turns/s, 10 where none is said; again for more runs.",
)
@click.option("--seconds", type=click.FloatRange(1, 7200), default=60.0, help="Of the counted part.")
@click.option("--warm-up", "warm_up_s", type=click.FloatRange(1, 600), default=15.0, help="Seconds before it.")
@click.option("--hours", type=Hours(), default="18-24", help="Of Japan, whose curve the rate follows.")
@click.option("--think", "think_s", type=click.FloatRange(1, 600), default=15.0, help="Mean seconds between questions.")
@click.option("--turns-each", type=click.FloatRange(1, 100), default=4.0, help="Mean of a shopper's questions.")
@click.option("--complex", "complex_share", type=SHARE, default=0.1, help="Share of turns.")
@click.option("--catalogue", "catalogue_share", type=SHARE, default=0.3, help="Share of turns.")
@click.option("--drops", "drop_share", type=SHARE, default=0.02, help="Share whose connection is lost meanwhile.")
@click.option(
    "--stalls", "stall_share", type=SHARE, default=0.0, help="Share of model calls that stall in its own twin."
)
@click.option("--environments", type=click.IntRange(0, 64), default=2, help="Processes of its own twin's functions.")
@click.option("--seed", type=int, default=1)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path(".reports/load.html"))
@click.option("--steady", is_flag=True, help="Fail, too, when a rate is not held, or memory, threads or sockets grow.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document; no page is written.")
def main(
    url: str | None,
    tokens: click.utils.LazyFile | None,
    rates: tuple[float, ...],
    seconds: float,
    warm_up_s: float,
    hours: tuple[int, int],
    think_s: float,
    turns_each: float,
    complex_share: float,
    catalogue_share: float,
    drop_share: float,
    stall_share: float,
    environments: int,
    seed: int,
    out: Path,
    steady: bool,
    write: Path | None,
    as_json: bool,
) -> None:
    """Load, and tell."""
    if complex_share + catalogue_share > 1:
        raise click.UsageError("--complex and --catalogue are shares of the same turns: together at most 1")
    given = tuple(line.strip() for line in tokens or () if line.strip())
    if given and not url:
        raise click.UsageError("--tokens are of a deployment: --url says which")
    if steady and not Path("/proc/self/fd").is_dir():
        raise click.UsageError("--steady needs a system that tells of its processes in /proc, such as Linux")
    if url and stall_share:
        raise click.UsageError("--stalls are of a twin that is started for the load: not with --url")
    shares = (complex_share, catalogue_share, drop_share, stall_share)
    traffic = Traffic(RATE, seconds, warm_up_s, hours, think_s, turns_each, *shares)
    runs: list[tuple[Run, Outcome]] = []
    for rate in rates or (traffic.rate,):
        wanted = replace(traffic, rate=rate)
        with _place(url, given, environments, stall_share) as place:
            ran = _shown(place, wanted, seed)
        runs.append((ran, outcome.of(ran, wanted)))
    outcomes = [it for _, it in runs]
    if as_json:
        click.echo(json.dumps(report.document(outcomes, traffic), indent=2))
    else:
        report.page(runs, traffic).write(out)
        out.with_suffix(".json").write_text(json.dumps(report.document(outcomes, traffic), indent=2), "utf-8")
        _show(outcomes)
        told = (report.verdict(outcomes), *report.limits(outcomes), f"{out} has the plots")
        click.echo("\n".join(told))
    if write:
        command = "make load ARGS=" + shlex.quote(shlex.join(sys.argv[1:]))
        title = "Soak" if steady else "Load"
        write.write_text(report.markdown(outcomes, traffic, command, title), encoding="utf-8")
    failures = [failure for it in outcomes for failure in (*it.failures, *(it.unsteady if steady else ()))]
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    sys.exit(1 if failures else 0)


@contextmanager
def _place(url: str | None, tokens: tuple[str, ...], environments: int, stall_share: float) -> Iterator[Place]:
    """The place that is meant, or a twin that is started for it."""
    if url:
        yield Place(url, tokens)
        return
    with own_twin(*TWIN, "--environments", str(environments)) as twin:
        place = Place(f"ws://{HOST}:{twin.port}/live")
        if stall_share:
            fault = {"fault": "stall", "probability": stall_share, "after_tokens": STALLS_AFTER_TOKENS}
            httpx.put(f"{place.controls}/faults", json=dict.fromkeys(STALLING, fault)).raise_for_status()
        yield place


def _shown(place: Place, traffic: Traffic, seed: int) -> Run:
    """Run, with a bar of what is under way."""
    planned = plan(traffic, labelled(), seed)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[seen]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        whole_s = traffic.warm_up_s + traffic.seconds
        task = progress.add_task(f"{traffic.rate:g} turns/s", total=whole_s, seen="")

        def tell(so_far: Run, at_s: float) -> None:
            over = sum(asked.turn.is_over for asked in so_far.asked)
            seen = f"{over:,} of {len(planned):,} answered, {len(so_far.asked) - over} under way"
            progress.update(task, completed=min(whole_s, at_s + traffic.warm_up_s), seen=seen)

        try:
            return run(place, planned, tell)
        except NobodyConnects as error:
            raise click.ClickException(f"nobody can connect to {place.url}: {error}") from error


def _show(outcomes: list[Outcome]) -> None:
    table = Table(box=box.HORIZONTALS)
    for column in report.COLUMNS:
        table.add_column(column, justify="right", overflow="fold")
    for it in outcomes:
        table.add_row(*report.row(it))
    console = Console(highlight=False)
    Console(width=None if console.is_terminal else WIDTH, highlight=False).print(table)


if __name__ == "__main__":
    main()
