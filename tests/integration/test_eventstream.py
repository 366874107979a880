"""The event stream's reader against botocore's, and against damage."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from local.eventstream import encode, event, exception
from mangaassist.errors import Unavailable
from mangaassist.routing.backends.eventstream import Decoder, Message

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = st.text(min_size=1, max_size=20)
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["event", "exception"]), NAMES, st.dictionaries(NAMES, NAMES, max_size=3), st.binary()),
    max_size=5,
)


def _encoded(messages: Iterable[tuple[str, str, dict[str, str], bytes]]) -> bytes:
    return b"".join(
        encode({**others, f":{kind}-type": name, ":message-type": kind}, payload)
        for kind, name, others, payload in messages
    )


def _pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 10_000), max_size=20))
def test_what_botocore_reads_is_read_alike_however_it_is_split(
    messages: list[tuple[str, str, dict[str, str], bytes]], cuts: list[int]
) -> None:
    data = _encoded(messages)
    decoder = Decoder()
    ours = [message for piece in _pieces(data, cuts) for message in decoder.feed(piece)]
    assert ours == _read_by_botocore(data)
    assert len(ours) == len(messages)


@given(payload=st.binary(max_size=60), place=st.integers(0, 10_000), change=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(payload: bytes, place: int, change: int) -> None:
    good = encode({":message-type": "event", ":event-type": "a"}, payload)
    place %= len(good)
    bad = good[:place] + bytes([good[place] ^ change]) + good[place + 1 :]
    decoder = Decoder()
    assert [message.payload for message in decoder.feed(good)] == [payload]
    with pytest.raises(Unavailable, match="garbled"):
        list(decoder.feed(bad + good))


def test_good_messages_come_before_the_failure() -> None:
    arrived: list[str] = []
    with pytest.raises(Unavailable, match="garbled"):
        arrived.extend(message.name for message in Decoder().feed(event("a", {}) + exception("b", {}) + bytes(16)))
    assert arrived == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "is_understood"),
    [
        (b"\x00", True),
        (b"\x02\x01", True),
        (b"\x04" + bytes(4), True),
        (b"\x06\x00\x02ab", True),
        (b"\x08" + bytes(8), True),
        (b"\x09" + bytes(16), True),
        (b"\x07\x00\x09short", False),
        (b"\x05" + bytes(3), False),
        (b"\x0a", False),
        (b"\x07\x00\x01\xff", False),
        (b"", False),
    ],
)
def test_headers_of_every_type_are_passed_over(value: bytes, is_understood: bool) -> None:
    whole = encode({":message-type": "event", ":event-type": "a"}, b"")
    data = _with_headers(whole[12:-4] + b"\x01x" + value)
    if is_understood:
        assert list(Decoder().feed(data)) == [Message("event", "a", b"")]
    else:
        with pytest.raises(Unavailable, match="garbled: message headers"):
            list(Decoder().feed(data))


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({":message-type": "error", ":error-code": "a"}, Message("error", "a", b"")),
        ({":message-type": "event"}, None),
        ({":event-type": "a"}, None),
        ({}, None),
    ],
)
def test_a_message_says_what_it_is(headers: dict[str, str], message: Message | None) -> None:
    if message:
        assert list(Decoder().feed(encode(headers, b""))) == [message]
    else:
        with pytest.raises(Unavailable, match="garbled: message headers"):
            list(Decoder().feed(encode(headers, b"")))


def _read_by_botocore(data: bytes) -> list[Message]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    read: list[Message] = []
    for message in buffer:
        headers: Any = message.headers
        kind = headers[":message-type"]
        read.append(Message(kind, headers[f":{kind}-type"], message.payload))
    return read


def _with_headers(block: bytes) -> bytes:
    """A sound message around headers that no encoder writes."""
    prelude = struct.pack("!II", 16 + len(block), len(block))
    body = prelude + struct.pack("!I", crc32(prelude)) + block
    return body + struct.pack("!I", crc32(body))
