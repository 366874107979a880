"""Look at the routing policy of a deployment, or change it: no deployment needed, taken up within seconds.

Of the twin that `make run` started, unless --stack or --table names another. The exit code is 2 when a document is
invalid, and 1 when something else went wrong.
"""

from __future__ import annotations

import difflib
import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mangaassist.errors import PolicyInvalid
from mangaassist.routing import policy
from mangaassist.routing.policies import PRESET_VERSION
from tools.place import TWIN, Place, Told, failure

if TYPE_CHECKING:
    from mangaassist.routing.policies import Version

COLOURS = {"+": "green", "-": "red", "@": "cyan"}

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Told, help=__doc__)
@click.option("--stack", metavar="NAME", help="CloudFormation stack of the deployment.")
@click.option("--table", metavar="NAME", help="Its situation table, instead of --stack.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--region", help="AWS region of --stack or --table, if not the configured one.")
@click.option("--deployed-preset", metavar="NAME", help="Preset that the deployment falls back to; a --stack knows it.")
@click.pass_context
def main(
    context: click.Context,
    stack: str | None,
    table: str | None,
    twin: str,
    region: str | None,
    deployed_preset: str | None,
) -> None:
    """Remember which deployment is meant."""
    if stack and table:
        raise click.UsageError("--stack and --table exclude each other")
    context.obj = Place(stack, twin.rstrip("/"), region, table, deployed_preset)


@main.command()
@click.option("--version", "number", type=click.IntRange(1), help="A kept version instead of what is in force.")
@click.option("--preset", metavar="NAME", help="A preset that ships: current or claude-3.")
@click.pass_obj
def show(place: Place, number: int | None, preset: str | None) -> None:
    """Print the whole policy in force, with all defaults, as JSON."""
    if number is not None and preset is not None:
        raise click.UsageError("--version and --preset exclude each other")
    if preset is not None:
        document, name = policy.preset_document(preset), f"preset {preset}"
    elif number is not None:
        version = place.store.version(number)
        document, name = version.document, _line(version)
    else:
        _, document, name = place.in_force()
        name += " is in force"
    click.echo(name, err=True)
    click.echo(_pretty(document))


@main.command()
@click.argument("other", metavar="FILE|VERSION")
@click.pass_obj
def diff(place: Place, other: str) -> None:
    """Show what a file or a kept version would change."""
    path = Path(other)
    if path.is_file():
        document = _read(path)
    elif other.isdecimal():
        document = _valid(place.store.version(int(other)).document, f"version {other}")
    else:
        raise click.UsageError(f"{other} is neither a file nor the number of a version")
    _, before, name = place.in_force()
    _show_changes(before, document, name, other)


@main.command()
@click.argument("file", type=FILE)
@click.option("--note", default="", help="Why; kept with the version.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def put(place: Place, file: Path, note: str, yes: bool) -> None:
    """Put a file into force, as a new version."""
    document = _read(file)
    expected, before, name = place.in_force()
    if _show_changes(before, document, name, str(file)) and _agreed(f"Put {file} into force at {place.name}?", yes):
        _done(place.store.put(document, expected, _operator(), note))


@main.command()
@click.argument("version", type=click.IntRange(1))
@click.option("--note", default="", help="Why; kept with the new version.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rollback(place: Place, version: int, note: str, yes: bool) -> None:
    """Put a kept version into force again, as a new one."""
    document = _valid(place.store.version(version).document, f"version {version}")
    expected, before, name = place.in_force()
    if _show_changes(before, document, name, f"version {version}") and _agreed(
        f"Put version {version} into force again at {place.name}?", yes
    ):
        _done(place.store.rollback(version, expected, _operator(), note))


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def withdraw(place: Place, yes: bool) -> None:
    """Go back to the preset that was deployed."""
    expected, before, name = place.in_force()
    if expected == PRESET_VERSION:
        click.echo(f"{name} is in force already: nothing to withdraw")
        return
    _show_changes(before, policy.preset_document(place.preset), name, f"preset {place.preset}")
    if _agreed(f"Withdraw {name} at {place.name}?", yes):
        place.store.withdraw(expected, _operator())
        click.echo(f"{name} is withdrawn: preset {place.preset} is in force")


@main.command()
@click.pass_obj
def history(place: Place) -> None:
    """List the kept versions, newest first; a star marks the one in force."""
    current = place.store.in_force().version
    if current == PRESET_VERSION:
        click.echo(f"* preset {place.preset}")
    for version in place.store.versions():
        click.echo(("* " if version.number == current else "  ") + _line(version))


@main.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Validate a file; needs no deployment."""
    click.echo(f"{file} is a valid policy: {policy.load(_read(file)).name}")


def _read(file: Path) -> str:
    """The valid policy that a file holds; raises PolicyInvalid."""
    try:
        document = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PolicyInvalid(f"{file} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    return _valid(document, str(file))


def _valid(document: str, name: str) -> str:
    try:
        policy.load(document)
    except PolicyInvalid as error:
        raise PolicyInvalid("\n  ".join([f"{name} is no valid policy:", *str(error).split("; ")])) from error
    return document


def _line(version: Version) -> str:
    line = f"version {version.number}  {version.name}  written {version.written_at} by {version.written_by}"
    if version.note:
        line += f": {version.note}"
    if version.withdrawn_at:
        line += f" (withdrawn {version.withdrawn_at} by {version.withdrawn_by})"
    return line


def _pretty(document: str) -> str:
    """A policy with all defaults, one value a line; what is in force may be invalid, and is then given as it is."""
    try:
        return json.dumps(json.loads(policy.canonical(policy.load(document))), indent=2, ensure_ascii=False)
    except PolicyInvalid as error:
        click.echo(f"this document is invalid, every environment keeps its last good policy: {error}", err=True)
        return document


def _show_changes(before: str, after: str, before_name: str, after_name: str) -> bool:
    """Print what would change; False when nothing would."""
    lines = list(
        difflib.unified_diff(
            _pretty(before).splitlines(), _pretty(after).splitlines(), before_name, after_name, lineterm=""
        )
    )
    for line in lines:
        click.secho(line, fg=COLOURS.get(line[0]) if line else None)
    if not lines:
        click.echo(f"no difference between {before_name} and {after_name}")
    return bool(lines)


def _agreed(question: str, yes: bool) -> bool:
    if yes or click.confirm(question):
        return True
    raise failure("nothing was written")


def _done(version: int) -> None:
    click.echo(f"version {version} is in force")


def _operator() -> str:
    try:
        return getpass.getuser()
    except OSError:  # a container's user need not have a name
        return "unknown"


if __name__ == "__main__":
    main()
