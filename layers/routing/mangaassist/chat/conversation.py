"""One turn, from a parsed question to a settled account: gather, decide, run, deliver, settle.

The way of the data: `Ask` -> `Question` -> `Route` -> happenings of the chain -> frames -> ledger line and memory.
With the tables out of reach nothing may be charged, so the shopper gets the catalogue answer.
"""

from __future__ import annotations

import math
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.chat import phrases, report
from mangaassist.chat.delivery import Delivery
from mangaassist.chat.sessions import Session
from mangaassist.chat.turn import Asked, Shopper, Turn
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.jst import jst
from mangaassist.knowledge import catalogue
from mangaassist.observability import count, logger
from mangaassist.routing import question as reading
from mangaassist.routing.failover import Answered, Assignment, Failed, Happening, Switch, Text
from mangaassist.routing.prompt import Prompt
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Situation
from mangaassist.routing.store import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from mangaassist.chat.connections import ConnectionStore
    from mangaassist.chat.delivery import Poster
    from mangaassist.chat.followup import Followup
    from mangaassist.chat.frames import Ask
    from mangaassist.chat.once import Once
    from mangaassist.chat.sessions import SessionStore
    from mangaassist.chat.turns import TurnStore, Wish
    from mangaassist.deadline import Deadline
    from mangaassist.money.ledger import Ledger
    from mangaassist.routing.failover import Failover
    from mangaassist.routing.policy import Policy
    from mangaassist.routing.question import Question
    from mangaassist.routing.store import SituationStore

TURNS_NAMESPACE = uuid.UUID("6b1f7c1e-3d0c-4f0e-9c5e-0d6f6a1c2b9a")
BURST_SHARE = 0.5  # of a minute's turns may come at once
LONGEST_WAIT_S = 0.25
GATHER_LIMIT_S = 1.2  # with slow tables the turn goes on without them, in time for its first text
OUTAGE_PAUSE_S = 5.0  # before a running turn asks a table again that did not answer


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that a turn keeps or looks up."""

    connections: ConnectionStore
    once: Once
    situation: SituationStore
    sessions: SessionStore
    turns: TurnStore
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall and monotonic time, in seconds, and how to wait."""

    now_s: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class AnswerLost(Exception):
    """The turn did not reach its shopper: its message may be asked again."""


class Conversation:
    """Answers questions."""

    def __init__(
        self,
        *,
        stores: Stores,
        failover: Failover,
        followup: Followup,
        poster: Poster,
        turns_per_minute: int,
        clock: Clock | None = None,
    ) -> None:
        self._stores = stores
        self._failover = failover
        self._followup = followup
        self._poster = poster
        self._turns_per_minute = turns_per_minute
        self._clock = clock or Clock()

    def ask(self, ask: Ask, shopper: Shopper, deadline: Deadline, context: LambdaContext) -> None:
        """Answer a question, or send again what it was answered before.

        Raises InvalidRequest when it cannot be served as asked; nothing is charged then.
        """
        gather_by = deadline.monotonic() + GATHER_LIMIT_S
        view = self._view()
        policy = view.policy if view else self._stores.situation.policy
        asked = Asked(_turn_id(ask, shopper), ask, _read(ask, policy), shopper, deadline, gather_by)
        if view is None or not self._admit(shopper):
            view = None
        try:
            self._answer_once(asked, view, context)
        except AnswerLost:
            count("AnswerLost")

    def _answer_once(self, asked: Asked, view: View | None, context: LambdaContext) -> None:
        """Answer; a message that has an id only if it was not answered before."""
        if view is None or asked.ask.message_id is None or asked.is_late():
            self._answer(asked, view)
            return
        try:
            outcome = self._stores.once.run(asked.turn_id, lambda: self._answer(asked, view), context)
        except StoreUnavailable:
            self._note_outage("idempotency")
            self._answer(asked, None)
            return
        if outcome != "done":
            count("TurnRepeated")
            shopper = asked.shopper
            self._followup.resume(asked.turn_id, shopper.user_id, shopper.connection_id, after=-1)

    def _view(self) -> View | None:
        try:
            return self._stores.situation.view()
        except StoreUnavailable:
            self._note_outage("situation")
            return None

    def _admit(self, shopper: Shopper) -> bool:
        """Whether the user may ask now; False when that cannot be known. Raises InvalidRequest("rate_limited")."""
        burst = max(1, int(self._turns_per_minute * BURST_SHARE))
        try:
            wait_s = self._stores.connections.admit_turn(shopper.user_id, self._turns_per_minute, burst)
        except StoreUnavailable:
            self._note_outage("rate_limit")
            return False
        if wait_s > 0:
            raise InvalidRequest("rate_limited", retryable=True, seconds=math.ceil(wait_s))
        return True

    def _answer(self, asked: Asked, view: View | None) -> None:
        """One turn, whatever becomes of it: first and last frame, account, memory. Raises AnswerLost at the end."""
        turn = self._begin(asked, view)
        turn.delivery.frame("start", session_id=turn.session.id, message_id=turn.message_id)
        failed = True
        try:
            self._converse(turn)
            self._remember(turn)
            turn.delivery.frame("end", **report.end_fields(turn))
            failed = False
        except Exception:
            # the boundary of a turn: whatever it is, the shopper gets a last frame and the operators the stack
            reference = report.unknown_failure(turn.id)
            text = phrases.sentence("internal", turn.question.language)
            turn.delivery.frame("error", code="internal", message=text, retryable=True, reference=reference)
        finally:
            turn.delivery.drain(turn.deadline.at)
            self._settle(turn)
            report.turn(turn)
        if failed or turn.abandoned:
            raise AnswerLost(turn.id)

    def _begin(self, asked: Asked, view: View | None) -> Turn:
        """Look up the session, record the turn, decide its route; without `view`, as far as it goes without tables."""
        session = self._gather(asked, view.policy) if view else None
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
                monotonic=clock.monotonic,
                sleep=clock.sleep,
            ),
            view=view,
            route=decide(asked.question, view.situation, view.policy, jst(clock.now_s())),
            session=session or _new_session(asked),
            known=known,
            poll_at=clock.monotonic() + poll_s if known else math.inf,
        )

    def _gather(self, asked: Asked, policy: Policy) -> Session | None:
        """The session, and the turn on record; None when the tables cannot give and take that in time."""
        owner, session = asked.shopper.user_id, _new_session(asked)
        try:
            if asked.ask.session_id and not asked.is_late():
                session = self._stores.sessions.load(asked.ask.session_id, owner, policy.answer.history_tokens)
            if asked.is_late():
                self._note_outage("gather")
                return None
            self._stores.turns.begin(
                asked.turn_id,
                owner=owner,
                session_id=session.id,
                connection_id=asked.shopper.connection_id,
                left_s=asked.deadline.left_s(),
            )
        except StoreUnavailable:
            self._note_outage("turns")
            return None
        return session

    def _converse(self, turn: Turn) -> None:
        """Run the chain, passing on what it says and listening for what the shopper wishes meanwhile."""
        with closing(self._failover.run(self._assignment(turn), turn.progress)) as happenings:
            for happening in happenings:
                self._pass_on(turn, happening)
                turn.delivery.tend()
                self._listen(turn)

    def _assignment(self, turn: Turn) -> Assignment:
        policy, now_s = turn.view.policy, self._clock.now_s()
        limits = policy.limits
        promise_at = turn.deadline.arrived_at + limits.first_text_ms / 1000
        least_at = self._clock.monotonic() + limits.first_text_least_ms / 1000
        return Assignment(
            route=turn.route if turn.known else report.without_accounts(turn.route),
            prompt=Prompt(policy.answer.system_prompt, turn.session.history, turn.question.text),
            policy=policy,
            situation=turn.view.situation,
            now_s=now_s,
            today=jst(now_s).date(),
            deadline=turn.deadline.less(limits.closing_reserve_ms / 1000),
            first_text_by=max(promise_at, least_at),
            catalogue_answer=lambda interrupted: _without_model(turn.question, interrupted=interrupted),
            patience_s=lambda: self._patience_s(turn),
        )

    def _patience_s(self, turn: Turn) -> float:
        now = self._clock.monotonic()
        return max(0.0, min(turn.delivery.due_in_s(), turn.poll_at - now, LONGEST_WAIT_S))

    def _pass_on(self, turn: Turn, happening: Happening) -> None:
        match happening:
            case Text(text):
                turn.delivery.text(text)
            case Switch(kind, target, reason):
                turn.delivery.frame(kind, target=target, reason=reason)
            case Failed(target, outcome):
                report.attempt_failed(turn.id, target, outcome)
                self._tell_health(lambda: self._stores.situation.note_failure(target, outcome, turn.view))
            case Answered(target):
                self._tell_health(lambda: self._stores.situation.note_success(target, turn.view))

    def _tell_health(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except StoreUnavailable:
            self._note_outage("health")

    def _listen(self, turn: Turn) -> None:
        """Look for a cancel or resume when it is time, and give up on a shopper who stays away."""
        limits, now = turn.view.policy.limits, self._clock.monotonic()
        if now >= turn.poll_at:
            turn.poll_at = now + limits.control_poll_ms / 1000
            try:
                self._heed(turn, self._stores.turns.wish(turn.id))
            except StoreUnavailable:
                turn.poll_at = self._clock.monotonic() + OUTAGE_PAUSE_S
                self._note_outage("wishes")
        gone_since = turn.delivery.gone_since
        if gone_since is not None and now - gone_since >= limits.gone_grace_ms / 1000:
            turn.abandoned = True
            turn.progress.stop = "cancelled"

    def _heed(self, turn: Turn, wish: Wish) -> None:
        if wish.cancel:
            turn.progress.stop = "cancelled"
        if wish.resume_id and wish.resume_id != turn.served_resume:
            turn.served_resume = wish.resume_id
            turn.delivery.reattach(wish.resume_connection, wish.resume_after)

    def _remember(self, turn: Turn) -> None:
        """Write the exchange into the session before `end` is sent: the next question may follow at once."""
        if not turn.known or not turn.progress.text:
            return
        history_tokens = turn.view.policy.answer.history_tokens
        try:
            self._stores.sessions.append(turn.session, turn.question.text, turn.progress.text, history_tokens)
        except StoreUnavailable:
            self._note_outage("sessions")

    def _settle(self, turn: Turn) -> None:
        """Write what the turn cost and its frames; each part stands alone, so that an outage loses no other part."""
        if not turn.known:
            return
        account = report.account(turn)
        try:
            self._stores.ledger.settle(account)
        except StoreUnavailable:
            report.unsettled(account)
        try:
            self._heed(turn, self._stores.turns.finish(turn.id, turn.delivery.frames))
            turn.delivery.drain(turn.deadline.at)
        except StoreUnavailable:
            self._note_outage("turns")

    @staticmethod
    def _note_outage(part: str) -> None:
        logger.warning("a table is out of reach", extra={"part": part})
        count("StoreUnavailable")


def _read(ask: Ask, policy: Policy) -> Question:
    """Check and read the question; raises InvalidRequest."""
    text = ask.message.strip()
    if not text:
        raise InvalidRequest("message_empty")
    if len(text) > policy.answer.max_question_chars:
        raise InvalidRequest("message_too_long", limit=policy.answer.max_question_chars)
    return reading.read(text, ask.hint)


def _new_session(asked: Asked) -> Session:
    return Session(asked.ask.session_id or str(uuid.uuid4()), asked.shopper.user_id)


def _turn_id(ask: Ask, shopper: Shopper) -> str:
    """The same id for the same message of the same user, so that its repetition finds the turn."""
    if ask.message_id is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(TURNS_NAMESPACE, f"{shopper.user_id}\n{ask.session_id or ''}\n{ask.message_id}"))


def _without_model(question: Question, *, interrupted: bool) -> str:
    text = catalogue.answer(question)
    return f"\n\n{phrases.interrupted(question.language)}\n{text}" if interrupted else text
