"""Measures, in one run on this machine, what docs and README quote; every aim stands beside what was measured."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

sys.path.insert(0, str(Path(__file__).parent.parent / "layers" / "routing"))
for only_of_developers in ("awscrt", "OpenSSL"):  # botocore would use them here, and has none of them on Lambda
    sys.modules[only_of_developers] = None  # type: ignore[assignment]

from bench import decision, posts, report, start, streams  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: dict[str, Callable[[], list[report.Row]]] = {
    "decision": decision.measure,
    "answer": streams.measure,
    "throughput": streams.measure_throughput,
    "posts": posts.measure,
    "init": start.measure,
}


@click.command(help=__doc__)
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True, help="Measure this part only (may be repeated).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(*, only: tuple[str, ...], as_json: bool) -> None:
    """Measure and print."""
    began = time.perf_counter()
    rows = []
    for name in only or tuple(PARTS):
        if not as_json:
            click.echo(f"measuring: {name}", err=True)
        rows += PARTS[name]()
    took = time.perf_counter() - began
    if as_json:
        click.echo(json.dumps(report.as_json(rows, took), ensure_ascii=False, indent=1))
    else:
        report.show(rows, took)


if __name__ == "__main__":
    main()
