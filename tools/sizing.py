"""What a day of messages asks of a deployment and of an account: turns at once, throttles, and quotas.

The busiest hour is the routing policy's curve of the day, how long a turn takes its estimates of the targets.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mangaassist.routing.policy import Policy, Target

HOUR_S = 3600
UNRESERVED = 100  # concurrency that Lambda keeps from being reserved
OUTPUT_BURNS = 5  # tokens of an output token against the quota, of Claude from 3.7 on
GEOGRAPHIES = ("jp", "apac", "us", "eu")


@dataclass(frozen=True)
class Traffic:
    """A day's messages; all but their number are assumptions, to be put right by what the dashboard shows."""

    messages: int = 1_000_000
    surge: float = 1.5  # of the busiest minute over the busiest hour's mean
    slow: float = 2.0  # of a turn on a bad day over a turn as estimated
    complex_share: float = 0.1
    input_tokens: int = 350
    output_tokens: int = 150
    messages_per_connection: int = 4
    posts_per_turn: int = 8


@dataclass(frozen=True)
class Load:
    """What the busiest hour and its busiest minute bring."""

    turns_per_s: float  # the hour's mean
    surge_per_s: float
    turn_s: float

    @property
    def turns_at_once(self) -> float:
        """Turns under way, as a mean of the busiest hour: arrivals times how long each stays."""
        return self.turns_per_s * self.turn_s


@dataclass(frozen=True)
class Limits:
    """What a deployment's parameters say."""

    throttle_rate: int
    throttle_burst: int
    reserved: int  # 0: what the account has
    provisioned: int
    provisioned_peak: int
    is_provisioned: bool
    user_per_minute: int

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Limits:
        """Read them from all parameters of a stack."""
        return cls(
            throttle_rate=int(parameters["ThrottleRate"]),
            throttle_burst=int(parameters["ThrottleBurst"]),
            reserved=int(parameters["ReservedConcurrency"]),
            provisioned=int(parameters["ProvisionedConcurrency"]),
            provisioned_peak=int(parameters["PeakProvisionedConcurrency"]),
            is_provisioned=parameters["ColdStart"] == "provisioned",
            user_per_minute=int(parameters["TurnsPerMinute"]),
        )

    def most_at_once(self, load: Load, traffic: Traffic) -> int:
        """Turns that the gateway may let run at once on a bad day."""
        return math.ceil(self.throttle_rate * load.turn_s * traffic.slow) + self.throttle_burst


@dataclass(frozen=True)
class Need:
    """A quota, and the least that it has to be; by its code where AWS tells one, else by its name."""

    service: str
    region: str
    name: str
    least: int
    code: str = ""

    def is_of(self, code: str, name: str) -> bool:
        """Whether a quota of the account is the one that is meant."""
        return code == self.code if self.code else name.lower() == self.name.lower()


def load(traffic: Traffic, policy: Policy) -> Load:
    """The busiest hour of a day under a policy."""
    turns_per_s = traffic.messages * max(policy.budget.curve) / HOUR_S
    fast, quality = (_turn_s(policy.targets[name], traffic) for name in ("ondemand-haiku", "ondemand-sonnet"))
    mean_s = fast * (1 - traffic.complex_share) + quality * traffic.complex_share
    return Load(turns_per_s, turns_per_s * traffic.surge, mean_s)


def contradictions(limits: Limits, load: Load, traffic: Traffic) -> Iterator[str]:
    """What in a deployment's parameters does not go together, or not with the load."""
    most = limits.most_at_once(load, traffic)
    if load.surge_per_s > limits.throttle_rate:
        yield f"ThrottleRate {limits.throttle_rate} is under the busiest minute's {load.surge_per_s:.0f} a second"
    if limits.reserved and limits.reserved < most:
        yield f"ReservedConcurrency {limits.reserved} is under the {most} turns that the gateway lets run at once"
    if limits.is_provisioned:
        if limits.provisioned > limits.provisioned_peak:
            yield "ProvisionedConcurrency is over PeakProvisionedConcurrency"
        if limits.reserved and limits.provisioned_peak > limits.reserved:
            yield f"PeakProvisionedConcurrency {limits.provisioned_peak} is over ReservedConcurrency {limits.reserved}"
    if limits.user_per_minute / 60 > limits.throttle_rate / 10:
        yield f"TurnsPerMinute {limits.user_per_minute} lets one shopper take a tenth of ThrottleRate"


def needs(traffic: Traffic, policy: Policy, limits: Limits, region: str) -> list[Need]:
    """The quotas that a deployment needs, with the least of each."""
    busy = load(traffic, policy)
    concurrency = (limits.reserved or limits.most_at_once(busy, traffic)) + UNRESERVED
    connections = math.ceil(busy.surge_per_s / traffic.messages_per_connection * 2)  # half of them again after a break
    requests = math.ceil(busy.surge_per_s * (1 + traffic.posts_per_turn))
    found = [
        Need("lambda", region, "Concurrent executions", concurrency, "L-B99A9384"),
        Need("apigateway", region, "WebSocket new connections rate", connections, "L-9ED1E49A"),
        Need("apigateway", region, "Throttle rate", requests, "L-8A5B8E43"),
    ]
    for name, share in (("ondemand-haiku", 1.0), ("ondemand-sonnet", traffic.complex_share)):
        found += _of_model(policy, policy.targets[name], busy.surge_per_s * 60 * share, traffic)
    return found


def _of_model(policy: Policy, target: Target, turns_per_minute: float, traffic: Traffic) -> Iterator[Need]:
    """Requests and tokens of a model; the fast class may have to answer everything, so it is counted in full."""
    burnt = traffic.input_tokens + max(target.max_tokens, OUTPUT_BURNS * traffic.output_tokens)
    for what, least in (("requests", turns_per_minute), ("tokens", turns_per_minute * burnt)):
        name = quota_name(policy.models[target.model].id, what)
        yield Need("bedrock", target.region, name, math.ceil(least))


def quota_name(model_id: str, what: str) -> str:
    """What Service Quotas calls the requests or tokens per minute of a model."""
    geography, _, base = model_id.partition(".")
    kind = "Cross-region" if geography in GEOGRAPHIES else "On-demand"
    provider, _, model = (base if geography in GEOGRAPHIES else model_id).partition(".")
    words = re.sub(r"(?<=\d)-(?=\d)", ".", model.split(":")[0]).split("-")
    return f"{kind} model inference {what} per minute for {' '.join(word.capitalize() for word in (provider, *words))}"


def _turn_s(target: Target, traffic: Traffic) -> float:
    return (target.estimate.first_text_ms + target.estimate.token_ms * traffic.output_tokens) / 1000
