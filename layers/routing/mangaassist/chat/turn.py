"""What is known of a question when it comes in, and what its turn carries along."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mangaassist.routing.failover import Progress

if TYPE_CHECKING:
    from mangaassist.chat.delivery import Delivery
    from mangaassist.chat.frames import Ask
    from mangaassist.chat.sessions import Session
    from mangaassist.deadline import Deadline
    from mangaassist.routing.question import Question
    from mangaassist.routing.router import Route
    from mangaassist.routing.store import View


@dataclass(frozen=True, slots=True)
class Shopper:
    """Who asks, and where the answer goes."""

    user_id: str
    connection_id: str


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
    known: bool  # the tables answered: the turn is recorded and may call models
    poll_at: float
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    progress: Progress = field(default_factory=Progress)
    served_resume: str = ""
    abandoned: bool = False  # the shopper left and did not come back in time
