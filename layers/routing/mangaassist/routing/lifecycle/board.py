"""Where findings are kept: a partition of the situation table that no turn reads."""

from __future__ import annotations

import time
from datetime import date
from typing import TYPE_CHECKING

from mangaassist.jst import jst
from mangaassist.routing.lifecycle.findings import Finding
from mangaassist.stores import from_item, store_errors, to_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

LIFECYCLE = "LIFECYCLE"
KEPT_DAYS = 8  # a model that the policy no longer names goes after a week


class FindingBoard:
    """The last findings of each model. Every method raises StoreUnavailable."""

    def __init__(self, client: DynamoDBClient, table: str, now_s: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = table
        self._now_s = now_s

    def note(self, finding: Finding) -> None:
        """Put a finding in the place of the model's last one."""
        now_s = self._now_s()
        fields = {
            "pk": LIFECYCLE,
            "sk": f"MODEL#{finding.model}#{finding.region}",
            "model": finding.model,
            "model_id": finding.model_id,
            "region": finding.region,
            "status": finding.status,
            "ends_on": finding.ends_on.isoformat() if finding.ends_on else None,
            "days_left": finding.days_left,
            "probes": dict(finding.probes),
            "checked_at": jst(now_s).isoformat(timespec="seconds"),
            "expires_at": int(now_s) + KEPT_DAYS * 86_400,
        }
        with store_errors():
            self._client.put_item(TableName=self._table, Item=to_item(fields))

    def read(self) -> list[tuple[Finding, str]]:
        """Every model's last finding, and when that was."""
        found = []
        with store_errors():
            for page in self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :lifecycle",
                ExpressionAttributeValues=to_item({":lifecycle": LIFECYCLE}),
            ):
                found += [from_item(item) for item in page["Items"]]
        return [
            (
                Finding(
                    item["model"],
                    item["model_id"],
                    item["region"],
                    item["status"],
                    date.fromisoformat(item["ends_on"]) if item["ends_on"] else None,
                    item["days_left"],
                    item["probes"],
                ),
                item["checked_at"],
            )
            for item in found
            if item["expires_at"] > self._now_s()
        ]
