"""A whole JST day in the twin: capacity is there in its windows and nowhere else, and every question is answered."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from local.day import LEAD, Day, Driver, complaints
from mangaassist.routing import policy
from mangaassist.routing.policies import PolicyStore
from tests.e2e.running import running
from tools.capacity_figures import Figures, WindowDay
from tools.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)

DAY = date(2026, 11, 20)
# Short turns, because a window drains in real time for as long as its longest turn.
LIMITS = {"turn_ms": 4_000, "closing_reserve_ms": 1_000, "quality_floor_ms": 1_000, "situation_ttl_ms": 500}
DRAIN = timedelta(seconds=30)


@pytest.fixture(scope="module")
def driven() -> Iterator[tuple[Day, dict[str, WindowDay]]]:
    """What a day brought, and what is on record of it."""
    with running("--pace", "0.2", "--set", "TURNS_PER_MINUTE=6000") as twin:
        document = json.loads(policy.preset_document("current")) | {"limits": LIMITS}
        PolicyStore(twin.client("dynamodb"), "SituationTable").put(json.dumps(document), 0, "a test")
        day = Driver(twin.port, DAY, step=timedelta(minutes=30), shoppers=2).drive(lambda now, state: None)
        figures = Figures(Place(None, twin.page, None))
        yield day, {it.window: it for it in figures.report(DAY, 1)}


def test_capacity_exists_inside_its_windows_and_every_question_is_answered(
    driven: tuple[Day, dict[str, WindowDay]],
) -> None:
    day, _ = driven
    assert list(complaints(day, LEAD, DRAIN)) == []
    assert len(day.asked) > 20


def test_turns_are_on_it_in_its_windows_alone(driven: tuple[Day, dict[str, WindowDay]]) -> None:
    day, _ = driven
    by_night = Counter(it.target for it in day.asked if it.at.hour < 8)
    by_evening = Counter(it.target for it in day.asked if 19 <= it.at.hour < 23)
    assert not {target for target in by_night if target.startswith("provisioned")}
    assert by_evening.most_common(1)[0][0] == "provisioned-sonnet"


def test_the_report_shows_unit_hours_their_cost_and_what_they_served(
    driven: tuple[Day, dict[str, WindowDay]],
) -> None:
    day, report = driven
    assert set(report) == {"business", "peak"}
    for name, hours, price_usd in (("business", 9.5, 5), ("peak", 13.0, 46 / 2)):
        assert report[name].unit_hours == pytest.approx(hours, abs=0.1)
        assert report[name].cost_usd == pytest.approx(hours * price_usd, rel=0.02)
        served = sum(
            1 for it in day.asked if it.target == {"business": "provisioned-haiku"}.get(name, "provisioned-sonnet")
        )
        assert report[name].requests == served
