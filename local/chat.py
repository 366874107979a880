"""`make chat`: the chat page in a terminal. Ctrl-C stops an answer, /forget deletes the chat, Ctrl-D ends it."""

from __future__ import annotations

import argparse
import getpass
import json
import locale
import re
import signal
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from rich.console import Console
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

HOST = "127.0.0.1"
RECONNECT_WAITS_S = (0.2, 0.5, 1, 2, 4, 8)
FORGET = "/forget"
SILENCE_S = 35  # no turn lasts longer; then something is wrong on the way
INTERRUPTED = 130  # exit code of a program that Ctrl-C has ended
GLANCE_S = 0.2  # between two looks whether Ctrl-C was pressed

WORDS = {
    "ja": {
        "hello": "MangaAssist です。質問をどうぞ(Ctrl-C で停止、2 回で終了、/forget で会話を削除、Ctrl-D で終了)。",
        "away": "つながりません。make run は動いていますか？",
        "again": "接続が切れました。つなぎ直します…",
        "restart": "別のモデルが初めから答え直します",
        "gateway": "サーバーで問題が起きました。もう一度お試しください。",
        "forgotten": "この会話を削除しました。",
        "first": "最初の文字",
        "total": "全体",
        "stock": "在庫",
        "sample": "見本データ",
    },
    "en": {
        "hello": "This is MangaAssist. Ask away (Ctrl-C stops an answer, twice the chat, /forget deletes it, "
        "Ctrl-D ends it).",
        "away": "Nobody answers. Is make run running?",
        "again": "The connection broke. Trying again…",
        "restart": "another model begins again",
        "gateway": "Something went wrong on the server. Please try again.",
        "forgotten": "This conversation is deleted.",
        "first": "first text",
        "total": "total",
        "stock": "in stock:",
        "sample": "sample data",
    },
}


class NobodyThere(Exception):
    """The twin cannot be reached."""


@dataclass
class Turn:
    """A question and what has come of it."""

    question: str
    session_id: str | None
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    id: str | None = None
    seq: int = -1
    text: str = ""
    end: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        return self.end is not None or self.error is not None

    def wish(self) -> dict[str, Any]:
        """The frame that brings this turn on: the question, or the wish for what is missing of its answer."""
        if self.id is not None:
            return {"action": "resume", "turn_id": self.id, "after": self.seq}
        ask = {"action": "ask", "message": self.question, "message_id": self.message_id}
        return ask if self.session_id is None else ask | {"session_id": self.session_id}

    def follow(self, frame: dict[str, Any]) -> bool:
        """Take in a frame; False when it is not the next one of this turn."""
        if "turn_id" not in frame:
            unknown = frame.get("code") == "turn_unknown"  # it is on no record: no frame of it will come any more
            if unknown or (self.id is None and (frame.get("type") == "error" or "requestId" in frame)):
                self.error = frame
                return True
            return False
        begins = frame["type"] == "start" and frame["message_id"] == self.message_id
        if (frame["turn_id"] != self.id and not begins) or frame["seq"] != self.seq + 1:
            return False
        self.seq = frame["seq"]
        match frame["type"]:
            case "start":
                self.id, self.session_id = frame["turn_id"], frame["session_id"]
            case "delta":
                self.text += frame["text"]
            case "restart":
                self.text = ""
            case "end":
                self.end = frame
            case "error":
                self.error = frame
        return True

    def misses(self, frame: dict[str, Any]) -> bool:
        """Whether a frame of this turn tells that an earlier one was lost."""
        return frame.get("turn_id") == self.id is not None and frame["seq"] > self.seq + 1


class Line:
    """A connection that is made anew when it breaks."""

    def __init__(self, port: int, user: str) -> None:
        self._port = port
        self._user = user
        self._connection: ClientConnection | None = None
        self._silent_s = 0.0

    def open(self) -> None:
        """Connect with a fresh token; raises NobodyThere."""
        self.close()
        try:
            answer = httpx.get(f"http://{HOST}:{self._port}/twin/token", params={"user": self._user}, timeout=5)
            token = answer.raise_for_status().json()["token"]
            address = f"ws://{HOST}:{self._port}/live"
            offered = [Subprotocol("mangaassist"), Subprotocol(token)]
            self._connection = connect(address, subprotocols=offered, compression=None).__enter__()
            self._silent_s = 0.0
        except (httpx.HTTPError, OSError, WebSocketException) as error:
            raise NobodyThere(str(error)) from error

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame; a broken connection shows at the next `receive`."""
        if self._connection is not None:
            try:
                self._connection.send(json.dumps(frame, ensure_ascii=False))
            except ConnectionClosed:
                self.close()

    def receive(self, wait_s: float) -> dict[str, Any] | None:
        """The next frame within `wait_s`; None without one, also when the connection broke or has long been silent."""
        if self._connection is None:
            return None
        try:
            frame: dict[str, Any] = json.loads(self._connection.recv(timeout=wait_s))
        except TimeoutError:
            self._silent_s += wait_s
            if self._silent_s >= SILENCE_S:
                self.close()
            return None
        except ConnectionClosed:
            self.close()
            return None
        self._silent_s = 0.0
        return frame

    @property
    def is_open(self) -> bool:
        return self._connection is not None


@dataclass
class Stop:
    """Whether Ctrl-C was pressed."""

    pressed: bool = False


@contextmanager
def interruptions() -> Iterator[Stop]:
    """Note the first Ctrl-C; raised as KeyboardInterrupt it may come where it is lost. A second one is raised."""
    stop = Stop()

    def note(_number: int, _frame: object) -> None:
        if stop.pressed:
            raise KeyboardInterrupt
        stop.pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class Chat:
    """Questions in, answers out."""

    def __init__(self, console: Console, line: Line, language: str) -> None:
        self._console = console
        self._line = line
        self._words = WORDS[language]
        self._session_id: str | None = None

    def run(self) -> None:
        """Talk until the shopper has no more questions; raises NobodyThere."""
        self._line.open()
        self._console.print(self._words["hello"], style="dim")
        for question in self._questions():
            if question == FORGET:
                self._forget()
                continue
            turn = Turn(question, self._session_id)
            self._answer(turn)
            self._session_id = turn.session_id

    def _questions(self) -> Iterator[str]:
        while True:
            try:
                question = self._console.input("\n[bold red]›[/] ").strip()
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return
            if question:
                yield question

    def _forget(self) -> None:
        """Have the conversation deleted; forgetting twice is forgetting once, so a broken connection asks again."""
        while self._session_id is not None:
            self._line.send({"action": "forget", "session_id": self._session_id})
            frame = self._line.receive(SILENCE_S)
            while frame is not None and frame.get("type") not in ("forgotten", "error"):
                frame = self._line.receive(SILENCE_S)
            if frame is None:
                self._line.open()
            elif frame["type"] == "error":
                self._console.print(frame["message"], style="red", markup=False)
                return
            else:
                self._session_id = None
        self._console.print(self._words["forgotten"], style="dim")

    def _answer(self, turn: Turn) -> None:
        with interruptions() as stop:
            self._line.send(turn.wish())
            told = False
            while not turn.is_over:
                frame = self._line.receive(GLANCE_S)
                if frame is not None:
                    self._take(turn, frame)
                elif not self._line.is_open:
                    self._reconnect(turn)
                    told = False
                if stop.pressed and not told and turn.id is not None and not turn.is_over:
                    self._line.send({"action": "cancel", "turn_id": turn.id})
                    told = True
        self._show_end(turn)

    def _take(self, turn: Turn, frame: dict[str, Any]) -> None:
        if turn.follow(frame):
            self._show(frame)
        elif turn.misses(frame):
            self._line.send(turn.wish())
        elif "turn_id" not in frame and frame.get("type") == "error":  # what was wished meanwhile is refused
            self._console.print(f"\n{frame['message']}", style="dim", markup=False)

    def _reconnect(self, turn: Turn) -> None:
        self._console.print(f"\n{self._words['again']}", style="dim")
        for wait_s in RECONNECT_WAITS_S:
            time.sleep(wait_s)
            try:
                self._line.open()
            except NobodyThere:
                continue
            self._line.send(turn.wish())
            return
        raise NobodyThere(self._words["away"])

    def _show(self, frame: dict[str, Any]) -> None:
        match frame.get("type"):
            case "delta":
                self._console.print(frame["text"], end="", markup=False, highlight=False, soft_wrap=True)
            case "restart":
                self._console.print(f"\n— {self._words['restart']} —\n", style="dim")

    def _show_end(self, turn: Turn) -> None:
        self._console.print()
        if turn.error is not None:
            said = turn.error["message"] if "type" in turn.error else self._words["gateway"]
            reference = turn.error.get("reference") or turn.error.get("requestId")
            self._console.print(f"{said} ({reference})", style="red", markup=False)
        elif turn.end is not None:
            for cited in turn.end["citations"]:
                self._console.print(self._cited(cited), style="dim", markup=False, highlight=False, soft_wrap=True)
            self._console.print(self._facts(turn.end), style="dim", markup=False, highlight=False, soft_wrap=True)

    def _cited(self, product: dict[str, Any]) -> str:
        price, stock = product["price_yen"], product["stock"]
        parts = [f"  『{product['title']}』", product["author"]]
        parts += ["" if price is None else f"¥{price:,}", "" if stock is None else f"{self._words['stock']} {stock}"]
        return " · ".join(part for part in (*parts, self._words["sample"] if product["sample"] else "") if part)

    def _facts(self, end: dict[str, Any]) -> str:
        first = "–" if end["first_text_ms"] is None else f"{end['first_text_ms'] / 1000:.2f} s"
        parts = [end["target"], end["model"], end["reason"], end["finish"]]
        parts += [f"{self._words['first']} {first}", f"{self._words['total']} {end['total_ms'] / 1000:.2f} s"]
        return " · ".join(part for part in (*parts, f"${end['cost_usd']:.6f}") if part)


def main() -> int:
    """Read the command line and chat."""
    spoken = "ja" if (locale.getlocale()[0] or "").startswith("ja") else "en"
    parser = argparse.ArgumentParser(prog="python -m local.chat", description="Chat with the running twin.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--user", default=re.sub(r"[^A-Za-z0-9._-]", "", getpass.getuser()) or "shopper")
    parser.add_argument("--language", choices=sorted(WORDS), default=spoken)
    chosen = parser.parse_args()
    console = Console()
    line = Line(chosen.port, chosen.user)
    try:
        Chat(console, line, chosen.language).run()
    except NobodyThere:
        console.print(WORDS[chosen.language]["away"], style="red")
        return 1
    except KeyboardInterrupt:
        console.print()
        return INTERRUPTED
    finally:
        line.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
