"""Show a JST day's books: what every call cost, by target, model, outcome, reason, tier of the budget and hour.

Of the twin that `make run` started, unless --stack names another. All of a day's lines are read: of a million turns
that takes minutes, and costs some cents.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mangaassist.jst import jst
from mangaassist.money.books import BY, BookReader
from mangaassist.money.prices import usd
from mangaassist.money.reconciliation import Meter, reconcile
from mangaassist.routing import policy as policies
from tools import ledger_hours
from tools.place import TWIN, Place, ToldCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, datetime

    from mangaassist.money.books import Books, Counted, Sum
    from mangaassist.money.reconciliation import Reconciliation
    from tools.ledger_hours import Bought

WIDTH = 120  # where the output is no terminal
NUMBERS = ("calls", "estimated", "input tokens", "output tokens", "cost", "share")


@click.command(cls=ToldCommand, help=__doc__)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Of JST; else today.")
@click.option(
    "--by", "names", type=click.Choice(BY), multiple=True, help="Only these tables; may be given more than once."
)
@click.option("--curve", is_flag=True, help="Print only the day's curve, as `budget.curve` of the policy takes it.")
@click.option("--metered", is_flag=True, help="Hold the tokens against what Bedrock counted, model by model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: calls in whole nano-dollars, hours in dollars.")
@click.option("--stack", metavar="NAME", help="CloudFormation stack of the deployment.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--region", help="AWS region of --stack, if not the configured one.")
@click.pass_context
def main(
    context: click.Context,
    day: datetime | None,
    names: tuple[str, ...],
    curve: bool,
    metered: bool,
    as_json: bool,
    stack: str | None,
    twin: str,
    region: str | None,
) -> None:
    """Read the day and show it; tests bring their own place."""
    if sum((curve, metered, bool(names))) > 1:
        raise click.UsageError("--by, --curve and --metered are three ways to look at a day: one at a time")
    if curve and as_json:
        raise click.UsageError("--curve is JSON already")
    place = context.obj = context.obj or Place(stack, twin.rstrip("/"), region)
    chosen = day.date() if day else jst(place.now_s()).date()
    books, counted = _read(place, chosen)
    if metered:
        _show_metered(_reconciled(place, books), as_json=as_json)
        return
    if curve:
        _show_curve(books)
        return
    hours = ledger_hours.bought(place, chosen)
    if as_json:
        click.echo(json.dumps(_document(books, counted, hours), indent=2, ensure_ascii=False))
    else:
        _show(books, counted, names or BY)
        if hours:
            _print(ledger_hours.table(hours))


def _read(place: Place, day: date) -> tuple[Books, Counted]:
    reader = BookReader(place.client("dynamodb"), situation_table=place.situation_table, turns_table=place.turns_table)
    with _bar() as on_part:
        return reader.books(day, on_part), reader.counted(day)


def _reconciled(place: Place, books: Books) -> Reconciliation:
    meter = Meter(lambda region: place.client("cloudwatch", region))
    return reconcile(books, policies.load(place.in_force()[1]), meter)


@contextmanager
def _bar() -> Iterator[Callable[[float], object]]:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("reading the ledger", total=1.0)
        yield lambda share: progress.update(task, completed=share)


def _document(books: Books, counted: Counted, hours: Sequence[Bought]) -> dict[str, Any]:
    return {
        "day": books.day.isoformat(),
        "turns": dict(books.turns),
        "kept": dict(books.kept),
        "all": asdict(books.all),
        "by": {name: {key: asdict(it) for key, it in sorted(sums.items())} for name, sums in books.by.items()},
        "counter": asdict(counted),
        "curve": books.curve(),
        "hours": ledger_hours.documents(hours),
    }


def _show(books: Books, counted: Counted, names: tuple[str, ...]) -> None:
    turns = ", ".join(f"{count:,} {finish}" for finish, count in books.turns.most_common()) or "no turn"
    _print(f"{books.day} JST: {turns}")
    if books.kept:
        _print(f"{books.kept.total():,} of them were served a kept answer")
    _print(f"${usd(books.all.cost_nano_usd):,.6f} in {books.all.calls:,} calls")
    for name in names:
        if sums := books.by[name]:
            _print(_table(name, sums, books.all))
    for line in _agreement(books, counted):
        _print(line)


def _agreement(books: Books, counted: Counted) -> Iterator[str]:
    """How the books and the counter that guards the budget stand to each other."""
    if not counted.committed_nano_usd:
        return
    missing = counted.spent_nano_usd - books.all.cost_nano_usd
    if missing > 0:
        yield f"The day's counter has ${usd(missing):,.6f} more: lines that could not be written are in the log."
    if missing < 0:
        yield f"The day's counter has ${usd(-missing):,.6f} less: it was not told of every line that was written."
    held = counted.committed_nano_usd - counted.spent_nano_usd
    if held:
        yield f"${usd(held):,.6f} more is set aside: for turns under way, and for those that died before they settled."


def _show_metered(found: Reconciliation, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.document(), indent=2))
        return
    table = Table(box=box.HORIZONTALS)
    table.add_column("model", overflow="fold")
    for column in ("calls", "estimated", "input, ours", "Bedrock's", "output, ours", "Bedrock's"):
        table.add_column(column, justify="right")
    for it in found.models:
        tokens = (it.ours.input_tokens, it.theirs.input_tokens, it.ours.output_tokens, it.theirs.output_tokens)
        table.add_row(it.model, *(f"{amount:,}" for amount in (it.calls, it.estimated, *tokens)))
    _print(table)
    _print(f"{found.day} JST: the two differ by {found.drift_percent:.2f} % of the tokens")


def _show_curve(books: Books) -> None:
    curve = books.curve()
    if curve is None:
        raise click.ClickException(f"nothing was spent on {books.day}: there is no curve")
    click.echo(json.dumps(curve))


def _table(name: str, sums: dict[str, Sum], whole: Sum) -> Table:
    table = Table(box=box.HORIZONTALS)
    table.add_column(name)
    for column in NUMBERS:
        table.add_column(column, justify="right")
    by_cost = sorted(sums.items(), key=lambda it: (it[0] if name == "hour" else "", -it[1].cost_nano_usd, it[0]))
    for key, it in by_cost:
        share = f"{it.cost_nano_usd / whole.cost_nano_usd:.1%}" if whole.cost_nano_usd else "-"
        amounts = (it.calls, it.estimated, it.input_tokens, it.output_tokens)
        table.add_row(key or "-", *(f"{amount:,}" for amount in amounts), f"${usd(it.cost_nano_usd):,.6f}", share)
    return table


def _print(what: Table | str) -> None:
    console = Console()
    width = None if console.is_terminal else WIDTH
    Console(width=width, highlight=False, markup=False).print(what, soft_wrap=isinstance(what, str))


if __name__ == "__main__":
    main()
