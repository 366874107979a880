"""What becomes of the policy's models: when each ends, by what its service and the policy say.

Pure: facts in, findings out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from mangaassist.routing.policy import Policy, Target

GEOGRAPHIES = frozenset(("apac", "au", "ca", "eu", "global", "jp", "us", "us-gov"))  # of inference profiles
FOUNDATION_MODEL = ":foundation-model/"
ALIVE = ("answered", "throttled", "budget_spent")  # a busy model is there; one that was not called may be

type Status = Literal["ACTIVE", "LEGACY", "UNLISTED", "UNKNOWN"]


@dataclass(frozen=True, slots=True)
class Life:
    """What Bedrock says of a foundation model in a region."""

    status: Literal["ACTIVE", "LEGACY"]
    ends_on: date | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One model of the policy in one region; `probes` are the outcomes of its targets that were called."""

    model: str  # the policy's name of it
    model_id: str
    region: str
    status: Status
    ends_on: date | None
    days_left: int | None  # None: nobody has named an end
    probes: Mapping[str, str]

    @property
    def failed(self) -> tuple[str, ...]:
        """The targets whose probe failed."""
        return tuple(target for target, outcome in self.probes.items() if outcome not in ALIVE)


def asked_of_bedrock(policy: Policy) -> tuple[Target, ...]:
    """The targets whose models Bedrock offers; an endpoint's model is one's own."""
    return tuple(it for it in policy.targets.values() if it.backend == "bedrock" and it.deployed)


def called_on_demand(policy: Policy) -> tuple[Target, ...]:
    """Those of them that can be called at any time: bought capacity comes and goes, and its workflow watches it."""
    return tuple(target for target in asked_of_bedrock(policy) if not target.published_capacity_only)


def findings(
    policy: Policy, lives: Mapping[str, Mapping[str, Life]], probes: Mapping[str, str], today: date
) -> tuple[Finding, ...]:
    """One finding per model and region that the policy's targets use.

    `lives` are the foundation models of each region by id, `probes` the outcomes by target.
    """
    places = sorted({(target.model, target.region) for target in asked_of_bedrock(policy)})
    return tuple(_finding(policy, name, region, lives[region], probes, today) for name, region in places)


def soonest_end(found: Iterable[Finding]) -> int | None:
    """Days until the first of the models ends; None when no end is known."""
    return min((it.days_left for it in found if it.days_left is not None), default=None)


def foundation_model(model_id: str) -> str | None:
    """The foundation model behind an id, a profile's id or an ARN; None where the name does not tell it."""
    if model_id.startswith("arn:"):
        _, found, model_id = model_id.partition(FOUNDATION_MODEL)
        return model_id if found else None
    geography, _, base = model_id.partition(".")
    return base if geography in GEOGRAPHIES else model_id


def _finding(
    policy: Policy,
    name: str,
    region: str,
    offered: Mapping[str, Life],
    probes: Mapping[str, str],
    today: date,
) -> Finding:
    model = policy.models[name]
    status, told = _life(foundation_model(model.id), offered)
    ends_on = min((day for day in (told, model.end_of_life) if day), default=None)
    if status == "UNLISTED":  # it is over, whatever anybody has said
        days_left: int | None = 0
    else:
        days_left = max(0, (ends_on - today).days) if ends_on else None
    theirs = {it.name: probes[it.name] for it in asked_of_bedrock(policy) if it.name in probes}
    mine = {it: outcome for it, outcome in theirs.items() if _place(policy, it) == (name, region)}
    return Finding(name, model.id, region, status, ends_on, days_left, mine)


def _life(base: str | None, offered: Mapping[str, Life]) -> tuple[Status, date | None]:
    if base is None:
        return "UNKNOWN", None
    life = offered.get(base)
    return (life.status, life.ends_on) if life else ("UNLISTED", None)


def _place(policy: Policy, target: str) -> tuple[str, str]:
    return policy.targets[target].model, policy.targets[target].region
