"""One turn, from a parsed question to a settled account: gather, decide, run, deliver, settle.

The way of the data: `Ask` -> `Question` -> `Route` -> happenings of the chain -> frames -> ledger line and memory.
With the tables out of reach nothing may be charged, so the shopper gets the catalogue answer.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.capacity.use import of_turn
from mangaassist.chat import phrases, report
from mangaassist.chat.delivery import Delivery
from mangaassist.chat.sessions import Session
from mangaassist.chat.turn import POST_LIMIT_S, Asked, Shopper, Turn
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.jst import jst
from mangaassist.knowledge import catalogue
from mangaassist.observability import count, logger
from mangaassist.routing import question as reading
from mangaassist.routing.failover import Answered, Assignment, Failed, Happening, Switch, Text
from mangaassist.routing.policy import CATALOGUE
from mangaassist.routing.prompt import Prompt
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Situation
from mangaassist.routing.store import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from mangaassist.capacity.utilisation import Utilisation
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
LEISURE_S = 6.0  # with less left, a turn's last frame goes before its memory
RECORD_LIMIT_S = 1.0  # in which a turn that has begun is on record
RECORD_PAUSE_S = 0.1
VISIBLE = re.compile(r"[^\s\u115f\u1160\u200b-\u200f\u2060\u2800\u3164\ufeff\uffa0]")
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
    utilisation: Utilisation


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
        if view is None or asked.is_late() or not self._admit(shopper):
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
            self._replay(asked)

    def _replay(self, asked: Asked) -> None:
        """Send the answer of a repeated message; its first copy may be about to put itself on record."""
        shopper, give_up_at = asked.shopper, self._clock.monotonic() + RECORD_LIMIT_S
        while True:
            try:
                return self._followup.resume(asked.turn_id, shopper.user_id, shopper.connection_id, after=-1)
            except InvalidRequest:
                if self._clock.monotonic() >= give_up_at:
                    raise
            self._clock.sleep(RECORD_PAUSE_S)

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
        try:
            turn.delivery.frame("start", session_id=turn.session.id, message_id=turn.message_id)
            self._converse(turn)
        except Exception:
            # the boundary of a turn: whatever it is, the shopper gets a last frame and the operators the stack
            turn.reference = report.unknown_failure(turn.id)
        finally:
            self._close(turn)
        if turn.is_lost():
            raise AnswerLost(turn.id)

    def _close(self, turn: Turn) -> None:
        """End a turn; each part stands alone, so that whatever fails in one loses no other.

        The memory is written before the last frame, because the next question may follow at once; near the deadline the
        last frame comes first.
        """
        leisurely = turn.deadline.left_s() > LEISURE_S
        self._guarded("last words", turn.delivery.flush)
        self._settle(turn)
        if leisurely:
            self._guarded("memory", lambda: self._remember(turn))
        turn.delivery.until = turn.deadline.at - POST_LIMIT_S
        self._guarded("last frame", lambda: _last_frame(turn))
        self._guarded("delivery", turn.delivery.drain)
        if turn.known:
            turn.recorded = self._guarded("record", lambda: self._finish(turn))
        if not leisurely:
            self._guarded("memory", lambda: self._remember(turn))
        self._guarded("utilisation", lambda: self._note_use(turn))
        report.turn(turn)

    def _guarded(self, part: str, work: Callable[[], None]) -> bool:
        """Do a part of the ending; whether it was done."""
        try:
            work()
        except StoreUnavailable:
            self._note_outage(part)
            return False
        except Exception:
            # the boundary of each part of an ending: the others have to follow, and the operators get the stack
            report.unfinished(part)
            return False
        return True

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
                until=asked.deadline.at - view.policy.limits.closing_reserve_ms / 1000,
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
                self._tell_health(turn, lambda: self._stores.situation.note_failure(target, outcome, turn.view))
            case Answered(target):
                self._tell_health(turn, lambda: self._stores.situation.note_success(target, turn.view))

    def _tell_health(self, turn: Turn, tell: Callable[[], None]) -> None:
        if turn.known and turn.has_time_to_listen():
            self._guarded("health", tell)

    def _listen(self, turn: Turn) -> None:
        """Look for a cancel or resume when it is time, and give up on a shopper who stays away."""
        limits, now = turn.view.policy.limits, self._clock.monotonic()
        if not turn.has_time_to_listen():
            turn.poll_at = math.inf
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
        """Write the exchange into the session, but no apology: the next model would take it for its own words."""
        if not turn.known or turn.progress.target == CATALOGUE or not turn.progress.text.strip():
            return
        self._stores.sessions.append(
            turn.session,
            turn.question.text,
            turn.progress.text,
            turn.view.policy.answer.history_tokens,
            in_time=turn.has_time_for_tables,
        )

    def _settle(self, turn: Turn) -> None:
        """Write what the turn cost; what cannot be written goes to the log."""
        account = report.account(turn)
        if not account.attempts:
            return
        if not self._guarded("ledger", lambda: self._stores.ledger.settle(account, in_time=turn.has_time_to_settle)):
            report.unsettled(account)

    def _note_use(self, turn: Turn) -> None:
        """Write what the turn took of published capacity, last of all: it helps the next window, not this shopper."""
        published = turn.view.situation.capacity
        for capacity, use in of_turn(turn.progress.attempts, published, turn.route.spilled):
            report.capacity_used(capacity.window, use)
            if turn.known and turn.has_time_for_tables():
                self._stores.utilisation.note(capacity, use)

    def _finish(self, turn: Turn) -> None:
        """Leave the frames on record, and serve who asked to resume meanwhile."""
        if not turn.has_time_for_tables():
            raise StoreUnavailable("no time is left")
        self._heed(turn, self._stores.turns.finish(turn.id, turn.delivery.frames))
        turn.delivery.drain()

    @staticmethod
    def _note_outage(part: str) -> None:
        logger.warning("a table is out of reach", extra={"part": part})
        count("StoreUnavailable")


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


def _last_frame(turn: Turn) -> None:
    if turn.reference is None:
        turn.delivery.frame("end", **report.end_fields(turn))
        return
    text = phrases.sentence("internal", turn.question.language)
    turn.delivery.frame("error", code="internal", message=text, retryable=True, reference=turn.reference)


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
