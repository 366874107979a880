"""Walk a day's messages through the real router, budget, breaker and prices.

What is simulated is the models: when their first text comes, how long they speak, when they fail, and how much capacity
there is. All environments share one view of the situation, read anew every `situation_ttl_ms`, as in operation.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from typing import TYPE_CHECKING

from mangaassist.advice.latency import OVERHEAD_MS
from mangaassist.advice.profile import PLACES_PER_INSTANCE
from mangaassist.jst import JST, jst
from mangaassist.money.book import HOSTING, price_book
from mangaassist.money.prices import Usage, cost_nano_usd
from mangaassist.routing import health
from mangaassist.routing.failover import INPUT_FLOOR_TOKENS, INPUT_MARGIN, LATER_TARGET_MARGIN, LATER_TARGET_SHARE
from mangaassist.routing.policy import CATALOGUE
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Capacity, Health, Situation
from simulator.arrivals import questions
from simulator.capacity import Places, Units
from simulator.outcome import Answer, Bought, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from mangaassist.money.rates import Price
    from mangaassist.routing.policy import Policy, Target
    from mangaassist.routing.router import Route
    from simulator.arrivals import Arrivals

TELL_EVERY = 10_000  # messages
REGION, INSTANCE = "ap-northeast-1", f"{HOSTING}ml.g5.2xlarge"  # of an endpoint as the template makes it


@dataclass(frozen=True, slots=True)
class Fault:
    """A share of a target's calls fails: `throttled` at once, `silent` after its time for the first text."""

    target: str
    kind: str
    share: float


@dataclass(frozen=True, slots=True)
class Setting:
    """What a day happens in."""

    policy: Policy
    day: date
    faults: Sequence[Fault] = ()
    endpoint_instances: int = 0  # none: there is no endpoint
    units_are_bought: bool = True


@dataclass(slots=True)
class Day:
    """One simulated day under one policy."""

    setting: Setting
    arrivals: Arrivals
    outcome: Outcome = field(default_factory=Outcome)
    committed_nano_usd: int = 0
    _settlements: list[tuple[float, int]] = field(default_factory=list)
    _health: dict[str, Health] = field(default_factory=dict)
    _saturated_until_s: dict[str, float] = field(default_factory=dict)
    _units: dict[str, Units] = field(default_factory=dict)
    _capacity: dict[str, Capacity] = field(default_factory=dict)
    _prices: dict[str, Price] = field(default_factory=dict)
    _faults: dict[str, Fault] = field(default_factory=dict)
    _places: Places = field(default_factory=lambda: Places(0))
    _midnight_s: float = 0.0

    def __post_init__(self) -> None:
        setting, policy = self.setting, self.setting.policy
        self._midnight_s = datetime.combine(setting.day, time(), JST).timestamp()
        self._places = Places(setting.endpoint_instances * PLACES_PER_INSTANCE)
        self._faults = {fault.target: fault for fault in setting.faults}
        self._prices = {name: policy.price_of(name, setting.day) for name in policy.targets}

    def run(self, on_share: Callable[[float], object] = lambda share: None) -> Outcome:
        """Let the day pass; `on_share` is told now and then how much of it is over."""
        asked, came = questions(), self.arrivals
        ttl_s = self.setting.policy.limits.situation_ttl_ms / 1000
        situation, read_again_s = Situation(), -1.0
        drawn = (came.input_tokens, came.output_tokens, came.luck, came.second_luck, came.chance)
        rows = zip(*(column.tolist() for column in (came.second, came.kind, *drawn)), strict=True)
        for number, (second, kind, *draw) in enumerate(rows):
            self._settle(second)
            now = jst(self._midnight_s + second)
            if second >= read_again_s:
                situation, read_again_s = self._situation(now), second + ttl_s
            route = decide(asked[kind], situation, self.setting.policy, now)
            answer = self._answer(route, second, _Draw(*draw))
            self.outcome.turn(now.hour, kind, route, answer, self.committed_nano_usd)
            if number % TELL_EVERY == 0:
                on_share(number / len(came.second))
        self._settle(float("inf"))
        self._close()
        on_share(1.0)
        return self.outcome

    def _close(self) -> None:
        setting = self.setting
        quote = price_book().quote(INSTANCE, REGION, setting.day)
        endpoint = Bought(setting.endpoint_instances, quote) if setting.endpoint_instances else None
        units = setting.units_are_bought
        self.outcome.close(setting.policy, self.committed_nano_usd, units_are_bought=units, endpoint=endpoint)

    # -- the world -----------------------------------------------------------------------------------------------------

    def _settle(self, second: float) -> None:
        """Put what the answers that are over cost in place of what was set aside for them."""
        while self._settlements and self._settlements[0][0] <= second:
            self.committed_nano_usd += heapq.heappop(self._settlements)[1]

    def _situation(self, now: datetime) -> Situation:
        policy = self.setting.policy
        window = policy.window_at(now) if self.setting.units_are_bought else None
        self._capacity = {}
        if window is not None and (offer := policy.model_of(window.target).provisioned):
            until_s = now.timestamp() + 60
            saturated_s = self._saturated_until_s.get(window.target, 0.0)
            self._capacity[window.target] = Capacity("arn", window.units, until_s, saturated_s, window.name)
            self._units.setdefault(window.name, Units(window.units * offer.unit_tokens_per_minute))
        backends = ("bedrock", "sagemaker") if self.setting.endpoint_instances else ("bedrock",)
        return Situation(self.committed_nano_usd, self._capacity, dict(self._health), frozenset(backends))

    # -- one turn ------------------------------------------------------------------------------------------------------

    def _answer(self, route: Route, second: float, draw: _Draw) -> Answer:
        """Walk the chain, as `routing/failover.py` does, until somebody answers."""
        targets, waited_ms = self.setting.policy.targets, float(OVERHEAD_MS)
        later = route.chain[-2] if len(route.chain) > 1 else ""
        for name in route.chain[:-1]:
            target = targets[name]
            silence_ms = self._silence_ms(target, waited_ms, targets[later] if later != name else None)
            first_ms = target.estimate.first_text_ms * draw.luck
            outcome, first_ms = self._call(route, target, second, draw, first_ms, silence_ms)
            if outcome == "answered":
                return Answer(name, target.quality, waited_ms + first_ms)
            self.outcome.fell_back(name, outcome)
            waited_ms += first_ms
            draw.luck = draw.second_luck
            draw.chance = (draw.chance * 7919) % 1  # the next call has a chance of its own
        return Answer(CATALOGUE, "", min(waited_ms, self.setting.policy.limits.first_text_ms))

    def _silence_ms(self, target: Target, waited_ms: float, last: Target | None) -> float:
        limits = self.setting.policy.limits
        kept_ms = float(limits.first_text_reserve_ms)
        if last is not None:
            expected_ms = LATER_TARGET_MARGIN * last.estimate.first_text_ms
            kept_ms += min(expected_ms, LATER_TARGET_SHARE * limits.first_text_ms)
        return max(0.0, min(target.first_text_limit_ms, limits.first_text_ms - waited_ms - kept_ms))

    def _call(
        self, route: Route, target: Target, second: float, draw: _Draw, first_ms: float, silence_ms: float
    ) -> tuple[str, float]:
        """What becomes of a call, and how long the shopper waited for that."""
        if silence_ms < min(0.5 * target.estimate.first_text_ms, target.first_text_limit_ms):
            return "too_slow_for_first_text", 0.0
        tokens_out = max(1, int(draw.output_tokens * route.answer_share))
        refusal = self._refusal(target, second, draw, tokens_out)
        if refusal:
            return refusal, 0.0
        reserved = self._reserve(target, draw.input_tokens, int(target.max_tokens * route.answer_share))
        if reserved is None:
            return "budget_spent", 0.0
        fault = self._faults.get(target.name)
        hangs = fault is not None and fault.kind == "silent" and draw.chance < fault.share
        if hangs or first_ms > silence_ms:
            self._charge(target, second + silence_ms / 1000, reserved, Usage(draw.input_tokens, 0))
            if silence_ms >= target.estimate.first_text_ms:  # else it was not given its time
                self._failed(target.name, "silent", second)
            return "silent", silence_ms
        ends_s = second + (first_ms + tokens_out * target.estimate.token_ms) / 1000
        if target.backend == "sagemaker":
            self._places.take(ends_s)
            self.outcome.answering(ends_s - second)
        self._charge(target, ends_s, reserved, Usage(draw.input_tokens, tokens_out))
        self._health.pop(target.name, None)
        return "answered", first_ms

    def _refusal(self, target: Target, second: float, draw: _Draw, tokens_out: int) -> str:
        """Why a call is refused at once; empty when it is not."""
        now_s, known = self._midnight_s + second, self._health.get(target.name)
        if known is not None:
            if known.is_open(now_s):
                return "breaker_open"
            if known.is_half_open(now_s):
                probe_s = self.setting.policy.breaker.probe_ms / 1000
                self._health[target.name] = replace(known, probe_until_s=now_s + probe_s)
        fault = self._faults.get(target.name)
        if fault is not None and fault.kind == "throttled" and draw.chance < fault.share:
            return "throttled"
        if target.backend == "sagemaker":
            return "" if self._places.free(second) else "throttled"
        if not target.published_capacity_only:
            return ""
        capacity = self._capacity.get(target.name)
        if capacity is None:
            return "withdrawn"
        tokens = draw.input_tokens + tokens_out
        if self._units[capacity.window].take(tokens, second):
            self.outcome.used(capacity.window, int(second // 3600), tokens)
            return ""
        self._saturated_until_s[target.name] = now_s + self.setting.policy.limits.saturated_ms / 1000
        return "throttled"

    def _failed(self, name: str, outcome: str, second: float) -> None:
        before, now_s = self._health.get(name, Health()), self._midnight_s + second
        self._health[name] = health.after_failure(before, outcome, self.setting.policy.breaker, now_s)

    # -- money ---------------------------------------------------------------------------------------------------------

    def _reserve(self, target: Target, input_tokens: int, max_tokens: int) -> int | None:
        """Set aside what a call may cost at most; None when the day's budget would be passed."""
        if target.billing == "hours":
            return 0
        most = Usage(int(input_tokens * INPUT_MARGIN) + INPUT_FLOOR_TOKENS, max_tokens)
        amount = cost_nano_usd(most, self._prices[target.name])
        if self.committed_nano_usd + amount > self.setting.policy.budget.daily_nano_usd:
            return None
        self.committed_nano_usd += amount
        return amount

    def _charge(self, target: Target, ends_s: float, reserved: int, usage: Usage) -> None:
        cost = 0 if target.billing == "hours" else cost_nano_usd(usage, self._prices[target.name])
        self.outcome.charged(target.name, min(23, int(ends_s // 3600)), cost)
        heapq.heappush(self._settlements, (ends_s, cost - reserved))


@dataclass(slots=True)
class _Draw:
    """What a message drew."""

    input_tokens: int
    output_tokens: int
    luck: float
    second_luck: float
    chance: float
