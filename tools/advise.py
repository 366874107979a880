"""Say which deployment pattern to run: what each would cost, how fast and how full it would be, and from when it pays.

Needs no deployment. With --books-of the traffic is that of a day's ledger (of the twin that `make run` started, unless
--stack names another), and --policy in-force takes its policy. Exit code 2 means an impossible profile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mangaassist.advice.advisor import IN_FORCE, Advisor
from mangaassist.errors import PolicyInvalid, ProfileInvalid
from mangaassist.money.books import BookReader
from mangaassist.routing import policy as policies
from tools import advise_endpoint, advise_page
from tools.endpoint_desk import Desk
from tools.place import INVALID, TWIN, Place, ToldCommand, failure, write_page
from tools.ranges import FiniteRange

if TYPE_CHECKING:
    from datetime import date, datetime

    from mangaassist.money.books import Books
    from mangaassist.routing.policy import Policy
    from reporting.page import Table as Tabular

WIDTH = 110  # where the output is no terminal
DEFAULT_MESSAGES = 1_000_000
FLAGS = {  # option: the profile's field
    "messages": "messages_per_day",
    "complex_share": "complex_share",
    "catalogue_share": "catalogue_share",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "first_text_ms": "first_text_ms",
    "commitment": "commitment",
    "custom_model": "custom_model",
    "bursty": "predictable",
    "team": "team_size",
    "budget": "monthly_usd",
}


class Pair(click.ParamType):
    """NAME=VALUE, the value as JSON or else as text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Take it apart; click has its own way to refuse."""
        if isinstance(value, tuple):
            return value
        name, equals, told = str(value).partition("=")
        if not (name and equals):
            self.fail(f"NAME=VALUE is expected: {value}", param, ctx)
        try:
            return name, json.loads(told)
        except ValueError:
            return name, told


@click.command(cls=ToldCommand, help=__doc__)
@click.option("--profile", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON document.")
@click.option("--books-of", metavar="DAY", help="Take the traffic of a day's ledger: yesterday, or YYYY-MM-DD of JST.")
@click.option("--messages", type=int, help=f"A day; {DEFAULT_MESSAGES:,} if nothing else tells.")
@click.option("--complex", "complex_share", type=float, help="Share of messages for the quality class.")
@click.option("--catalogue", "catalogue_share", type=float, help="Share of messages about the catalogue.")
@click.option("--input-tokens", type=int, help="Of a message, on average.")
@click.option("--output-tokens", type=int, help="Of an answer, on average.")
@click.option("--first-text-ms", type=int, help="What 95 of 100 shoppers may wait for the first text.")
@click.option("--commitment", type=click.Choice(["none", "OneMonth", "SixMonths"]), help="The longest possible.")
@click.option("--custom-model", is_flag=True, default=None, help="A model that Bedrock does not serve is needed.")
@click.option("--bursty", is_flag=True, default=None, help="The traffic is not the same every day.")
@click.option("--team", type=int, help="People who operate it.")
@click.option("--budget", type=float, help="US dollars a month.")
@click.option("--set", "more", type=Pair(), multiple=True, metavar="FIELD=VALUE", help="Of the profile.")
@click.option("--price", "prices", type=Pair(), multiple=True, metavar="NAME=USD", help="A price you were quoted.")
@click.option("--endpoint-hours", type=FiniteRange(1 / 60, 24 * 455), help="Measure the endpoint of the place, too.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Prices and models of another day than today.")
@click.option(
    "--policy", "chosen", default="current", show_default=True, help="A preset, a JSON file, or in-force of the place."
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole advice as JSON.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path(".reports/advice.html"))
@click.option("--stack", metavar="NAME", help="CloudFormation stack of the deployment.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--region", help="AWS region of --stack, if not the configured one.")
@click.pass_context
def main(
    context: click.Context,
    /,
    file: Path | None,
    books_of: str | None,
    more: tuple[tuple[str, Any], ...],
    prices: tuple[tuple[str, Any], ...],
    endpoint_hours: float | None,
    as_of: datetime | None,
    chosen: str,
    as_json: bool,
    out: Path,
    stack: str | None,
    twin: str,
    region: str | None,
    **flags: Any,
) -> None:
    """Advise, show it and write the page; tests bring their own place."""
    place = context.obj = context.obj or Place(stack, twin.rstrip("/"), region)
    request: dict[str, Any] = {
        "profile": _profile(file, flags, dict(more), counted=bool(books_of)),
        "policy": IN_FORCE,
        "prices": dict(prices),
    }
    if books_of:
        request["books_of"] = books_of
    if as_of:
        request["as_of"] = as_of.date()
    advisor = Advisor(_Chosen(place, chosen), _Ledger(place))
    try:
        advice = advisor.advise(request)
    except ProfileInvalid as error:
        raise failure("\n".join(f"{name}: {reason}" for name, reason in error.fields.items()), INVALID) from error
    found = advise_endpoint.measured(Desk(place), endpoint_hours) if endpoint_hours else []
    if as_json:
        document = advice.document() | {"measured_endpoint": advise_endpoint.documents(found)}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    page = advise_page.page(advice)
    if found:
        page = replace(page, sections=[*page.sections, advise_endpoint.section(found, advice)])
    write_page(page, out)
    _show(advise_page.summary(advice))
    click.echo(advise_page.verdict(advice))
    for sentence in advise_endpoint.sentences(found, advice):
        click.echo(sentence)
    click.echo(f"{out} has the reasons, the plots and the break-even points")


@dataclass(frozen=True)
class _Chosen:
    """The policy that was named: a file, a preset, or what is in force at the place."""

    place: Place
    name: str

    def view(self) -> _Chosen:
        return self

    @cached_property
    def policy(self) -> Policy:
        if self.name == IN_FORCE:
            return policies.load(self.place.in_force()[1])
        path = Path(self.name)
        if path.is_file():
            return policies.load(path.read_bytes())
        try:
            return policies.preset(self.name)
        except PolicyInvalid as error:
            raise failure(f"--policy {self.name}: neither a file nor a preset", INVALID) from error


class _Ledger:
    """A day's books of the place, read only if they are asked for."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def books(self, day: date) -> Books:
        it = self._place
        reader = BookReader(it.client("dynamodb"), situation_table=it.situation_table, turns_table=it.turns_table)
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task("reading the ledger", total=1.0)
            return reader.books(day, lambda share: progress.update(task, completed=share))


def _profile(file: Path | None, flags: dict[str, Any], more: dict[str, Any], *, counted: bool) -> dict[str, Any]:
    """The profile's document: the file, then what was said on the command line."""
    told: dict[str, Any] = {} if counted else {"messages_per_day": DEFAULT_MESSAGES}
    if file is not None:
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise failure(f"{file}: {error}", INVALID) from error
        if not isinstance(document, dict):
            raise failure(f"{file}: an object is expected", INVALID)
        inner = document.get("profile", document)  # a sample event will do too
        if not isinstance(inner, dict):
            raise failure(f"{file}: profile: an object is expected", INVALID)
        told |= inner
    said = {FLAGS[name]: value for name, value in flags.items() if value is not None}
    if "predictable" in said:
        said["predictable"] = False
    return told | said | more


def _show(what: Tabular) -> None:
    table = Table(box=box.HORIZONTALS)
    for number, column in enumerate(what.columns):
        table.add_column(column, justify="right" if 0 < number < len(what.columns) - 1 else "left")
    for row in what.rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else WIDTH, highlight=False).print(table)


if __name__ == "__main__":
    main()
