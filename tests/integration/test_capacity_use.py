"""What capacity is used for, minute by minute, however many environments add to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mangaassist.capacity.use import Minute, Use
from mangaassist.capacity.utilisation import USE_DAYS, Utilisation
from mangaassist.errors import StoreUnavailable
from mangaassist.routing.situation import Capacity
from tests.integration import tables
from tests.integration.tables import SITUATION, Door
from tests.unit.purchases import DAY, at

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.fakes import FakeClock

PEAK = Capacity("arn", 2, 4e9, window="peak", day=DAY)
USE = Use(requests=1, input_tokens=100, output_tokens=20)


@pytest.fixture
def utilisation(dynamodb: DynamoDBClient, clock: FakeClock) -> Utilisation:
    """The rows a minute before midnight in Japan."""
    clock.elapsed_s += at("23:59") - clock.now_s()
    return Utilisation(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, now_s=clock.now_s)


def test_what_many_turns_add_at_once_is_all_counted(utilisation: Utilisation) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: utilisation.note(PEAK, USE), range(100)))
    (minute,) = utilisation.minutes("peak", DAY)
    assert minute == Minute("2026-11-25T23:59", Use(requests=100, input_tokens=10_000, output_tokens=2_000))


def test_minutes_are_japans_and_belong_to_the_day_on_which_their_window_began(
    utilisation: Utilisation, clock: FakeClock
) -> None:
    utilisation.note(PEAK, USE)
    clock.sleep(60)
    utilisation.note(PEAK, Use(spilled=2))
    assert utilisation.minutes("peak", DAY) == (
        Minute("2026-11-25T23:59", USE),
        Minute("2026-11-26T00:00", Use(spilled=2)),
    )
    assert utilisation.minutes("peak", "2026-11-26") == ()
    assert utilisation.minutes("business", DAY) == ()


def test_the_last_minutes_can_be_asked_for_alone(utilisation: Utilisation, clock: FakeClock) -> None:
    for _ in range(3):
        utilisation.note(PEAK, USE)
        clock.sleep(60)
    since_s = clock.now_s() - 60
    assert [minute.at for minute in utilisation.minutes("peak", DAY, since_s)] == ["2026-11-26T00:01"]


def test_rows_expire(utilisation: Utilisation, dynamodb: DynamoDBClient, clock: FakeClock) -> None:
    utilisation.note(PEAK, USE)
    (row,) = tables.everything(dynamodb, SITUATION)
    assert row["expires_at"] == int(clock.now_s()) + USE_DAYS * 86_400


def test_an_addition_is_tried_once_because_a_repeated_one_counts_twice(utilisation: Utilisation, door: Door) -> None:
    door.after = tables.lost
    with pytest.raises(StoreUnavailable):
        utilisation.note(PEAK, USE)
    door.open()
    assert door.requests == ["UpdateItem"]
    assert utilisation.minutes("peak", DAY)[0].use == USE
