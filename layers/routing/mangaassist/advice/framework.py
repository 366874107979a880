"""The brief's decision framework: its flowchart (7.1), and its criteria (7.2) with what they say for and against.

Where AWS is otherwise than the brief's table, the table stands as it was written, and the verdict says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mangaassist.advice.profile import Profile

SMALL_VOLUME, LARGE_VOLUME = 100_000, 500_000  # messages a day, 7.2
LOW_LATENCY_MS = 500  # 7.2
LARGE_BUDGET_USD = 5_000  # a month, 7.1

type Rating = Literal["strong", "medium", "weak", "impossible", "n/a"]
SCORES: dict[Rating, int] = {"strong": 2, "medium": 1, "weak": -1, "impossible": -3, "n/a": 0}


@dataclass(frozen=True, slots=True)
class Step:
    """A question of the flowchart and its answer."""

    question: str
    answer: bool
    because: str


@dataclass(frozen=True, slots=True)
class Walk:
    """The way through the flowchart, to the key of a pattern."""

    steps: tuple[Step, ...]
    leaf: str


def walk(profile: Profile) -> Walk:
    """Follow the flowchart."""
    steps: list[Step] = []

    def ask(question: str, answer: bool, because: str) -> bool:
        steps.append(Step(question, answer, because))
        return answer

    leaf = _leaf(profile, ask)
    return Walk(tuple(steps), leaf)


def _leaf(profile: Profile, ask: Callable[[str, bool, str], bool]) -> str:
    volume = f"{profile.messages_per_day:,} messages a day"
    if ask("A custom model or a GPU of one's own choice?", profile.custom_model, _told("custom_model", profile)):
        return "sagemaker"
    steady = profile.predictable and profile.messages_per_day > LARGE_VOLUME
    how = "the same every day" if profile.predictable else "not the same every day"
    if ask("Predictable high throughput?", steady, f"{volume}, {how}; high is over {LARGE_VOLUME:,}"):
        if ask("Can it commit for a month or more?", profile.commitment != "none", _told("commitment", profile)):
            return "provisioned-6-months" if profile.commitment == "SixMonths" else "provisioned-1-month"
        rich = profile.monthly_usd > LARGE_BUDGET_USD
        if ask("A budget over $5,000 a month?", rich, f"${profile.monthly_usd:,} a month"):
            return "provisioned"
        return "on-demand"
    if ask("Bursty, unpredictable traffic?", not profile.predictable, _told("predictable", profile)):
        return "on-demand"
    several = 0 < profile.complex_share < 1
    if ask("Several models?", several, f"{profile.complex_share:.0%} of the questions want the quality class"):
        return "hybrid-scheduled"
    return "on-demand"


def _told(field: str, profile: Profile) -> str:
    return f"{field} is {getattr(profile, field)}".replace("True", "true").replace("False", "false")


@dataclass(frozen=True, slots=True)
class Criterion:
    """A row of the table; the last two columns are ours, because the brief has none for the hybrid patterns."""

    name: str
    applies: Callable[[Profile], bool]
    on_demand: Rating
    provisioned: Rating
    sagemaker: Rating
    hybrid: Rating

    def rating(self, key: str) -> Rating:
        """What it says of a pattern."""
        if key == "on-demand":
            return self.on_demand
        if key.startswith("provisioned"):
            return self.provisioned
        return self.sagemaker if key == "sagemaker" else self.hybrid


CRITERIA = (
    Criterion(
        "traffic under 100K messages a day",
        lambda it: it.messages_per_day < SMALL_VOLUME,
        "strong",
        "weak",
        "weak",
        "weak",
    ),
    Criterion(
        "traffic over 500K messages a day",
        lambda it: it.messages_per_day > LARGE_VOLUME,
        "weak",
        "strong",
        "medium",
        "strong",
    ),
    Criterion(
        "first text within 500 ms",
        lambda it: it.first_text_ms < LOW_LATENCY_MS,
        "weak",
        "medium",
        "strong",
        "medium",
    ),
    Criterion("custom model", lambda it: it.custom_model, "impossible", "impossible", "strong", "strong"),
    Criterion(
        "no cost while nobody asks",
        lambda it: it.messages_per_day < SMALL_VOLUME and not it.predictable,
        "strong",
        "impossible",
        "impossible",
        "impossible",
    ),
    Criterion("small team", lambda it: it.has_small_team, "strong", "strong", "weak", "weak"),
    Criterion("fine-tuned Bedrock model", lambda it: it.fine_tuned, "medium", "strong", "n/a", "medium"),
    Criterion("several models", lambda it: 0 < it.complex_share < 1, "medium", "weak", "strong", "strong"),
)


def applying(profile: Profile) -> tuple[Criterion, ...]:
    """The rows that a profile makes count."""
    return tuple(row for row in CRITERIA if row.applies(profile))


def score(key: str, profile: Profile) -> int:
    """A pattern's ratings added up, over the rows that count."""
    return sum(SCORES[row.rating(key)] for row in applying(profile))


def reasons(key: str, profile: Profile, *, favourable: bool) -> Iterator[str]:
    """What the criteria say for a pattern, or against it."""
    for row in applying(profile):
        rating = row.rating(key)
        if rating != "n/a" and (SCORES[rating] > 0) == favourable:
            yield f"{row.name}: {rating}"
