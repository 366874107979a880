"""What the tables say: the policy in force, published capacity, the day's spend and the turns that were settled.

Read past the scripted faults, so that looking at the twin never changes what its shoppers meet.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from local.clock import JST
from local.spending import Spending

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.routing.policy import Policy
    from mangaassist.routing.situation import Capacity
    from mangaassist.routing.store import View

    type Items = Callable[[str, str, Container[str]], Iterable[dict[str, Any]]]

PRESETS = ("current", "claude-3")
SNAPSHOT_S = 0.5  # how old what the model emulator knows of the tables may be


@dataclass(frozen=True)
class Snapshot:
    """The tables as far as the model emulator needs them."""

    policy: Policy
    capacity: dict[str, tuple[str, Capacity]]  # ARN -> target and what is published of it
    read_at: float

    @property
    def model_ids(self) -> frozenset[str]:
        """Every model that this policy or a shipped one names."""
        return shipped_models() | {model.id for model in self.policy.models.values()}

    def target_of(self, model_id: str) -> str | None:
        """The target that a call belongs to: by its ARN, or the on-demand target with this model."""
        if model_id in self.capacity:
            return self.capacity[model_id][0]
        return next(
            (
                name
                for name, target in self.policy.targets.items()
                if not target.published_capacity_only and self.policy.models[target.model].id == model_id
            ),
            None,
        )


class World:
    """Reads the application's tables; without any (a template that has none) the shipped policy is all there is.

    `items` looks into tables that this process holds: at a partition of one, leaving out what is known by its sort key.
    """

    def __init__(self, client: DynamoDBClient, environment: dict[str, str], items: Items | None = None) -> None:
        self._client = client
        self._items = items or self._queried
        self._spending = Spending(self._unread)
        self._situation_table = environment.get("SITUATION_TABLE")
        self._turns_table = environment.get("TURNS_TABLE")
        self._preset = environment.get("POLICY_PRESET", PRESETS[0])
        self._backends = frozenset(("bedrock", "sagemaker") if environment.get("SAGEMAKER_ENDPOINT") else ("bedrock",))
        self._snapshot: Snapshot | None = None
        self._refreshing = asyncio.Lock()

    async def snapshot(self, model_id: str) -> Snapshot:
        """What is known now; an ARN that nobody had published yet is looked for again."""
        async with self._refreshing:
            known = self._snapshot
            missing = known is not None and model_id.startswith("arn:") and model_id not in known.capacity
            if known is None or missing or time.monotonic() - known.read_at > SNAPSHOT_S:
                known = self._snapshot = await asyncio.to_thread(self._read)
            return known

    def view(self, now: datetime) -> View:
        """The situation and the policy in force, read as the application reads them, fresh each time."""
        from mangaassist.routing.policy import preset
        from mangaassist.routing.situation import Situation
        from mangaassist.routing.store import SituationStore, View

        policy = preset(self._preset)
        if not self._situation_table:
            return View(Situation(), policy, 0)
        store = SituationStore(
            self._client,
            self._situation_table,
            default_policy=policy,
            now_s=now.timestamp,
            on_invalid_policy=lambda version, reason: None,  # the application reports it
            backends=self._backends,
        )
        return store.view()

    def situation(self) -> dict[str, Any]:
        """The situation table's present rows by sort key."""
        if not self._situation_table:
            return {}
        rows = self._rows("query", self._situation_table, "KeyConditionExpression", "pk = :start", "NOW")
        return {row["sk"]: _without_keys(row) for row in rows}

    def state(self, now: datetime) -> dict[str, Any]:
        """The situation, and of it the JST day's account, capacity and health, for people and tests."""
        view, situation = self.view(now), self.situation()
        local = now.astimezone(JST)
        day = local.date().isoformat()
        account: dict[str, Any] = situation.get(f"SPEND#{day}", {})
        amounts = {name: account.get(name, 0) for name in ("committed_nano_usd", "spent_nano_usd", "attempts")}
        budget = view.policy.budget
        allowed = [budget.allowed(hour * 60 + 59) for hour in range(24)]  # by each hour's end
        minute, committed = local.hour * 60 + local.minute, int(amounts["committed_nano_usd"])
        tier = budget.tier(committed, minute)
        going: dict[str, Any] = {"pace": budget.pace(committed, minute), "tier": tier.name if tier else ""}
        going["spent_by_hour_nano_usd"] = self._spending.by_hour(local.date(), amounts)
        return {
            "policy": {"name": view.policy.name, "version": view.policy_version},
            "spend": {"day": day, **amounts, "limit_nano_usd": budget.daily_nano_usd, "allowed": allowed} | going,
            "targets": {name: target.quality for name, target in view.policy.targets.items()},
            "windows": [
                window.model_dump(include={"name", "start", "end", "target", "units"}) for window in view.policy.windows
            ],
            "capacity": {name: asdict(capacity) for name, capacity in view.situation.capacity.items()},
            "health": {name: asdict(health) for name, health in view.situation.health.items()},
            "situation": {sk: row for sk, row in situation.items() if sk != "POLICY"},
        }

    def turns(self, limit: int) -> list[dict[str, Any]]:
        """The settled turns, newest first."""
        if not self._turns_table:
            return []
        rows = self._rows("scan", self._turns_table, "FilterExpression", "begins_with(pk, :start)", "LEDGER#")
        rows.sort(key=lambda row: str(row.get("settled_at", "")), reverse=True)
        return [{"day": row["pk"].split("#")[1], **_without_keys(row)} for row in rows[:limit]]

    def _unread(self, partition: str, known: Container[str]) -> Iterable[dict[str, Any]]:
        return self._items(self._turns_table, partition, known) if self._turns_table else ()

    def _queried(self, table: str, partition: str, known: Container[str]) -> Iterable[dict[str, Any]]:
        rows = self._rows("query", table, "KeyConditionExpression", "pk = :start", partition)
        return (row for row in rows if row["sk"] not in known)

    def _read(self) -> Snapshot:
        from datetime import datetime

        view = self.view(datetime.now(JST))
        capacity = {published.arn: (target, published) for target, published in view.situation.capacity.items()}
        return Snapshot(view.policy, capacity, time.monotonic())

    def _rows(self, operation: Any, table: str, kind: str, expression: str, start: str) -> list[dict[str, Any]]:
        from mangaassist.stores import from_item

        condition: dict[str, Any] = {kind: expression, "ExpressionAttributeValues": {":start": {"S": start}}}
        pages = self._client.get_paginator(operation).paginate(TableName=table, **condition)
        return [from_item(row) for row in itertools.chain.from_iterable(page["Items"] for page in pages)]


@cache
def shipped_models() -> frozenset[str]:
    """The models of the policies that come with the application: these can always be called here."""
    from mangaassist.routing.policy import preset

    return frozenset(model.id for name in PRESETS for model in preset(name).models.values())


def _without_keys(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("pk", "sk")}
