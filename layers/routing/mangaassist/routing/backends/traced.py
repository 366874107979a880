"""Attempts as spans of the turn's trace: which target was asked for how long, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mangaassist.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangaassist.routing.backends import Backend, ModelCall, ModelStream, StreamEvent


class Span(Protocol):
    """A part of a trace that has begun."""

    def end(self, **annotations: str) -> None:
        """End it, with what is to be found by."""
        ...


class Traced:
    """A backend whose every call is a span from its opening to the close of its answer."""

    def __init__(self, backend: Backend, begin: Callable[[str], Span]) -> None:
        self._backend = backend
        self._begin = begin

    def open(self, call: ModelCall, limit_s: float) -> ModelStream:
        """Open the call as the backend does; its span ends with the answer, or here when it is refused."""
        span = self._begin(f"attempt {call.target.name}")
        try:
            return _Answer(self._backend.open(call, limit_s), span, call)
        except BackendError as error:
            span.end(target=call.target.name, model=call.model_id, outcome=error.outcome)
            raise


class _Answer:
    """An answer on its way, and its span. An answer that is closed before its end was `left`: too slow, or stopped."""

    def __init__(self, stream: ModelStream, span: Span, call: ModelCall) -> None:
        self._stream = stream
        self._span: Span | None = span
        self._call = call
        self._outcome = "left"

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        try:
            events = self._stream.poll(wait_s)
        except BackendError as error:
            self._outcome = error.outcome
            raise
        if events is None:
            self._outcome = "answered"
        return events

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            if self._span:
                self._span.end(target=self._call.target.name, model=self._call.model_id, outcome=self._outcome)
                self._span = None
