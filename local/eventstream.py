"""The AWS binary event stream, written as Bedrock and SageMaker do, for the emulators and for tests on the wire.

A message is a prelude (its whole length, the length of its headers, a CRC-32 of these eight bytes), the headers, the
payload, and a CRC-32 of everything before it; all numbers are big-endian.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7  # the header value type that both use for all of their headers


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Frame one message with both checksums."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    body = b"".join((prelude, struct.pack("!I", crc32(prelude)), head, payload))
    return body + struct.pack("!I", crc32(body))


def event(name: str, payload: Mapping[str, Any]) -> bytes:
    """Frame one event of ConverseStream, such as `contentBlockDelta`."""
    return encode({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, _json(payload))


def part(data: bytes) -> bytes:
    """Frame what a SageMaker endpoint's container said, or a piece of it."""
    kinds = {":event-type": "PayloadPart", ":content-type": "application/octet-stream", ":message-type": "event"}
    return encode(kinds, data)


def exception(name: str, payload: Mapping[str, Any]) -> bytes:
    """Frame an error that ends a running stream, such as `throttlingException`."""
    return encode(
        {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}, _json(payload)
    )


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack("!B", len(key)) + key + struct.pack("!BH", _STRING, len(text)) + text


def _json(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
