"""What every look of the schedule measures: how full capacity is, and whether a window is served at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mangaassist.capacity import planning
from mangaassist.capacity.sizing import fullness
from mangaassist.capacity.workflow import BY_HAND
from mangaassist.jst import jst
from mangaassist.metric import Metric
from mangaassist.observability import measure, measure_by

if TYPE_CHECKING:
    from mangaassist.capacity.planning import Facts
    from mangaassist.capacity.ports import Ports
    from mangaassist.capacity.windows import Occurrence

WATCHED_MINUTES = 5  # between two executions of the schedule


def watch(ports: Ports, facts: Facts) -> None:
    """Say how full capacity is, and raise the alarm when a window has begun and nothing serves in it unasked."""
    occurrence, record = facts.occurrence, facts.record
    if occurrence is None:
        return
    if planning.is_served(facts):
        full_percent = 100 * _share(ports, facts, occurrence)
        measure_by({Metric.CapacityServing: 1, Metric.CapacityUtilisation: full_percent}, window=occurrence.window.name)
        return
    measure_by({Metric.CapacityServing: 0}, window=occurrence.window.name)
    closed_by_hand = record is not None and record.state == "closed" and record.reason == BY_HAND
    if facts.mode == "live" and occurrence.starts.timestamp() <= facts.now_s and not closed_by_hand:
        measure(Metric.CapacityNotServing)


def _share(ports: Ports, facts: Facts, occurrence: Occurrence) -> float:
    """How much of its throughput was used in the last full minutes."""
    since_s = facts.now_s - facts.now_s % 60 - WATCHED_MINUTES * 60
    this_minute = f"{jst(facts.now_s):%Y-%m-%dT%H:%M}"
    minutes = ports.utilisation.minutes(occurrence.window.name, occurrence.day.isoformat(), since_s)
    units = sum(purchase.units for purchase in facts.purchases if purchase.arn == facts.row.arn)
    unit_tokens = facts.record.unit_tokens_per_minute if facts.record else 0
    full = [it for it in minutes if it.at < this_minute]
    return fullness(full, WATCHED_MINUTES, units, unit_tokens).mean_share
