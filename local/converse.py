"""Reads and checks a Converse request the way the service does: what it refuses, the emulator refuses."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local import answers
from local.answers import Said
from local.wire import ServiceError

if TYPE_CHECKING:
    from local.profiles import Profile

MEMBERS = {
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "guardrailConfig",
    "additionalModelRequestFields",
    "promptVariables",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "outputConfig",
}
DEFAULT_MAX_TOKENS = 4096
MAX_CACHE_POINTS = 4
TOKENS_PER_MESSAGE = 4  # what roles and separators cost


@dataclass(frozen=True)
class Request:
    """One checked request; `cached_text` is the prompt up to its last cache point."""

    system: str
    conversation: tuple[Said, ...]
    max_tokens: int
    cached_text: str

    @property
    def input_tokens(self) -> int:
        texts = [said.text for said in self.conversation] + [self.system]
        return sum(len(answers.tokens(text)) + TOKENS_PER_MESSAGE for text in texts if text)

    @property
    def cached_tokens(self) -> int:
        return len(answers.tokens(self.cached_text))


def invalid(message: str) -> ServiceError:
    """The service's refusal of a malformed request."""
    return ServiceError(400, "ValidationException", message)


def read(body: bytes, profile: Profile) -> Request:
    """Check a request against the API and against what the model accepts; raises ServiceError."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise invalid("The request body is not valid JSON.") from error
    if not isinstance(fields, dict):
        raise invalid("The request body is not a JSON object.")
    if extraneous := sorted(set(fields) - MEMBERS):
        raise invalid(f"extraneous key [{extraneous[0]}] is not permitted")
    system_blocks = fields.get("system") or []
    system = _texts(system_blocks, "system")
    conversation = _conversation(fields.get("messages"))
    if conversation[-1].role == "assistant":
        if not profile.prefill:
            raise invalid("This model does not support assistant message prefill. The conversation must end with user.")
        if conversation[-1].text != conversation[-1].text.rstrip():
            raise invalid("messages: final assistant content cannot end with trailing whitespace")
    blocks = [*system_blocks, *(block for message in fields["messages"] for block in message["content"])]
    return Request(system, conversation, _inference(fields.get("inferenceConfig") or {}, profile), _cached(blocks))


def _conversation(messages: Any) -> tuple[Said, ...]:
    if not isinstance(messages, list) or not messages:
        raise invalid("A conversation must start with a user message. Try again with a conversation that does.")
    said: list[Said] = []
    for place, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            raise invalid(f"Value '{role}' at 'messages.{place + 1}.member.role' must be one of [user, assistant]")
        if not content:
            raise invalid(f"The content field in the Message object at messages.{place} is empty.")
        said.append(Said(role, _texts(content, f"messages.{place}.content")))
    if said[0].role != "user":
        raise invalid("A conversation must start with a user message. Try again with a conversation that does.")
    if any(one.role == other.role for one, other in itertools.pairwise(said)):
        raise invalid(
            "A conversation must alternate between user and assistant roles. "
            "Make sure the conversation alternates between user and assistant roles and try again."
        )
    return tuple(said)


def _texts(blocks: Any, where: str) -> str:
    if not isinstance(blocks, list):
        raise invalid(f"{where} must be a list of content blocks")
    texts = []
    for place, block in enumerate(blocks):
        if not isinstance(block, dict) or len(block) != 1:
            raise invalid(f"{where}.{place} must have exactly one member")
        if "text" in block:
            if not isinstance(block["text"], str) or not block["text"].strip():
                raise invalid(f"The text field in the ContentBlock object at {where}.{place} is blank.")
            texts.append(block["text"])
        elif "cachePoint" not in block and "guardContent" not in block:
            raise invalid(f"{where}.{place}: this emulator reads text, cachePoint and guardContent only")
    return "\n".join(texts)


def _inference(config: dict[str, Any], profile: Profile) -> int:
    max_tokens = config.get("maxTokens", DEFAULT_MAX_TOKENS)
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise invalid("Value at 'inferenceConfig.maxTokens' must be greater than or equal to 1")
    for name in ("temperature", "topP"):
        value = config.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise invalid(f"Value at 'inferenceConfig.{name}' must be between 0 and 1")
        if not profile.sampling and value != (1 if name == "temperature" else 0.99):
            raise invalid(f"`{name}` is deprecated for this model.")
    return max_tokens


def _cached(blocks: list[dict[str, Any]]) -> str:
    points = [place for place, block in enumerate(blocks) if "cachePoint" in block]
    if len(points) > MAX_CACHE_POINTS:
        raise invalid(f"A maximum of {MAX_CACHE_POINTS} blocks with cachePoint may be provided. Found {len(points)}.")
    if not points:
        return ""
    return "\n".join(block["text"] for block in blocks[: points[-1]] if "text" in block)
