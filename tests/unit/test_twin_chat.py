"""The terminal client's view of a turn."""

from __future__ import annotations

import io
import random
import signal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from local.chat import Chat, Turn


def frame(kind: str, seq: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "turn_id": "t", "seq": seq, **fields}


def started(turn: Turn) -> Turn:
    assert turn.follow(frame("start", 0, session_id="s", message_id=turn.message_id))
    return turn


class Wire:
    """A line on which these frames come; None is a silence, "broken" the connection's end, and "press" a Ctrl-C."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.sent: list[str] = []
        self.is_open = True

    def open(self) -> None:
        self.is_open = True

    def send(self, sent: dict[str, Any]) -> None:
        if self.is_open:
            self.sent.append(sent["action"])

    def receive(self, _wait_s: float) -> dict[str, Any] | None:
        it = self._script.pop(0)
        if it == "press":
            signal.raise_signal(signal.SIGINT)
            return None
        if it == "broken":
            self.is_open = False
            return None
        found: dict[str, Any] | None = it
        return found


def answering(*script: Any) -> tuple[Wire, Turn, str]:
    wire, turn = Wire(*script), Turn("?", "s")
    turn.message_id = "m"
    console = Console(file=io.StringIO())
    line: Any = wire
    chat = Chat(console, line, "en")
    try:
        chat._answer(turn)
    except KeyboardInterrupt:
        wire.sent.append("left")
    said: Any = console.file
    return wire, turn, said.getvalue()


START = frame("start", 0, session_id="s", message_id="m")
CANCELLED = frame("error", 1, code="cancelled", message="stopped")


def test_a_stop_before_the_answer_begins_is_told_once_it_has() -> None:
    wire, turn, _ = answering("press", None, START, None, CANCELLED)
    assert wire.sent == ["ask", "cancel"]
    assert turn.is_over


def test_a_stop_that_a_broken_connection_may_have_lost_is_told_again() -> None:
    wire, _, _ = answering(START, "press", "broken", None, CANCELLED)
    assert wire.sent == ["ask", "cancel", "resume", "cancel"]


def test_a_second_stop_leaves_the_chat_and_the_signal_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    wire, turn, _ = answering("press", "press")
    assert wire.sent == ["ask", "left"]
    assert not turn.is_over
    assert signal.getsignal(signal.SIGINT) is before


def test_a_wish_that_is_refused_says_so_and_the_answer_goes_on() -> None:
    refused = {"type": "error", "code": "unavailable", "message": "not just now"}
    _, turn, said = answering(START, refused, frame("error", 1, code="internal", message="over", reference="r"))
    assert "not just now" in said
    assert turn.error is not None


def test_a_question_becomes_a_wish_for_the_rest_once_it_is_begun() -> None:
    turn = Turn("why?", None)
    assert turn.wish() == {"action": "ask", "message": "why?", "message_id": turn.message_id}
    assert Turn("why?", "s").wish()["session_id"] == "s"
    started(turn)
    turn.follow(frame("delta", 1, text="be"))
    assert turn.wish() == {"action": "resume", "turn_id": "t", "after": 1}
    assert turn.session_id == "s"


def test_a_restart_voids_the_text_and_a_continuation_keeps_it() -> None:
    turn = started(Turn("?", None))
    turn.follow(frame("delta", 1, text="a"))
    turn.follow(frame("continue", 2, target="x", reason="cut"))
    turn.follow(frame("delta", 3, text="b"))
    assert turn.text == "ab"
    turn.follow(frame("restart", 4, target="x", reason="cut"))
    turn.follow(frame("delta", 5, text="c"))
    assert turn.text == "c"


def test_frames_of_others_and_before_are_passed_over() -> None:
    turn = started(Turn("?", None))
    assert not turn.follow({"type": "pong"})
    assert not turn.follow(frame("delta", 0, text="again"))
    assert not turn.follow({**frame("delta", 1, text="other"), "turn_id": "u"})
    assert not turn.follow(frame("start", 0, session_id="s", message_id="another"))
    assert turn.misses(frame("delta", 5, text="later"))
    assert not turn.misses(frame("delta", 1, text="next"))
    assert turn.text == ""


def test_a_refusal_ends_a_turn_that_had_not_begun() -> None:
    for refusal in ({"type": "error", "code": "x"}, {"message": "Internal server error", "requestId": "r"}):
        turn = Turn("?", None)
        assert turn.follow(refusal)
        assert turn.is_over
        assert not started(Turn("?", None)).follow(refusal)


@given(st.lists(st.text(max_size=5), max_size=12), st.integers(0, 2**32))
def test_any_repetition_of_frames_gives_the_exact_text(texts: list[str], seed: int) -> None:
    dice = random.Random(seed)
    turn = started(Turn("?", None))
    frames = [frame("delta", number + 1, text=text) for number, text in enumerate(texts)]
    for number, following in enumerate(frames):
        for repeated in dice.sample(frames[: number + 1], k=dice.randint(0, number + 1)):
            turn.follow(repeated)
        turn.follow(following)
    assert turn.text == "".join(texts)
