"""A JST day's books, read from the ledger's lines: what every call cost, added up by whatever is asked.

The lines are exact, so the sums are: nothing is rounded before it is shown. A turn that crossed midnight has its line
under the first day and its calls under the days on which money was set aside for them, so the lines of the day before
are read too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mangaassist.money.ledger import SHARDS
from mangaassist.stores import from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

LAST_HOUR = 23
LOOKUP = "lookup"  # the target of what looking a question up cost
LOOKED_UP = "looked_up"  # and its outcome
BY = ("target", "model", "outcome", "reason", "tier", "user_class", "hour")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was paid for, or would have been."""

    target: str
    model: str
    outcome: str
    reason: str
    tier: str
    user_class: str
    hour: str  # of JST, in which its turn was settled
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    estimated: bool
    cost_nano_usd: int


@dataclass(slots=True)
class Sum:
    """Calls added up; `estimated` counts those whose tokens the service did not tell."""

    calls: int = 0
    estimated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_nano_usd: int = 0

    def add(self, call: Call) -> None:
        """Count one more."""
        self.calls += 1
        self.estimated += call.estimated
        self.input_tokens += call.input_tokens
        self.output_tokens += call.output_tokens
        self.cache_read_tokens += call.cache_read_tokens
        self.cache_write_tokens += call.cache_write_tokens
        self.cost_nano_usd += call.cost_nano_usd


@dataclass(slots=True)
class Books:
    """A day, added up; turns that a kept answer served cost nothing but their lookup, and are counted by how."""

    day: date
    all: Sum = field(default_factory=Sum)
    by: dict[str, dict[str, Sum]] = field(default_factory=lambda: {name: {} for name in BY})
    turns: Counter[str] = field(default_factory=Counter)  # that began on the day, by finish
    kept: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)  # of question; lines before there were kinds have none
    asked: Counter[int] = field(default_factory=Counter)  # turns by the hour of JST in which they were settled

    def enter(self, line: Mapping[str, Any]) -> None:
        """Take a line of this day or the one before."""
        if str(line["pk"]).startswith(f"LEDGER#{self.day.isoformat()}#"):
            self.turns[line["finish"]] += 1
            self.asked[_hour(line, self.day)] += 1
            if line.get("kind"):
                self.kinds[line["kind"]] += 1
            if line.get("kept"):
                self.kept[line["kept"]] += 1
        for call in calls(line, self.day):
            self.all.add(call)
            for name, sums in self.by.items():
                sums.setdefault(getattr(call, name), Sum()).add(call)

    def curve(self) -> tuple[float, ...] | None:
        """How the day's cost spread over its hours, as shares for `budget.curve`; None where nothing was spent."""
        hours = self.by["hour"]
        spent = [hours[f"{hour:02d}"].cost_nano_usd if f"{hour:02d}" in hours else 0 for hour in range(24)]
        total = sum(spent)
        return tuple(round(amount / total, 4) for amount in spent) if total else None


@dataclass(frozen=True, slots=True)
class Counted:
    """What the day's counter says: what is committed, which guards the budget, is never less than the books."""

    committed_nano_usd: int
    spent_nano_usd: int
    attempts: int


def calls(line: Mapping[str, Any], day: date) -> Iterator[Call]:
    """The calls of a line that belong to a day; one without a reservation belongs to the line's own."""
    about = {
        "reason": line["reason"],
        "tier": line.get("tier", ""),
        "user_class": line.get("user_class", ""),
        "hour": f"{_hour(line, day):02d}",
    }
    own = str(line["pk"]).split("#")[1]
    for attempt in line["attempts"]:
        if (attempt["day"] or own) == day.isoformat():
            told = {name: attempt[name] for name in Call.__slots__ if name in attempt}
            yield Call(**about, **told)
    lookup = line.get("lookup")
    if lookup and lookup["day"] == day.isoformat():
        yield Call(
            **about,
            target=LOOKUP,
            model=lookup["model"],
            outcome=LOOKED_UP,
            input_tokens=lookup["tokens"],
            output_tokens=0,
            cache_read_tokens=0,
            cache_write_tokens=0,
            estimated=lookup["estimated"],
            cost_nano_usd=lookup["cost_nano_usd"],
        )


class BookReader:
    """Reads lines and counter; every method raises StoreUnavailable."""

    def __init__(self, client: DynamoDBClient, *, situation_table: str, turns_table: str) -> None:
        self._client = client
        self._situation_table = situation_table
        self._turns_table = turns_table

    def books(self, day: date, on_part: Callable[[float], object] = lambda share: None) -> Books:
        """Read and add up a day; `on_part` is told, again and again, what share is done."""
        books = Books(day)
        shards = [(it, shard) for it in (day - timedelta(days=1), day) for shard in range(SHARDS)]
        for number, (it, shard) in enumerate(shards, start=1):
            for line in self._lines(it, shard):
                books.enter(line)
            on_part(number / len(shards))
        return books

    def counted(self, day: date) -> Counted:
        """The day's counter; it is kept for a week."""
        with store_errors():
            answer = self._client.get_item(
                TableName=self._situation_table,
                Key=to_item({"pk": "NOW", "sk": f"SPEND#{day.isoformat()}"}),
                ConsistentRead=True,
            )
        found = from_item(answer.get("Item", {}))
        return Counted(*(int(found.get(name, 0)) for name in ("committed_nano_usd", "spent_nano_usd", "attempts")))

    def _lines(self, day: date, shard: int) -> Iterable[dict[str, Any]]:
        with store_errors():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._turns_table,
                KeyConditionExpression="pk = :shard",
                ExpressionAttributeValues=to_item({":shard": f"LEDGER#{day.isoformat()}#{shard:02d}"}),
            )
            for page in pages:
                for item in page["Items"]:
                    yield from_item(item)


def _hour(line: Mapping[str, Any], day: date) -> int:
    """The hour of a day in which a line was settled; its last for what was settled after midnight."""
    settled = datetime.fromisoformat(line["settled_at"])
    return settled.hour if settled.date() <= day else LAST_HOUR
