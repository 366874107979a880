"""`make day`: drive the twin's clock through a JST day under a continuous load, and see what capacity did.

The clock goes in steps from one tick of the schedule to the next, and in real time across the end of each window, where
turns under way have to finish before their capacity goes.
"""

from __future__ import annotations

import itertools
import ssl
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import TYPE_CHECKING, Any

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from websockets.exceptions import WebSocketException

from local.clock import JST
from local.invoke import twin_at
from tools import capacity_tables, smoke
from tools.capacity_figures import Figures
from tools.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = "127.0.0.1"
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused by plain HTTP; httpx would load a new one for every call
QUESTIONS = (
    "ワンピースは何巻まで出ていますか?",
    "『寄生獣』と『亜人』の主題を比べて、それぞれの結末が何を問いかけているか詳しく論じてください。",
    "How many volumes of Berserk are out?",
    "おはようございます。送料はいくらですか?",
    "Compare the themes of Parasyte and Ajin in depth, and explain why their endings differ.",
)
LEAD, DRAIN = timedelta(minutes=30), timedelta(minutes=2)  # of the template's default, and with some room
TICK = timedelta(minutes=5)  # of the schedule
PAST_TICK_S = 2  # so that the tick has come for certain
BEFORE_END_S = 3
AFTERWARDS = timedelta(minutes=40)  # of the next day, in which the last window drains and a sweep comes
PATIENCE_S = 35.0  # of a shopper
CALL_S = 60.0  # that the twin may take to answer a control
GIVE_UP_S = 120.0  # real time that an execution may take between two waits, a turn to its end, or a window to be gone
WAKE_S = 0.3  # in which who waits for the clock has seen that it was moved
LOOK_S = 0.1
FAILED = ("FAILED", "TIMED_OUT", "ABORTED")
WAITING = ("Creating", "CloseEach")  # the states in which an execution waits for the clock


class Stuck(click.ClickException):
    """The day does not go on; the text says what it waits for."""


@dataclass(frozen=True)
class Asked:
    """One question and its end: `finish` and `target` of its last frame, or the error instead of one.

    The twin's clock may move while it runs: it was routed at some time from `at` to `until`.
    """

    at: datetime
    until: datetime
    finish: str
    target: str
    reason: str
    error: str = ""


@dataclass
class Day:
    """What a day brought."""

    windows: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    purchases: list[dict[str, Any]] = field(default_factory=list)
    failed_executions: list[dict[str, Any]] = field(default_factory=list)
    cut_by_deletion: int = 0

    @property
    def unanswered(self) -> list[Asked]:
        return [it for it in self.asked if it.error]

    def within(self, first: int, last: int) -> list[Asked]:
        """The turns that began and ended in the hours of a JST day from the first up to the last."""
        return [it for it in self.asked if all(first <= moment.hour < last for moment in (it.at, it.until))]

    def of_window(self, name: str) -> list[dict[str, Any]]:
        """The purchases that were made for a window."""
        return [it for it in self.purchases if it["tags"].get("mangaassist:window") == name]


class Shoppers:
    """So many shoppers, each asking one question after the other over the real WebSocket until told to stop."""

    def __init__(self, port: int, count: int) -> None:
        self.asked: list[Asked] = []
        self._port = port
        self._stop = threading.Event()
        self._ended = threading.Condition()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(count)]

    def __enter__(self) -> Shoppers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP_S)

    def await_turn(self, since: datetime) -> None:
        """Wait until a turn has ended that began no earlier; raises Stuck."""
        with self._ended:
            if not self._ended.wait_for(lambda: any(it.at >= since for it in self.asked), GIVE_UP_S):
                raise Stuck(f"no turn that began after {since:%H:%M:%S} has ended in {GIVE_UP_S:.0f} s")

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            asked = self._ask(next(self._numbers))
            with self._ended:
                self.asked.append(asked)
                self._ended.notify_all()

    def _ask(self, number: int) -> Asked:
        at = _now(self._port)
        try:
            url = f"ws://{HOST}:{self._port}/live"
            token = _get(self._port, "token", user=f"day-{number}")["token"]
            turn = smoke.ask(url, token, QUESTIONS[number % len(QUESTIONS)], PATIENCE_S)
            end, error = turn.end or {}, "" if turn.end else str((turn.error or {}).get("code"))
        except (httpx.HTTPError, OSError, WebSocketException, ValueError) as failure:
            end, error = {}, type(failure).__name__
        finish, target, reason = (end.get(name, "") for name in ("finish", "target", "reason"))
        return Asked(at, _now(self._port), finish, target, reason, error)


class Driver:
    """Moves the clock of a running twin; when wanted only once a question of each step has been answered."""

    def __init__(
        self, port: int, day: date, step: timedelta = TICK, shoppers: int = 3, *, asked_in_each: bool = False
    ) -> None:
        self._port = port
        self._day = day
        self._step = step
        self._shoppers = shoppers
        self._asked_in_each = asked_in_each
        self._failed: dict[str, dict[str, Any]] = {}
        self._earlier: set[str] = set()
        self.now = self._moved_to = datetime.combine(day, clock_time(), JST)

    def drive(self, tell: Callable[[datetime, dict[str, Any]], None]) -> Day:
        """From midnight to some time after the next; `tell` hears of each step. Raises Stuck."""
        self._move(self.now)
        before = self._at_rest()
        self._earlier = {it["arn"] for it in before["provisioned"]}
        windows = before["windows"]
        ends = sorted(_on(self._day, window["end"]) for window in windows)
        until = self.now + timedelta(days=1) + AFTERWARDS
        with Shoppers(self._port, self._shoppers) as shoppers:
            while self.now < until:
                self._go_on(ends)
                if self._asked_in_each:
                    shoppers.await_turn(self.now)
                state = self._at_rest()
                self._failed |= {it["name"]: it for it in state["executions"] if it["status"] in FAILED}
                tell(self.now, state)
        return self._result(windows, shoppers.asked)

    def _go_on(self, ends: list[datetime]) -> None:
        """To the next step, or over the end of a window that comes before it."""
        aim = self._next_stop()
        end = next((it for it in ends if self.now < it <= aim), None)
        if end:
            self._across(end)
        else:
            self._move(aim)

    def _next_stop(self) -> datetime:
        """The next multiple of the step, a moment later."""
        midnight = datetime.combine(self.now.date(), clock_time(), JST)
        steps = (self.now - midnight) // self._step + 1
        return midnight + steps * self._step + timedelta(seconds=PAST_TICK_S)

    def _across(self, end: datetime) -> None:
        """Over a window's end in real time, until its capacity is gone."""

        def is_over(state: dict[str, Any]) -> bool:
            alive = [it for it in self._bought(state) if not it["deleted_at"]]
            left = [it for it in alive if _ends(it, state["windows"]) <= end]
            return _instant(state) > end + timedelta(seconds=BEFORE_END_S) and not left

        self._move(end - timedelta(seconds=BEFORE_END_S))
        self.now = _instant(self._wait(is_over, f"the capacity until {end:%H:%M} is not gone"))

    def _at_rest(self) -> dict[str, Any]:
        """Wait until the schedules have seen the clock, and every execution is over or waits for it."""
        return self._wait(self._rests, "the schedules or their executions are not at rest")

    def _rests(self, state: dict[str, Any]) -> bool:
        looked = [datetime.fromisoformat(it["looked_at"]) for it in state["schedules"]]
        busy = [it for it in state["executions"] if it["status"] == "RUNNING" and it["state"] not in WAITING]
        return not busy and all(self._moved_to <= it <= _instant(state) for it in looked)

    def _wait(self, is_so: Callable[[dict[str, Any]], bool], complaint: str) -> dict[str, Any]:
        """The twin's state as soon as it is so; raises Stuck."""
        give_up_at = time.monotonic() + GIVE_UP_S
        while not is_so(state := _get(self._port, "state")):
            if time.monotonic() > give_up_at:
                raise Stuck(f"{self._moved_to:%H:%M:%S}: {complaint} after {GIVE_UP_S:.0f} s; {_unfinished(state)}")
            time.sleep(LOOK_S)
        return state

    def _bought(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """What was bought since the clock was moved to the day."""
        return [it for it in state["provisioned"] if it["arn"] not in self._earlier]

    def _move(self, to: datetime) -> None:
        body = {"now": to.isoformat()}
        httpx.put(f"http://{HOST}:{self._port}/twin/clock", json=body, timeout=CALL_S, verify=PLAIN).raise_for_status()
        self.now = self._moved_to = to
        time.sleep(WAKE_S)

    def _result(self, windows: list[dict[str, Any]], asked: list[Asked]) -> Day:
        state = _get(self._port, "state")
        return Day(
            windows=windows,
            asked=asked,
            purchases=self._bought(state),
            failed_executions=list(self._failed.values()),
            cut_by_deletion=state["emulator"]["cut_by_deletion"],
        )


def complaints(day: Day, lead: timedelta, drain: timedelta) -> Iterator[str]:
    """Everything that did not go as promised; nothing when all did."""
    for window in day.windows:
        purchases = day.of_window(window["name"])
        if len(purchases) != 1:
            yield f"{window['name']}: {len(purchases)} purchases instead of one"
        for purchase in purchases:
            yield from _out_of_bounds(purchase, window, lead, drain)
    without_model = [asked for asked in day.asked if asked.finish == "catalogue"]
    if without_model:
        yield f"{len(without_model)} turns found no model, the first at {without_model[0].at:%H:%M:%S}"
    for asked in day.unanswered:
        yield f"a turn at {asked.at:%H:%M:%S} ended in {asked.error}"
    if day.cut_by_deletion:
        yield f"{day.cut_by_deletion} answers were cut because their capacity was deleted"
    for execution in day.failed_executions:
        yield f"execution {execution['name']} ({execution['input']}) {execution['status']}: {execution['cause']}"


def _out_of_bounds(
    purchase: dict[str, Any], window: dict[str, Any], lead: timedelta, drain: timedelta
) -> Iterator[str]:
    day = date.fromisoformat(purchase["tags"]["mangaassist:day"])
    starts, ends = (_on(day, window[name]) for name in ("start", "end"))
    created, deleted = (
        purchase[name] and datetime.fromisoformat(purchase[name]) for name in ("created_at", "deleted_at")
    )
    if created < starts - lead:
        yield f"{purchase['name']} was bought at {created:%H:%M:%S}, before its lead"
    if deleted is None:
        yield f"{purchase['name']} is still there"
    elif not ends <= deleted <= ends + drain:
        yield f"{purchase['name']} went at {deleted:%H:%M:%S}, and its window ended at {ends:%H:%M}"


def _ends(purchase: dict[str, Any], windows: list[dict[str, Any]]) -> datetime:
    tags = purchase["tags"]
    window = next(it for it in windows if it["name"] == tags["mangaassist:window"])
    return _on(date.fromisoformat(tags["mangaassist:day"]), window["end"])


def _on(day: date, clock: str) -> datetime:
    hours, minutes = map(int, clock.split(":"))
    return datetime.combine(day, clock_time(), JST) + timedelta(hours=hours, minutes=minutes)


def _instant(state: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(state["clock"]["now"])


def _now(port: int) -> datetime:
    return datetime.fromisoformat(_get(port, "clock")["now"])


def _unfinished(state: dict[str, Any]) -> str:
    """Where every execution is that has not succeeded."""
    runs = [it for it in state["executions"] if it["status"] != "SUCCEEDED"]
    return "; ".join(f"{it['name']} is {it['status']} in {it['state']}" for it in runs) or "every execution is over"


def _get(port: int, path: str, **query: str) -> dict[str, Any]:
    answer = httpx.get(
        f"http://{HOST}:{port}/twin/{path}", params=query, timeout=CALL_S, verify=PLAIN
    ).raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def _shares(day: Day) -> Table:
    table = Table("from", "to", "turns", "answered by", title="Turns of the day")
    edges = sorted({0, 24 * 60, *(_minute(window[name]) for window in day.windows for name in ("start", "end"))})
    for begin, end in itertools.pairwise(edges):
        within = [it for it in day.asked if not it.error and begin <= it.at.hour * 60 + it.at.minute < end]
        targets = Counter(it.target for it in within)
        who = ", ".join(f"{target} {count}" for target, count in targets.most_common())
        table.add_row(f"{begin // 60:02d}:00", f"{end // 60:02d}:00", str(len(within)), who)
    return table


def _minute(clock: str) -> int:
    hours, minutes = map(int, clock.split(":"))
    return hours * 60 + minutes


def _alive(state: dict[str, Any]) -> str:
    alive = [
        f"{it['tags'].get('mangaassist:window', '?')} {it['status']}"
        for it in state["provisioned"]
        if not it["deleted_at"]
    ]
    return ", ".join(alive) or "on demand"


@click.command(help=__doc__)
@click.option("--port", default=8080, show_default=True, help="The twin's; one is started when none answers there.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="The JST day to drive through; tomorrow as a rule.")
@click.option("--shoppers", default=3, show_default=True, type=click.IntRange(1, 32), help="Who ask without a pause.")
@click.option("--step", default=5, show_default=True, type=click.IntRange(5, 60), help="Minutes of one step.")
def main(port: int, day: datetime | None, shoppers: int, step: int) -> None:
    """Drive, then tell; the exit code is 1 when something did not go as promised."""
    console = Console(stderr=True)
    chosen = day.date() if day else datetime.now(JST).date() + timedelta(days=1)
    with twin_at(port) as twin:
        driver = Driver(twin.port, chosen, timedelta(minutes=step), shoppers)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[seen]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("00:00", total=24 * 60, seen="")

            def tell(now: datetime, state: dict[str, Any]) -> None:
                minutes = (now - datetime.combine(chosen, clock_time(), JST)).total_seconds() / 60
                progress.update(task, completed=minutes, description=f"{now:%H:%M}", seen=_alive(state))

            result = driver.drive(tell)
        capacity_tables.show_report(Figures(Place(None, f"http://{HOST}:{twin.port}", None)).report(chosen, 1))
        httpx.delete(f"http://{HOST}:{twin.port}/twin/clock", timeout=10)
    Console().print(_shares(result))
    wrong = list(complaints(result, LEAD, DRAIN))
    for complaint in wrong:
        click.echo(f"not as promised: {complaint}", err=True)
    click.echo(f"{len(result.asked)} turns, {len(result.unanswered)} without an answer; {len(wrong)} complaints")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
