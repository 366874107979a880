"""The faults that users of gateways complain of, each met by every contender on the twin's Bedrock.

Peers call it themselves, with the fast model as the fallback of the quality model; ours is asked as a shopper asks,
over the WebSocket, so all that a turn does besides is in its times.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from chaos.house import House
from chaos.questions import FORMS, is_exact
from load import shopper
from load.run import TwinTokens
from load.schedule import Planned
from load.shopper import Asked, Line, Shopper
from local.chat import Turn
from local.invoke import HOST, own_twin
from mangaassist.routing.policy import preset
from peers.contenders import OURS, talking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from peers.contenders import Peer, Talk

QUALITY, FAST = "ondemand-sonnet", "ondemand-haiku"
PROMISE_S = 3.0  # to the first text
LIMIT_S = 2.0  # of one call: short enough for a fallback to keep the promise
PATIENCE_S = 10.0  # of who asks: what ends later is late
PAST_IT_S = 60.0  # how long a peer's end is waited for after that; ours is given up by load.shopper, which is sooner
NO_END = "no end"
HONEST = ("whole", "catalogue", "deadline")  # an answer, or one that says what it is
SILENT = ("truncated", "wrong", NO_END)
NOTHING = "nothing fails"
FORM = FORMS[2]  # a complex question: it goes to the quality model first
AFTER = {"after_tokens": 3}
DEAD = "dead primary, after the first three"
STEADY_ROUNDS, LEARNING = 8, 3
OPTIONS = ("--environments", "1", "--quotas", "100", "--seed", "1", "--set", "TURNS_PER_MINUTE=6000")
ALONE = ("--set", "CAPACITY_MODE=off", "--set", "ANSWER_CACHE=off")
SCENARIOS: Mapping[str, dict[str, Any]] = {
    NOTHING: {},
    "primary hangs": {QUALITY: {"fault": "hang"}},
    "both hang": {QUALITY: {"fault": "hang"}, FAST: {"fault": "hang"}},
    "stream cut after 3 tokens": {QUALITY: {"fault": "cut", **AFTER}},
    "stream stalls after 3 tokens": {QUALITY: {"fault": "stall", **AFTER}},
    "error in the stream after 3 tokens": {QUALITY: {"fault": "error_event", **AFTER}},
    "primary throttles": {QUALITY: {"fault": "throttle"}},
    "primary sends garbage": {QUALITY: {"fault": "garbage"}},
    DEAD: {QUALITY: {"fault": "hang"}},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, heard to its end: `end` is one of HONEST or SILENT, or an error's name."""

    first_text_s: float | None
    total_s: float
    end: str

    @property
    def late(self) -> bool:
        """Whether it ended, but after the patience of who asked."""
        return self.end != NO_END and self.total_s > PATIENCE_S


@dataclass(frozen=True)
class Result:
    """What a contender made of a scenario; times are medians in seconds."""

    answers: Sequence[Answer] = field(default_factory=tuple)

    @property
    def first_text_s(self) -> float | None:
        """To the first text, of those that had any."""
        times = [it.first_text_s for it in self.answers if it.first_text_s is not None]
        return statistics.median(times) if times else None

    @property
    def ends(self) -> list[Sequence[Answer]]:
        """Those that ended alike, in time or late: the most first."""
        alike: dict[tuple[str, bool], list[Answer]] = {}
        for it in self.answers:
            alike.setdefault((it.end, it.late), []).append(it)
        return sorted(alike.values(), key=len, reverse=True)

    @property
    def kept(self) -> bool:
        """Whether every answer's first text came within the promise."""
        return all(it.first_text_s is not None and it.first_text_s <= PROMISE_S for it in self.answers)

    @property
    def answered(self) -> bool:
        """Whether every answer was whole, or said what it was instead, within the patience of who asked."""
        return all(it.end in HONEST and not it.late for it in self.answers)

    @property
    def late(self) -> bool:
        """Whether some answer ended, but too late."""
        return any(it.late for it in self.answers)

    @property
    def failed(self) -> bool:
        """Whether some answer ended in an error, soon or late."""
        return any(it.end not in HONEST + SILENT for it in self.answers)

    @property
    def silent(self) -> bool:
        """Whether some answer looked whole and was not, or never ended."""
        return any(it.end in SILENT for it in self.answers)


def run(
    peers: Sequence[Peer],
    python: Path,
    *,
    rounds: int,
    only: Sequence[str] = (),
    tell: Callable[[str], object] = lambda what: None,
) -> dict[str, dict[str, Result]]:
    """Every scenario's results by contender."""
    found: dict[str, dict[str, Result]] = {}
    with own_twin(*OPTIONS, *ALONE) as twin, ExitStack() as stack:
        house = House(twin.port)
        policy = preset("current")
        chain = [policy.models[policy.targets[target].model].id for target in (QUALITY, FAST)]
        talks = {peer.name: stack.enter_context(talking(peer, python)) for peer in peers if peer.code}
        questions = _questions()
        for name, faults in SCENARIOS.items():
            if only and name not in only:
                continue
            house.forget()
            house.put("faults", faults)
            found[name] = {}
            for peer in peers:
                tell(f"{name}: {peer.name}")
                asking = _asking(peer, talks.get(peer.name), house, chain)
                asked = [next(questions) for _ in range(STEADY_ROUNDS if name == DEAD else rounds)]
                answers = asking(asked)
                found[name][peer.name] = Result(answers[LEARNING:] if name == DEAD else answers)
    return found


def of_peer(question: str, heard: Mapping[str, Any]) -> Answer:
    """A peer's answer, judged: it says that an answer is not whole by raising."""
    if heard["error"]:
        end = str(heard["error"])
    else:
        end = "whole" if is_exact(question, heard["text"], "complete") else "truncated"
    return Answer(heard["first_text_s"], heard["total_s"], end)


def of_ours(asked: Asked) -> Answer:
    """Our answer, judged by its last frame and its text."""
    if asked.total_ms is None:
        return Answer(_seconds(asked.first_text_ms), shopper.PATIENCE_S, NO_END)
    finish = str(asked.turn.end["finish"]) if asked.turn.end else ""
    exact = bool(finish) and is_exact(asked.planned.question, asked.turn.text, finish)
    end = asked.outcome if not finish else "wrong" if not exact else {"complete": "whole"}.get(finish, finish)
    return Answer(_seconds(asked.first_text_ms), asked.total_ms / 1000, end)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _asking(peer: Peer, talk: Talk | None, house: House, chain: list[str]) -> Callable[[Sequence[str]], list[Answer]]:
    if talk is None:
        return lambda questions: asyncio.run(_ask_ours(house, questions))
    limits = {"limit_s": LIMIT_S, "patience_s": PATIENCE_S, "past_it_s": PAST_IT_S}
    talk.tell("begin", address=f"http://{HOST}:{house.port + 1}", chain=chain, **limits)
    return lambda questions: [of_peer(it, talk.tell("ask", question=it)) for it in questions]


async def _ask_ours(house: House, questions: Sequence[str]) -> list[Answer]:
    answers = []
    async with httpx.AsyncClient(timeout=20) as client:
        line = Line(house.url, TwinTokens(client, house.controls), OURS)
        await line.open(time.monotonic() + 20)
        one = Shopper(line)
        for question in questions:
            asked = Asked(Planned(0.0, 0, "", question), turn=Turn(question, None))
            await one.ask(asked, time.monotonic())
            answers.append(of_ours(asked))
        await line.close()
    return answers


def _questions() -> Iterator[str]:
    number = 1_000
    while True:
        number += 1
        yield FORM.format(number=number)
