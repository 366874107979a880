"""What a turn gathers before it goes anywhere: policy and situation, leave to ask, session, record, findings.

Tables that are slow or out of reach leave the turn without accounts, and then no model may be called.
"""

from __future__ import annotations

import math
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.chat.delivery import Delivery
from mangaassist.chat.research import Findings
from mangaassist.chat.sessions import Session
from mangaassist.chat.turn import Asked, Shopper, Turn
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.jst import jst
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure
from mangaassist.routing import question as reading
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Situation
from mangaassist.routing.store import View

if TYPE_CHECKING:
    from mangaassist.capacity.utilisation import Utilisation
    from mangaassist.chat.connections import ConnectionStore
    from mangaassist.chat.delivery import Poster
    from mangaassist.chat.frames import Ask
    from mangaassist.chat.once import Once
    from mangaassist.chat.research import Research
    from mangaassist.chat.sessions import SessionStore
    from mangaassist.chat.turns import TurnStore
    from mangaassist.clock import Clock
    from mangaassist.deadline import Deadline
    from mangaassist.money.ledger import Ledger
    from mangaassist.routing.policy import Policy
    from mangaassist.routing.question import Question
    from mangaassist.routing.store import SituationStore

TURNS_NAMESPACE = uuid.UUID("6b1f7c1e-3d0c-4f0e-9c5e-0d6f6a1c2b9a")
BURST_SHARE = 0.5  # of a minute's turns may come at once
GATHER_LIMIT_S = 1.2  # with slow tables the turn goes on without them, in time for its first text
VISIBLE = re.compile(r"[^\s\u115f\u1160\u200b-\u200f\u2060\u2800\u3164\ufeff\uffa0]")


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that a turn keeps or looks up."""

    connections: ConnectionStore
    once: Once
    situation: SituationStore
    sessions: SessionStore
    turns: TurnStore
    ledger: Ledger
    utilisation: Utilisation
    research: Research


class Gathering:
    """Gathers, and makes the turn."""

    def __init__(self, stores: Stores, poster: Poster, turns_per_minute: int, clock: Clock) -> None:
        self._stores = stores
        self._poster = poster
        self._turns_per_minute = turns_per_minute
        self._clock = clock

    def asked(self, ask: Ask, shopper: Shopper, deadline: Deadline) -> tuple[Asked, View | None]:
        """A question that may be answered, with the view of the tables; None when they answered too late or not at all.

        Raises InvalidRequest when it cannot be served as asked; nothing is charged then.
        """
        gather_by = deadline.monotonic() + GATHER_LIMIT_S
        view = self._view()
        policy = view.policy if view else self._stores.situation.policy
        asked = Asked(_turn_id(ask, shopper), ask, _read(ask, policy), shopper, deadline, gather_by)
        if view is None or asked.is_late() or not self._admit(shopper):
            view = None
        return asked, view

    def _view(self) -> View | None:
        try:
            return self._stores.situation.view()
        except StoreUnavailable:
            note_outage("situation")
            return None

    def _admit(self, shopper: Shopper) -> bool:
        """Whether the user may ask now; False when that cannot be known. Raises InvalidRequest("rate_limited")."""
        burst = max(1, int(self._turns_per_minute * BURST_SHARE))
        try:
            wait_s = self._stores.connections.admit_turn(shopper.user_id, self._turns_per_minute, burst)
        except StoreUnavailable:
            note_outage("rate_limit")
            return False
        if wait_s > 0:
            raise InvalidRequest("rate_limited", retryable=True, seconds=math.ceil(wait_s))
        return True

    def begin(self, asked: Asked, view: View | None) -> Turn:
        """Look up the session, record the turn, decide its route; without `view`, as far as it goes without tables."""
        session, findings = self._gather(asked, view) if view else (None, None)
        known = session is not None
        view = view or View(Situation(), self._stores.situation.policy, 0)
        clock, ask = self._clock, asked.ask
        poll_s = view.policy.limits.control_poll_ms / 1000
        return Turn(
            id=asked.turn_id,
            message_id=ask.message_id or str(uuid.uuid4()),
            shopper=asked.shopper,
            question=asked.question,
            deadline=asked.deadline,
            delivery=Delivery(
                self._poster,
                connection_id=asked.shopper.connection_id,
                turn_id=asked.turn_id,
                until=asked.deadline.at - view.policy.limits.closing_reserve_ms / 1000,
                monotonic=clock.monotonic,
                sleep=clock.sleep,
            ),
            view=view,
            route=decide(asked.question, view.situation, view.policy, jst(clock.now_s())),
            session=session or _new_session(asked),
            findings=findings or Findings(view.policy),
            day=jst(clock.now_s()).date(),
            known=known,
            poll_at=clock.monotonic() + poll_s if known else math.inf,
        )

    def _gather(self, asked: Asked, view: View) -> tuple[Session | None, Findings | None]:
        """The session, what is begun to be found out, and the turn on record.

        No session when the tables cannot give and take that in time.
        """
        owner, session, findings = asked.shopper.user_id, _new_session(asked), None
        history_tokens = view.policy.answer.history_tokens
        try:
            if asked.ask.session_id and not asked.is_late():
                session = self._stores.sessions.load(asked.ask.session_id, owner, history_tokens)
            if asked.is_late():
                note_outage("gather")
                return None, None
            findings = self._find_out(asked, session, view)
            self._stores.turns.begin(
                asked.turn_id,
                owner=owner,
                session_id=session.id,
                connection_id=asked.shopper.connection_id,
                left_s=asked.deadline.left_s(),
            )
        except StoreUnavailable:
            note_outage("turns")
            return None, findings
        return session, findings

    def _find_out(self, asked: Asked, session: Session, view: View) -> Findings:
        """Begin to find out what the store knows; a day whose money is spent pays for no embedding either."""
        may_spend = view.situation.committed_nano_usd < view.policy.budget.daily_nano_usd
        history = [message.text for message in session.history]
        return self._stores.research.begin(asked.question, history, view.policy, may_spend=may_spend)


def note_outage(part: str) -> None:
    """A table is out of reach, and what it would have done for a turn is left out."""
    logger.warning("a table is out of reach", extra={"part": part})
    measure(Metric.StoreUnavailable)


def _read(ask: Ask, policy: Policy) -> Question:
    """Check and read the question; raises InvalidRequest. What normalisation makes of it has to fit too."""
    most = policy.answer.max_question_chars
    if len(ask.message.strip()) > most:
        raise InvalidRequest("message_too_long", limit=most)
    question = reading.read(ask.message, ask.hint)
    if not VISIBLE.search(question.text):
        raise InvalidRequest("message_empty")
    if len(question.text) > most:
        raise InvalidRequest("message_too_long", limit=most)
    return question


def _new_session(asked: Asked) -> Session:
    return Session(asked.ask.session_id or str(uuid.uuid4()), asked.shopper.user_id)


def _turn_id(ask: Ask, shopper: Shopper) -> str:
    """The same id for the same message of the same user, so that its repetition finds the turn."""
    if ask.message_id is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(TURNS_NAMESPACE, f"{shopper.user_id}\n{ask.session_id or ''}\n{ask.message_id}"))
