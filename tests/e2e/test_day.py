"""A whole JST day in the twin: capacity is there in its windows and nowhere else, and every question is answered."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.day import LEAD, Day, Driver, complaints
from mangaassist.routing import policy
from mangaassist.routing.policies import PolicyStore
from mangaassist.routing.policy import KEPT
from tests.e2e.running import running
from tools.capacity_figures import Figures, WindowDay
from tools.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(900)  # of a slow machine

DAY = date(2026, 11, 20)
# A window drains in real time for as long as its longest turn, and a slow machine's turns must end within theirs.
PATIENT_MS = 6_000
LIMITS = {"turn_ms": 10_000, "first_text_ms": PATIENT_MS, "stall_ms": PATIENT_MS, "quality_floor_ms": 1_000}
DRAIN = timedelta(minutes=1)
MOST_TURNS = 1000  # that the twin gives


@dataclass(frozen=True)
class Driven:
    """What a day brought, what its windows have on record, and the turns in the ledger."""

    day: Day
    report: dict[str, WindowDay]
    turns: list[dict[str, Any]]

    def calls(self, target: str) -> int:
        """How often a target was called and did not refuse at once, whatever came of it."""
        attempts = (it for turn in self.turns for it in turn["attempts"])
        return sum(1 for it in attempts if it["target"] == target and it["outcome"] != "throttled")


@pytest.fixture(scope="module")
def driven() -> Iterator[Driven]:
    with running("--pace", "0.1", "--set", "TURNS_PER_MINUTE=6000") as twin:
        twin.put("clock", {"now": f"{DAY}T00:00:00+09:00"})  # first of all: nothing is to be bought for the real day
        PolicyStore(twin.client("dynamodb"), "SituationTable").put(json.dumps(_patient()), 0, "a test")
        driver = Driver(twin.port, DAY, step=timedelta(minutes=30), shoppers=2, asked_in_each=True)
        day = driver.drive(lambda now, state: None)
        report = Figures(Place(None, twin.page, None)).report(DAY, 1)
        yield Driven(day, {it.window: it for it in report}, twin.get("turns", limit=MOST_TURNS)["turns"])


def _patient() -> dict[str, Any]:
    """The shipped policy with limits that a slow machine keeps."""
    document: dict[str, Any] = json.loads(policy.preset_document("current"))
    targets = {name: it | {"first_text_limit_ms": PATIENT_MS} for name, it in document["targets"].items()}
    return document | {"limits": LIMITS, "breaker": {"failures": 100}, "targets": targets}


def test_capacity_exists_inside_its_windows_and_every_question_is_answered(driven: Driven) -> None:
    assert list(complaints(driven.day, LEAD, DRAIN)) == []
    assert len(driven.day.asked) > 20


def test_turns_are_on_it_in_its_windows_alone(driven: Driven) -> None:
    by_night = {it.target for it in driven.day.within(0, 8)}
    by_evening = Counter(it.target for it in driven.day.within(19, 23) if it.target != KEPT)
    assert by_night
    assert not {target for target in by_night if target.startswith("provisioned")}
    assert by_evening.most_common(1)[0][0] == "provisioned-sonnet"


@pytest.mark.parametrize(
    ("window", "target", "hours", "price_usd"),
    [("business", "provisioned-haiku", 9.5, 5), ("peak", "provisioned-sonnet", 13.0, 46 / 2)],
)
def test_the_report_shows_unit_hours_their_cost_and_what_they_served(
    driven: Driven, window: str, target: str, hours: float, price_usd: float
) -> None:
    assert set(driven.report) == {"business", "peak"}
    shown = driven.report[window]
    assert shown.unit_hours == pytest.approx(hours, abs=0.1)
    assert shown.cost_usd == pytest.approx(hours * price_usd, rel=0.02)
    assert shown.requests == driven.calls(target)
