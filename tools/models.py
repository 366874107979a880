"""Show what the last daily look found of the routing policy's models: do they answer, and until when are they there?

Of the twin that `make run` started, unless --stack names another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table

from mangaassist.routing.lifecycle.board import FindingBoard
from tools.place import TWIN, Place, ToldCommand

if TYPE_CHECKING:
    from mangaassist.routing.lifecycle.findings import Finding

WIDTH = 120  # where the output is no terminal
COLUMNS = ("model", "region", "status", "ends on", "days left", "probes", "looked at")


@click.command(cls=ToldCommand, help=__doc__)
@click.option("--stack", metavar="NAME", help="CloudFormation stack of the deployment.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--region", help="AWS region of --stack, if not the configured one.")
@click.pass_context
def main(context: click.Context, stack: str | None, twin: str, region: str | None) -> None:
    """Read the findings and show them."""
    place = context.obj = Place(stack, twin.rstrip("/"), region)
    found = FindingBoard(place.client("dynamodb"), place.situation_table, place.now_s).read()
    if not found:
        click.echo("Nobody has looked yet: the function does, every morning at 06:30 in Japan.")
        return
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    for finding, looked_at in sorted(found, key=lambda it: it[0].model):
        table.add_row(*_row(finding), looked_at[:16].replace("T", " "))
    console = Console()
    Console(width=None if console.is_terminal else WIDTH, highlight=False, markup=False).print(table)


def _row(finding: Finding) -> tuple[str, ...]:
    return (
        finding.model,
        finding.region,
        finding.status,
        finding.ends_on.isoformat() if finding.ends_on else "not named",
        "" if finding.days_left is None else str(finding.days_left),
        ", ".join(f"{target}: {outcome}" for target, outcome in finding.probes.items()),
    )


if __name__ == "__main__":
    main()
