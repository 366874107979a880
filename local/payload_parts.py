"""How a container's answer leaves the endpoint: token by token, in parts that keep to no line and no character."""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local import eventstream
from local.speech import BREAKING, BROKEN, CLOSED_BY_CLIENT, COMPLETED, GARBAGE

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from local.containers import Reply
    from local.faults import Fault
    from local.wire import Exchange

AWKWARD = re.compile(rb"[\xc2-\xf4](?=[\x80-\xbf])|da(?=ta:)|\\(?=.)")  # behind it one is inside something
CUT_OF_AWKWARD = 0.15  # as many of these places are used
KEPT, MOST_KEPT_BYTES = 0.25, 12  # how often the end of what was said comes only with what is said next, and how much
TIMED_OUT = "timed_out"  # the service has given the container up
FAILURES = {
    "StreamBroken": "The connection between the client and the model was reset or closed.",
    "ModelInvocationTimeExceeded": "The model failed to finish sending the response within the timeout period.",
    "InternalStreamFailure": "The stream processing failed because of an unknown error. Try your request again.",
}


@dataclass(eq=False)
class Call:
    """One invocation under way; `said` counts the tokens that have left so far."""

    fault: Fault | None
    first_token_ms: float
    token_ms: float
    pace: Callable[[], float]  # what the load makes of both
    dice: random.Random
    jitter: Callable[[], float]
    limit_s: float
    began: float = field(default_factory=time.monotonic)
    said: int = 0
    first_at: float | None = None
    kept: bytes = b""

    @property
    def fault_kind(self) -> str:
        return self.fault.fault if self.fault else ""

    def first_s(self) -> float:
        """How long the first token takes."""
        return self.first_token_ms * self.pace() / 1000

    def token_s(self) -> float:
        """How long the next one takes."""
        return self.token_ms * self.pace() / 1000

    def parts(self, said: bytes, *, last: bool = False) -> bytes:
        """Cut what was said into parts, and keep the end for later now and then."""
        said = self.kept + said
        ends = {match.end() for match in AWKWARD.finditer(said) if self.dice.random() < CUT_OF_AWKWARD}
        keep = not last and self.dice.random() < KEPT
        end = len(said) - (self.dice.randrange(MOST_KEPT_BYTES) if keep else 0)
        self.kept = said[max(0, end) :]
        places = [0, *sorted(place for place in ends if place < end), max(0, end)]
        pieces = (said[one:other] for one, other in itertools.pairwise(places))
        return b"".join(eventstream.part(piece) for piece in pieces if piece)


async def whole(call: Call, reply: Reply, exchange: Exchange) -> str:
    """Wait until everything is said. Gives how it ended; of what is COMPLETED the caller sends the answer."""
    wait_s = call.first_s() + len(reply.tokens) * call.token_s()
    silent = call.fault_kind in ("hang", "stall")
    await exchange.pause(call.limit_s if silent else min(wait_s, call.limit_s))
    if exchange.left():
        return CLOSED_BY_CLIENT
    if silent or wait_s > call.limit_s:
        return TIMED_OUT
    call.said = len(reply.tokens)
    match call.fault_kind:
        case "cut":
            await exchange.cut()
            return BROKEN
        case "garbage":
            await exchange.answer(200, GARBAGE)
            return BROKEN
        case _:
            return COMPLETED


async def stream(call: Call, reply: Reply, exchange: Exchange, headers: dict[str, str]) -> str:
    """Send an answer as it is said; what is due together leaves together. Gives how it ended."""
    await exchange.pause(call.limit_s if call.fault_kind == "hang" else min(call.first_s(), call.limit_s))
    if exchange.left():
        return CLOSED_BY_CLIENT
    if call.fault_kind == "hang" or call.first_s() > call.limit_s:
        return TIMED_OUT
    call.first_at = time.monotonic()
    await exchange.start(200, eventstream.CONTENT_TYPE, headers.items())
    breaks_at = _breaks_at(call, reply)
    due, pending = time.monotonic(), reply.head
    for place, token in enumerate(reply.tokens):
        if place == breaks_at:
            break
        due += call.token_s() * call.jitter()
        if due > time.monotonic():
            await _send(exchange, call.parts(pending))
            pending = b""
            await exchange.pause(due - time.monotonic())
        if exchange.left():
            return CLOSED_BY_CLIENT
        pending += token
        call.said = place + 1
    if breaks_at is not None:
        await _send(exchange, call.parts(pending, last=True))
        return await _break(call, exchange)
    await exchange.write(call.parts(pending + reply.tail, last=True), more=False)
    return COMPLETED


def _breaks_at(call: Call, reply: Reply) -> int | None:
    """After how many tokens a scripted fault strikes, at most as many as there are."""
    if call.fault is None or call.fault.fault not in BREAKING:
        return None
    return min(call.fault.after_tokens, len(reply.tokens))


async def _break(call: Call, exchange: Exchange) -> str:
    match call.fault_kind:
        case "cut":
            await exchange.cut()
        case "garbage":
            await exchange.write(GARBAGE, more=False)
        case "stall":
            await exchange.pause(call.limit_s)
            if exchange.left():
                return CLOSED_BY_CLIENT
            await exchange.write(failure("ModelInvocationTimeExceeded"), more=False)
        case _:
            await exchange.write(failure((call.fault and call.fault.error) or "StreamBroken"), more=False)
    return BROKEN


def failure(error: str) -> bytes:
    """The event that ends a broken stream."""
    if error == "InternalStreamFailure":
        return eventstream.exception(error, {"Message": FAILURES[error]})
    return eventstream.exception("ModelStreamError", {"Message": FAILURES[error], "ErrorCode": error})


async def _send(exchange: Exchange, parts: bytes) -> None:
    if parts:
        await exchange.write(parts)
