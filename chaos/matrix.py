"""The matrix: what fails, how, and how often. Each cell is asked through for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BOUGHT_BY_DAY, BOUGHT_FOR_EVENING = "bought by the hour (by day)", "bought by the hour (evening)"
TABLES, POSTS = "tables (DynamoDB)", "posts (gateway)"
HANDSHAKES_JUDGED, HANDSHAKES_COUNTED = "handshakes (SSM)", "handshakes (tables)"  # the first comes before the second
HANDSHAKES = (HANDSHAKES_JUDGED, HANDSHAKES_COUNTED)
GROUPS: Mapping[str, tuple[str, ...]] = {  # what fails, and by which keys the twin knows it
    "quality model": ("ondemand-sonnet",),
    "fast model": ("ondemand-haiku",),
    "all models on demand": ("ondemand-sonnet", "ondemand-haiku"),
    BOUGHT_BY_DAY: ("provisioned-haiku",),
    BOUGHT_FOR_EVENING: ("provisioned-sonnet",),
    "own endpoint": ("sagemaker-custom",),
    "embeddings": ("embeddings",),
    "search": ("search",),
    "cache (Redis)": ("cache",),
    TABLES: ("dynamodb",),
    POSTS: ("gateway",),
    HANDSHAKES_JUDGED: ("ssm",),
    HANDSHAKES_COUNTED: ("dynamodb",),
}
FAULTS = ("throttle", "unavailable", "hang", "slow", "cut", "stall", "garbage", "denied")
SHARES = (0.01, 0.3, 1.0)
MODELS = frozenset({"ondemand-sonnet", "ondemand-haiku", "provisioned-haiku", "provisioned-sonnet", "sagemaker-custom"})
BREAKS_AFTER_TOKENS = 12
SLOW_MODEL = {"first_token_ms": 6_000.0, "token_ms": 60.0}
SLOW_DEPENDENCY_MS = 300.0

CONNECTION, HANDLER, CLOCK, BUDGET = "connection", "handler", "clock", "budget"
DROPPED, KILLED, SPENT = "dropped mid-turn", "killed mid-turn", "runs out"
SMALL_BUDGET_USD = "0.004"  # less than a cell's answers would cost, and more than one of them reserves
EDGES = {  # and when the asking begins
    "09:00, night to business": "08:59:50",
    "18:00, business to peak": "17:59:50",
    "24:00, peak to night": "23:59:50",
}
WITHIN = {BOUGHT_BY_DAY: "12:00:00", BOUGHT_FOR_EVENING: "21:00:00"}  # the windows in which what was bought serves
QUICK = (
    ("all models on demand", "hang", 1.0),
    ("quality model", "cut", 1.0),
    ("search", "hang", 1.0),
    ("cache (Redis)", "stall", 0.3),
    (TABLES, "throttle", 0.3),
    (CONNECTION, DROPPED, 1.0),
    (HANDLER, KILLED, 1.0),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing that fails in one way for a share of its calls (or, of connections, of turns)."""

    group: str
    fault: str
    share: float

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.group}: {self.fault}" + ("" if self.group in (CLOCK, HANDLER, BUDGET) else f", {self.share:.0%}")

    @property
    def scripted(self) -> dict[str, dict[str, Any]]:
        """The faults as the twin takes them; none where something else is done.

        Of a share the first call fails for certain, since chance alone might bring nothing.
        """
        often = {"probability": self.share, "certain": 1} if self.share < 1 else {}
        return {key: fault | often for key, fault in self._faults.items()}

    @property
    def _faults(self) -> dict[str, dict[str, Any]]:
        return {key: _fault(key, self.fault) for key in GROUPS.get(self.group, ())}

    @property
    def silences(self) -> bool:
        """Whether nothing can reach a shopper, or no shopper connect, while it lasts."""
        return self.group in (POSTS, *HANDSHAKES) and self.share == 1 and self.fault != "slow"

    @property
    def wants_bought(self) -> bool:
        """Whether some of the turns go to what is bought by the hour."""
        return self.group in (*WITHIN, CLOCK)

    @property
    def meets(self) -> bool:
        """Whether it can be counted how often something met what fails."""
        return self.group not in (CLOCK, BUDGET)

    @property
    def to_be_met(self) -> tuple[str, ...]:
        """What something must have met: every part that fails."""
        return GROUPS.get(self.group, (self.group,)) if self.meets else ()

    @property
    def kills(self) -> bool:
        """Whether a turn may come to an error, and late: who was to answer is dead, and nobody knows before long."""
        return self.group == HANDLER

    @property
    def runs_again(self) -> bool:
        """Whether a turn's answer or its record may get lost, so that its message is asked again and runs anew."""
        return self.group in (CONNECTION, HANDLER, POSTS, TABLES, HANDSHAKES_COUNTED)

    @property
    def loses_accounts(self) -> bool:
        """Whether the accounts may be told by the log alone: the tables fail, or who keeps them is dead."""
        return self.group in (TABLES, HANDSHAKES_COUNTED, HANDLER)


def whole() -> list[Cell]:
    """Every cell, by group."""
    scripted = [Cell(group, fault, share) for group in GROUPS for fault in FAULTS for share in SHARES]
    dropped = [Cell(CONNECTION, DROPPED, share) for share in SHARES]
    alone = [Cell(HANDLER, KILLED, 1.0), Cell(BUDGET, SPENT, 1.0)]
    return [*scripted, *dropped, *alone, *(Cell(CLOCK, edge, 1.0) for edge in EDGES)]


def quick() -> list[Cell]:
    """A few that are soon done."""
    return [Cell(*cell) for cell in QUICK]


def chosen(cells: Sequence[Cell], words: Sequence[str]) -> list[Cell]:
    """The cells whose names have all of these words in them."""
    return [cell for cell in cells if all(word.casefold() in cell.name.casefold() for word in words)]


def by_group(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    """The cells that may share a twin."""
    for group in dict.fromkeys(cell.group for cell in cells):
        yield group, [cell for cell in cells if cell.group == group]


def _fault(key: str, fault: str) -> dict[str, Any]:
    if fault == "slow":
        return {"fault": fault} | (SLOW_MODEL if key in MODELS else {"first_token_ms": SLOW_DEPENDENCY_MS})
    if key in MODELS and fault in ("cut", "stall"):
        return {"fault": fault, "after_tokens": BREAKS_AFTER_TOKENS}
    return {"fault": fault}
