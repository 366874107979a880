"""How an emulated model speaks: reasoning and text, token by token at its pace, until it is done, broken or left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local import answers, eventstream
from local.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.converse import Request
    from local.faults import Fault
    from local.profiles import Profile
    from local.wire import Exchange

REASONING = "The shopper wants a short and helpful answer."
SIGNATURE = "ZW11bGF0ZWQ="
FAILURE = "The model failed while it was answering."
GARBAGE = b"\x00\x00\x00\x2fthis is not an event stream, whatever the header says"
BREAKING = ("cut", "stall", "error_event", "garbage")

COMPLETED, BROKEN, CLOSED_BY_CLIENT = "completed", "broken", "closed_by_client"
CUT_BY_DELETION = "cut_by_deletion"  # of the provisioned throughput that it ran on


@dataclass(eq=False)
class Call:
    """One model call under way; `said` counts the tokens that have left so far."""

    model_id: str
    target: str | None
    profile: Profile
    first_token_ms: float
    token_ms: float
    burst_ms: float
    fault: Fault | None
    jitter: Callable[[], float]
    began: float = field(default_factory=time.monotonic)
    said: int = 0

    @property
    def fault_kind(self) -> str:
        return self.fault.fault if self.fault else ""


@dataclass(frozen=True)
class Output:
    """What the model says and what the call is charged."""

    reasoning: list[str]
    text: list[str]
    stop_reason: str
    usage: dict[str, int]


def prepare(call: Call, request: Request, prompt_usage: dict[str, int]) -> Output:
    """Decide the whole answer; reasoning counts toward the limit, so a small one may end without any text."""
    reasoning = answers.tokens(REASONING) if call.profile.thinking else []
    text = answers.tokens(answers.answer(request.system, request.conversation))
    room = max(0, request.max_tokens - len(reasoning))
    stop_reason = "end_turn" if len(text) <= room else "max_tokens"
    reasoning, text = reasoning[: request.max_tokens], text[:room]
    usage = {**prompt_usage, "outputTokens": len(reasoning) + len(text)}
    usage["totalTokens"] = sum(usage.values())
    return Output(reasoning, text, stop_reason, usage)


async def whole(call: Call, output: Output, exchange: Exchange) -> str:
    """Answer Converse: everything at once, at its end. Gives how it ended."""
    tokens = len(output.reasoning) + len(output.text)
    wait_s = None if call.fault_kind in ("hang", "stall") else (call.first_token_ms + tokens * call.token_ms) / 1000
    await exchange.pause(wait_s)
    if exchange.left():
        return CLOSED_BY_CLIENT
    call.said = tokens
    match call.fault_kind:
        case "cut":
            await exchange.cut()
        case "garbage":
            await exchange.answer(200, GARBAGE)
        case "error_event":
            await exchange.refuse(ServiceError(424, "ModelErrorException", FAILURE))
        case _:
            await exchange.answer_json(_message(call, output))
            return COMPLETED
    return BROKEN


async def stream(call: Call, output: Output, exchange: Exchange) -> str:
    """Answer ConverseStream, each token an event of its own; what is said within a burst leaves at its end."""
    await exchange.pause(None if call.fault_kind == "hang" else call.first_token_ms / 1000)
    if exchange.left():
        return CLOSED_BY_CLIENT
    await exchange.start(200, eventstream.CONTENT_TYPE)
    await exchange.write(eventstream.event("messageStart", {"role": "assistant"}))
    breaks_at = _breaks_at(call, output)
    events = _deltas(output)[:breaks_at]
    begins = len(output.reasoning)  # the first word of the answer waits for no other
    due, left_at, pending = time.monotonic(), time.monotonic(), list[bytes]()
    for place, event in enumerate(events):
        due += call.token_ms * call.jitter() / 1000
        pending.append(event)
        if place != begins and place + 1 < len(events) and due - left_at < call.burst_ms / 1000:
            continue
        await exchange.pause(due - time.monotonic())
        if exchange.left():  # the client left while we paused
            return CLOSED_BY_CLIENT
        await exchange.write(b"".join(pending))
        call.said, left_at = place + 1, due
        pending.clear()
    if breaks_at is not None:
        return await _break(call, exchange)
    await exchange.write(_closing(call, output), more=False)
    return COMPLETED


def _breaks_at(call: Call, output: Output) -> int | None:
    """After how many tokens a scripted fault strikes; its `after_tokens` are of text, at most as many as there are."""
    if call.fault is None or call.fault.fault not in BREAKING:
        return None
    return len(output.reasoning) + min(call.fault.after_tokens, len(output.text))


async def _break(call: Call, exchange: Exchange) -> str:
    match call.fault_kind:
        case "stall":
            await exchange.pause(None)
            return CLOSED_BY_CLIENT
        case "cut":
            await exchange.cut()
        case "garbage":
            await exchange.write(GARBAGE, more=False)
        case _:
            failure = {"message": FAILURE, "originalStatusCode": 500}
            await exchange.write(eventstream.exception("modelStreamErrorException", failure), more=False)
    return BROKEN


def _deltas(output: Output) -> list[bytes]:
    """One event per token; the closing of the reasoning block travels with its last token."""
    events = [_delta(0, {"reasoningContent": {"text": token}}) for token in output.reasoning]
    if events:
        events[-1] += _delta(0, {"reasoningContent": {"signature": SIGNATURE}}) + _stop(0)
    block = 1 if output.reasoning else 0
    return events + [_delta(block, {"text": token}) for token in output.text]


def _delta(block: int, delta: dict[str, Any]) -> bytes:
    return eventstream.event("contentBlockDelta", {"contentBlockIndex": block, "delta": delta})


def _stop(block: int) -> bytes:
    return eventstream.event("contentBlockStop", {"contentBlockIndex": block})


def _closing(call: Call, output: Output) -> bytes:
    block = 1 if output.reasoning else 0
    return b"".join(
        (
            _stop(block) if output.text else b"",
            eventstream.event("messageStop", {"stopReason": output.stop_reason}),
            eventstream.event("metadata", {"usage": output.usage, "metrics": _metrics(call)}),
        )
    )


def _message(call: Call, output: Output) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if output.reasoning:
        thought = {"text": "".join(output.reasoning), "signature": SIGNATURE}
        content.append({"reasoningContent": {"reasoningText": thought}})
    if output.text:
        content.append({"text": "".join(output.text)})
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": output.stop_reason,
        "usage": output.usage,
        "metrics": _metrics(call),
    }


def _metrics(call: Call) -> dict[str, int]:
    return {"latencyMs": int((time.monotonic() - call.began) * 1000)}
