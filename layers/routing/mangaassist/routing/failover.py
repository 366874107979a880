"""Walk a route's chain under one deadline until the shopper has an answer.

`Failover.run` yields what happens and never waits longer than the caller's patience in one step, so between any two
happenings the caller can flush text, look for a cancel, and stop the run. The limits of one call live in
`routing/attempt.py`; here is the chain: who is passed over, who is tried, who goes on from whose words.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mangaassist.errors import BackendError, Rejected, StoreUnavailable, Unavailable
from mangaassist.money.prices import Usage, cost_nano_usd
from mangaassist.routing.attempt import Trial
from mangaassist.routing.backends import Backend, Message, ModelCall
from mangaassist.routing.policy import CATALOGUE, Model, Policy, Target
from mangaassist.routing.seam import Seam
from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from datetime import date

    from mangaassist.deadline import Deadline
    from mangaassist.money.ledger import Attempt, Reservation
    from mangaassist.routing.estimates import Estimates
    from mangaassist.routing.prompt import Prompt
    from mangaassist.routing.router import Route
    from mangaassist.routing.situation import Situation

RESTART_BELOW_CHARACTERS = 24  # with less said, beginning again reads better than going on
LATER_TARGET_MARGIN = 2.0  # times its expected first text is kept of the first-text budget for the last model
LATER_TARGET_SHARE = 0.45  # of the whole first-text budget at most
INPUT_MARGIN = 1.5  # a reservation must not fall short of the bill, and token counts are estimates
INPUT_FLOOR_TOKENS = 64  # what the service adds around a conversation


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Another target speaks from here on: `continue` after the text so far, or `restart` without it."""

    kind: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A target failed; its health or saturation may have to know."""

    target: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A target answered."""

    target: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened for as long as the caller wanted to wait."""


type Happening = Text | Switch | Failed | Answered | Tick


class Purse(Protocol):
    """Sets money aside before a call."""

    def reserve(self, nano_usd: int, limit_nano_usd: int) -> Reservation | None:
        """Reserve, or None when the day's limit would be passed; raises StoreUnavailable."""
        ...


class Probes(Protocol):
    """Hands out the one call that may test a target whose breaker is half-open."""

    def acquire(self, target: str) -> bool:
        """Whether this environment may probe now; raises StoreUnavailable."""
        ...


@dataclass(frozen=True)
class Assignment:
    """One turn's work for the chain."""

    route: Route
    prompt: Prompt
    policy: Policy
    situation: Situation
    now_s: float  # epoch seconds at the start of the turn
    today: date  # JST
    deadline: Deadline
    first_text_by: float  # monotonic instant of the promise to the shopper
    catalogue_answer: Callable[[bool], str]  # told whether it follows an interrupted text
    patience_s: Callable[[], float]  # how long the caller can wait at this moment


@dataclass
class Progress:
    """What has come of a run so far; the caller sets `stop` to a finish to end it."""

    text: str = ""  # what the shopper has, from the last restart on
    target: str = CATALOGUE
    model: str = ""
    finish: str = "catalogue"
    attempts: list[Attempt] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    stop: str | None = None


class Failover:
    """The chain's walker, one for all turns of an environment; it holds no state of any."""

    def __init__(self, *, backends: Mapping[str, Backend], estimates: Estimates, purse: Purse, probes: Probes) -> None:
        self._backends = backends
        self._estimates = estimates
        self._purse = purse
        self._probes = probes

    def run(self, work: Assignment, progress: Progress) -> Generator[Happening]:
        """Answer the question; `progress` tells at any moment, and at the end, how it went."""
        reports: list[Happening] = []
        for place, name in enumerate(work.route.chain[:-1]):
            try:
                trial = self._prepare(work, progress, work.policy.targets[name], work.route.chain[place + 1 : -1])
            except StoreUnavailable:
                progress.passed_over.append((name, "no_accounts"))
                break
            if isinstance(trial, str):
                progress.passed_over.append((name, trial))
                continue
            failure = yield from self._try(trial, work, progress, reports)
            if failure is None:
                yield from reports
                return
            if isinstance(failure, Rejected) and not work.policy.targets[name].own_capacity:
                break  # what refuses on demand refuses everywhere; capacity of one's own may refuse for its own sake
        yield from self._catalogue(work, progress)
        yield from reports

    def _prepare(self, work: Assignment, progress: Progress, target: Target, later: tuple[str, ...]) -> Trial | str:
        """A call that is worth making, paid for and limited; or the reason to pass the target over."""
        policy, left_s = work.policy, work.deadline.left_s()
        backend = self._backends.get(target.backend)
        if backend is None:
            return "no_backend"
        if target.quality == "quality" and left_s * 1000 < policy.limits.quality_floor_ms:
            return "too_late_for_quality"
        fitting = self._estimates.tokens_within(target, left_s)
        if fitting < policy.answer.least_tokens:
            return "too_slow_for_deadline"
        waiting_ms = self._silence_s(work, progress, target, later) * 1000
        if waiting_ms < min(0.5 * self._estimates.first_text_ms(target), target.first_text_limit_ms):
            return "too_slow_for_first_text"
        health = work.situation.health.get(target.name)
        if health and health.is_half_open(work.now_s) and not self._probes.acquire(target.name):
            return "probed_elsewhere"
        wanted = max(policy.answer.least_tokens, int(target.max_tokens * work.route.answer_share))
        call = _call(work, progress, target, min(wanted, fitting))
        price = policy.price_of(target.name, work.today) if target.billing == "tokens" else None
        prompt_tokens = _prompt_tokens(call)
        reserve = Usage(int(prompt_tokens * INPUT_MARGIN) + INPUT_FLOOR_TOKENS, call.max_tokens)
        cost = cost_nano_usd(reserve, price) if price else 0
        reservation = self._purse.reserve(cost, policy.budget.daily_nano_usd)
        if reservation is None:
            return "budget_spent"
        return Trial(
            call=call,
            backend=backend,
            deadline=work.deadline,
            silence_s=self._silence_s(work, progress, target, later),  # anew: the tables took their time
            stall_s=policy.limits.stall_ms / 1000,
            prompt_tokens=prompt_tokens,
            price=price,
            reservation=reservation,
        )

    def _silence_s(self, work: Assignment, progress: Progress, target: Target, later: tuple[str, ...]) -> float:
        """How long to wait for the first text: the chain shares one budget, and its last model keeps a part."""
        most_s = min(target.first_text_limit_ms / 1000, work.deadline.left_s())
        if progress.text:
            return most_s
        limits = work.policy.limits
        reserve_ms = float(limits.first_text_reserve_ms)
        if later:
            expected_ms = self._estimates.first_text_ms(work.policy.targets[later[-1]])
            reserve_ms += min(LATER_TARGET_MARGIN * expected_ms, LATER_TARGET_SHARE * limits.first_text_ms)
        return max(0.0, min(most_s, work.first_text_by - work.deadline.monotonic() - reserve_ms / 1000))

    def _try(
        self, trial: Trial, work: Assignment, progress: Progress, reports: list[Happening]
    ) -> Generator[Happening, None, BackendError | None]:
        """Let one target speak; give its failure, or None when the turn is over. Its ledger line is always written."""
        name = trial.call.target.name
        failure: BackendError | None = None
        outcome = "cancelled"
        try:
            yield from self._speak(trial, work, progress, reports)
            outcome = "cancelled" if progress.stop else _outcome(trial)
            progress.finish = progress.stop or trial.finish or "complete"
            self._learn(trial, outcome)
            if trial.first_text_at is not None:
                reports.append(Answered(name))  # also when it was interrupted: it lives
        except BackendError as error:
            failure, outcome = error, error.outcome
            if self._had_its_time(trial, outcome):
                reports.append(Failed(name, outcome))
            if outcome == "silent":
                self._estimates.observe_silence(trial.call.target, trial.total_ms())
        finally:
            progress.attempts.append(trial.account(outcome))
        return failure

    def _speak(
        self, trial: Trial, work: Assignment, progress: Progress, reports: list[Happening]
    ) -> Iterator[Happening]:
        """Pass the target's text on, joined to what was said before it."""
        switch = _switch(trial.call.model, trial.call.target.name, progress)
        seam = Seam(progress.text if switch and switch.kind == "continue" else "")
        with closing(trial.pieces(work.patience_s)) as pieces:
            for piece in pieces:
                if progress.stop:
                    return
                fresh = seam.feed(piece)
                if not fresh:
                    yield Tick()
                    continue
                yield from _say(fresh, switch, trial.call, progress)
                switch = None
                yield from reports  # of earlier targets: telling them takes time, and the shopper comes first
                reports.clear()
        if rest := seam.close():
            yield from _say(rest, switch, trial.call, progress)
        if not trial.text and trial.finish != "filtered":
            raise Unavailable("empty")

    def _had_its_time(self, trial: Trial, outcome: str) -> bool:
        """Whether a failure is the target's: a silence shorter than its usual time to first text is not."""
        return outcome != "silent" or trial.silence_s * 1000 >= self._estimates.first_text_ms(trial.call.target)

    def _learn(self, trial: Trial, outcome: str) -> None:
        first_text_ms = trial.first_text_ms()
        if outcome != "answered" or first_text_ms is None:
            return
        tokens = trial.usage.output_tokens if trial.usage else 0
        self._estimates.observe(
            trial.call.target, first_text_ms=first_text_ms, total_ms=trial.total_ms(), output_tokens=tokens
        )

    def _catalogue(self, work: Assignment, progress: Progress) -> Iterator[Happening]:
        """The end of every chain: what can be said without a model."""
        if progress.stop:
            progress.finish = progress.stop
            return
        if interrupted := bool(progress.text):
            yield Switch("continue", CATALOGUE, progress.attempts[-1].outcome)
        progress.target, progress.model, progress.finish = CATALOGUE, "", "catalogue"
        text = work.catalogue_answer(interrupted)
        progress.text += text
        yield Text(text)


def _call(work: Assignment, progress: Progress, target: Target, max_tokens: int) -> ModelCall:
    model = work.policy.model_of(target.name)
    capacity = work.situation.capacity.get(target.name) if target.published_capacity_only else None
    return ModelCall(
        target=target,
        model=model,
        model_id=capacity.arn if capacity else model.id,
        system=work.prompt.system,
        messages=_messages(work.prompt, progress, model),
        max_tokens=max_tokens,
    )


def _prompt_tokens(call: ModelCall) -> int:
    """Estimated tokens of all that the model is sent, with a little for the roles."""
    return sum(estimate(text) + 4 for text in (call.system, *(message.text for message in call.messages)))


def _messages(prompt: Prompt, progress: Progress, model: Model) -> tuple[Message, ...]:
    if _goes_on(model, progress):
        return prompt.going_on_from(progress.text, prefill=model.prefill)
    return prompt.messages


def _goes_on(model: Model, progress: Progress) -> bool:
    """Whether a model continues the text so far rather than starting again."""
    return bool(progress.text.strip()) and (model.prefill or len(progress.text) >= RESTART_BELOW_CHARACTERS)


def _switch(model: Model, target: str, progress: Progress) -> Switch | None:
    if not progress.text:
        return None
    kind = "continue" if _goes_on(model, progress) else "restart"
    return Switch(kind, target, progress.attempts[-1].outcome)


def _say(text: str, switch: Switch | None, call: ModelCall, progress: Progress) -> Iterator[Happening]:
    if switch:
        yield switch
        if switch.kind == "restart":
            progress.text = ""
    progress.target, progress.model = call.target.name, call.model_id
    progress.text += text
    yield Text(text)


def _outcome(trial: Trial) -> str:
    return trial.finish if trial.finish in ("deadline", "filtered") else "answered"
