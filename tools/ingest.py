"""Load a catalogue file (.csv or .jsonl, UTF-8) into the products table and the search index of a deployment.

Of the twin that `make run` started, unless --stack names another. A product costs something only where it differs from
what is there, so the same file can be loaded again after whatever went wrong, and goes on from there. The exit code is
0 when all rows are in, 2 when some are bad, 1 when something failed, and 130 after Ctrl-C.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mangaassist import bootstrap
from mangaassist.knowledge.embeddings import TITAN
from mangaassist.knowledge.loading import pruning, rows
from mangaassist.knowledge.loading.backoff import Backoff
from mangaassist.knowledge.loading.embedding import Embeddings
from mangaassist.knowledge.loading.loader import Loader
from mangaassist.knowledge.loading.report import Report, counted
from mangaassist.knowledge.loading.rows import Good
from mangaassist.knowledge.loading.search import SearchIndex, signed
from mangaassist.knowledge.loading.table import ProductTable
from mangaassist.money.prices import usd
from mangaassist.routing.policy import EMBEDDING_PRICES
from tools.place import TWIN, TWIN_REGION, Place, ToldCommand, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from rich.progress import Task

    from mangaassist.knowledge.loading.rows import Bad

INDEX = "products"  # as the template names it
PIECE_BYTES = 64 * 1024
SHOWN_MOST = 20  # problems on the screen
FAILED, BAD, INTERRUPTED = 1, 2, 130
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Warehouse:
    """Where products are kept in a deployment."""

    table: ProductTable
    search: SearchIndex | None
    loader: Loader


@dataclass(frozen=True)
class Choice:
    """What is to be done."""

    check: bool
    dry_run: bool
    again: bool
    prune: bool
    yes: bool


@click.command(cls=ToldCommand, help=__doc__)
@click.argument("file", type=FILE)
@click.option("--stack", metavar="NAME", help="CloudFormation stack of the deployment.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--region", help="AWS region of --stack, if not the configured one.")
@click.option("--check", is_flag=True, help="Only look whether the rows are good; needs no deployment.")
@click.option("--dry-run", is_flag=True, help="Say what would change and cost, and change nothing.")
@click.option("--again", is_flag=True, help="Embed and index what is there already, too: the index was lost.")
@click.option("--prune", is_flag=True, help="Delete the products that are not in the file, once all of it is in.")
@click.option("--yes", is_flag=True, help="Do not ask before pruning.")
@click.option("--report", "written", metavar="FILE", type=click.Path(path_type=Path), help="Write a report as JSON.")
@click.pass_context
def main(
    context: click.Context,
    /,
    file: Path,
    stack: str | None,
    twin: str,
    region: str | None,
    written: Path | None,
    **flags: bool,
) -> None:
    """Load the file, and say what became of it."""
    place = context.obj = Place(stack, twin.rstrip("/"), region)
    choice = Choice(**flags)
    if choice.check and (choice.dry_run or choice.again or choice.prune):
        raise click.UsageError("--check goes with no other choice: it knows no deployment")
    try:
        report, pruned = _done(place, file, choice)
    except KeyboardInterrupt:
        raise failure(
            "stopped. What is loaded stays, and the same command again goes on from there", INTERRUPTED
        ) from None
    if written:
        document = {"file": str(file), "pruned": pruned, **report.document()}
        written.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8")
    _show(report, pruned, choice, written)
    if report.failed:
        context.exit(FAILED)
    if report.bad or report.unread:
        context.exit(BAD)


def _done(place: Place, file: Path, choice: Choice) -> tuple[Report, int]:
    """What became of the file, and of how many products that it does not have."""
    with _bar(_lines(file)) as progress, file.open("rb") as source:
        found = rows.read(iter(lambda: source.read(PIECE_BYTES), b""), file.name)
        if choice.check:
            return _checked(found, progress), 0
        warehouse, ids = _warehouse(place), set[str]()
        act = warehouse.loader.survey if choice.dry_run else warehouse.loader.load
        report = act(_noted(found, ids), progress, again=choice.again)
    return report, _pruned(place, warehouse, ids, report, choice) if choice.prune else 0


def _warehouse(place: Place) -> Warehouse:
    backoff, there, client = Backoff(), place.search(), place.session.client
    model = place.parameter("EmbeddingModel") if place.stack else TITAN
    region = place.parameter("EmbeddingRegion") if place.stack else TWIN_REGION
    products = client("dynamodb", endpoint_url=place.endpoint, config=bootstrap.LOADING)
    models = client("bedrock-runtime", endpoint_url=place.endpoint, region_name=region, config=bootstrap.EMBEDDING)
    table, embeddings = ProductTable(products, place.products_table, backoff), Embeddings(models, model, backoff)
    search = None
    if there is not None:
        endpoint, generation = there
        credentials = place.session.get_credentials()
        if credentials is None:
            raise failure("AWS cannot be asked: no credentials")
        search = SearchIndex(signed(credentials, place.session.region_name), endpoint, INDEX, generation, backoff)
    return Warehouse(table, search, Loader(table, embeddings, search, backoff))


def _checked(found: Iterator[Good | Bad], progress: Callable[[Report], object]) -> Report:
    """The rows alone."""
    report = Report(TITAN)
    for _ in counted(found, report):
        progress(report)
    return report


def _noted(found: Iterator[Good | Bad], ids: set[str]) -> Iterator[Good | Bad]:
    """The rows as they are, their products' ids kept."""
    for row in found:
        if isinstance(row, Good):
            ids.add(row.product.id)
        yield row


def _pruned(place: Place, warehouse: Warehouse, ids: Set[str], report: Report, choice: Choice) -> int:
    """Delete what the file does not have, if it has been read and loaded without any trouble."""
    if report.bad or report.failed or report.unread or not ids:
        click.echo(
            "nothing is pruned: only a file whose rows are all good and in says what is not sold any more", err=True
        )
        return 0
    absent = pruning.absent(warehouse.table, ids)
    if choice.dry_run or not absent:
        return len(absent)
    if not choice.yes and not click.confirm(
        f"Delete {len(absent):,} products that {place.name} has beside the file's?"
    ):
        return 0
    problems = pruning.prune(warehouse.table, warehouse.search, absent)
    report.failed += len(problems)
    report.problems += problems
    return len(absent) - len(problems)


def _lines(file: Path) -> int:
    with file.open("rb") as source:
        return sum(piece.count(b"\n") for piece in iter(lambda: source.read(PIECE_BYTES), b""))


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} rows/s" if speed else "", style="progress.data.speed")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Report], object]]:
    """A bar that is told of the report now and then; only a terminal shows it."""
    console = Console(stderr=True)
    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("rows", total=total)
        yield lambda report: progress.update(task, completed=report.settled)


def _show(report: Report, pruned: int, choice: Choice, written: Path | None) -> None:
    """Print problems and counts."""
    for problem in report.problems[:SHOWN_MOST]:
        where = f"line {problem.line}" if problem.line else "file"
        click.echo(": ".join(filter(None, (where, problem.id, problem.reason))), err=True)
    if len(report.problems) > SHOWN_MOST:
        told = f"are in {written}" if written else "go into --report FILE"
        click.echo(f"… and {len(report.problems) - SHOWN_MOST:,} more, which {told}", err=True)
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in _figures(report, pruned, choice):
        table.add_row(name, value)
    Console(highlight=False).print(table)


def _figures(report: Report, pruned: int, choice: Choice) -> Iterator[tuple[str, str]]:
    yield "rows", f"{report.rows:,}"
    yield "bad", f"{report.bad:,}"
    if choice.check:
        return
    would = "to be " if choice.dry_run else ""
    yield "unchanged", f"{report.unchanged:,}"
    yield f"{would}written, without a new text", f"{report.facts_only:,}"
    yield f"{would}embedded, indexed and written", f"{report.embedded:,}"
    yield "failed", f"{report.failed:,}"
    if choice.prune:
        yield f"{would}pruned", f"{pruned:,}"
    about = "about " if choice.dry_run else ""
    assumed = "" if EMBEDDING_PRICES[report.model].verified else " (assumed price)"
    yield "embedding tokens", f"{about}{report.embedding_tokens:,}"
    yield "embedding cost", f"{about}${usd(report.embedding_nano_usd):,.6f}{assumed}"
    yield "seconds", f"{report.milliseconds / 1000:,.1f}"


if __name__ == "__main__":
    main()
