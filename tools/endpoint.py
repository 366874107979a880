"""Look at the SageMaker endpoint of our own model, ask it, or measure what one of its instances carries.

Of the twin that `make run` started, unless --stack names another. The exit code is 0 when all went well, 1 when it did
not or nothing can be recommended, 2 for what cannot be asked for, and 130 after Ctrl-C.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mangaassist.capacity.endpoint import Span
from mangaassist.capacity.endpoint_sizing import HEADROOM, far_past
from tools import endpoint_tables as tables
from tools.endpoint_desk import Desk
from tools.endpoint_load import Load, ask
from tools.endpoint_tables import Sized
from tools.place import TWIN, Place, Told, failure
from tools.ranges import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mangaassist.capacity.endpoint import Hosting
    from mangaassist.routing.backends import ModelCall

INTERRUPTED = 130
MOST_AT_ONCE = 512
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


class Levels(click.ParamType):
    """Numbers with commas between, in order, each once."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read them; click has its own way to refuse."""
        if isinstance(value, tuple):
            return value
        try:
            levels = tuple(sorted({int(part) for part in value.split(",")}))
        except ValueError:
            self.fail(f"numbers such as 1,2,4 are expected, not {value}", param, ctx)
        if levels[0] < 1 or levels[-1] > MOST_AT_ONCE:
            self.fail(f"between 1 and {MOST_AT_ONCE} at a time can be measured", param, ctx)
        return levels


@click.group(cls=Told, help=__doc__)
@click.option("--stack", metavar="NAME", help="CloudFormation stack of the deployment.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--region", help="AWS region of --stack, if not the configured one.")
@click.pass_context
def main(context: click.Context, stack: str | None, twin: str, region: str | None) -> None:
    """Remember which deployment is meant; tests bring their own."""
    context.obj = context.obj or Desk(Place(stack, twin.rstrip("/"), region))
    context.call_on_close(context.obj.close)


@main.command()
@AS_JSON
@click.pass_obj
def status(desk: Desk, as_json: bool) -> None:
    """Show how the endpoint is, its instances, and whether turns are sent to it."""
    told = desk.hosting(), desk.copies(), desk.routing()
    if as_json:
        click.echo(_document(tables.status_document(*told)))
    else:
        tables.show_status(*told)


@main.command()
@click.option("--hours", type=FiniteRange(1 / 60, 24 * 455), default=1.0, show_default=True, help="Up to now.")
@AS_JSON
@click.pass_obj
def metrics(desk: Desk, hours: float, as_json: bool) -> None:
    """Show what it was asked and how it answered, as CloudWatch has it."""
    now_s = desk.place.now_s()
    span = Span.around(now_s - hours * 3600, now_s, now_s)
    found = desk.watch.uses(desk.whose(), span)
    if not found:
        raise failure(f"{desk.name}: the endpoint has no variants yet")
    costs = desk.costs(found)
    if as_json:
        click.echo(_document(tables.metrics_document(found, costs)))
    else:
        tables.show_metrics(found, costs)


@main.command()
@click.argument("question")
@click.option("--tokens", type=click.IntRange(1, 8192), help="Of the answer, at most; else what the policy says.")
@click.pass_obj
def invoke(desk: Desk, question: str, tokens: int | None) -> None:
    """Ask it one QUESTION, print the answer as it comes, and say on stderr how long that took."""
    call = desk.call(question, tokens)
    heard = ask(desk.backend, call, Event(), say=lambda text: click.echo(text, nl=False), monotonic=desk.monotonic)
    click.echo()
    if not heard.text or heard.first_text_ms is None:
        raise failure("the answer is empty")
    read = "" if heard.input_tokens is None else f"{heard.input_tokens:,} tokens read, "
    said = f"{heard.output_tokens:,} tokens said{' (estimated)' if heard.estimated else ''}"
    click.echo(f"first text {heard.first_text_ms:,.0f} ms, total {heard.total_ms:,.0f} ms, {read}{said}", err=True)


@main.command()
@click.option(
    "--levels", type=Levels(), default="1,2,4,8,16", show_default=True, help="So many at a time, each instance."
)
@click.option("--seconds", type=FiniteRange(0.1, 600), default=20.0, show_default=True, help="Of each level.")
@click.option("--limit-ms", type=FiniteRange(1), help="For 95 % of first texts; else the policy's, usually 1500.")
@click.option("--tokens", type=click.IntRange(1, 8192), default=200, show_default=True, help="Of an answer, at most.")
@click.option("--prompt-tokens", type=click.IntRange(1), default=600, show_default=True, help="Of a question, about.")
@click.option(
    "--headroom",
    type=FiniteRange(0, 1, min_open=True),
    default=HEADROOM,
    show_default=True,
    help="Share of what holds.",
)
@click.option("--peak-per-minute", type=FiniteRange(0, min_open=True), help="Answers a minute at the JST peak.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_JSON
@click.pass_obj
def size(
    desk: Desk,
    levels: tuple[int, ...],
    seconds: float,
    limit_ms: float | None,
    tokens: int,
    prompt_tokens: int,
    headroom: float,
    peak_per_minute: float | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Load it with more and more at a time, and say what its scaling should aim at.

    So many ask again as soon as they are answered. It ends where answers fail, or first texts take twice the limit.
    """
    hosting = _serving(desk)
    sized = Sized(
        endpoint=hosting.name,
        instances=hosting.instances,
        limit_ms=limit_ms or desk.target.first_text_limit_ms,
        headroom=headroom,
        peak_per_minute=peak_per_minute,
        is_twin=desk.place.is_twin,
        notes=_mixture(hosting),
    )
    if not desk.place.is_twin:
        _ask(desk, levels[-1] * sized.instances, yes)
    interrupted = False
    try:
        _measure(desk, sized, levels, seconds, lambda: desk.next_call(tokens, prompt_tokens))
    except KeyboardInterrupt:
        interrupted = True
        sized.notes.append("Stopped: the level under way is left out.")
    if as_json:
        click.echo(_document(tables.size_document(sized)))
    else:
        tables.show_size(sized)
    if interrupted or not sized.size:
        raise click.exceptions.Exit(INTERRUPTED if interrupted else 1)


def _measure(desk: Desk, sized: Sized, levels: tuple[int, ...], seconds: float, calls: Callable[[], ModelCall]) -> None:
    """Add what each level showed, until there is no use in more."""
    with _bar(len(levels) * seconds) as show:
        for number, level in enumerate(levels):
            load = Load(desk.backend, calls, level * sized.instances, seconds, desk.monotonic)
            load.run(partial(show, level, number * seconds))
            step = load.step(sized.instances)
            now = desk.hosting().instances
            if now != sized.instances:
                sized.notes.append(
                    f"{tables.instances(sized.instances)} became {now} with {level} at a time, which is left out. "
                    "Measure the rest when the endpoint is at rest again."
                )
                break
            sized.steps.append(step)
            sized.failures |= load.failures()
            if far_past(step, sized.limit_ms):
                break


def _serving(desk: Desk) -> Hosting:
    """The endpoint, with instances to load."""
    hosting = desk.hosting()
    if hosting.instances:
        return hosting
    if desk.endpoint[1] and hosting.status == "InService":
        raise failure(
            f"{desk.name}: {hosting.name} is asleep, scaled to zero: a question wakes it (invoke), then try again"
        )
    hint = ". make run ENDPOINT=starting_s=0 has it ready at once" if desk.place.is_twin else ""
    raise failure(f"{desk.name}: no instance of {hosting.name} serves, it is {hosting.status}{hint}")


def _mixture(hosting: Hosting) -> list[str]:
    answering = [variant.name for variant in hosting.variants if not variant.shadow]
    return [f"The variants {', '.join(answering)} answered together."] if len(answering) > 1 else []


def _ask(desk: Desk, most: int, yes: bool) -> None:
    click.echo(
        f"Up to {most} at a time will be asked of {desk.name}. That costs nothing extra, unless scaling starts another "
        "instance, but shoppers share the capacity: theirs may be slow meanwhile, or go to other models.",
        err=True,
    )
    if not (yes or click.confirm("Load it?", err=True)):
        raise failure("nothing was measured")


@contextmanager
def _bar(total_s: float) -> Iterator[Callable[[int, float, float], object]]:
    """A bar that is told the level, the seconds of those before it and its own; only a terminal shows it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=total_s)
        yield lambda level, before_s, passed_s: progress.update(
            task, completed=before_s + passed_s, description=f"{level} at a time, each instance"
        )


def _document(fields: dict[str, Any]) -> str:
    return json.dumps(fields, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    main()
