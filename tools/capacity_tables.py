"""Provisioned throughput as operators see it: tables for people, documents for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from tools.capacity_figures import per

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.capacity_figures import Alive, Load, WindowDay, WindowNow

WIDTH = 165  # where the output is no terminal
NOTHING = "-"


def status_document(windows: Sequence[WindowNow], others: Sequence[Alive]) -> dict[str, Any]:
    """The status for programs."""
    return {"windows": [asdict(window) for window in windows], "others": [asdict(it) for it in others]}


def report_document(days: Sequence[WindowDay]) -> dict[str, Any]:
    """The report for programs."""
    return {"days": [_day_document(day) for day in days], "total": _total(days)}


def show_status(windows: Sequence[WindowNow], others: Sequence[Alive]) -> None:
    """The status for people: a column per window."""
    table = Table(box=box.HORIZONTALS)
    table.add_column("")
    for window in windows:
        table.add_column(f"{window.window} {window.hours} JST", overflow="fold")
    for label, cell in (
        ("wanted", _wish),
        ("today", _today),
        ("published", _published),
        ("alive in Bedrock", lambda window: _lines(map(_alive, window.alive)) or "nothing of ours"),
        ("last 5 minutes", lambda window: f"{_rates(window.last_minutes)}\n{_shares(window.last_minutes)}"),
        ("window so far", lambda window: f"{_rates(window.so_far)}\n{_shares(window.so_far)}"),
        ("when full", lambda window: _full(window.so_far.throttled, window.so_far.spilled)),
        ("cost so far", lambda it: f"{it.unit_hours:.2f} unit-hours, {_money(it.cost_usd, it.is_price_verified)}"),
        ("next window", _next),
    ):
        table.add_row(label, *(cell(window) for window in windows), end_section=True)
    _print(table)
    for other in others:
        _print(f"alive for no window of the policy: {_alive(other)}")


def show_report(days: Sequence[WindowDay]) -> None:
    """The report for people: a row per window and day, then their sum and why each is as it is.

    Of the shares `wanted` is what a busy minute would have taken had nothing spilled.
    """
    table = Table(box=box.HORIZONTALS)
    for column in (
        "window",
        "bought (JST)",
        "cost",
        "used for",
        "that is",
        "on demand",
        "share of units",
        "when full",
        "next",
    ):
        table.add_column(column, overflow="fold")
    for day in days:
        table.add_row(*_day_cells(day), end_section=True)
    total = _total(days)
    table.add_row(
        "total",
        "",
        f"{total['unit_hours']:.2f} unit-hours\n{_money(total['cost_usd'], total['is_price_verified'])}",
        f"{total['answers']:,} answers\n{total['tokens']:,} tokens",
        _unit_costs(total["cost_per_1000_answers_usd"], total["cost_per_1m_tokens_usd"]),
        _money(total["on_demand_usd"], total["is_on_demand_verified"], "\nunverified"),
        "",
        _full(total["throttled"], total["spilled"]),
        "",
    )
    _print(table)
    for day in days:
        if day.reason:
            _print(f"{day.window} of {day.day} is {_words(day.state)}: {day.reason}")


def _day_cells(day: WindowDay) -> tuple[str, ...]:
    return (
        f"{day.window}\n{day.day}\n{_words(day.state)}",
        _bought(day),
        f"{day.unit_hours:.2f} unit-hours\n{_money(day.cost_usd, day.is_price_verified)}",
        f"{day.answers:,} answers\n{day.tokens:,} tokens",
        _unit_costs(day.cost_per_1000_answers_usd, day.cost_per_1m_tokens_usd),
        _money(day.on_demand_usd, day.is_on_demand_verified, "\nunverified"),
        f"mean {day.mean_share:.0%}\nbusiest {day.busiest_share:.0%}\nwanted {day.busy_share:.0%}",
        _full(day.throttled, day.spilled),
        _units(day.next_units),
    )


def _bought(day: WindowDay) -> str:
    if not day.since:
        return "nothing"
    until = _clock(day.until) or "now"
    until = until.removeprefix(_clock(day.since)[:6])  # the same day is not said twice
    again = f"\nlast of {day.purchases} purchases" if day.purchases > 1 else ""
    return f"{_units(day.units)}\n{day.model}\n{_clock(day.since)} - {until}{again}"


def _wish(window: WindowNow) -> str:
    if window.model is None:
        return f"{window.target}: its model is not sold by the unit"
    return f"{_units(window.units)} of {window.model}\nfor {window.target}, at {_clock(window.buys_at)}"


def _today(window: WindowNow) -> str:
    under_way = "is under way, its lead included" if window.is_under_way else "is not under way"
    record = f"{_words(window.state)}{f': {window.reason}' if window.reason else ''}" if window.state else "no record"
    return f"the window of {window.day} {under_way}\n{record}"


def _published(window: WindowNow) -> str:
    if window.published is None:
        return "nothing: turns go on demand"
    published = window.published
    return f"{_units(published.units)} until {_clock(published.until)}\n{published.arn}"


def _alive(it: Alive) -> str:
    hourly = f", ${it.hour_usd:,.2f} an hour" if it.hour_usd is not None else ""
    committed = f", committed until {_clock(it.committed_until)}" if it.committed_until else ""
    return (
        f"{it.name}: {it.status}, {_units(it.units)}, since {_clock(it.since)}{hourly}{committed}\n"
        f"tagged {it.tags['owner']}, {it.tags['window'] or NOTHING}, {it.tags['day'] or NOTHING}"
    )


def _rates(load: Load) -> str:
    return f"{load.requests_per_minute:,.1f} requests/min, {load.tokens_per_minute:,.0f} tokens/min"


def _shares(load: Load) -> str:
    """Wanted is what a busy minute would have taken had nothing spilled."""
    taken = f"mean {load.mean_share:.0%}, busiest {load.busiest_share:.0%}"
    return f"share of its units: {taken}, wanted {load.busy_share:.0%}"


def _full(throttled: int, spilled: int) -> str:
    return f"{throttled:,} throttled\n{spilled:,} spilled"


def _next(window: WindowNow) -> str:
    if window.next_units is None:
        return "not known: it has not served lately"
    return f"{_units(window.next_units)} by the use of {window.next_units_by}"


def _unit_costs(per_1000_answers: float | None, per_1m_tokens: float | None) -> str:
    if per_1000_answers is None or per_1m_tokens is None:
        return NOTHING
    return f"${per_1000_answers:,.2f} / 1,000 answers\n${per_1m_tokens:,.2f} / 1M tokens"


def _money(amount: float | None, is_verified: bool, otherwise: str = " assumed") -> str:
    if amount is None:
        return NOTHING
    return f"${amount:,.2f}" + ("" if is_verified else otherwise)


def _units(units: int | None) -> str:
    if units is None:
        return NOTHING
    return f"{units} unit{'' if units == 1 else 's'}"


def _words(state: str) -> str:
    return state.replace("_", " ") or NOTHING


def _clock(instant: str | None) -> str:
    """Day and minute of an ISO instant."""
    return instant[5:16].replace("T", " ") if instant else ""


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _day_document(day: WindowDay) -> dict[str, Any]:
    return asdict(day) | {
        "cost_per_1000_answers_usd": day.cost_per_1000_answers_usd,
        "cost_per_1m_tokens_usd": day.cost_per_1m_tokens_usd,
    }


def _total(days: Sequence[WindowDay]) -> dict[str, Any]:
    cost_usd, answers, tokens = (sum(getattr(day, it) for day in days) for it in ("cost_usd", "answers", "tokens"))
    return {
        "unit_hours": sum(day.unit_hours for day in days),
        "cost_usd": cost_usd,
        "is_price_verified": all(day.is_price_verified for day in days if day.unit_hours),
        "requests": sum(day.requests for day in days),
        "answers": answers,
        "tokens": tokens,
        "cost_per_1000_answers_usd": per(cost_usd, answers, 1000),
        "cost_per_1m_tokens_usd": per(cost_usd, tokens, 1_000_000),
        "on_demand_usd": sum(day.on_demand_usd or 0.0 for day in days),
        "is_on_demand_verified": all(day.is_on_demand_verified for day in days if day.tokens),
        "throttled": sum(day.throttled for day in days),
        "spilled": sum(day.spilled for day in days),
    }


def _print(what: Table | str) -> None:
    console = Console()
    Console(width=None if console.is_terminal else WIDTH, highlight=False, markup=False).print(what)
