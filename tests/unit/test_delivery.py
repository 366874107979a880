"""Frames on their way: numbered without a gap, first text at once, few posts, exact text whatever the gateway does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mangaassist.chat.delivery import Delivery
from mangaassist.chat.frames import FRAME_BYTES
from mangaassist.chat.replies import FRAME
from tests.unit.fakes import FakeClock, FakePoster, text_of


def delivery(poster: FakePoster) -> Delivery:
    clock = poster.clock
    return Delivery(poster, connection_id="c", turn_id="t", monotonic=clock.monotonic, sleep=clock.sleep)


def say(sending: Delivery, clock: FakeClock, tokens: int, token_s: float, text: str = "語") -> None:
    """A model's words at a steady pace, tended as the conversation does it."""
    for place in range(tokens):
        until = clock.monotonic() + token_s
        while sending.due_in_s() < until - clock.monotonic():
            clock.sleep(sending.due_in_s())
            sending.tend()
        clock.sleep(max(0.0, until - clock.monotonic()))
        sending.text("。" if place % 17 == 16 else text)


def test_250_tokens_at_typical_speeds_take_at_most_12_posts() -> None:
    for tokens_per_s in (25, 40, 60, 100):
        clock = FakeClock()
        poster = FakePoster(clock)
        sending = delivery(poster)
        sending.frame("start")
        say(sending, clock, 250, 1 / tokens_per_s)
        sending.frame("end")
        assert len(poster.sizes) <= 12, tokens_per_s
        assert len(text_of(poster.inbox["c"])) == 250


def test_the_first_text_goes_out_at_once() -> None:
    poster = FakePoster(FakeClock())
    sending = delivery(poster)
    sending.frame("start")
    before = poster.clock.monotonic()
    sending.text("は")
    assert poster.at[-1] - before <= poster.post_s + 1e-9
    sending.text("い")
    assert len(poster.sizes) == 2, "the second word waits"


def test_a_sentence_end_is_sent_before_the_hold_is_over() -> None:
    poster = FakePoster(FakeClock())
    sending = delivery(poster)
    sending.text("は")
    poster.clock.sleep(0.24)
    sending.text("い")
    assert len(poster.sizes) == 1
    sending.text("。ええ。")
    assert text_of(poster.inbox["c"]) == "はい。ええ。"


def test_long_text_is_split_on_characters_below_the_frame_limit() -> None:
    poster = FakePoster(FakeClock())
    sending = delivery(poster)
    text = "\u0001漢🎉" * 6000
    sending.text(text)
    sending.frame("end")
    assert max(poster.sizes) <= FRAME_BYTES
    assert text_of(poster.inbox["c"]) == text


def test_a_slow_down_loses_nothing_and_is_answered_with_fewer_posts() -> None:
    poster = FakePoster(FakeClock(), refusals=4)
    sending = delivery(poster)
    sending.frame("start")
    say(sending, poster.clock, 30, 0.03)
    sending.frame("end")
    sending.drain()
    assert [frame["seq"] for frame in poster.inbox["c"]] == list(range(len(poster.inbox["c"])))
    assert len(text_of(poster.inbox["c"])) == 30


def test_a_resume_on_another_connection_gets_exactly_what_was_missed() -> None:
    poster = FakePoster(FakeClock(), gone_after=2)
    sending = delivery(poster)
    sending.frame("start")
    sending.text("一")
    poster.clock.sleep(1)
    sending.text("二")
    assert sending.gone_since is not None
    sending.text("三")
    poster.gone_after = None
    sending.reattach("new", after=1)
    sending.frame("end")
    received = poster.inbox["c"] + poster.inbox["new"]
    assert text_of(received) == "一二三"
    assert [frame["seq"] for frame in received] == list(range(len(received)))


@settings(max_examples=150, deadline=None)
@given(
    words=st.lists(st.tuples(st.text(max_size=5), st.floats(0, 1)), max_size=20),
    refusals=st.integers(0, 6),
    gone_after=st.none() | st.integers(0, 6),
)
def test_any_weather_at_the_gateway_ends_in_exact_text(
    words: list[tuple[str, float]], refusals: int, gone_after: int | None
) -> None:
    poster = FakePoster(FakeClock(), refusals=refusals, gone_after=gone_after)
    sending = delivery(poster)
    sending.frame("start", session_id="s", message_id="m")
    for text, pause_s in words:
        poster.clock.sleep(pause_s)
        sending.text(text)
        sending.tend()
    sending.frame("error", code="internal", message="x", retryable=True, reference="r")
    sending.drain()
    if gone_after is not None:
        poster.gone_after = None
        sending.reattach("new", after=len(poster.inbox.get("c", [])) - 1)
        sending.drain()
    received = poster.inbox.get("c", []) + poster.inbox.get("new", [])
    assert text_of(received) == "".join(text for text, _ in words)
    assert [frame["seq"] for frame in received] == list(range(len(received)))
    assert [FRAME.validate_python(frame).type for frame in received][-1] == "error"
