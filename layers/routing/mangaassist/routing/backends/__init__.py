"""The port between the chain and a model: open a call, poll it, close it.

A backend never waits longer than it was told to, so one thread can watch the deadline, the stall limit,
the shopper's cancel and the next flush of text at once, and nothing outlives the turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mangaassist.money.prices import Usage
    from mangaassist.routing.policy import Model, Target


@dataclass(frozen=True, slots=True)
class Message:
    """One side of the conversation; `role` is `user` or `assistant`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelCall:
    """What one attempt asks of one target.

    `model_id` is the policy's id or the published capacity's ARN. When `messages` ends with the assistant,
    the model is to go on from that text (prefill).
    """

    target: Target
    model: Model
    model_id: str
    system: str
    messages: tuple[Message, ...]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text that arrived, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The model works without saying anything yet (reasoning): no text, but no stall either."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The model ended by itself; `reason` is complete | length | filtered."""

    reason: str


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The tokens that the service says it charged."""

    usage: Usage


type StreamEvent = TextDelta | Alive | Stopped | UsageReport


class ModelStream(Protocol):
    """An answer on its way."""

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        """Give what arrived, waiting at most `wait_s`; () when nothing did, None once the answer is complete.

        Raises BackendError when the call was refused or broke.
        """
        ...

    def close(self) -> None:
        """Give up or finish: an unfinished call's connection is really closed. Safe to call twice."""
        ...


class Backend(Protocol):
    """A service that runs models."""

    def open(self, call: ModelCall, limit_s: float) -> ModelStream:
        """Send the call, within `limit_s` seconds, without waiting for its answer; raises BackendError."""
        ...
