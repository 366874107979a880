"""The wire contract, inwards: what a shopper's client may send (`chat/replies.py` has what it gets)."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from mangaassist.errors import InvalidRequest

FRAME_BYTES = 32 * 1024  # API Gateway closes a connection with 1009 above this

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
MOST_FRAMES = 100_000  # of a turn; far above what its deadline allows
COMPLEXITY_WORDS = {"simple": 0.0, "complex": 1.0}  # what the brief's client sends


def _whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a character, which JSON can escape and nothing else can store."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _In(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True, hide_input_in_errors=True)


class Ask(_In):
    """A question. Both ids are optional: the server makes them and says them in `start`."""

    action: Literal["ask"] = "ask"
    message: Annotated[str, AfterValidator(_whole_characters)]
    session_id: Id | None = None
    message_id: Id | None = None
    complexity: Annotated[float, Field(ge=0, le=1)] | Literal["simple", "complex"] | None = None

    @property
    def hint(self) -> float | None:
        """The client's complexity hint as a number; it may only raise the score."""
        return COMPLEXITY_WORDS[self.complexity] if isinstance(self.complexity, str) else self.complexity


class Resume(_In):
    """A wish for the frames of a turn after `seq` `after`; -1 asks for all of them."""

    action: Literal["resume"]
    turn_id: Id
    after: Annotated[int, Field(ge=-1, le=MOST_FRAMES)] = -1


class Cancel(_In):
    """Stop a running turn."""

    action: Literal["cancel"]
    turn_id: Id


class Feedback(_In):
    """What the shopper thought of an answer."""

    action: Literal["feedback"]
    turn_id: Id
    rating: Literal["up", "down"]


class Forget(_In):
    """Delete a conversation with all that was said in it."""

    action: Literal["forget"]
    session_id: Id


class Ping(_In):
    """Keeps an idle connection open."""

    action: Literal["ping"]


type Request = Ask | Resume | Cancel | Feedback | Forget | Ping

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="action")])


def parse(body: str | None) -> Request:
    """Read a client's frame; a body with `message` and no `action` is an `ask`, as the brief's client sends it.

    Raises InvalidRequest with code bad_json | unknown_action | invalid_field.
    """
    try:
        fields = json.loads(body or "")
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("bad_json") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("bad_json")
    if "action" not in fields and "message" in fields:
        fields["action"] = "ask"
    try:
        return _REQUEST.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"].startswith("union_tag"):
            raise InvalidRequest("unknown_action") from error
        field = str(first["loc"][1]) if len(first["loc"]) > 1 else "action"
        raise InvalidRequest("invalid_field", field=field) from error


def encode(frame: dict[str, Any]) -> bytes:
    """A frame as it goes over the wire; Japanese stays readable and short."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
