"""What is known of a question when it comes in, and what its turn carries along."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mangaassist.routing.failover import Progress

if TYPE_CHECKING:
    from datetime import date

    from mangaassist.chat.delivery import Delivery
    from mangaassist.chat.frames import Ask
    from mangaassist.chat.research import Findings
    from mangaassist.chat.sessions import Session
    from mangaassist.deadline import Deadline
    from mangaassist.routing.question import Question
    from mangaassist.routing.router import Route
    from mangaassist.routing.store import View


TABLE_LIMIT_S = 1.3  # the longest that a table call takes (bootstrap.TABLE_CALLS)
BRIEF_LIMIT_S = 0.65  # and a brief one (bootstrap.BRIEF)
POST_LIMIT_S = 0.8  # and a post (bootstrap.POSTS)


@dataclass(frozen=True, slots=True)
class Shopper:
    """Who asks, and where the answer goes."""

    user_id: str
    connection_id: str
    user_class: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that may be answered; `gather_by` is the monotonic instant up to which tables are waited for."""

    turn_id: str
    ask: Ask
    question: Question
    shopper: Shopper
    deadline: Deadline
    gather_by: float

    def is_late(self) -> bool:
        """Whether the tables have taken so long that the turn must go on without them."""
        return self.deadline.monotonic() > self.gather_by


@dataclass
class Turn:
    """What one turn carries along; instants are monotonic seconds."""

    id: str
    message_id: str
    shopper: Shopper
    question: Question
    deadline: Deadline
    delivery: Delivery
    view: View
    route: Route
    session: Session
    findings: Findings
    day: date  # JST, on which it began
    known: bool  # the tables answered: the turn is recorded and may call models
    poll_at: float
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    progress: Progress = field(default_factory=Progress)
    served_resume: str = ""
    corrected: bool = False  # it stated prices that the catalogue does not
    abandoned: bool = False  # the shopper left and did not come back in time
    forgotten: bool = False  # its session was, while it ran
    recorded: bool = True  # its frames are there for whoever asks for them later
    reference: str | None = None  # of the unknown failure that ended it

    def is_lost(self) -> bool:
        """Whether the answer cannot be had again: then its message may be asked again."""
        return self.reference is not None or self.abandoned or not self.recorded

    def has_time_for_tables(self) -> bool:
        """Whether a table that does not answer would still leave the turn within its deadline."""
        return self.deadline.left_s() >= TABLE_LIMIT_S

    def has_time_to_settle(self) -> bool:
        """The same for the ledger, whose calls are brief, with the time for the last frame still to come."""
        return self.deadline.left_s() >= BRIEF_LIMIT_S + POST_LIMIT_S

    def has_time_to_listen(self) -> bool:
        """The same while a model speaks, with the time for closing still to come."""
        closing_s = self.view.policy.limits.closing_reserve_ms / 1000
        return self.deadline.left_s() >= closing_s + TABLE_LIMIT_S
