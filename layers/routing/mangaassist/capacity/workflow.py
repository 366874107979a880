"""What the states of the workflow hand to each other: its input, an opening, closings, and what came of them.

Instants are epoch seconds, days JST days (YYYY-MM-DD), money nano-dollars. Nothing in here is said by a shopper.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

POLL_S = 60  # between two looks at what is being created
TENDED_POLLS = 3  # after so many that did not come, an execution counts as dead

PURCHASED = {
    "name",
    "model",
    "target",
    "units",
    "unit_hour_nano_usd",
    "unit_tokens_per_minute",
    "price_verified",
    "number",
    "ends_s",
    "planned_nano_usd",
}

BY_HAND = "closed by hand"

type Mode = Literal["off", "dry-run", "live"]


class Document(BaseModel):
    """A part of the execution's state; what it does not know it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(Document):
    """An error as Step Functions catches it."""

    error: Annotated[str, Field(alias="Error")] = ""
    cause: Annotated[str, Field(alias="Cause")] = ""

    @field_validator("cause")
    @classmethod
    def _without_stack(cls, cause: str) -> str:
        """Of a failed function's JSON its sentence alone."""
        try:
            return str(json.loads(cause)["errorMessage"])
        except (ValueError, KeyError, TypeError):
            return cause


class Request(Document):
    """The input of an execution: what to do, for which window, and whether an opening by hand may spend money."""

    action: Literal["keep", "open", "close", "sweep", "plan"]
    window: str | None = None
    live: bool = False

    @property
    def is_rehearsal(self) -> bool:
        """Whether it only says what would be bought."""
        return self.action == "plan" or (self.action == "open" and not self.live)


class Priced(Document):
    """What a purchase is of, and what a unit of it costs an hour."""

    window: str
    day: str
    name: str
    model: str
    units: int
    unit_hour_nano_usd: int
    price_verified: bool
    arn: str | None = None
    wait_s: int = 0
    outcome: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def hour_nano_usd(self) -> int:
        """What all its units cost an hour."""
        return self.units * self.unit_hour_nano_usd

    def turned(self, outcome: str, *reasons: str) -> Self:
        """The same with what has become of it, and why."""
        return self.model_copy(update={"outcome": outcome, "reasons": reasons or self.reasons})


class Opening(Priced):
    """Capacity on its way into a window; `fence` is its turn at the window's row, `number` its try of the day."""

    target: str
    mode: Mode
    fence: int
    number: int = Field(ge=1)
    starts_s: float
    ends_s: float
    unit_tokens_per_minute: int
    planned_nano_usd: int  # until the window ends
    began_s: float
    gives_up_s: float = 0.0  # what is deleted has to be gone by then

    def tended_until_s(self, now_s: float) -> float:
        """Until when others leave it to the execution that is at it."""
        return now_s + TENDED_POLLS * POLL_S

    def purchased(self) -> dict[str, object]:
        """What the record of the day keeps of it."""
        return self.model_dump(include=PURCHASED)


class Closing(Priced):
    """A purchase on its way out; `leaves` is the state that the window's record is left in."""

    arn: str
    why: str
    leaves: Literal["closed", "failed", "given_up"] = "closed"
    committed_until_s: float | None = None
    gives_up_s: float = 0.0
    failure: Failure | None = None


class Plan(Document):
    """What an execution is going to do."""

    request: Request
    opening: Opening | None = None
    closing: tuple[Closing, ...] = ()
    notes: tuple[str, ...] = ()  # why there is nothing more to do, for people


class Ended(Plan):
    """A plan with what became of it."""

    failure: Failure | None = None


class Report(Document):
    """The end of an execution, in a sentence; `ok` is false when somebody has to look."""

    ok: bool
    summary: str
