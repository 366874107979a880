"""What a day bought by the hour, outside the ledger's sums because its calls cost no tokens: units and instances."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from mangaassist.advice.profile import PLACES_PER_INSTANCE
from mangaassist.capacity.endpoint import Span
from mangaassist.jst import JST
from tools.capacity_figures import Figures, per
from tools.endpoint_desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from mangaassist.capacity.endpoint import Cost, EndpointUse
    from mangaassist.money.book import Quote
    from tools.capacity_figures import WindowDay
    from tools.place import Place


@dataclass(frozen=True, slots=True)
class Bought:
    """Hours of one window's units or of one variant's instances; `idle_usd` was paid for what nobody used."""

    what: str
    hours: float
    cost_usd: float
    idle_usd: float
    is_price_verified: bool
    answers: int

    @property
    def cost_per_1000_answers_usd(self) -> float | None:
        return per(self.cost_usd, self.answers, 1000)


def bought(place: Place, day: date) -> list[Bought]:
    """Everything of a JST day; raises StoreUnavailable and ControlPlaneError."""
    units = [_units(it) for it in Figures(place).report(day, 1)]
    return units + list(_instances(place, day) if place.endpoint_of_ours() else ())


def _units(it: WindowDay) -> Bought:
    idle_usd = it.cost_usd * max(0.0, 1 - it.mean_share)
    return Bought(f"{it.window}, units", it.unit_hours, it.cost_usd, idle_usd, it.is_price_verified, it.answers)


def _instances(place: Place, day: date) -> Iterator[Bought]:
    """Of the endpoint; none where the day is still to come, or the price of its instances is not known."""
    desk, now_s = Desk(place), place.now_s()
    midnight = datetime.combine(day, time(), JST)
    since_s, until_s = midnight.timestamp(), min(now_s, (midnight + timedelta(days=1)).timestamp())
    if until_s <= since_s:
        return
    span = Span.around(since_s, until_s, now_s)
    used = desk.watch.uses(desk.whose(), span)
    for whose, (quote, cost) in desk.costs(used).items():
        yield _of_instances(", ".join(whose.dimensions.values()), used[whose], quote, cost)


def _of_instances(name: str, use: EndpointUse, quote: Quote, cost: Cost) -> Bought:
    busy_share = min(1.0, (use.mean_at_once or 0.0) / PLACES_PER_INSTANCE)
    return Bought(
        what=f"{name}, instances",
        hours=cost.total_usd / cost.instance_hour_usd,
        cost_usd=cost.total_usd,
        idle_usd=cost.total_usd * (1 - busy_share),
        is_price_verified=quote.verified,
        answers=use.answered,
    )


def documents(found: Sequence[Bought]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [asdict(it) | {"cost_per_1000_answers_usd": it.cost_per_1000_answers_usd} for it in found]


def table(found: Sequence[Bought]) -> Table:
    """The same for people."""
    table = Table(box=box.HORIZONTALS, caption=f"Idle of instances: of {PLACES_PER_INSTANCE} answers at a time each.")
    table.add_column("bought by the hour")
    for column in ("hours", "cost", "of it idle", "answers", "per 1,000 answers"):
        table.add_column(column, justify="right")
    for it in found:
        each = it.cost_per_1000_answers_usd
        sure = "" if it.is_price_verified else " (unverified)"
        table.add_row(
            it.what,
            f"{it.hours:,.2f}",
            f"${it.cost_usd:,.2f}{sure}",
            f"${it.idle_usd:,.2f}",
            f"{it.answers:,}",
            "-" if each is None else f"${each:,.2f}",
        )
    return table
