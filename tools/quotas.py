"""Hold an environment's limits, and its account's quotas, against a day of messages.

The parameters are those of an environment of samconfig.toml. With --aws its account is asked, by the credentials at
hand; otherwise the twin that `make run` started, which has AWS's defaults. The exit code is 1 when something is too
small.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from samtranslator.yaml_helper import yaml_parse

from mangaassist.routing import policy
from tools import artifact, sizing
from tools.deploy import Environment
from tools.place import TWIN, Place, ToldCommand
from tools.sizing import Limits, Load, Need, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDTH = 132  # where the output is no terminal
UNKNOWN = "not listed: look it up by hand"
DEFAULT_PRESET = "current"


@dataclass(frozen=True)
class Found:
    """A quota that is needed, and what the account has of it; None where it lists none."""

    need: Need
    value: float | None

    @property
    def verdict(self) -> str:
        """Whether it suffices."""
        if self.value is None:
            return UNKNOWN
        return "enough" if self.value >= self.need.least else f"raise to {self.need.least:,} or more"


@dataclass(frozen=True)
class Findings:
    """All that was found."""

    load: Load
    contradictions: list[str]
    quotas: list[Found]

    @property
    def is_enough(self) -> bool:
        """Whether nothing is known to be too small."""
        short = [it for it in self.quotas if it.value is not None and it.value < it.need.least]
        return not (self.contradictions or short)


@click.command(cls=ToldCommand, help=__doc__)
@click.option("--env", default="prod", show_default=True, help="An environment of samconfig.toml.")
@click.option("--messages", type=click.IntRange(1), default=1_000_000, show_default=True, help="Messages a day.")
@click.option("--set", "chosen", multiple=True, metavar="NAME=VALUE", help="A parameter instead of the environment's.")
@click.option("--aws", is_flag=True, help="Ask the account instead of the twin.")
@click.option("--twin", metavar="URL", default=TWIN, show_default=True, help="Address of the twin.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.pass_context
def main(
    context: click.Context, env: str, messages: int, chosen: tuple[str, ...], aws: bool, twin: str, as_json: bool
) -> None:
    """Look, and print what was found."""
    environment = Environment.read(env, chosen, artifact.CONFIG)
    context.obj = context.obj or Place(environment.stack if aws else None, twin.rstrip("/"), environment.region)
    findings = look(context.obj, environment, Traffic(messages))
    if as_json:
        click.echo(json.dumps(document(findings), indent=1, ensure_ascii=False))
    else:
        show(findings, env, messages)
    context.exit(0 if findings.is_enough else 1)


def look(place: Place, environment: Environment, traffic: Traffic) -> Findings:
    """Work out what is needed, and ask the account for what it has."""
    parameters = defaults() | dict(environment.parameters)
    chosen = policy.preset(parameters.get("PolicyPreset", DEFAULT_PRESET))
    limits, busy = Limits.of(parameters), sizing.load(traffic, chosen)
    needs = sizing.needs(traffic, chosen, limits, environment.region)
    return Findings(busy, list(sizing.contradictions(limits, busy, traffic)), list(_found(place, needs)))


def defaults() -> dict[str, str]:
    """The template's parameters where an environment says nothing."""
    template = yaml_parse((artifact.ROOT / "template.yaml").read_text("utf-8"))
    return {name: str(it["Default"]) for name, it in template["Parameters"].items() if "Default" in it}


def _found(place: Place, needs: list[Need]) -> Iterator[Found]:
    listed = {key: list(_quotas(place, *key)) for key in sorted({(it.service, it.region) for it in needs})}
    for need in needs:
        quotas = listed[need.service, need.region]
        value = next((it["Value"] for it in quotas if need.is_of(it["QuotaCode"], it["QuotaName"])), None)
        yield Found(need, value)


def _quotas(place: Place, service: str, region: str) -> Iterator[Mapping[str, Any]]:
    pages = place.client("service-quotas", region).get_paginator("list_service_quotas").paginate(ServiceCode=service)
    for page in pages:
        yield from page["Quotas"]


def document(findings: Findings) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "load": asdict(findings.load) | {"turns_at_once": findings.load.turns_at_once},
        "contradictions": findings.contradictions,
        "quotas": [asdict(it.need) | {"value": it.value, "verdict": it.verdict} for it in findings.quotas],
        "enough": findings.is_enough,
    }


def show(findings: Findings, env: str, messages: int) -> None:
    """What was found, for people."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    busy = findings.load
    console.print(
        f"{messages:,} messages a day: {busy.turns_per_s:.1f} turns a second in the busiest hour,"
        f" {busy.surge_per_s:.1f} in its busiest minute; a turn takes {busy.turn_s:.2f} s,"
        f" so {busy.turns_at_once:.0f} are under way at once",
        soft_wrap=True,
    )
    for contradiction in findings.contradictions:
        console.print(f"{env}: {contradiction}", soft_wrap=True)
    table = Table("quota", "region", "needs", "has", "", box=box.SIMPLE)
    for it in findings.quotas:
        value = "-" if it.value is None else f"{it.value:,.0f}"
        table.add_row(f"{it.need.service}: {it.need.name}", it.need.region, f"{it.need.least:,}", value, it.verdict)
    console.print(table)


if __name__ == "__main__":
    main()
