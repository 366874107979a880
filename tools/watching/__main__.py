"""Writes stacks/alarms.yaml and stacks/dashboard.yaml from the application's own metrics; `--check` compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import yaml

from tools.watching import alarms, dashboard

STACKS = Path(__file__).parents[2] / "stacks"
HEADER = (
    "# Made by `make dashboard` from the metrics that the code records: change tools/watching/{source}.py instead.\n"
)
WRITTEN = {"alarms": alarms.template, "dashboard": dashboard.template}


class _Writer(yaml.SafeDumper):
    """Writes texts of several lines as such, and shares nothing between places."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Writer.add_representer(str, _text)


def written(name: str) -> str:
    """The text of a template's file."""
    text = yaml.dump(WRITTEN[name](), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=4096)
    return HEADER.format(source=name) + text


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; fail when a file differs.")
def main(*, check: bool) -> None:
    """Write both templates, or say which differs."""
    for name in WRITTEN:
        file = STACKS / f"{name}.yaml"
        if not check:
            file.write_text(written(name), "utf-8")
            click.echo(f"written: stacks/{file.name}")
        elif not file.exists() or file.read_text("utf-8") != written(name):
            click.echo(f"stacks/{file.name} is not what the code says: run `make dashboard`", err=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
