"""What the model containers of an endpoint take and say: OpenAI-style chats, and TGI's and LMI's older bodies.

One body is asked in all dialects, that of a chat; the older two take `inputs` too, which is one user's words. Which
answer comes is the container's affair: `openai` says server-sent events with chunks, or a chat completion; `tgi` events
with tokens, or a list with the text; `lmi` JSON lines with tokens, or the text.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from local import answers
from local.answers import Said
from local.converse import DEFAULT_MAX_TOKENS, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.profiles import Dialect

ROLES = ("system", "user", "assistant")
DONE = b"data: [DONE]\n\n"
VOCABULARY = 32_000
STOPPED = {"openai": "stop", "tgi": "eos_token", "lmi": "eos_token"}
END_OF_TEXT = "</s>"


class ContainerError(Exception):
    """The container's refusal, with its status."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body))
        self.status = status
        self.text = json.dumps(body, ensure_ascii=False)


@dataclass(frozen=True)
class Asked:
    """One request as the container understands it."""

    request: Request
    goes_on: bool  # from where the last message, the assistant's, stops
    streams: bool
    counts: bool  # in a stream's last chunk
    details: bool
    model: str


@dataclass(frozen=True)
class Reply:
    """An answer's bytes: those before the first token, those of each token, and those after the last."""

    head: bytes
    tokens: list[bytes]
    tail: bytes
    content_type: str
    input_tokens: int

    def whole(self) -> bytes:
        """The whole answer."""
        return b"".join((self.head, *self.tokens, self.tail))


def read(body: bytes, dialect: Dialect, context_tokens: int) -> Asked:
    """Check a request as a container does; raises ContainerError."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise _invalid(dialect, "the body is not JSON") from error
    if not isinstance(fields, dict):
        raise _invalid(dialect, "the body is not a JSON object")
    settings = fields
    if "messages" not in fields and dialect != "openai":
        settings = {**fields, **_object(dialect, fields, "parameters")}
        fields = {**fields, "messages": [{"role": "user", "content": fields.get("inputs")}]}
    said = _messages(dialect, fields.get("messages"))
    system = "\n".join(one.text for one in said if one.role == "system")
    request = Request(system, tuple(one for one in said if one.role != "system"), _limit(dialect, settings), "")
    if not request.conversation:
        raise _invalid(dialect, "messages: nobody says anything")
    if request.input_tokens + request.max_tokens > context_tokens:
        asked = f"{request.input_tokens} in the messages, {request.max_tokens} in the completion"
        raise _invalid(dialect, f"This model's maximum context length is {context_tokens} tokens, not {asked}.")
    return Asked(
        request=request,
        goes_on=_goes_on(dialect, fields, request),
        streams=fields.get("stream") is True,
        counts=_object(dialect, fields, "stream_options").get("include_usage") is True,
        details=settings.get("details") is True,
        model=str(fields.get("model") or "model"),
    )


def reply(asked: Asked, dialect: Dialect) -> Reply:
    """What the container says, decided as a whole."""
    request = asked.request
    conversation = request.conversation
    if not asked.goes_on and conversation[-1].role == "assistant" and len(conversation) > 1:
        conversation = conversation[:-1]
    tokens = answers.tokens(answers.answer(request.system, conversation))
    finish = STOPPED[dialect] if len(tokens) <= request.max_tokens else "length"
    return SPEAKERS[dialect](asked, tokens[: request.max_tokens], finish)


def overloaded(dialect: Dialect) -> ContainerError:
    """The refusal of a container whose queue is full."""
    if dialect == "tgi":
        return ContainerError(429, {"error": "Model is overloaded", "error_type": "overloaded"})
    text = "No worker is available to serve your request: the queue is full."
    return ContainerError(503, {"code": 503, "type": "ServiceUnavailableException", "message": text})


def _openai(asked: Asked, tokens: list[str], finish: str) -> Reply:
    about = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
    given = asked.request.input_tokens
    usage = {"prompt_tokens": given, "completion_tokens": len(tokens), "total_tokens": given + len(tokens)}

    def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**about, "object": "chat.completion.chunk", "choices": [choice]})

    if asked.streams:
        counts = _event({**about, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        tail = chunk({"content": ""}, finish) + (counts if asked.counts else b"") + DONE
        said = [chunk({"content": token}) for token in tokens]
        return Reply(chunk({"role": "assistant", "content": ""}), said, tail, "text/event-stream", given)
    message = {"role": "assistant", "content": "".join(tokens)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return _document(asked, tokens, {**about, "object": "chat.completion", "choices": [choice], "usage": usage})


def _tgi(asked: Asked, tokens: list[str], finish: str) -> Reply:
    details = {
        "finish_reason": finish,
        "generated_tokens": len(tokens),
        "seed": None,
        "input_length": asked.request.input_tokens,
    }
    if not asked.streams:
        return _document(
            asked, tokens, [{"generated_text": "".join(tokens)} | ({"details": details} if asked.details else {})]
        )
    ended = finish != "length"  # and then by a token of its own, which nobody should read
    spoken = [*tokens, END_OF_TEXT] if ended else tokens
    events = []
    for place, token in enumerate(spoken):
        last = place == len(spoken) - 1
        told = {"id": _id(token), "text": token, "logprob": -0.1, "special": last and ended}
        rest = {"generated_text": "".join(tokens) if last else None, "details": details if last else None}
        events.append(_event({"index": place + 1, "token": told, **rest}, b"data:"))
    tail = events.pop() if ended else b""
    return Reply(b"", events, tail, "text/event-stream", asked.request.input_tokens)


def _lmi(asked: Asked, tokens: list[str], finish: str) -> Reply:
    if not asked.streams:
        return _document(asked, tokens, {"generated_text": "".join(tokens)})
    end: dict[str, Any] = {"generated_text": "".join(tokens)}
    if asked.details:
        end["details"] = {"inputs": None, "finish_reason": finish, "generated_tokens": len(tokens)}
    spoken = tokens or [""]
    lines = [
        {"token": {"id": _id(token), "text": token, "log_prob": -0.1}} | (end if place == len(spoken) - 1 else {})
        for place, token in enumerate(spoken)
    ]
    said = [_json(line) + b"\n" for line in lines]
    tail = said.pop() if not tokens else b""
    return Reply(b"", said, tail, "application/jsonlines", asked.request.input_tokens)


SPEAKERS: dict[Dialect, Callable[[Asked, list[str], str], Reply]] = {"openai": _openai, "tgi": _tgi, "lmi": _lmi}


def _document(asked: Asked, tokens: list[str], told: Any) -> Reply:
    """An answer that comes at once, and takes as long as its tokens all the same."""
    return Reply(b"", [b""] * len(tokens), _json(told), "application/json", asked.request.input_tokens)


def _messages(dialect: Dialect, messages: Any) -> list[Said]:
    if not isinstance(messages, list) or not messages:
        raise _invalid(dialect, "messages: a list with at least one message is expected")
    said = []
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            raise _invalid(dialect, f"messages.{place}.role: one of {', '.join(ROLES)} is expected")
        said.append(Said(role, _text(dialect, message.get("content"), place)))
    return said


def _text(dialect: Dialect, content: Any, place: int) -> str:
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _invalid(dialect, f"messages.{place}.content: text is expected")
    return "\n".join(map(str, texts))


def _limit(dialect: Dialect, settings: dict[str, Any]) -> int:
    names = ("max_tokens", "max_completion_tokens", "max_new_tokens")
    given = next((settings[name] for name in names if settings.get(name) is not None), DEFAULT_MAX_TOKENS)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise _invalid(dialect, f"max_tokens must be at least 1, got {given}.")
    heat = settings.get("temperature")
    if heat is not None and (isinstance(heat, bool) or not isinstance(heat, int | float) or not 0 <= heat <= 2):
        raise _invalid(dialect, f"temperature must be between 0 and 2, got {heat}.")
    return given


def _goes_on(dialect: Dialect, fields: dict[str, Any], request: Request) -> bool:
    if dialect != "openai":
        return request.conversation[-1].role == "assistant"
    goes_on = fields.get("continue_final_message") is True
    if goes_on and fields.get("add_generation_prompt", True):
        raise _invalid(dialect, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    return goes_on and request.conversation[-1].role == "assistant"


def _object(dialect: Dialect, fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise _invalid(dialect, f"{name}: an object is expected")
    return value or {}


def _invalid(dialect: Dialect, text: str) -> ContainerError:
    match dialect:
        case "openai":
            return ContainerError(
                400, {"error": {"message": text, "type": "BadRequestError", "param": None, "code": 400}}
            )
        case "tgi":
            return ContainerError(422, {"error": f"Input validation error: {text}", "error_type": "validation"})
        case "lmi":
            return ContainerError(400, {"code": 400, "error": text})


def _event(value: dict[str, Any], field: bytes = b"data: ") -> bytes:
    return field + _json(value) + b"\n\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _id(token: str) -> int:
    return crc32(token.encode("utf-8", "replace")) % VOCABULARY
