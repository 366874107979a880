"""The situation table: what all environments know together, read with one query and cached for seconds."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import PolicyInvalid, StoreUnavailable
from mangaassist.jst import jst
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure
from mangaassist.routing import health, policy
from mangaassist.routing.situation import Capacity, Health, Situation
from mangaassist.stores import condition_failed, from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.routing.policy import Policy

NOW = "NOW"
OUTAGE_PAUSE_S = 2.0  # before a table that did not answer is asked for the view again
REFUSALS = ("denied", "invalid")
STALE_LIMIT_S = 300.0  # with the table out of reach, an old view is better than none for this long


@dataclass(frozen=True, slots=True)
class View:
    """The situation and the policy in force, read together."""

    situation: Situation
    policy: Policy
    policy_version: int  # 0: the preset
    ignored_version: int = 0  # of an override that is invalid; 0: none is


class SituationStore:
    """Reads the view of the world, and notes what a turn learnt of its targets' health."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        default_policy: Policy,
        now_s: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_invalid_policy: Callable[[int, str], None],
        backends: frozenset[str] = frozenset(("bedrock",)),
    ) -> None:
        """Take the table, and the backends that the deployment has: targets of others are passed over."""
        self._client = client
        self._table = table
        self._now_s = now_s
        self._monotonic = monotonic
        self._on_invalid_policy = on_invalid_policy
        self._policy = default_policy
        self._default_policy = default_policy
        self._backends = backends
        self._seen_version = 0
        self._good_version = 0
        self._view: View | None = None
        self._read_at = float("-inf")
        self._not_before = float("-inf")
        self._lock = threading.Lock()

    def view(self) -> View:
        """The view of at most `situation_ttl_ms` ago; an older one while the table is out of reach.

        Raises StoreUnavailable when there is none young enough.
        """
        with self._lock:
            age_s = self._monotonic() - self._read_at
            if self._view and age_s < self._view.policy.limits.situation_ttl_ms / 1000:
                return self._view
            if self._monotonic() >= self._not_before:
                try:
                    self._view = self._read()
                    self._read_at = self._monotonic()
                    return self._view
                except StoreUnavailable:
                    self._not_before = self._monotonic() + OUTAGE_PAUSE_S
            if self._view is None or age_s > STALE_LIMIT_S:
                raise StoreUnavailable("the situation is not known")
            return self._view

    @property
    def policy(self) -> Policy:
        """The policy in force when the table was last read; the preset before that."""
        return self._policy

    def _read(self) -> View:
        today = jst(self._now_s()).date().isoformat()
        items: dict[str, dict[str, Any]] = {}
        with store_errors():
            for page in self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :now",
                ExpressionAttributeValues=to_item({":now": NOW}),
            ):
                items |= {item["sk"]["S"]: from_item(item) for item in page["Items"]}
        self._adopt(items.get("POLICY"))
        ignored = self._seen_version if self._seen_version != self._good_version else 0
        return View(_situation(items, today, self._backends), self._policy, self._good_version, ignored)

    def _adopt(self, override: Mapping[str, Any] | None) -> None:
        """Put an override into force once; one that is invalid is reported once, and the last good one stays."""
        version = _version(override) if override else 0
        if version == self._seen_version:
            return
        self._seen_version = version
        if override is None:
            self._policy, self._good_version = self._default_policy, 0
            return
        try:
            self._policy = policy.load(override.get("document", ""))
            self._good_version = version
        except PolicyInvalid as error:
            self._on_invalid_policy(version, str(error))

    def note_failure(self, target: str, outcome: str, view: View) -> None:
        """Tell all environments that a target failed; concurrent failures are all counted. Raises StoreUnavailable."""
        if outcome == "throttled":
            self._note_saturation(target, view)
            if target in view.situation.health and view.situation.health[target].open_until_s:
                self.note_success(target, view)  # the probe of a target that is busy, and therefore alive
        if view.policy.targets[target].own_capacity and outcome in REFUSALS:
            outcome = "retired"  # on demand goes on; what was bought is not asked again on every turn
        if not health.counts(outcome):
            return
        for _ in range(3):
            before = self._health(target)
            after = health.after_failure(before, outcome, view.policy.breaker, self._now_s())
            if after == before or self._replace_health(target, before, after):
                return

    def note_success(self, target: str, view: View) -> None:
        """Close a target's breaker, or forget its failures, if there is anything to forget. Raises StoreUnavailable."""
        known = view.situation.health.get(target)
        if known is None or known == Health():
            return
        try:
            with store_errors():
                self._client.delete_item(
                    TableName=self._table,
                    Key=_key(f"HEALTH#{target}"),
                    ConditionExpression="last_failure_s = :seen",  # a newer failure must not be forgotten
                    ExpressionAttributeValues=to_item({":seen": known.last_failure_s}),
                )
        except ClientError as error:
            if not condition_failed(error):
                raise

    def acquire(self, target: str) -> bool:
        """Take the half-open probe of a target, if nobody holds it. Raises StoreUnavailable."""
        now_s = self._now_s()
        probe_ms = self._policy.breaker.probe_ms
        try:
            with store_errors():
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(f"HEALTH#{target}"),
                    UpdateExpression="SET probe_until_s = :until",
                    # :closed, for a breaker that somebody closed meanwhile: a probe of it would bar everyone else
                    ConditionExpression="open_until_s > :closed AND open_until_s <= :now AND probe_until_s <= :now",
                    ExpressionAttributeValues=to_item({":closed": 0, ":now": now_s, ":until": now_s + probe_ms / 1000}),
                )
        except ClientError as error:
            if condition_failed(error):
                return False
            raise
        return True

    def _note_saturation(self, target: str, view: View) -> None:
        capacity = view.situation.capacity.get(target)
        if capacity is None:
            return
        until_s = self._now_s() + view.policy.limits.saturated_ms / 1000
        try:
            with store_errors():
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(f"CAPACITY#{capacity.window}"),
                    UpdateExpression="SET saturated_until_s = :until",
                    ConditionExpression="arn = :arn",  # what has taken its place, or nothing, is not full
                    ExpressionAttributeValues=to_item({":until": until_s, ":arn": capacity.arn}),
                )
        except ClientError as error:
            if not condition_failed(error):
                raise

    def _health(self, target: str) -> Health:
        with store_errors():
            answer = self._client.get_item(TableName=self._table, Key=_key(f"HEALTH#{target}"), ConsistentRead=True)
        return _read_health(from_item(answer.get("Item", {})))

    def _replace_health(self, target: str, before: Health, after: Health) -> bool:
        fields = {
            "failures": after.failures,
            "last_failure_s": after.last_failure_s,
            "open_until_s": after.open_until_s,
            "cooldown_ms": after.cooldown_ms,
            "probe_until_s": after.probe_until_s,
            "expires_at": int(after.last_failure_s) + 86_400,
        }
        unchanged = "attribute_not_exists(pk) OR (last_failure_s = :seen AND failures = :count)"
        try:
            with store_errors():
                self._client.put_item(
                    TableName=self._table,
                    Item=_key(f"HEALTH#{target}") | to_item(fields),
                    ConditionExpression=unchanged,
                    ExpressionAttributeValues=to_item({":seen": before.last_failure_s, ":count": before.failures}),
                )
        except ClientError as error:
            if condition_failed(error):
                return False
            raise
        return True


def _version(override: Mapping[str, Any]) -> int:
    """The override's version; -1 for one that has none, whose document is then judged once."""
    version = override.get("version")
    return version if isinstance(version, int) else -1


def _situation(items: Mapping[str, dict[str, Any]], today: str, backends: frozenset[str]) -> Situation:
    spend = items.get(f"SPEND#{today}", {})
    return Situation(
        committed_nano_usd=int(spend.get("committed_nano_usd", 0)),
        capacity=_capacity(items),
        health=_rows(items, "HEALTH#", _read_health),
        backends=backends,
    )


def _capacity(items: Mapping[str, dict[str, Any]]) -> dict[str, Capacity]:
    """What is published, by target; of two windows' for the same target the one that serves longer."""
    published = {sk: item for sk, item in items.items() if "arn" in item}  # a withdrawn one's row keeps its fence
    rows = _rows(published, "CAPACITY#", lambda item: (str(item["target"]), _read_capacity(item)))
    return dict(sorted(rows.values(), key=lambda row: row[1].until_s))


def _rows[Row](
    items: Mapping[str, dict[str, Any]], prefix: str, read: Callable[[Mapping[str, Any]], Row]
) -> dict[str, Row]:
    """The rows of a kind, by what they are of; one that cannot be read is left out, or it would fail every turn."""
    rows = {}
    for sk, item in items.items():
        if sk.startswith(prefix):
            try:
                rows[sk.removeprefix(prefix)] = read(item)
            except (KeyError, TypeError, ValueError):
                logger.error("a row of the situation cannot be read", extra={"row": sk})
                measure(Metric.SituationUnreadable)
    return rows


def _read_capacity(item: Mapping[str, Any]) -> Capacity:
    return Capacity(
        arn=item["arn"],
        units=int(item["units"]),
        until_s=float(item["until_s"]),
        saturated_until_s=float(item.get("saturated_until_s", 0)),
        window=str(item["window"]),
        day=str(item["day"]),
    )


def _read_health(item: Mapping[str, Any]) -> Health:
    return Health(
        failures=int(item.get("failures", 0)),
        last_failure_s=float(item.get("last_failure_s", 0)),
        open_until_s=float(item.get("open_until_s", 0)),
        cooldown_ms=int(item.get("cooldown_ms", 0)),
        probe_until_s=float(item.get("probe_until_s", 0)),
    )


def _key(sk: str) -> dict[str, Any]:
    return to_item({"pk": NOW, "sk": sk})
