"""The deployment patterns: who would answer which message in which hour, and what is bought for that.

Where the router decides, it decides here too: on demand, hybrid and the JST schedule are its own rules, under what each
pattern deploys. Provisioned and SageMaker alone are what-ifs that it has no rules for.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from mangaassist.advice.load import KINDS
from mangaassist.capacity.sizing import FULL_SHARE
from mangaassist.jst import JST
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Capacity, Situation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mangaassist.advice.load import Load
    from mangaassist.advice.profile import Commitment, Profile
    from mangaassist.advice.terms import Terms
    from mangaassist.routing.policy import Policy, Window

ENDPOINT = "sagemaker-custom"
BY_CLASS = {"complex": "provisioned-sonnet", "catalogue": "provisioned-haiku", "simple": "provisioned-haiku"}
LEAD = timedelta(minutes=30)  # before a window, in which units are paid for and do not serve yet (CapacityLeadMinutes)

type Service = Literal["bedrock", "sagemaker"]
WITH_ENDPOINT: tuple[Service, ...] = ("bedrock", "sagemaker")
STANDS_FOR = {"provisioned-sonnet": "ondemand-sonnet", "provisioned-haiku": "ondemand-haiku"}  # units, and on demand


@dataclass(frozen=True, slots=True)
class Units:
    """Model units bought for a target; `peak_tokens_per_minute` is what its busiest minute asks of them."""

    target: str
    units: int
    hours_per_day: float
    commitment: Commitment
    peak_tokens_per_minute: float
    used_share: float  # of what they can carry while they serve


@dataclass(frozen=True, slots=True)
class Instances:
    """An endpoint's instances, scaled by the hour."""

    least: int
    most: int
    hours_per_day: float
    used_share: float  # of their places


@dataclass(frozen=True, slots=True)
class Plan:
    """A pattern applied to a load: messages of a day by target, and what is bought; or why it cannot be had."""

    served: Mapping[str, float] = field(default_factory=dict)
    units: tuple[Units, ...] = ()
    instances: Instances | None = None
    spilled: float = 0.0  # messages that capacity had no room for, answered on demand
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way to deploy: its key, its name, and how it serves a load."""

    key: str
    title: str
    plan: Callable[[Load, Profile, Terms], Plan]
    commitment: Commitment = "none"


def on_demand(load: Load, profile: Profile, terms: Terms) -> Plan:
    """Every message pays for its tokens."""
    del profile
    return Plan(served=_routed(load, _without_windows(terms.policy), ("bedrock",)).served)


def provisioned(commitment: Commitment) -> Callable[[Load, Profile, Terms], Plan]:
    """Model units of both classes around the clock, enough for the busiest minute."""

    def plan(load: Load, profile: Profile, terms: Terms) -> Plan:
        del profile
        bought: list[Units] = []
        served: dict[str, float] = {}
        for target in dict.fromkeys(BY_CLASS.values()):
            hourly = load.of(*(kind for kind, its in BY_CLASS.items() if its == target))
            if not sum(hourly):
                continue
            if obstacle := _cannot_be_bought(target, commitment, terms.policy):
                return Plan(obstacle=obstacle)
            bought.append(_around_the_clock(target, hourly, load, terms, commitment))
            served[target] = sum(hourly)
        return Plan(served=served, units=tuple(bought))

    return plan


def sagemaker(load: Load, profile: Profile, terms: Terms) -> Plan:
    """Every message goes to the endpoint."""
    hourly = load.of(*KINDS)
    return _with_endpoint(Plan(served={ENDPOINT: sum(hourly)}), hourly, load, profile, terms)


def hybrid(load: Load, profile: Profile, terms: Terms) -> Plan:
    """Questions about the catalogue go to the endpoint, all others pay for their tokens."""
    routed = _routed(load, _without_windows(terms.policy), WITH_ENDPOINT)
    if not any(routed.endpoint):
        return Plan(obstacle="no question would go to the endpoint, so it is the same as on demand")
    return _with_endpoint(Plan(served=routed.served), routed.endpoint, load, profile, terms)


def scheduled(load: Load, profile: Profile, terms: Terms) -> Plan:
    """The same, with the policy's windows served by model units that exist only then."""
    policy = terms.policy
    if obstacle := _no_schedule(policy):
        return Plan(obstacle=obstacle)
    routed = _routed(load, policy, WITH_ENDPOINT)
    plan = Plan(served=routed.served, units=_of_windows(routed, load, policy), spilled=routed.spilled)
    return _with_endpoint(plan, routed.endpoint, load, profile, terms)


def windows_units(load: Load, terms: Terms, with_endpoint: bool) -> tuple[Units, ...]:
    """What a day asks of each window's units, with an endpoint beside them or without; none where none can be had."""
    if _no_schedule(terms.policy):
        return ()
    return _of_windows(
        _routed(load, terms.policy, WITH_ENDPOINT if with_endpoint else ("bedrock",)), load, terms.policy
    )


def _no_schedule(policy: Policy) -> str:
    """Why the policy's windows cannot be had, if they cannot."""
    if not policy.windows:
        return "the policy has no windows, so it is the same as hybrid"
    for window in policy.windows:
        if obstacle := _cannot_be_bought(window.target, "none", policy):
            return f"window {window.name}: {obstacle}"
    return ""


def _of_windows(routed: _Routed, load: Load, policy: Policy) -> tuple[Units, ...]:
    return tuple(_of_window(window.name, routed, load, policy) for window in policy.windows)


PATTERNS = (
    Pattern("on-demand", "on demand", on_demand),
    Pattern("provisioned", "provisioned, no commitment", provisioned("none")),
    Pattern("provisioned-1-month", "provisioned, 1 month", provisioned("OneMonth"), "OneMonth"),
    Pattern("provisioned-6-months", "provisioned, 6 months", provisioned("SixMonths"), "SixMonths"),
    Pattern("sagemaker", "SageMaker endpoint", sagemaker),
    Pattern("hybrid", "hybrid", hybrid),
    Pattern("hybrid-scheduled", "hybrid, JST schedule", scheduled),
)


# -- what the router does with a day -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Routed:
    """A day's messages by target, by hour where the endpoint is asked, and what each window's units are for."""

    served: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    endpoint: list[float] = field(default_factory=lambda: [0.0] * 24)
    spilled: float = 0.0
    carried: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # messages, by a window's units
    busiest: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # messages an hour that want them


def _routed(load: Load, policy: Policy, backends: tuple[Service, ...]) -> _Routed:
    routed = _Routed()
    spans = _spans(policy.windows)
    chains = {name: _chains(policy, name, frozenset(backends)) for span in spans for name in span}
    for hour, (asked, span) in enumerate(zip(load.hours, spans, strict=True)):
        for window, share in span.items():
            here = {kind: count * share for kind, count in asked.items()}
            room = _room(policy, window) * share / load.tokens
            wanted = _serve(routed, here, chains[window], policy, window, room)
            routed.busiest[window] = max(routed.busiest[window], wanted / share)
            routed.endpoint[hour] += sum(count for kind, count in here.items() if chains[window][kind][0] == ENDPOINT)
    return routed


def _serve(
    routed: _Routed,
    asked: Mapping[str, float],
    chains: Mapping[str, tuple[str, ...]],
    policy: Policy,
    window: str,
    room: float,
) -> float:
    """Units take the complex questions first, as the router keeps simple ones off full units; what they were asked."""
    wanted = 0.0
    for kind in KINDS:
        count, (first, *others) = asked[kind], chains[kind]
        if first in policy.targets and policy.targets[first].published_capacity_only:
            taken = min(count, room)
            spilled = count - taken
            wanted, room, count = wanted + count, room - taken, taken
            routed.carried[window] += taken
            routed.served[others[0]] += spilled
            routed.spilled += spilled
        routed.served[first] += count
    return wanted


def _chains(policy: Policy, window: str, backends: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Where the router sends each kind while a window's units serve."""
    midnight = datetime.combine(datetime(2026, 1, 1, tzinfo=JST), time(), JST)
    minute = next(it for it in range(24 * 60) if _window_name(policy.windows, it) == window)
    now = midnight + timedelta(minutes=minute)
    until_s = (now + timedelta(days=1)).timestamp()
    capacity = {it.target: Capacity("", it.units, until_s) for it in policy.windows if it.name == window}
    situation = Situation(capacity=capacity, backends=backends)
    return {kind: decide(question, situation, policy, now).chain for kind, question in KINDS.items()}


@lru_cache(maxsize=16)
def _spans(windows: tuple[Window, ...]) -> tuple[Mapping[str, float], ...]:
    """What share of each hour lies in which window ("" for none); asked again for every volume."""
    minutes = ([_window_name(windows, hour * 60 + minute) for minute in range(60)] for hour in range(24))
    return tuple({name: count / 60 for name, count in Counter(hour).items()} for hour in minutes)


def _window_name(windows: tuple[Window, ...], minute: int) -> str:
    return next((window.name for window in windows if window.contains(minute)), "")


def _without_windows(policy: Policy) -> Policy:
    return policy.but(windows=())


# -- what is bought ----------------------------------------------------------------------------------------------------


def units_for(tokens_per_minute: float, unit_tokens_per_minute: int) -> int:
    """Model units for a busy minute, each asked for at most FULL_SHARE of its throughput."""
    return max(1, math.ceil(tokens_per_minute / (FULL_SHARE * unit_tokens_per_minute)))


def _room(policy: Policy, window: str) -> float:
    """Tokens an hour that a window's units carry."""
    for it in policy.windows:
        if it.name == window and (offer := policy.model_of(it.target).provisioned):
            return it.units * offer.unit_tokens_per_minute * 60
    return 0.0


def _cannot_be_bought(target: str, commitment: Commitment, policy: Policy) -> str:
    offer = policy.model_of(target).provisioned
    if offer is None:
        return f"{policy.targets[target].model} is not sold by the model unit"
    if commitment != "none" and commitment not in offer.committed_unit_hour_usd:
        return f"the policy has no price of {policy.targets[target].model} for {commitment}"
    return ""


def _around_the_clock(
    target: str, hourly: tuple[float, ...], load: Load, terms: Terms, commitment: Commitment
) -> Units:
    offer = terms.offer(target)
    peak = load.busiest_tokens_per_minute(hourly)
    units = units_for(peak, offer.unit_tokens_per_minute)
    carried = units * offer.unit_tokens_per_minute * 60 * 24
    return Units(target, units, 24.0, commitment, peak, sum(hourly) * load.tokens / carried)


def _of_window(name: str, routed: _Routed, load: Load, policy: Policy) -> Units:
    window = next(it for it in policy.windows if it.name == name)
    served_h = len(window.minutes()) / 60
    carried = _room(policy, name) * served_h
    return Units(
        target=window.target,
        units=window.units,
        hours_per_day=served_h + LEAD.total_seconds() / 3600,
        commitment="none",
        peak_tokens_per_minute=routed.busiest[name] / 60 * load.burst * load.tokens,
        used_share=routed.carried[name] * load.tokens / carried,
    )


def _with_endpoint(
    plan: Plan, hourly: list[float] | tuple[float, ...], load: Load, profile: Profile, terms: Terms
) -> Plan:
    """Add the instances that each hour's messages for the endpoint need; one at least, if it is asked at all."""
    if not any(hourly):
        return plan
    estimate = terms.policy.targets[ENDPOINT].estimate
    each_s = (estimate.first_text_ms + load.output_tokens * estimate.token_ms) / 1000
    busy = [messages / 3600 * each_s for messages in hourly]  # places taken on average
    counts = [max(1, math.ceil(places * load.burst / (FULL_SHARE * profile.instance_places))) for places in busy]
    used = sum(busy) / (sum(counts) * profile.instance_places)
    instances = Instances(min(counts), max(counts), float(sum(counts)), used)
    return Plan(plan.served, plan.units, instances, plan.spilled, plan.obstacle)
