"""Let one thing after the other fail while shoppers ask, and count what they get.

Everything that a turn depends on, in eight ways, for 1 %, 30 % and all of its calls; besides, connections that are lost
and functions that are killed in the middle of an answer, and the clock at the edges of windows and at midnight. The
whole takes about an hour; what is known already stands in --out. The exit code is 1 when something happened that must
never happen.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from chaos import matrix, report, verdict
from chaos.house import house
from chaos.run import Cells

if TYPE_CHECKING:
    from chaos.matrix import Cell
    from chaos.verdict import Verdict

OUT = Path(".reports/chaos.json")


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="A few cells, in a minute or two.")
@click.option("--only", multiple=True, help="Cells with this word in their name; again for one more word.")
@click.option("--shoppers", type=click.IntRange(1, 64), default=8, help="Who ask at a time.")
@click.option("--turns", type=click.IntRange(1, 10), default=2, help="Of each of them in each cell.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=OUT, help="A JSON document.")
@click.option("--list", "listed", is_flag=True, help="Only list the cells.")
def main(
    *,
    quick: bool,
    only: tuple[str, ...],
    shoppers: int,
    turns: int,
    write: Path | None,
    out: Path,
    listed: bool,
) -> None:
    """Run the cells, and tell."""
    cells = matrix.chosen(matrix.quick() if quick else matrix.whole(), only)
    if not cells:
        raise click.UsageError(f"no cell has {' and '.join(only)} in its name; --list tells them")
    if listed:
        click.echo("\n".join(cell.name for cell in cells))
        return
    verdicts = _run(cells, shoppers, turns, out)
    if write:
        command = f"make chaos ARGS={shlex.quote(shlex.join(sys.argv[1:]))}"
        write.write_text(report.markdown(verdicts, command, shoppers=shoppers, turns=turns), "utf-8")
    answered = report.who_answered(verdicts).most_common()
    click.echo("answered by: " + ", ".join(f"{target} {count:,}" for target, count in answered))
    click.echo(report.Totals.of(verdicts).sentence())
    sys.exit(1 if any(it.complaints for it in verdicts) else 0)


def _run(cells: list[Cell], shoppers: int, turns: int, out: Path) -> list[Verdict]:
    """Run the cells with a bar, a line for each; what is known stands in the document from then on."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    out.parent.mkdir(parents=True, exist_ok=True)
    verdicts: list[Verdict] = []
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=len(cells))
        for group, of_group in matrix.by_group(cells):
            with house(group) as twin:
                runner = Cells(twin, shoppers, turns)
                for cell in of_group:
                    progress.update(task, description=cell.name)
                    verdicts.append(_judged(runner, cell))
                    progress.advance(task)
                    out.write_text(json.dumps(report.document(verdicts), ensure_ascii=False, indent=1), "utf-8")
                    console.print(f"{cell.name}: {' · '.join(report.row(verdicts[-1])[1:])}", markup=False)
                    for text in verdicts[-1].inexact:
                        console.print(f"  inexact: {text}", markup=False)
    return verdicts


def _judged(runner: Cells, cell: Cell) -> Verdict:
    """The verdict on a cell, also where the twin could not be asked through: an hour's work shall not end by it."""
    try:
        return runner.run(cell)
    except (OSError, httpx.HTTPError, ExceptionGroup) as error:
        return verdict.broken_off(cell, f"{type(error).__name__} {error}".strip())


if __name__ == "__main__":
    main()
