"""One turn, from a parsed question to a settled account: gather, decide, run, deliver, settle.

The way of the data: `Ask` -> `Question` -> `Route` -> happenings of the chain -> frames -> ledger line and memory.
With the tables out of reach nothing may be charged, so the shopper gets the catalogue answer.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from mangaassist.capacity.use import of_turn
from mangaassist.chat import phrases, report
from mangaassist.chat.gathering import Gathering, Stores, note_outage
from mangaassist.chat.turn import POST_LIMIT_S, Asked, Shopper, Turn
from mangaassist.clock import Clock
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.jst import jst
from mangaassist.knowledge import notes
from mangaassist.metric import Metric
from mangaassist.observability import measure
from mangaassist.routing.failover import Answered, Assignment, Failed, Happening, Switch, Text
from mangaassist.routing.policy import CATALOGUE, KEPT
from mangaassist.routing.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from mangaassist.chat.delivery import Poster
    from mangaassist.chat.followup import Followup
    from mangaassist.chat.frames import Ask
    from mangaassist.chat.turns import Wish
    from mangaassist.deadline import Deadline
    from mangaassist.knowledge.cache.answers import Answer
    from mangaassist.routing.failover import Failover
    from mangaassist.routing.store import View

LONGEST_WAIT_S = 0.25
LEISURE_S = 6.0  # with less left, a turn's last frame goes before its memory
RECORD_LIMIT_S = 1.0  # in which a turn that has begun is on record
RECORD_PAUSE_S = 0.1
SPARE_MARGIN = 2.0  # times its expected first text is kept for the chain's last model
OUTAGE_PAUSE_S = 5.0  # before a running turn asks a table again that did not answer


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
        logged_percent: int = 100,
        clock: Clock | None = None,
    ) -> None:
        self._stores = stores
        self._failover = failover
        self._followup = followup
        self._logged_percent = logged_percent
        self._clock = clock or Clock()
        self._gathering = Gathering(stores, poster, turns_per_minute, self._clock)

    def ask(self, ask: Ask, shopper: Shopper, deadline: Deadline, context: LambdaContext) -> None:
        """Answer a question, or send again what it was answered before.

        Raises InvalidRequest when it cannot be served as asked; nothing is charged then.
        """
        asked, view = self._gathering.asked(ask, shopper, deadline)
        try:
            self._answer_once(asked, view, context)
        except AnswerLost:
            measure(Metric.AnswerLost)

    def _answer_once(self, asked: Asked, view: View | None, context: LambdaContext) -> None:
        """Answer; a message that has an id only if it was not answered before."""
        if view is None or asked.ask.message_id is None or asked.is_late():
            self._answer(asked, view)
            return
        try:
            outcome = self._stores.once.run(asked.turn_id, lambda: self._answer(asked, view), context)
        except StoreUnavailable:
            note_outage("idempotency")
            self._answer(asked, None)
            return
        if outcome != "done":
            measure(Metric.TurnRepeated)
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

    def _answer(self, asked: Asked, view: View | None) -> None:
        """One turn, whatever becomes of it: first and last frame, account, memory. Raises AnswerLost at the end."""
        turn = self._gathering.begin(asked, view)
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
        if turn.forgotten:  # in the instant before its record was there to be found
            self._guarded("forgetting", lambda: self._stores.turns.drop(turn.id, turn.session.id))
        self._guarded("utilisation", lambda: self._note_use(turn))
        self._guarded("answers", lambda: self._keep(turn))
        self._stores.research.end(turn.findings)
        report.turn(turn, self._logged_percent)

    def _guarded(self, part: str, work: Callable[[], None]) -> bool:
        """Do a part of the ending; whether it was done."""
        try:
            work()
        except StoreUnavailable:
            note_outage(part)
            return False
        except Exception:
            # the boundary of each part of an ending: the others have to follow, and the operators get the stack
            report.unfinished(part)
            return False
        return True

    def _converse(self, turn: Turn) -> None:
        """Give a kept answer, or run the chain, passing on what it says and listening for the shopper meanwhile."""
        self._stores.research.finish(turn.findings, lambda: self._spare_s(turn))
        if turn.findings.kept:
            self._give(turn, turn.findings.kept.answer)
            return
        with closing(self._failover.run(self._assignment(turn), turn.progress)) as happenings:
            for happening in happenings:
                self._pass_on(turn, happening)
                turn.delivery.tend()
                self._listen(turn)
        self._correct(turn)

    @staticmethod
    def _give(turn: Turn, answer: Answer) -> None:
        """Serve an answer that was kept."""
        progress = turn.progress
        progress.text, progress.target, progress.model, progress.finish = answer.text, KEPT, answer.model, "complete"
        turn.delivery.text(answer.text)

    @staticmethod
    def _correct(turn: Turn) -> None:
        """Follow an answer that states wrong prices with the right ones."""
        progress = turn.progress
        if progress.target == CATALOGUE or progress.finish not in ("complete", "length"):
            return
        correction = turn.findings.correction(turn.question, progress.text)
        if correction:
            measure(Metric.PriceCorrected)
            progress.text += correction
            turn.corrected = True
            turn.delivery.text(correction)

    def _spare_s(self, turn: Turn) -> float:
        """How long the turn can wait for another one's answer and still ask a model in time for its first text."""
        target = turn.view.policy.targets.get(turn.route.chain[-2] if len(turn.route.chain) > 1 else "")
        limits = turn.view.policy.limits
        kept_ms = max(limits.first_text_least_ms, SPARE_MARGIN * target.estimate.first_text_ms if target else 0)
        promise_at = turn.deadline.arrived_at + limits.first_text_ms / 1000
        return max(0.0, promise_at - self._clock.monotonic() - kept_ms / 1000)

    def _assignment(self, turn: Turn) -> Assignment:
        policy, now_s = turn.view.policy, self._clock.now_s()
        limits = policy.limits
        promise_at = turn.deadline.arrived_at + limits.first_text_ms / 1000
        least_at = self._clock.monotonic() + limits.first_text_least_ms / 1000
        return Assignment(
            route=turn.route if turn.known else report.without_accounts(turn.route),
            prompt=Prompt(
                turn.findings.system_prompt(short=turn.route.answer_share < 1),
                tuple(replace(message, text=notes.harmless(message.text)) for message in turn.session.history),
                notes.asked(turn.question.text, turn.findings.products, turn.question.language),
            ),
            policy=policy,
            situation=turn.view.situation,
            now_s=now_s,
            today=jst(now_s).date(),
            deadline=turn.deadline.less(limits.closing_reserve_ms / 1000),
            first_text_by=max(promise_at, least_at),
            catalogue_answer=lambda interrupted: _without_model(turn, interrupted=interrupted),
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
                note_outage("wishes")
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
        if not turn.known:
            return
        if turn.progress.target == CATALOGUE or not turn.progress.text.strip():
            turn.forgotten = turn.has_time_for_tables() and self._stores.sessions.was_forgotten(turn.session)
            return
        turn.forgotten = not self._stores.sessions.append(
            turn.session,
            turn.question.text,
            turn.progress.text,
            turn.view.policy.answer.history_tokens,
            in_time=turn.has_time_for_tables,
        )

    def _settle(self, turn: Turn) -> None:
        """Write what the turn cost, nothing too; what cost something and cannot be written goes to the log."""
        account, ledger = report.account(turn), self._stores.ledger
        settled = turn.known and self._guarded(
            "ledger", lambda: ledger.settle(account, in_time=turn.has_time_to_settle)
        )
        if not settled and not account.is_empty:
            report.unsettled(account)

    def _note_use(self, turn: Turn) -> None:
        """Write what the turn took of published capacity, last of all: it helps the next window, not this shopper."""
        published = turn.view.situation.capacity
        for capacity, use in of_turn(turn.progress.attempts, published, turn.route.spilled):
            report.capacity_used(capacity.window, use)
            if turn.known and turn.has_time_for_tables():
                self._stores.utilisation.note(capacity, use)

    def _keep(self, turn: Turn) -> None:
        """Keep an answer that holds for everybody."""
        research, progress = self._stores.research, turn.progress
        voices = sum(attempt.first_text_ms is not None for attempt in progress.attempts)
        keepable = turn.findings.may_be_kept(
            target=progress.target, finish=progress.finish, voices=voices, wants_quality=turn.route.complex
        )
        if keepable and not turn.corrected and turn.reference is None and turn.has_time_for_tables():
            research.keep(turn.findings, progress.text, target=progress.target, model=progress.model)

    def _finish(self, turn: Turn) -> None:
        """Leave the frames on record, and serve who asked to resume meanwhile."""
        if not turn.has_time_for_tables():
            raise StoreUnavailable("no time is left")
        self._heed(turn, self._stores.turns.finish(turn.id, turn.delivery.frames))
        turn.delivery.drain()


def _last_frame(turn: Turn) -> None:
    if turn.reference is None:
        turn.delivery.frame("end", **report.end_fields(turn))
        return
    text = phrases.sentence("internal", turn.question.language)
    turn.delivery.frame("error", code="internal", message=text, retryable=True, reference=turn.reference)


def _without_model(turn: Turn, *, interrupted: bool) -> str:
    text = turn.findings.catalogue_answer(turn.question)
    return f"\n\n{phrases.interrupted(turn.question.language)}\n{text}" if interrupted else text
