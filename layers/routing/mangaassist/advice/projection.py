"""What a pattern costs in a month, with its parts, what shoppers would wait, and whether its capacity fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.advice.latency import latency
from mangaassist.advice.load import load_of
from mangaassist.advice.patterns import ENDPOINT, PATTERNS, STANDS_FOR
from mangaassist.advice.terms import DAYS_PER_MONTH, HOURS_PER_MONTH
from mangaassist.errors import PriceUnknown
from mangaassist.money.book import HOSTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mangaassist.advice.latency import Latency
    from mangaassist.advice.load import Load
    from mangaassist.advice.patterns import Pattern, Plan, Units
    from mangaassist.advice.profile import Profile
    from mangaassist.advice.terms import Terms

MODELS, AROUND = "models", "around"


@dataclass(frozen=True, slots=True)
class Cost:
    """A part of the month's bill: of the models, or of what is around them."""

    group: str
    name: str
    monthly_usd: float
    verified: bool
    source: str


@dataclass(frozen=True, slots=True)
class Projection:
    """A pattern under a profile; without costs where an obstacle keeps it from being had."""

    pattern: Pattern
    plan: Plan
    costs: tuple[Cost, ...] = ()
    latency: Latency | None = None
    has_quality: bool = False  # a target of the quality class answers, too
    foreign: tuple[str, ...] = ()  # units of other models than those they stand in for, in words
    obstacle: str = ""

    @property
    def monthly_usd(self) -> float:
        """Everything that the projection counts."""
        return sum(cost.monthly_usd for cost in self.costs)

    @property
    def models_usd(self) -> float:
        """Of it, tokens, units and instances."""
        return sum(cost.monthly_usd for cost in self.costs if cost.group == MODELS)

    @property
    def is_verified(self) -> bool:
        """Whether every price in it was confirmed."""
        return bool(self.costs) and all(cost.verified for cost in self.costs)


def project(profile: Profile, terms: Terms) -> tuple[Projection, ...]:
    """Every pattern under a profile."""
    load = load_of(profile)
    return tuple(projected(pattern, load, profile, terms) for pattern in PATTERNS)


def projected(pattern: Pattern, load: Load, profile: Profile, terms: Terms) -> Projection:
    """One pattern; what it cannot be had for is told as its obstacle."""
    plan = pattern.plan(load, profile, terms)
    if obstacle := plan.obstacle or _has_ended(plan, terms):
        return Projection(pattern, plan, obstacle=obstacle)
    waits = latency(plan.served, terms.policy, load.output_tokens)
    try:
        models = [*_tokens(plan, load, terms), *_units(plan, terms), *_instances(plan, profile, terms)]
        around = _around(plan, load, profile, terms, waits)
        foreign = tuple(_foreign(plan, terms))
        return Projection(pattern, plan, (*models, *around), waits, _has_quality(plan, terms), foreign)
    except PriceUnknown as error:
        return Projection(pattern, plan, obstacle=str(error))


def _has_ended(plan: Plan, terms: Terms) -> str:
    """That a model it needs is not there any more on the day of the projection."""
    needed = dict.fromkeys((*(name for name, count in plan.served.items() if count), *(it.target for it in plan.units)))
    for name in needed:
        if name in terms.policy.targets and terms.policy.targets[name].backend == "bedrock":
            end = terms.policy.model_of(name).end_of_life
            if end is not None and end <= terms.day:
                return f"{terms.policy.targets[name].model} reached its end of life on {end}"
    return ""


def _foreign(plan: Plan, terms: Terms) -> Iterator[str]:
    targets = terms.policy.targets
    for units in plan.units:
        bought, instead = targets[units.target], targets[STANDS_FOR[units.target]]
        if bought.model != instead.model:
            yield f"{bought.model} in {bought.region} for {instead.model} in {instead.region}"


def _has_quality(plan: Plan, terms: Terms) -> bool:
    targets = terms.policy.targets
    return any(targets[name].quality == "quality" for name, count in plan.served.items() if count and name in targets)


def unit_hour_usd(units: Units, terms: Terms) -> float:
    """What one unit costs an hour under its commitment."""
    return float(terms.offer(units.target).unit_hour_usd_for(units.commitment))


def _tokens(plan: Plan, load: Load, terms: Terms) -> Iterator[Cost]:
    for target, messages in plan.served.items():
        if messages and target in terms.policy.targets and terms.policy.targets[target].billing == "tokens":
            price = terms.price(target)
            each_usd = terms.message_usd(target, load.input_tokens, load.output_tokens)
            monthly = messages * DAYS_PER_MONTH * each_usd
            yield Cost(MODELS, f"tokens of {target}", monthly, price.verified, price.source)


def _units(plan: Plan, terms: Terms) -> Iterator[Cost]:
    for bought in plan.units:
        offer = terms.offer(bought.target)
        monthly = bought.units * bought.hours_per_day * DAYS_PER_MONTH * unit_hour_usd(bought, terms)
        name = f"{bought.units} model unit{'s' if bought.units > 1 else ''} of {bought.target}"
        yield Cost(MODELS, name, monthly, offer.verified, offer.source)


def _instances(plan: Plan, profile: Profile, terms: Terms) -> Iterator[Cost]:
    if plan.instances is None:
        return
    quote = terms.book.quote(f"{HOSTING}{profile.instance_type}", profile.region, terms.day)
    monthly = plan.instances.hours_per_day * DAYS_PER_MONTH * quote.usd
    yield Cost(MODELS, f"{profile.instance_type} for {ENDPOINT}", monthly, quote.verified, quote.source)


def _around(plan: Plan, load: Load, profile: Profile, terms: Terms, waits: Latency | None) -> Iterator[Cost]:
    """The gateway, the functions and the tables: the same for every pattern but for how long a function waits."""
    it, turns = terms.assumed, profile.messages_per_day * DAYS_PER_MONTH / 1e6  # a month's, in millions
    answer_s = waits.answer_ms / 1000 if waits else 0.0
    asked = load.messages * DAYS_PER_MONTH / 1e6
    amounts = {
        "websocket.messages": turns * (1 + it.posts),
        "websocket.connection_minutes": turns * it.connection_minutes,
        "lambda.requests": turns * it.function_runs,
        "lambda.arm64": asked * answer_s * it.memory_gb,
        "dynamodb.writes": turns * it.table_writes,
        "dynamodb.reads": turns * it.table_reads,
    }
    if profile.search:
        amounts["opensearch.ocu"] = it.search_units * HOURS_PER_MONTH
    for name, amount in amounts.items():
        quote = terms.book.quote(name, profile.region, terms.day)
        yield Cost(AROUND, name, amount * quote.usd, quote.verified, quote.source)
