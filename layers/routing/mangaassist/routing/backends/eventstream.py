"""The AWS binary event stream, read as it comes; both checksums of every message are verified.

A message is a prelude (its whole length, the length of its headers, a CRC-32 of these eight bytes), the headers, the
payload, and a CRC-32 of everything before it; all numbers are big-endian. botocore's decoder takes five times as long
and lets a message grow to 24 MiB.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from mangaassist.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE_LIMIT_BYTES = 1024 * 1024  # deltas have some hundred bytes, usage with a guardrail's trace some thousand

_PRELUDE = struct.Struct("!III")
_CRC = struct.Struct("!I")
_LENGTH = struct.Struct("!H")
_VALUE_LENGTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # of header values by type; 6 and 7 carry theirs
_BYTES, _STRING = 6, 7


class Message(NamedTuple):
    """One message: `kind` is event | exception | error, `name` which of them."""

    kind: str
    name: str
    payload: bytes


class Decoder:
    """Cuts a stream of bytes, however it was split, into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that `data` completes; raises Unavailable("garbled") after the last good one."""
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while end - start >= _PRELUDE.size:
            length, headers_length, prelude_crc = _PRELUDE.unpack_from(data, start)
            if crc32(data[start : start + 8]) != prelude_crc:
                raise Unavailable("garbled", "prelude checksum")
            if not headers_length + 16 <= length <= MESSAGE_LIMIT_BYTES:
                raise Unavailable("garbled", "message length")
            if end - start < length:
                break
            stop = start + length - 4
            if crc32(data[start:stop]) != _CRC.unpack_from(data, stop)[0]:
                raise Unavailable("garbled", "message checksum")
            payload_at = start + 12 + headers_length
            kind, name = _kind_and_name(data[start + 12 : payload_at])
            yield Message(kind, name, data[payload_at:stop])
            start = stop + 4
        self._rest = data[start:]


@lru_cache(maxsize=64)  # every delta of every answer has the same headers
def _kind_and_name(block: bytes) -> tuple[str, str]:
    headers = _headers(block)
    kind = headers.get(":message-type", "")
    name = headers.get(":error-code" if kind == "error" else f":{kind}-type", "")
    if not name:
        raise Unavailable("garbled", "message headers")
    return kind, name


def _headers(block: bytes) -> dict[str, str]:
    """The headers whose values are strings, as all of Bedrock's are."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            name_at, type_at = at + 1, at + 1 + block[at]
            if block[type_at] in (_BYTES, _STRING):
                (length,) = _LENGTH.unpack_from(block, type_at + 1)
                at = type_at + 3
            else:
                length = _VALUE_LENGTHS[block[type_at]]
                at = type_at + 1
            if block[type_at] == _STRING:
                found[block[name_at:type_at].decode()] = block[at : at + length].decode()
            at += length
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise Unavailable("garbled", "message headers") from error
    if at > len(block):
        raise Unavailable("garbled", "message headers")
    return found
