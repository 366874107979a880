"""Measure others who call Bedrock with fallbacks beside ours: what an answer costs, and what becomes of it in trouble.

LiteLLM's Router, Portkey's gateway and raw boto3 run in an environment of their own (.peers-venv), whose packages are
pinned in peers/requirements.txt and peers/gateway; `make peers` makes it. With five rounds the whole takes about
32 minutes on 2 cores, and each round fewer or more 4.5: answers are heard on past the patience of who asks.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from peers import costs, report, scenarios
from peers.contenders import PEERS, PeerFailed

GATEWAY = Path(__file__).with_name("gateway") / "package.json"
PYTHON = Path(".peers-venv/bin/python")
OUT = Path(".reports/peers.json")
PARTS = ("costs", "scenarios")
VERSIONS = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
WIDTH = 160  # where the output is no terminal


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--python", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=PYTHON)
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only this part.")
@click.option("--peer", "names", multiple=True, help="Only peers with this in their names, beside ours.")
@click.option(
    "--scenario", "chosen", type=click.Choice(list(scenarios.SCENARIOS)), multiple=True, help="Only this one."
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, help="Of each scenario.")
@click.option("--starts", type=click.IntRange(1, 100), default=5, help="Of each contender.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown, too.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=OUT, help="A JSON document.")
def main(
    *,
    python: Path,
    parts: tuple[str, ...],
    names: tuple[str, ...],
    chosen: tuple[str, ...],
    rounds: int,
    starts: int,
    write: Path | None,
    out: Path,
) -> None:
    """Measure, and tell."""
    console = Console(stderr=True)
    peers = [it for it in PEERS if not it.code or not names or any(name in it.name for name in names)]
    versions = _versions(python)
    try:
        with console.status("") as status:
            taken = costs.measure(peers, python, starts=starts, tell=status.update) if _wants("costs", parts) else {}
            results = (
                scenarios.run(peers, python, rounds=rounds, only=chosen, tell=status.update)
                if _wants("scenarios", parts)
                else {}
            )
    except PeerFailed as failure:
        raise click.ClickException(f"{failure}: are its packages there? make peers installs them") from failure
    out.parent.mkdir(parents=True, exist_ok=True)
    document = report.document(taken, results, versions)
    out.write_text(json.dumps(document, ensure_ascii=False, indent=1), "utf-8")
    if write:
        command = f"make peers ARGS={shlex.quote(shlex.join(sys.argv[1:]))}"
        write.write_text(report.markdown(taken, results, command, versions), "utf-8")
    if taken:
        _show(report.COSTS, report.cost_rows(taken))
    if results:
        _show(("", *(peer.name for peer in peers)), report.scenario_rows(results))
    click.echo("\n".join(report.verdicts(taken, results)))


def _wants(part: str, parts: tuple[str, ...]) -> bool:
    return not parts or part in parts


def _versions(python: Path) -> dict[str, str]:
    """Of the packages that are compared, as far as they are installed there."""
    ran = subprocess.run([str(python), "-c", VERSIONS], capture_output=True, text=True, check=True)
    installed = json.loads(ran.stdout)
    gateway: dict[str, str] = json.loads(GATEWAY.read_text("utf-8"))["dependencies"]
    return {name: installed[name] for name in ("litellm", "boto3") if name in installed} | gateway


def _show(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(show_lines=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    Console(width=None if console.is_terminal else WIDTH, highlight=False).print(table)


if __name__ == "__main__":
    main()
