"""One short call of a target on the way that turns take, paid for like theirs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from mangaassist.deadline import Deadline
from mangaassist.errors import BackendError, Unavailable
from mangaassist.jst import jst
from mangaassist.money.ledger import TurnAccount
from mangaassist.money.prices import Usage, cost_nano_usd
from mangaassist.routing.attempt import Trial
from mangaassist.routing.backends import Message, ModelCall

if TYPE_CHECKING:
    from mangaassist.clock import Clock
    from mangaassist.money.ledger import Ledger
    from mangaassist.routing.backends import Backend
    from mangaassist.routing.policy import Policy, Target

SAID = "Say OK."
SAID_TOKENS = 16  # more than it is anywhere
MOST_TOKENS = 8
LIMIT_S = 20.0
TRIES = 3
PAUSE_S = 2.0
USER = "lifecycle"  # in the ledger, where a shopper's name would be
NOT_PAID = "budget_spent"  # the outcome of a probe that the day's money does not allow


class Prober:
    """Calls a target, up to three times before it counts as failed."""

    def __init__(self, backend: Backend, ledger: Ledger, clock: Clock) -> None:
        self._backend = backend
        self._ledger = ledger
        self._clock = clock

    def probe(self, target: Target, policy: Policy) -> str:
        """The outcome: `answered`, or how the last call failed. Raises StoreUnavailable."""
        outcome, final = self._call(target, policy)
        for _ in range(1, TRIES):
            if final:
                break
            self._clock.sleep(PAUSE_S)
            outcome, final = self._call(target, policy)
        return outcome

    def _call(self, target: Target, policy: Policy) -> tuple[str, bool]:
        """One call and its account; whether another one could not tell more."""
        today = jst(self._clock.now_s()).date()
        price = policy.price_of(target.name, today) if target.billing == "tokens" else None
        worst = cost_nano_usd(Usage(SAID_TOKENS, MOST_TOKENS), price) if price else 0
        reservation = self._ledger.reserve(worst, policy.budget.daily_nano_usd)
        if reservation is None:
            return NOT_PAID, True
        model = policy.models[target.model]
        now = self._clock.monotonic()
        trial = Trial(
            call=ModelCall(target, model, model.id, "", (Message("user", SAID),), MOST_TOKENS),
            backend=self._backend,
            deadline=Deadline(at=now + LIMIT_S, arrived_at=now, monotonic=self._clock.monotonic),
            silence_s=LIMIT_S / 2,
            stall_s=LIMIT_S / 2,
            prompt_tokens=SAID_TOKENS,
            price=price,
            reservation=reservation,
        )
        outcome, final = _heard(trial)
        self._settle(trial, outcome)
        return outcome, final

    def _settle(self, trial: Trial, outcome: str) -> None:
        attempt = trial.account(outcome)
        self._ledger.settle(
            TurnAccount(
                turn_id=f"probe-{uuid.uuid4()}",
                run_id=uuid.uuid4().hex,
                user_id=USER,
                reason="probe",
                finish=outcome,
                first_text_ms=attempt.first_text_ms,
                total_ms=attempt.total_ms,
                attempts=(attempt,),
            )
        )


def _heard(trial: Trial) -> tuple[str, bool]:
    try:
        for _ in trial.pieces(lambda: LIMIT_S):
            pass
    except Unavailable as error:
        return error.outcome, error.outcome in ("throttled", "retired")
    except BackendError as error:
        return error.outcome, True
    return "answered", True
