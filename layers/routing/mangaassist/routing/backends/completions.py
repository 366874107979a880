"""What model containers say, read as it comes: OpenAI-style chat completions, and TGI's and LMI's older bodies.

A container sends server-sent events, JSON lines, or one JSON document; the endpoint cuts them into parts anywhere, also
inside a character. So bytes are kept until their line is whole. One reader knows all dialects, because which one a
container speaks depends on its image and its environment.

Dialects: OpenAI API reference, "Chat completions, streaming"; Text Generation Inference, "Messages API" and
"generate_stream"; DJL-LMI, "LMI input/output schema".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mangaassist.errors import Unavailable
from mangaassist.money.prices import Usage
from mangaassist.routing.backends import Alive, Stopped, StreamEvent, TextDelta, UsageReport

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_LIMIT_BYTES = 256 * 1024  # of a line that does not end; a whole answer may be one
_COMMENT, _DATA, _DONE, _BYTE_ORDER_MARK = b":", b"data:", b"[DONE]", b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(event|id|retry|data)$|(event|id|retry):")  # of server-sent events, which say nothing here
_ANY_FIELD = re.compile(rb"[A-Za-z_-]+(:|$)")  # the format has unknown ones ignored
_UNFINISHED = object()
_FINISHES = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "filtered",
}  # every other reason ends a complete answer, but for these
_BROKEN = ("error", "abort")  # LMI's and vLLM's words for a generation that failed or was given up


class Reader:
    """Reads one answer."""

    def __init__(self) -> None:
        self.stopped = False
        self.done = False  # nothing more is to come
        self._rest = b""
        self._document = b""  # of a body that is no line by line
        self._event = b""  # data of an event that goes on in its next line
        self._has_events = False
        self._said = False

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """Yield the events of the lines that `data` completes; raises Unavailable for what is no answer."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) + len(self._document) + len(self._event) > LINE_LIMIT_BYTES:
            raise Unavailable("garbled", "a line without an end")
        for line in lines:
            yield from self._line(line.strip())

    def end(self) -> Iterator[StreamEvent]:
        """Yield what the last bytes bring; raises Unavailable, `cut` for an answer that breaks off inside a line."""
        rest, self._rest = self._rest.strip(), b""
        if self._has_events and rest and not rest.startswith(_DATA):
            raise Unavailable("cut", "inside a field's name")
        yield from self._line(rest)
        left, self._document, self._event = self._document or self._event, b"", b""
        if left:
            value = _read(left)
            if value is _UNFINISHED:
                raise Unavailable("cut", "inside a line")
            yield from self._values(value)

    def _line(self, line: bytes) -> Iterator[StreamEvent]:
        if self._document:  # the rest of a document in several lines
            self._document += line
            return
        line = line.removeprefix(_BYTE_ORDER_MARK)
        if line.startswith(_DATA):
            self._has_events = True
            yield from self._data(line.removeprefix(_DATA).strip())
        elif not line:
            if self._event:
                raise Unavailable("garbled", "JSON")
        elif line.startswith(_COMMENT) or (_ANY_FIELD if self._has_events else _FIELD).match(line):
            return
        else:
            yield from self._bare(line)

    def _data(self, data: bytes) -> Iterator[StreamEvent]:
        """A line of an event's data, which may go on in the next one; the empty line after it ends it."""
        if data == _DONE:
            yield from self._over()
            return
        event = self._event + data
        value = _read(event)
        if value is _UNFINISHED:
            self._event = event + b"\n"
            return
        self._event = b""
        yield from self._values(value)

    def _over(self) -> Iterator[StreamEvent]:
        yield from self._stop("stop")
        self.done = True

    def _bare(self, line: bytes) -> Iterator[StreamEvent]:
        """A line without a field's name: a JSON line, or the beginning of a document."""
        if line[:1] not in b"{[":
            raise Unavailable("garbled", "neither events nor JSON")
        value = _read(line)
        if value is _UNFINISHED:
            self._document = line
            return
        yield from self._values(value)

    def _values(self, value: Any) -> Iterator[StreamEvent]:
        for one in value if isinstance(value, list) else [value]:
            yield from self._value(one)

    def _value(self, value: Any) -> Iterator[StreamEvent]:
        match value:
            case {"object": "error"}:
                raise Unavailable("unavailable", "the container failed")
            case {"error": error} if error is not None:
                raise Unavailable("unavailable", "the container failed")
            case {"choices": list(choices)}:
                for choice in choices[:1]:
                    yield from self._choice(choice)
                yield from _usage(value.get("usage"))
            case {"token": {"text": str(text)} as token}:
                is_special = token.get("special") or token.get("special_token")  # TGI's name, and LMI's
                yield from self._text("" if is_special else text)
                yield from self._generated(value)
            case {"generated_text": str(text)}:
                yield from self._text("" if self._said else text)
                yield from self._generated(value)
            case _:
                raise Unavailable("garbled", "no known body")

    def _choice(self, choice: Any) -> Iterator[StreamEvent]:
        """One choice of a chat completion: a delta while it streams, else the whole message."""
        match choice:
            case {"delta": dict(said)} | {"message": dict(said)}:
                content = said.get("content")
            case {"text": content}:
                pass
            case _:
                raise Unavailable("garbled", "choice")
        if content is not None and not isinstance(content, str):
            raise Unavailable("garbled", "content")
        yield from self._text(content or "")
        if isinstance(reason := choice.get("finish_reason"), str):
            yield from self._stop(reason)

    def _generated(self, value: dict[str, Any]) -> Iterator[StreamEvent]:
        """The end of an older body: its whole text is there, with the reason and the counts if the container tells."""
        if value.get("generated_text") is None:
            return
        details = value.get("details")
        details = details if isinstance(details, dict) else {}
        yield from self._stop(str(details.get("finish_reason")))
        counts = {
            "prompt_tokens": details.get("prompt_tokens", details.get("input_length")),
            "completion_tokens": details.get("generated_tokens"),
        }
        yield from _usage(counts)

    def _text(self, text: str) -> Iterator[StreamEvent]:
        if text:
            self._said = True
            yield TextDelta(_sound(text))
        else:
            yield Alive()

    def _stop(self, reason: str) -> Iterator[StreamEvent]:
        if not self.stopped:
            if reason in _BROKEN:
                raise Unavailable("unavailable", "the container gave up")
            self.stopped = True
            yield Stopped(_FINISHES.get(reason, "complete"))


def _usage(told: Any) -> Iterator[StreamEvent]:
    """What the container counted; without both counts nothing, and the turn estimates."""
    match told:
        case {"prompt_tokens": int(given), "completion_tokens": int(said)} if given >= 0 and said >= 0:
            yield UsageReport(Usage(given, said))


def _read(data: bytes) -> Any:
    """JSON, or _UNFINISHED for what is none, or none yet."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return _UNFINISHED


def _sound(text: str) -> str:
    """Text that can be encoded again: JSON may carry half of a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
