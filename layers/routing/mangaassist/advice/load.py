"""What a profile asks of models: messages by hour and kind, and the tokens that they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.routing.question import Question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mangaassist.advice.profile import Profile

KINDS = {  # of questions, as the router sees them
    "complex": Question("", "ja", 1.0, False, ()),
    "catalogue": Question("", "ja", 0.0, True, ()),
    "simple": Question("", "ja", 0.0, False, ()),
}


@dataclass(frozen=True, slots=True)
class Load:
    """A day's messages that need a model, by hour of Japan and kind of question."""

    hours: Sequence[Mapping[str, float]]
    input_tokens: int
    output_tokens: int
    burst: float

    @property
    def tokens(self) -> int:
        """Of one message, in and out."""
        return self.input_tokens + self.output_tokens

    @property
    def messages(self) -> float:
        """Of the whole day."""
        return sum(sum(hour.values()) for hour in self.hours)

    def of(self, *kinds: str) -> tuple[float, ...]:
        """Each hour's messages of some kinds."""
        return tuple(sum(hour[kind] for kind in kinds) for hour in self.hours)

    def busiest_tokens_per_minute(self, hourly: Sequence[float]) -> float:
        """What the busiest minute of these hours' messages takes."""
        return max(hourly) / 60 * self.burst * self.tokens


def load_of(profile: Profile) -> Load:
    """Spread a profile over the day."""
    asked = profile.messages_per_day * (1 - profile.kept_share)
    shares = {
        "complex": profile.complex_share,
        "catalogue": profile.catalogue_share,
        "simple": max(0.0, 1 - profile.complex_share - profile.catalogue_share),
    }
    whole = sum(profile.curve)
    hours = [{kind: asked * hour / whole * share for kind, share in shares.items()} for hour in profile.curve]
    return Load(hours, profile.input_tokens, profile.output_tokens, profile.burst)
