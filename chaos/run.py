"""One cell: shoppers who ask without a pause while something fails, and hear their answers out."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import httpx

from chaos import verdict
from chaos.matrix import BOUGHT, CLOCK, CONNECTION, EDGES, GROUPS, HANDLER, MODELS, WITHIN
from chaos.questions import question
from load.run import TwinTokens
from load.schedule import Planned
from load.shopper import Asked, Line, Shopper
from local.chat import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.house import House
    from chaos.matrix import Cell
    from chaos.verdict import Verdict

KILLS_EVERY_S = 3.0
ACROSS_EDGE_S = 20.0  # of the twin's clock and of ours: the edge is in the middle
PAUSE_S = 0.2  # between an answer and the next question: what fails at once must not outnumber the rest
BEFORE_S = 1.0  # between the connections and the trouble
TICK_MINUTES = 5  # of the twin's schedule
OPENING_MINUTES = 35  # before an edge, that capacity may be bought in time


@dataclass
class Cells:
    """Runs cells one after the other; questions are counted through, so that none is asked twice of a twin."""

    house: House
    shoppers: int
    seconds: float
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _users: Iterator[int] = field(default_factory=itertools.count)
    _day: date | None = None  # of the twin's clock, once it has been moved: tomorrow, for it may only go forward

    def run(self, cell: Cell) -> Verdict:
        """Ask through a cell, from a twin that has forgotten the one before."""
        if set(GROUPS.get(cell.group, ())) & MODELS:
            self.house.forget()
        if cell.group == CLOCK:
            self._go_to(EDGES[cell.fault])
        if cell.group == BOUGHT and not self._day:
            self._go_to(WITHIN)
        before, met = self.house.books(), self.house.faults_met()
        asked = asyncio.run(self._asked(cell))
        self.house.delete("faults")
        at_rest = self.house.at_rest()
        turns = {it.turn.id for it in asked}
        lines = [line for line in self.house.lines() if line["turn_id"] in turns]
        return verdict.of(
            cell,
            asked,
            lines,
            before,
            self.house.books(),
            met=self.house.faults_met() - met,
            logged=self.house.unsettled() & turns,
            at_rest=at_rest,
        )

    async def _asked(self, cell: Cell) -> list[Asked]:
        asked: list[Asked] = []
        async with httpx.AsyncClient(timeout=20) as client:
            tokens = TwinTokens(client, self.house.controls)
            # New ones each time: where the tables fail a place is not given back, and five of them are a user's all.
            users = [f"chaos-{next(self._users)}" for _ in range(self.shoppers)]
            lines = [Line(self.house.url, tokens, user) for user in users]
            for line in lines:
                await line.open(time.monotonic() + 20)
            trouble = asyncio.create_task(self._trouble(cell))
            until = time.monotonic() + (ACROSS_EDGE_S if cell.group == CLOCK else self.seconds)
            async with asyncio.TaskGroup() as group:
                for line in lines:
                    group.create_task(self._ask_on(cell, line, until, asked))
            trouble.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await trouble
        return asked

    async def _ask_on(self, cell: Cell, line: Line, until: float, asked: list[Asked]) -> None:
        await asyncio.sleep(BEFORE_S)
        shopper = Shopper(line)
        while time.monotonic() < until:
            number = next(self._numbers)
            drops = cell.group == CONNECTION and _of_share(number, cell.share)
            planned = Planned(0.0, 0, "", question(number), drops)
            it = Asked(planned, turn=Turn(planned.question, None))
            asked.append(it)
            await shopper.ask(it, time.monotonic())
            await asyncio.sleep(PAUSE_S)
        await line.close()

    async def _trouble(self, cell: Cell) -> None:
        """Make it fail until all answers are heard; what silences everything ends before anybody's patience does."""
        if cell.first:
            await asyncio.to_thread(self.house.put, "faults", cell.first)
            await asyncio.to_thread(self._until_met, cell)
        if cell.scripted:
            await asyncio.to_thread(self.house.put, "faults", cell.scripted)
            await asyncio.sleep(self.seconds)
            if cell.silences:
                await asyncio.to_thread(self.house.delete, "faults")
        while cell.group == HANDLER:
            await asyncio.sleep(KILLS_EVERY_S)
            await asyncio.to_thread(self.house.delete, "environments")

    def _until_met(self, cell: Cell) -> None:
        """Wait until some call has met the first faults; the verdict complains when none does."""
        with contextlib.suppress(TimeoutError):
            self.house.until(lambda: len(self.house.get("faults")) < len(cell.first), self.seconds)

    def _go_to(self, clock: str) -> None:
        """Move the twin's clock to shortly before an edge, by steps in which its schedule buys what the edge needs."""
        if not self._day:
            self._day = date.fromisoformat(self.house.get("clock")["now"][:10]) + timedelta(days=1)
        hours, minutes, _ = map(int, clock.split(":"))
        aim = hours * 60 + minutes
        for minute in range(aim // TICK_MINUTES * TICK_MINUTES - OPENING_MINUTES, aim, TICK_MINUTES):
            self.house.put("clock", {"now": f"{self._day}T{minute // 60:02d}:{minute % 60:02d}:02+09:00"})
            time.sleep(1.0)  # the schedule looks a few times a second
            self.house.until(lambda: not _busy(self.house))
        self.house.put("clock", {"now": f"{self._day}T{clock}+09:00"})


def _busy(house: House) -> bool:
    """Whether an execution is at work, rather than waiting for the clock."""
    waiting = ("Creating", "CloseEach")
    return any(it["status"] == "RUNNING" and it["state"] not in waiting for it in house.get("state")["executions"])


def _of_share(number: int, share: float) -> bool:
    """Whether the turn of a number is of a share of them all, evenly spread."""
    return int((number + 1) * share) > int(number * share)
