"""The terminal client's view of a turn."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from local.chat import Turn


def frame(kind: str, seq: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "turn_id": "t", "seq": seq, **fields}


def started(turn: Turn) -> Turn:
    assert turn.follow(frame("start", 0, session_id="s", message_id=turn.message_id))
    return turn


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
