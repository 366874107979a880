"""The whole advice: every pattern projected and judged, where buying by the hour pays, and how sure the verdict is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mangaassist.advice.break_even import unit_break_evens, volume_break_evens
from mangaassist.advice.projection import project
from mangaassist.advice.sensitivity import variations
from mangaassist.advice.unit_sizing import window_sizes
from mangaassist.advice.verdict import judge

if TYPE_CHECKING:
    from mangaassist.advice.break_even import UnitBreakEven, VolumeBreakEven
    from mangaassist.advice.profile import Profile
    from mangaassist.advice.projection import Projection
    from mangaassist.advice.sensitivity import Variation
    from mangaassist.advice.terms import Terms
    from mangaassist.advice.unit_sizing import WindowSize
    from mangaassist.advice.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Advice:
    """What is told to who asks."""

    profile: Profile
    terms: Terms
    projections: tuple[Projection, ...]
    verdict: Verdict
    sizes: tuple[WindowSize, ...]
    units: tuple[UnitBreakEven, ...]
    volumes: tuple[VolumeBreakEven, ...]
    variations: tuple[Variation, ...]

    def document(self) -> dict[str, Any]:
        """The same as JSON takes it."""
        return {
            "profile": self.profile.model_dump(mode="json"),
            "policy": self.terms.policy.name,
            "day": self.terms.day.isoformat(),
            "recommended": self.verdict.recommended,
            "because": self.verdict.because,
            "cheapest": self.verdict.cheapest,
            "flowchart": asdict(self.verdict.walk),
            "patterns": [
                _pattern(it) | asdict(judgement)
                for it, judgement in zip(self.projections, self.verdict.judgements, strict=True)
            ],
            "windows": [asdict(size) for size in self.sizes],
            "break_even": {
                "units": [asdict(unit) | {"use_needed": unit.use_needed} for unit in self.units],
                "messages_per_day": [asdict(volume) | {"first": volume.first} for volume in self.volumes],
            },
            "sensitivity": [asdict(variation) for variation in self.variations],
            "assumed": asdict(self.terms.assumed),
        }


def advise(profile: Profile, terms: Terms) -> Advice:
    """Compute everything; some seconds, most of it for the volumes at which patterns break even."""
    projections = project(profile, terms)
    return Advice(
        profile=profile,
        terms=terms,
        projections=projections,
        verdict=judge(projections, profile),
        sizes=window_sizes(profile, terms),
        units=unit_break_evens(profile, terms),
        volumes=volume_break_evens(profile, terms),
        variations=variations(profile, terms),
    )


def _pattern(it: Projection) -> dict[str, Any]:
    return {
        "title": it.pattern.title,
        "obstacle": it.obstacle,
        "monthly_usd": None if it.obstacle else it.monthly_usd,
        "models_usd": None if it.obstacle else it.models_usd,
        "verified": None if it.obstacle else it.is_verified,
        "costs": [asdict(cost) for cost in it.costs],
        "latency": asdict(it.latency) if it.latency else None,
        "messages_by_target": dict(it.plan.served),
        "spilled_messages": it.plan.spilled,
        "units": [asdict(units) for units in it.plan.units],
        "instances": asdict(it.plan.instances) if it.plan.instances else None,
    }
