"""What the comparison tells: tables of costs and scenarios with ratios, for people, docs/peers.md and programs."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench import fake_bedrock
from bench.report import machine
from load import shopper
from peers.contenders import OURS
from peers.scenarios import LIMIT_S, NO_END, NOTHING, PAST_IT_S, PATIENCE_S, PROMISE_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peers.costs import Cost
    from peers.scenarios import Answer, Result

    type Costs = Mapping[str, Cost]
    type Results = Mapping[str, Mapping[str, Result]]

GATEWAYS = ("LiteLLM", "Portkey")  # what does a part of our work, as raw boto3 does not
COSTS = ("", "CPU of an answer", "its duration p50 / p99", "token by token: CPU", "start: imports", "memory after it")


def cost_rows(costs: Costs) -> list[tuple[str, ...]]:
    """One row a contender; ratios are to ours."""
    ours = costs[OURS]
    at_once, by_token = fake_bedrock.AT_ONCE, fake_bedrock.TOKEN_BY_TOKEN
    return [
        (
            name,
            f"{cost.cpu_ms[at_once]:.2f} ms ({ratio(cost.cpu_ms[at_once], ours.cpu_ms[at_once])})",
            f"{cost.p50_ms[at_once]:.2f} / {cost.p99_ms[at_once]:.2f} ms "
            f"({ratio(cost.p50_ms[at_once], ours.p50_ms[at_once])})",
            f"{cost.cpu_ms[by_token]:.2f} ms ({ratio(cost.cpu_ms[by_token], ours.cpu_ms[by_token])})",
            f"{cost.import_s * 1000:,.0f} ms ({ratio(cost.import_s, ours.import_s)})",
            f"{cost.memory_mb:.0f} MB ({ratio(cost.memory_mb, ours.memory_mb)})",
        )
        for name, cost in costs.items()
    ]


def scenario_rows(results: Results) -> list[tuple[str, ...]]:
    """One row a scenario, one column a contender."""
    return [(name, *(told(result) for result in by_peer.values())) for name, by_peer in results.items()]


def told(result: Result) -> str:
    """When the first text came, and how many of how many ended how, and after what time."""
    return f"{_first_text(result)}; {', '.join(_ended(alike, len(result.answers)) for alike in result.ends)}"


def _first_text(result: Result) -> str:
    if result.first_text_s is None:
        return "no text"
    spoke, asked = sum(it.first_text_s is not None for it in result.answers), len(result.answers)
    return f"{result.first_text_s:.2f} s" + (f" ({spoke} of {asked})" if spoke < asked else "")


def _ended(alike: Sequence[Answer], asked: int) -> str:
    total_s, one = statistics.median(it.total_s for it in alike), alike[0]
    how = f"{len(alike)} of {asked} {one.end} " if len(alike) < asked else f"{one.end} "
    if one.end == NO_END:
        return f"{how}within {total_s:.2f} s"
    return f"{how}after {total_s:.2f} s" + (f" (past {PATIENCE_S:g} s)" if one.late else "")


def answers_behind(results: Results) -> str:
    """How many answers stand behind a cell."""
    counts = sorted({len(result.answers) for by_peer in results.values() for result in by_peer.values()})
    if counts == [1]:
        return "1 answer stands behind each cell"
    return f"{' to '.join(dict.fromkeys(map(str, (counts[0], counts[-1]))))} answers stand behind each cell"


def ratio(value: float, to: float) -> str:
    """How many times of another."""
    return f"{value / to:.2f} ×" if to else "–"


def verdicts(costs: Costs, results: Results) -> list[str]:
    """What to conclude, in sentences that the figures make."""
    found = []
    ours = costs.get(OURS)
    for name, cost in costs.items():
        if ours and name.startswith(GATEWAYS):
            cpu = ratio(cost.cpu_ms[fake_bedrock.AT_ONCE], ours.cpu_ms[fake_bedrock.AT_ONCE])
            found.append(
                f"{name} takes {cpu} the processor time of our whole turn for an answer, "
                f"{ratio(cost.import_s, ours.import_s)} its time to start and {ratio(cost.memory_mb, ours.memory_mb)} "
                "its memory."
            )
    if results:
        names = dict.fromkeys(name for by_peer in results.values() for name in by_peer)
        for name in names:
            mine = [by_peer[name] for fault, by_peer in results.items() if fault != NOTHING and name in by_peer]
            found.append(
                f"{name}: under {sum(it.answered for it in mine)} of {len(mine)} faults every answer was whole or said "
                f"what it was instead, within {PATIENCE_S:g} s; under {sum(it.failed for it in mine)} some ended in an "
                f"error, under {sum(it.silent for it in mine)} some broke off without a word or never ended, under "
                f"{sum(it.late for it in mine)} some ended later than {PATIENCE_S:g} s; under "
                f"{sum(it.kept for it in mine)} every first text came within {PROMISE_S:g} s."
            )
    return found


def markdown(costs: Costs, results: Results, command: str, versions: Mapping[str, str]) -> str:
    """What docs/peers.md says."""
    where = machine()
    lines = [
        "# Peers",
        "",
        f"Written by `{command}`; {where['cpu']}, {where['cores']} cores, {where['architecture']}, CPython "
        f"{where['python']}; {', '.join(f'{name} {version}' for name, version in versions.items())}. All in one run; "
        "figures in brackets are ratios to ours.",
        "",
        *(f"* {sentence}" for sentence in verdicts(costs, results)),
    ]
    if costs:
        lines += [
            "",
            "## Costs",
            "",
            "An answer of 50 tokens from an emulated Bedrock without delay, its bytes all at once or token by token. "
            "Ours is a whole turn (decision, budget, frames, ledger, memory; its stores answer at once), the others "
            "are a call. What Portkey's gateway takes is its process and the one that asks it over HTTP, together.",
            "",
            *_table(COSTS, cost_rows(costs)),
        ]
    if results:
        names = list(next(iter(results.values())))
        lines += [
            "",
            "## Faults",
            "",
            "The twin's Bedrock, with the fast model as fallback of the quality model. A peer's call has a limit of "
            f"{LIMIT_S:g} s, so that a fallback can keep the promise; who asks waits {PATIENCE_S:g} s. What has not "
            f"ended by then is heard on, a peer for {PAST_IT_S:g} s more, ours for "
            f"{shopper.PATIENCE_S - PATIENCE_S:g} s more, and its end is told as *past {PATIENCE_S:g} s*. A fault of "
            "several ends counts with each of them above.",
            "",
            f"To the first text, how the answers ended, and when; {answers_behind(results)}, and times are their "
            "medians. *whole* is the model's answer to the character, *truncated* one that ends early and looks "
            "finished, *catalogue* and *deadline* are answers that say what they are.",
            "",
            *_table(("", *names), scenario_rows(results)),
        ]
    return "\n".join(lines) + "\n"


def document(costs: Costs, results: Results, versions: Mapping[str, str]) -> dict[str, Any]:
    """The report for programs."""
    scenarios = {
        name: {peer: {"answers": [asdict(it) for it in result.answers]} for peer, result in by_peer.items()}
        for name, by_peer in results.items()
    }
    return {
        "machine": machine(),
        "versions": dict(versions),
        "costs": {name: asdict(cost) for name, cost in costs.items()},
        "scenarios": scenarios,
        "verdicts": verdicts(costs, results),
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *(f"| {' | '.join(row)} |" for row in rows)]
