"""An answer of any service that speaks AWS's event stream, on its way: read, refused, ended, left.

What a service's messages mean is its backend's; everything else about the stream is here, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mangaassist.errors import BackendError, Unavailable
from mangaassist.routing.backends.eventstream import Decoder, Message
from mangaassist.routing.backends.refusals import bare_code, code_within, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mangaassist.routing.backends import StreamEvent
    from mangaassist.transport import Exchange

ERROR_LIMIT_BYTES = 64 * 1024  # read of a refusal's body
END_LIMIT_S = 0.1  # how long the body may take to end after its last event; then the connection is given up


class Meaning(Protocol):
    """What the messages of one answer mean; it may keep what it needs of those before."""

    @property
    def stopped(self) -> bool:
        """The model has said that it is done: what breaks from here on harms nothing."""
        ...

    @property
    def complete(self) -> bool:
        """Nothing more is to come."""
        ...

    def events(self, message: Message) -> Iterable[StreamEvent]:
        """What a message brings; raises BackendError."""
        ...

    def rest(self) -> Iterable[StreamEvent]:
        """What the end of the stream brings; raises BackendError when the answer is not whole."""
        ...

    def is_explained(self, code: str) -> bool:
        """Whether the body of such a refusal tells more than its code."""
        ...

    def refusal(self, code: str, status: int, body: bytes) -> BackendError:
        """Our error for a call that was not served."""
        ...


class Answer:
    """A ModelStream over an exchange."""

    def __init__(self, exchange: Exchange, meaning: Meaning, monotonic: Callable[[], float]) -> None:
        self._exchange = exchange
        self._meaning = meaning
        self._monotonic = monotonic
        self._decoder = Decoder()
        self._refusal = b""
        self._failure: BackendError | None = None
        self._ends_by: float | None = None  # set by the last event
        self._ended = False

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        """Give what arrived, waiting at most `wait_s`; () when nothing did, None once the answer is complete.

        A model that works without text (it has started, it reasons) is Alive. Raises BackendError, `cut` when the
        stream ends before the model does; once the model has stopped, nothing that breaks can harm its answer.
        """
        by = self._monotonic() + wait_s
        try:
            while not self._ended:
                events = self._step(by)
                if events is not None:
                    return events
                if self._monotonic() >= by:
                    return ()
        except BackendError:
            if not self._meaning.stopped:
                raise
            self._ended = True
        return None

    def close(self) -> None:
        """Leave: an unfinished answer's connection is closed, a finished one's kept. Safe to call twice."""
        self._exchange.close()

    def _step(self, by: float) -> tuple[StreamEvent, ...] | None:
        """Read once: what arrived, () when the time is over, None to go on."""
        if self._failure is not None:
            raise self._failure
        if self._ends_by is not None:
            by = min(by, self._ends_by)
        body = self._exchange.read(max(0.0, by - self._monotonic()))
        if self._exchange.status not in (0, 200):
            return self._refused(body)
        if body is None:
            return self._end()
        if not body:
            self._ended = self._ends_by is not None and self._monotonic() >= self._ends_by
            return None if self._ended else ()
        return self._decode(body) or None

    def _end(self) -> tuple[StreamEvent, ...] | None:
        """The stream is over: whether the answer is, too."""
        self._ended = True
        rest = tuple(self._meaning.rest())
        if not self._meaning.stopped:
            raise Unavailable("cut", "the stream ended")
        return rest or None

    def _refused(self, body: bytes | None) -> tuple[StreamEvent, ...] | None:
        """Collect an error's body until the error is known; raises BackendError."""
        self._refusal += body or b""
        code = bare_code(self._exchange.header("x-amzn-errortype"))
        is_known = bool(code) and not self._meaning.is_explained(code)
        if is_known or body is None or len(self._refusal) > ERROR_LIMIT_BYTES:
            raise self._meaning.refusal(code or code_within(self._refusal), self._exchange.status, self._refusal)
        return None if body else ()

    def _decode(self, body: bytes) -> tuple[StreamEvent, ...]:
        """The events that these bytes complete; a failure among them waits until they have been given."""
        events: list[StreamEvent] = []
        try:
            for message in self._decoder.feed(body):
                if message.kind != "event":
                    raise failure(message.name)
                events += self._meaning.events(message)
        except BackendError as error:
            self._failure = error
        if self._meaning.complete and self._ends_by is None:
            self._ends_by = self._monotonic() + END_LIMIT_S
        return tuple(events)
