"""What a shopper may want after asking: a turn's frames again, its end, to say how it was, or all of it forgotten."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from mangaassist.chat import phrases
from mangaassist.chat.delivery import Delivery
from mangaassist.metric import Metric
from mangaassist.observability import measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangaassist.chat.delivery import Poster
    from mangaassist.chat.sessions import SessionStore
    from mangaassist.chat.turns import TurnStore

DIED_AFTER_S = 3.0  # past its deadline; a running turn ends before
REPLAY_LIMIT_S = 10.0


class Followup:
    """Serves resume, cancel, feedback and forget.

    Every method raises StoreUnavailable, and those that take a turn InvalidRequest("turn_unknown").
    """

    def __init__(
        self,
        turns: TurnStore,
        sessions: SessionStore,
        poster: Poster,
        *,
        now_s: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._turns = turns
        self._sessions = sessions
        self._poster = poster
        self._now_s = now_s
        self._monotonic = monotonic
        self._sleep = sleep

    def resume(self, turn_id: str, user_id: str, connection_id: str, *, after: int) -> None:
        """Send the frames after `after`: from the record of a turn that is over; a running one reads this wish.

        A turn that died without its last frame gets one here, so that no client waits for ever.
        """
        wish_id = str(uuid.uuid4())
        record = self._turns.resume(turn_id, user_id, wish_id=wish_id, connection_id=connection_id, after=after)
        died = not record.done and self._now_s() > record.deadline_s + DIED_AFTER_S
        if not record.done and not died:
            return
        delivery = Delivery(
            self._poster,
            connection_id=connection_id,
            turn_id=turn_id,
            until=self._monotonic() + REPLAY_LIMIT_S,
            monotonic=self._monotonic,
            sleep=self._sleep,
        )
        if died:
            measure(Metric.TurnDied)
            delivery.take_over([""] * (after + 1), after)
            text = phrases.sentence("turn_lost", None)
            delivery.frame("error", code="turn_lost", message=text, retryable=True, reference=turn_id)
        else:
            delivery.take_over(record.frames, after)
        delivery.drain()

    def cancel(self, turn_id: str, user_id: str) -> None:
        """Stop a running turn; without effect on one that is over."""
        self._turns.cancel(turn_id, user_id)
        measure(Metric.CancelRequested)

    def rate(self, turn_id: str, user_id: str, rating: str) -> None:
        """Keep the shopper's rating of an answer."""
        self._turns.rate(turn_id, user_id, rating)
        measure(Metric.FeedbackUp if rating == "up" else Metric.FeedbackDown)

    def forget(self, session_id: str, user_id: str, *, in_time: Callable[[], bool]) -> None:
        """Delete what this user said in a session and was answered; one of another holds nothing of it.

        The memory goes first: from then on no turn that began before can write into it.
        """
        self._sessions.forget(session_id, user_id)
        self._turns.forget(session_id, user_id, in_time=in_time)
        measure(Metric.SessionsForgotten)
