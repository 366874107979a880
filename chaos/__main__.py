"""Let one thing after the other fail while shoppers ask, and count what they get.

What a turn and a handshake depend on, in eight ways, for 1 %, 30 % and all of their calls; besides, connections that
are lost and functions that are killed in the middle of an answer, and the clock at the edges of windows and at
midnight. The whole takes about 45 minutes; what is known already stands in --out. The exit code is 1 when something
happened that must never happen.
"""

from __future__ import annotations

import json
import shlex
import sys
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from websockets.exceptions import WebSocketException

from chaos import matrix, report, verdict
from chaos.house import house
from chaos.run import Cells
from local.invoke import CannotInvoke

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from chaos.matrix import Cell
    from chaos.verdict import Verdict

UNREACHABLE = (OSError, httpx.HTTPError, WebSocketException)  # TimeoutError is an OSError
type Asking = Callable[[str, list[Cell]], Generator[Verdict]]
OUT = Path(".reports/chaos.json")


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="A few cells, in a minute or two.")
@click.option("--only", multiple=True, help="Cells with this word in their name; again for one more word.")
@click.option("--shoppers", type=click.IntRange(1, 64), default=8, help="Who ask at a time.")
@click.option("--turns", type=click.IntRange(1, 10), default=2, help="Of each of them in each cell.")
@click.option("--at-once", type=click.IntRange(1, 8), default=2, help="Groups of cells, each on a twin of its own.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=OUT, help="A JSON document.")
@click.option("--resume", is_flag=True, help="Ask only through the cells that --out does not know yet.")
@click.option("--list", "listed", is_flag=True, help="Only list the cells.")
def main(
    *,
    quick: bool,
    only: tuple[str, ...],
    shoppers: int,
    turns: int,
    at_once: int,
    write: Path | None,
    out: Path,
    resume: bool,
    listed: bool,
) -> None:
    """Run the cells, and tell."""
    cells = matrix.chosen(matrix.quick() if quick else matrix.whole(), only)
    if not cells:
        raise click.UsageError(f"no cell has {' and '.join(only)} in its name; --list tells them")
    if listed:
        click.echo("\n".join(cell.name for cell in cells))
        return
    known = report.read(out.read_text("utf-8")) if resume and out.exists() else []
    verdicts = _run(cells, shoppers, turns, out, at_once, known)
    if write:
        command = f"make chaos ARGS={shlex.quote(shlex.join(sys.argv[1:]))}"
        write.write_text(report.markdown(verdicts, command, shoppers=shoppers, turns=turns, at_once=at_once), "utf-8")
    answered = report.who_answered(verdicts).most_common()
    click.echo("answered by: " + ", ".join(f"{target} {count:,}" for target, count in answered))
    click.echo(report.Totals.of(verdicts).sentence())
    sys.exit(1 if any(it.complaints for it in verdicts) else 0)


class Matrix:
    """A run: groups of cells on twins of their own, some at once; what is known stands in the document already."""

    def __init__(self, cells: Sequence[Cell], out: Path, told: Console, known: Iterable[Verdict] = ()) -> None:
        self._cells = cells
        self._out = out
        self._console = told
        self._known: dict[Cell, Verdict] = {it.cell: it for it in known}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def verdicts(self) -> list[Verdict]:
        """What is known, in the order of the cells."""
        return [self._known[cell] for cell in self._cells if cell in self._known]

    def run(self, at_once: int, asking: Asking, done: Callable[[], None]) -> None:
        """Ask through all cells; raises what nobody foresaw in one, begins no more then, and ends those under way."""
        with ThreadPoolExecutor(at_once) as pool:
            groups = [
                pool.submit(self._group, group, cells, asking, done) for group, cells in matrix.by_group(self._missing)
            ]
            try:
                wait(groups, return_when=FIRST_EXCEPTION)
                for group in groups:
                    if group.done():
                        group.result()
            except BaseException:
                self._console.print("the cells under way are ended, which takes up to a minute")
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    @property
    def _others(self) -> list[Verdict]:
        """Those of a document that is gone on with which this run does not ask for: they stay in it."""
        return [verdict for cell, verdict in self._known.items() if cell not in self._cells]

    @property
    def _missing(self) -> list[Cell]:
        return [cell for cell in self._cells if cell not in self._known]

    def _group(self, group: str, cells: list[Cell], asking: Asking, done: Callable[[], None]) -> None:
        with closing(asking(group, cells)) as verdicts:
            for found in verdicts:
                self._enter(found)
                done()
                if self._stopped.is_set():
                    return

    def _enter(self, found: Verdict) -> None:
        with self._lock:
            self._known[found.cell] = found
            told = report.document([*self.verdicts, *self._others])
            self._out.write_text(json.dumps(told, ensure_ascii=False, indent=1), "utf-8")
        self._console.print(f"{found.cell.name}: {' · '.join(report.row(found)[1:])}", markup=False)
        for text in found.inexact:
            self._console.print(f"  inexact: {text}", markup=False)


def _run(cells: list[Cell], shoppers: int, turns: int, out: Path, at_once: int, known: list[Verdict]) -> list[Verdict]:
    """Run the cells with a bar, and a line for each."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    out.parent.mkdir(parents=True, exist_ok=True)
    found = Matrix(cells, out, console, known)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("cells", total=len(cells), completed=len(found.verdicts))
        found.run(at_once, _asking(shoppers, turns), lambda: progress.advance(task))
    return found.verdicts


def _asking(shoppers: int, turns: int) -> Asking:
    """Asks through a group of cells on a twin of its own."""

    def ask(group: str, cells: list[Cell]) -> Generator[Verdict]:
        try:
            with house(group) as twin:
                runner = Cells(twin, shoppers, turns)
                for cell in cells:
                    yield _judged(runner, cell)
        except CannotInvoke as error:
            yield from (verdict.broken_off(cell, error.message) for cell in cells)

    return ask


def _judged(runner: Cells, cell: Cell) -> Verdict:
    """The verdict on a cell, also where the twin could not be asked through: an hour's work shall not end by it."""
    try:
        return runner.run(cell)
    except UNREACHABLE as error:
        return verdict.broken_off(cell, _told(error))
    except ExceptionGroup as group:
        foreseen, others = group.split(UNREACHABLE)
        if others is not None or foreseen is None:
            raise
        return verdict.broken_off(cell, "; ".join(dict.fromkeys(_told(error) for error in _leaves(foreseen))))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    main()
