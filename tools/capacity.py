"""Look at the provisioned throughput of a deployment, or start its workflow by hand.

Of the twin that `make run` started, unless --stack names another. The exit code is 0 when an execution ended well, 1
when it failed, 2 for what cannot be asked for, and 130 when Ctrl-C left it running.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from mangaassist.capacity.rules import offer_for
from mangaassist.money.prices import usd
from tools import capacity_tables as tables
from tools.capacity_figures import Figures
from tools.executions import Executions
from tools.place import TWIN, Place, Told, failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tools.executions import Ending

INTERRUPTED = 130
NOT_LIVE = "without --live nothing is bought: this only says what would be"


@dataclass
class Desk:
    """What the commands work with."""

    place: Place
    sleep: Callable[[float], object] = time.sleep

    @property
    def name(self) -> str:
        """What to call the deployment in messages."""
        return self.place.name

    @cached_property
    def figures(self) -> Figures:
        """What is known of it."""
        return Figures(self.place)

    @cached_property
    def executions(self) -> Executions:
        """Its workflow's."""
        return Executions(self.place.client("stepfunctions"), self.figures.machine, sleep=self.sleep)

    def check(self, *names: str) -> None:
        """Refuse windows that the policy in force does not have."""
        known = [str(window.name) for window in self.figures.policy.windows]
        for name in names:
            if name not in known:
                raise click.UsageError(
                    f"there is no window {name}: the policy in force has {', '.join(known) or 'none'}"
                )


WAITS = click.option("--no-wait", is_flag=True, help="Start the execution and do not follow it.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


@click.group(cls=Told, help=__doc__)
@click.option("--stack", metavar="NAME", help="CloudFormation stack of the deployment.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--region", help="AWS region of --stack, if not the configured one.")
@click.pass_context
def main(context: click.Context, stack: str | None, twin: str, region: str | None) -> None:
    """Remember which deployment is meant; tests bring their own."""
    context.obj = context.obj or Desk(Place(stack, twin.rstrip("/"), region))


@main.command()
@AS_JSON
@click.pass_obj
def status(desk: Desk, as_json: bool) -> None:
    """Show every window: what serves in it, what it is used for and what it costs."""
    figures = desk.figures
    windows, others = figures.status()
    if as_json:
        about = {"now": figures.now.isoformat(timespec="seconds"), "owner": figures.owner, "mode": figures.mode}
        click.echo(_document(about | {"region": figures.region} | tables.status_document(windows, others)))
        return
    mode = f", mode {figures.mode}" if figures.mode else ""
    click.echo(f"{figures.owner} at {figures.now:%F %R} JST: capacity in {figures.region}{mode}")
    tables.show_status(windows, others)


@main.command()
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]), required=False)
@click.option("--days", type=click.IntRange(1, 400), default=1, show_default=True, help="So many, up to DAY.")
@AS_JSON
@click.pass_obj
def report(desk: Desk, day: datetime | None, days: int, as_json: bool) -> None:
    """Show what was bought for the windows of a JST day (YYYY-MM-DD, else today), what it cost and what for."""
    last_day = day.date() if day else desk.figures.now.date()
    found = desk.figures.report(last_day, days)
    if as_json:
        click.echo(_document(tables.report_document(found)))
    elif found:
        tables.show_report(found)
    else:
        click.echo(f"nothing is on record for {last_day}" + (f" and the {days - 1} days before" if days > 1 else ""))


@main.command()
@click.argument("windows", metavar="[WINDOW]...", nargs=-1)
@click.pass_obj
def plan(desk: Desk, windows: tuple[str, ...]) -> None:
    """Say what would be bought for windows, all if none is named, and what is against it; buys nothing."""
    desk.check(*windows)
    names = windows or tuple(str(window.name) for window in desk.figures.policy.windows)
    started = [(name, desk.executions.start({"action": "plan", "window": name})) for name in names]
    endings = [_followed(desk, arn) for _, arn in started]
    for name, ending in zip(names, endings, strict=True):
        _show_plan(name, ending)
    if not all(ending.ok for ending in endings):
        raise click.exceptions.Exit(1)


@main.command(name="open")
@click.argument("window")
@click.option("--live", is_flag=True, help="Buy; without it nothing is bought.")
@YES
@WAITS
@click.pass_obj
def open_window(desk: Desk, window: str, live: bool, yes: bool, no_wait: bool) -> None:
    """Open a window by hand, whatever became of it today, and follow that to its end."""
    desk.check(window)
    if live:
        _ask(f"Buy {_purchase(desk, window)} at {desk.name}?", yes)
    else:
        click.echo(NOT_LIVE, err=True)
    _run(desk, {"action": "open", "window": window, "live": live}, no_wait)


@main.command()
@click.argument("window")
@YES
@WAITS
@click.pass_obj
def close(desk: Desk, window: str, yes: bool, no_wait: bool) -> None:
    """Send turns away from a window's capacity, give it back, and leave the window closed for its day."""
    desk.check(window)
    _ask(f"Close {window} at {desk.name}? While it is under way, it is not bought again by itself that day.", yes)
    _run(desk, {"action": "close", "window": window}, no_wait)


@main.command()
@WAITS
@click.pass_obj
def sweep(desk: Desk, no_wait: bool) -> None:
    """Close whatever of ours is alive outside its window."""
    _run(desk, {"action": "sweep"}, no_wait)


def _run(desk: Desk, request: dict[str, Any], no_wait: bool) -> None:
    arn = desk.executions.start(request)
    if no_wait:
        click.echo(f"started {arn}")
        return
    ending = _followed(desk, arn)
    if not ending.ok:
        raise failure(ending.text)
    click.echo(ending.text)


def _followed(desk: Desk, arn: str) -> Ending:
    """Follow an execution, saying on stderr each state that it enters; on a terminal the time goes by."""
    console = Console(stderr=True, highlight=False)
    console.print(f"started {arn}", soft_wrap=True)
    seen = ""
    with console.status("starts") as line:

        def tell(state: str, elapsed_s: float) -> None:
            nonlocal seen
            line.update(f"{_elapsed(elapsed_s)} {state}")
            if state != seen:
                console.print(f"{_elapsed(elapsed_s)} {state}")
                seen = state

        try:
            return desk.executions.follow(arn, tell)
        except KeyboardInterrupt:
            raise failure(f"it goes on without you: {arn}", INTERRUPTED) from None


def _show_plan(window: str, ending: Ending) -> None:
    if not ending.ok:
        click.echo(f"Error: {window}: {ending.text}", err=True)
        return
    reasons = ending.opening.get("reasons", [])
    click.echo(f"{window}: {ending.text.removesuffix(': ' + '; '.join(reasons))}")
    for reason in reasons:
        click.echo(f"  - {reason}")


def _purchase(desk: Desk, window: str) -> str:
    """What an opening would buy, and what that costs an hour."""
    policy = desk.figures.policy
    units = next(it.units for it in policy.windows if it.name == window)
    offer = offer_for(policy, window)
    if offer is None:
        return f"{units} units for {window}"
    hourly = usd(units * offer.unit_hour_nano_usd)
    assumed = "" if offer.verified else " (assumed price)"
    return f"{units} x {offer.id} for {window}, ${hourly:,.2f} an hour{assumed}, until the window ends,"


def _ask(question: str, yes: bool) -> None:
    if not (yes or click.confirm(question)):
        raise failure("nothing was started")


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def _document(fields: dict[str, Any]) -> str:
    return json.dumps(fields, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    main()
