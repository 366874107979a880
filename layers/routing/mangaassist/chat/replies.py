"""The wire contract, outwards: the frames that a shopper's client gets (docs/protocol.yaml tells both as AsyncAPI).

The turn writes its frames as plain dictionaries; these models hold the tests and the protocol document to them, and are
not imported on a turn's way.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _OfTurn(_Out):
    turn_id: str
    seq: Annotated[int, Field(ge=0)]


class Start(_OfTurn):
    """The turn exists; its ids."""

    type: Literal["start"] = "start"
    session_id: str
    message_id: str


class Delta(_OfTurn):
    """More text."""

    type: Literal["delta"] = "delta"
    text: str


class Continue(_OfTurn):
    """Another model goes on from the text so far."""

    type: Literal["continue"] = "continue"
    target: str
    reason: str


class Restart(_OfTurn):
    """Another model begins again: the text so far is void."""

    type: Literal["restart"] = "restart"
    target: str
    reason: str


class Tokens(_Out):
    """Tokens used; `estimated` when the service could not report them."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    estimated: bool


class AttemptLine(_Out):
    """One attempt of the chain, as told to the shopper and written to the ledger."""

    target: str
    model: str
    outcome: str
    first_text_ms: int | None
    total_ms: int
    usage: Tokens
    cost_usd: float


class Citation(_Out):
    """A product that the answer names, with its price and stock at the time of the answer; null is not known."""

    id: str
    title: str
    title_en: str
    author: str
    author_en: str
    price_yen: int | None
    stock: int | None
    sample: bool


class End(_OfTurn):
    """The turn is over and this is how it went."""

    type: Literal["end"] = "end"
    finish: Literal["complete", "length", "deadline", "cancelled", "filtered", "catalogue"]
    target: str
    model: str
    reason: str
    attempts: list[AttemptLine]
    usage: Tokens
    cost_usd: float
    first_text_ms: int | None
    total_ms: int
    citations: list[Citation]


class Error(_Out):
    """Something went wrong; with `turn_id` and `seq` it ends that turn."""

    type: Literal["error"] = "error"
    turn_id: str | None = None
    seq: Annotated[int, Field(ge=0)] | None = None
    code: str
    message: str
    retryable: bool
    reference: str

    @model_validator(mode="after")
    def _both_or_neither(self) -> Error:
        if (self.turn_id is None) != (self.seq is None):
            raise ValueError("turn_id and seq go together")
        return self


class Forgotten(_Out):
    """Nothing that this shopper said in the session is stored any more."""

    type: Literal["forgotten"] = "forgotten"
    session_id: str


class Pong(_Out):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"


type Frame = Start | Delta | Continue | Restart | End | Error | Forgotten | Pong

FRAME: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="type")])
