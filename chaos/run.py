"""One cell: shoppers who ask one question after the other while something fails, and hear their answers out."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import httpx

from chaos import verdict
from chaos.matrix import CLOCK, CONNECTION, EDGES, HANDLER, HANDSHAKES, WITHIN
from chaos.questions import question
from load.run import TwinTokens
from load.schedule import Planned
from load.shopper import Asked, Line, Shopper
from local.chat import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaos.house import House
    from chaos.matrix import Cell
    from chaos.verdict import Verdict

KILLS, KILLS_EVERY_S = 2, 3.0  # then those who ask again are let live
ACROSS_EDGE_S = 20.0  # of the twin's clock and of ours: the edge is in the middle
SILENCED_S = 2.0  # what silences everything ends before anybody's patience does
CONNECT_S = 20.0  # in which shoppers must be able to connect
PAUSE_S = 0.2  # between an answer and the next question: what fails at once must not outnumber the rest
LOOK_EVERY_S = 0.1
TICK_MINUTES = 5  # of the twin's schedule
OPENING_MINUTES = 35  # before an edge, that capacity may be bought in time


@dataclass
class Cells:
    """Runs cells one after the other; questions are counted through, so that none is asked twice of a twin."""

    house: House
    shoppers: int
    turns: int  # of each shopper
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _users: Iterator[int] = field(default_factory=itertools.count)
    _day: date | None = None  # of the twin's clock, once it has been moved: tomorrow, for it may only go forward

    def run(self, cell: Cell) -> Verdict:
        """Ask through a cell, from a twin that has forgotten the one before."""
        self.house.forget()
        if cell.group == CLOCK:
            self._go_to(EDGES[cell.fault])
        if cell.group in WITHIN and not self._day:
            self._go_to(WITHIN[cell.group])
        before, met_before = self.house.books(), self.house.faults_met()
        asked, killed = asyncio.run(self._asked(cell))
        self.house.delete("faults")
        at_rest = self.house.at_rest()
        met = self.house.faults_met() - met_before
        if cell.group == CONNECTION:
            met[CONNECTION] = sum(it.reconnects for it in asked)
        if cell.kills:
            met[HANDLER] = killed
        turns = {it.turn.id for it in asked}
        lines = [line for line in self.house.lines() if line["turn_id"] in turns]
        return verdict.of(
            cell,
            asked,
            lines,
            before,
            self.house.books(),
            met=met,
            logged=self.house.unsettled() & turns,
            at_rest=at_rest,
        )

    async def _asked(self, cell: Cell) -> tuple[list[Asked], int]:
        """What was asked, and how many events were under way in what was killed."""
        asked: list[Asked] = []
        async with httpx.AsyncClient(timeout=20) as client:
            tokens = TwinTokens(client, self.house.controls)
            # New ones each time: where the tables fail a place is not given back, and five of them are a user's all.
            users = [f"chaos-{next(self._users)}" for _ in range(self.shoppers)]
            lines = [Line(self.house.url, tokens, user, self.house.page) for user in users]
            if cell.group not in HANDSHAKES:
                await asyncio.gather(*(line.open(time.monotonic() + CONNECT_S) for line in lines))
            if cell.scripted:
                await asyncio.to_thread(self.house.put, "faults", cell.scripted)
            until = time.monotonic() + ACROSS_EDGE_S
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(self._ask_on(cell, line, until, asked)) for line in lines]
                trouble = group.create_task(self._trouble(cell, asking))
        return asked, trouble.result()

    async def _ask_on(self, cell: Cell, line: Line, until: float, asked: list[Asked]) -> None:
        """Ask so many questions, or until an instant where the clock is what matters."""
        shopper = Shopper(line)
        for turn in itertools.count():
            if time.monotonic() >= until if cell.group == CLOCK else turn >= self.turns:
                break
            drops = cell.group == CONNECTION and _of_share(len(asked), cell.share)
            planned = Planned(0.0, 0, "", question(next(self._numbers)), drops)
            it = Asked(planned, turn=Turn(planned.question, None))
            asked.append(it)
            await shopper.ask(it, time.monotonic())
            await asyncio.sleep(PAUSE_S)
        await line.close()

    async def _trouble(self, cell: Cell, asking: Sequence[asyncio.Task[None]]) -> int:
        """End what silences everything, or kill who answers while anybody asks: how many events that met."""
        if cell.silences:
            await asyncio.sleep(SILENCED_S)
            await asyncio.to_thread(self.house.delete, "faults")
        killed = 0
        for _ in range(KILLS if cell.kills else 0):
            while not await asyncio.to_thread(self.house.is_answering):
                if all(it.done() for it in asking):
                    return killed
                await asyncio.sleep(LOOK_EVERY_S)
            killed += await asyncio.to_thread(self.house.kill)
            await asyncio.sleep(KILLS_EVERY_S)
        return killed

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
    """Whether the turn of a number is of a share of them all, evenly spread; the first one always is."""
    return number == 0 or int((number + 1) * share) > int(number * share)
