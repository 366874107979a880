"""What containers say, however an endpoint cuts it: the text is exact, and what is no answer is a failure."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.errors import Unavailable
from mangaassist.money.prices import Usage
from mangaassist.routing.backends import Alive, Stopped, StreamEvent, TextDelta, UsageReport
from mangaassist.routing.backends.completions import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PIECES = ["『寄生獣』", "は", "全10巻で", "完結しています。", "🎉"]


def events_of(parts: Iterable[bytes]) -> list[StreamEvent]:
    """Everything that a reader makes of these parts and of their end."""
    reader = Reader()
    events = [event for part in parts for event in reader.feed(part)]
    return [*events, *reader.end()]


def text_of(events: Iterable[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def stop_of(events: Iterable[StreamEvent]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Stopped)]


def usage_of(events: Iterable[StreamEvent]) -> list[Usage]:
    return [event.usage for event in events if isinstance(event, UsageReport)]


def openai(
    pieces: Sequence[str], reason: str = "stop", usage: dict[str, int] | None = None, *, escaped: bool = False
) -> bytes:
    """A chat completion as vLLM streams it; `escaped` as one that writes ASCII alone."""
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
    chunks += [{"choices": [{"delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    chunks.append({"choices": [{"delta": {}, "finish_reason": reason}]})
    if usage:
        chunks.append({"choices": [], "usage": usage})
    lines = [f"data: {json.dumps(chunk, ensure_ascii=escaped)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def tgi(pieces: Sequence[str], reason: str = "eos_token") -> bytes:
    """The older body of Text Generation Inference, streamed."""
    lines = [{"token": {"text": piece, "special": False}, "generated_text": None} for piece in pieces]
    details = {"finish_reason": reason, "generated_tokens": 7, "input_length": 40}
    lines.append(
        {"token": {"text": "</s>", "special": True}, "generated_text": "".join(pieces), "details": details}  # type: ignore[dict-item]
    )
    return "".join(f"data:{json.dumps(line, ensure_ascii=False)}\n\n" for line in lines).encode()


def lmi(pieces: Sequence[str], reason: str = "eos_token") -> bytes:
    """The older body of LMI, streamed as JSON lines."""
    lines: list[dict[str, Any]] = [{"token": {"text": piece}} for piece in pieces]
    lines[-1] |= {"generated_text": "".join(pieces), "details": {"finish_reason": reason}}
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()


DIALECTS: dict[str, Callable[..., bytes]] = {
    "openai": openai,
    "escaped": partial(openai, escaped=True),
    "tgi": tgi,
    "lmi": lmi,
}
WHOLE: dict[str, Any] = {
    "tgi": [{"generated_text": "".join(PIECES)}],
    "lmi": {"generated_text": "".join(PIECES)},
    "openai": {"choices": [{"message": {"content": "".join(PIECES)}, "finish_reason": "stop"}]},
    "completion": {"choices": [{"text": "".join(PIECES), "finish_reason": "stop"}]},
}


@given(st.data(), st.sampled_from(sorted(DIALECTS)), st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_text_is_exact_however_the_stream_is_cut(data: st.DataObject, dialect: str, pieces: list[str]) -> None:
    said = DIALECTS[dialect](pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=20)))
    parts = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    events = events_of(parts)
    assert text_of(events) == "".join(pieces)
    assert stop_of(events) == ["complete"]


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_one_byte_at_a_time_says_the_same(dialect: str) -> None:
    said = DIALECTS[dialect](PIECES)
    assert text_of(events_of([said[at : at + 1] for at in range(len(said))])) == "".join(PIECES)


@pytest.mark.parametrize("dialect", sorted(WHOLE))
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_body_that_is_not_streamed_is_read_whole(dialect: str, indent: int | None, size: int) -> None:
    said = json.dumps(WHOLE[dialect], ensure_ascii=False, indent=indent).encode()
    events = events_of([said[at : at + size] for at in range(0, len(said), size)])
    assert text_of(events) == "".join(PIECES)
    assert stop_of(events) == ["complete"]


@pytest.mark.parametrize(
    ("dialect", "reason", "finish"),
    [
        ("openai", "stop", "complete"),
        ("openai", "length", "length"),
        ("openai", "content_filter", "filtered"),
        ("tgi", "length", "length"),
        ("tgi", "stop_sequence", "complete"),
        ("lmi", "length", "length"),
    ],
)
def test_why_it_ended_is_told(dialect: str, reason: str, finish: str) -> None:
    assert stop_of(events_of([DIALECTS[dialect](PIECES, reason)])) == [finish]


def test_counts_are_taken_when_both_are_there_and_never_guessed() -> None:
    both = openai(PIECES, usage={"prompt_tokens": 40, "completion_tokens": 7})
    assert usage_of(events_of([both])) == [Usage(40, 7)]
    assert usage_of(events_of([tgi(PIECES)])) == [Usage(40, 7)]
    assert usage_of(events_of([openai(PIECES, usage={"completion_tokens": 7})])) == []
    assert usage_of(events_of([lmi(PIECES)])) == []


def test_a_model_that_reasons_is_alive_without_text() -> None:
    said = b'data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}\n\n'
    assert events_of([said]) == [Alive()]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (b'data: {"error": {"message": "out of memory", "code": 500}}\n\n', "unavailable"),
        (b'data:{"error":"overloaded","error_type":"overloaded"}\n\n', "unavailable"),
        (b'data: {"object": "error", "message": "x"}\n\n', "unavailable"),
        (b'{"code": 424, "error": "prediction failure"}', "unavailable"),
        (b"data: {\n\n", "garbled"),
        (b"<html>502</html>", "garbled"),
        (b'data: {"choices": [{"delta": {"content": 7}}]}\n\n', "garbled"),
        (b'data: {"choices": [7]}\n\n', "garbled"),
        (b"data: 7\n\n", "garbled"),
        (b"[1, 2]", "garbled"),
        (b'{"generated_text": ', "cut"),
        (b'data: {"choices": [{"delta"', "cut"),
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\nda', "cut"),
        (b'data: {"choices": [{"delta": {}, "finish_reason": "abort"}]}\n\ndata: [DONE]\n\n', "unavailable"),
        (b'{"token":{"id":-1,"text":""},"generated_text":"","details":{"finish_reason":"error"}}\n', "unavailable"),
        (b"data: " + b"x" * 300_000, "garbled"),
    ],
)
def test_what_is_no_answer_is_a_failure_and_no_text(said: bytes, outcome: str) -> None:
    with pytest.raises(Unavailable) as failure:
        events_of([said])
    assert failure.value.outcome == outcome
    assert "memory" not in str(failure.value)


@pytest.mark.parametrize(
    "before", [b": keep-alive\n\nevent: message\nid: 7\nretry: 100\n", b"\xef\xbb\xbf", b"event\n", b"\n\n"]
)
def test_what_the_format_lets_come_beside_data_says_nothing(before: bytes) -> None:
    said = openai(PIECES).replace(b"\n\n", b"\nx-trace: 1\nevent\n\n")
    assert text_of(events_of([before + said])) == "".join(PIECES)


def test_an_event_may_hold_its_data_in_several_lines() -> None:
    chunk = {"choices": [{"delta": {"content": "寄生獣"}, "finish_reason": None}]}
    lines = json.dumps(chunk, ensure_ascii=False, indent=1).splitlines()
    said = "".join(f"data: {line}\n" for line in lines).encode() + b"\n" + openai(["は"])
    assert text_of(events_of([said])) == "寄生獣は"


def test_no_error_is_no_error() -> None:
    assert text_of(events_of([b'data: {"error": null, "choices": [{"delta": {"content": "x"}}]}\n\n'])) == "x"


def test_lmis_special_tokens_are_no_text() -> None:
    said = b'{"token": {"text": "</s>", "special_token": true}, "generated_text": "a", "details": {}}\n'
    assert text_of(events_of([b'{"token": {"text": "a"}}\n' + said])) == "a"


def test_half_of_a_surrogate_pair_can_be_sent_on() -> None:
    said = text_of(events_of([b'data: {"choices": [{"delta": {"content": "a\\ud83c"}}]}\n\n']))
    assert said.encode().decode() == "a\ufffd"


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_end_in_events_or_in_our_error(parts: list[bytes]) -> None:
    with suppress(Unavailable):
        events_of(parts)
