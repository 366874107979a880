"""What an answer and a start cost each contender: on an emulator without delay, in turns, so that all meet the same
machine."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import fake_bedrock
from bench.timing import percentile
from peers.contenders import talking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from peers.contenders import Peer

QUESTION = "『鬼滅の刃』が好きな友達に贈る漫画を教えてください。"
SLICES, WARM_UP = 6, 20
ANSWERS = {fake_bedrock.AT_ONCE: 40, fake_bedrock.TOKEN_BY_TOKEN: 8}  # in a slice
LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one contender: an answer's processor time and duration in milliseconds, by how its bytes come; its start."""

    cpu_ms: dict[str, float]
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    import_s: float
    memory_mb: float


def measure(
    peers: Sequence[Peer], python: Path, *, starts: int, tell: Callable[[str], object] = lambda what: None
) -> dict[str, Cost]:
    """Measure all of them, by name."""
    started: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in peers}
    for number in range(starts):
        for peer in peers:
            tell(f"start {number + 1} of {starts}: {peer.name}")
            with talking(peer, python) as talk:
                started[peer.name].append((talk.started["import_s"], talk.started["memory_mb"]))
    cpu: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in peers}
    wall: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in peers}
    with fake_bedrock.running() as address, ExitStack() as stack:
        talks = {peer.name: stack.enter_context(talking(peer, python)) for peer in peers}
        for manner, rounds in ANSWERS.items():
            for talk in talks.values():
                talk.tell("begin", address=address, chain=[manner], limit_s=LIMIT_S)
                talk.tell("costs", question=QUESTION, rounds=WARM_UP)
            for number in range(SLICES):
                for name, talk in talks.items():
                    tell(f"{manner}, {number + 1} of {SLICES}: {name}")
                    taken = talk.tell("costs", question=QUESTION, rounds=rounds)
                    cpu[name].setdefault(manner, []).append(taken["cpu_ms"])
                    wall[name].setdefault(manner, []).extend(taken["wall_ms"])
    return {
        peer.name: Cost(
            cpu_ms={manner: statistics.median(values) for manner, values in cpu[peer.name].items()},
            p50_ms={manner: statistics.median(values) for manner, values in wall[peer.name].items()},
            p99_ms={manner: percentile(values, 0.99) for manner, values in wall[peer.name].items()},
            import_s=statistics.median(import_s for import_s, _ in started[peer.name]),
            memory_mb=statistics.median(memory_mb for _, memory_mb in started[peer.name]),
        )
        for peer in peers
    }
