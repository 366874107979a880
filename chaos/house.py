"""The twin that a group of cells meets: its faults, its books, and how it is made to forget the cell before."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from chaos.matrix import CLOCK
from chaos.verdict import TOKENS, Books
from local.aws import INSIDER
from local.invoke import HOST, own_twin
from tools.place import TWIN_REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPTIONS = ("--environments", "2", "--quotas", "100", "--seed", "1", "--set", "TURNS_PER_MINUTE=6000")
FAILING = ("--endpoint", "starting_s=0", "--set", "ANSWER_CACHE=redis", "--set", "CAPACITY_MODE=off")
READY_S = 20.0
MOST_LINES = 1_000
ON_DEMAND = "anthropic"  # in the ids of the models that chains end with


@dataclass(frozen=True)
class House:
    """A running twin."""

    port: int

    @property
    def url(self) -> str:
        """Where shoppers connect."""
        return f"ws://{HOST}:{self.port}/live"

    @property
    def controls(self) -> str:
        """Where its controls are."""
        return f"http://{HOST}:{self.port}/twin"

    def get(self, path: str, **query: Any) -> Any:
        """Read a control."""
        return httpx.get(f"{self.controls}/{path}", params=query, timeout=20).raise_for_status().json()

    def put(self, path: str, document: Any) -> None:
        """Set a control."""
        httpx.put(f"{self.controls}/{path}", json=document, timeout=20).raise_for_status()

    def delete(self, path: str) -> None:
        """Reset a control."""
        httpx.delete(f"{self.controls}/{path}", timeout=20).raise_for_status()

    def books(self) -> Books:
        """The accounts and charges as they are now."""
        state = self.get("state")
        days = [row for key, row in state["situation"].items() if key.startswith("SPEND#")]
        charges = [charge for model, charge in state["emulator"]["charges"].items() if ON_DEMAND in model]
        return Books(
            committed=sum(int(day.get("committed_nano_usd", 0)) for day in days),
            spent=sum(int(day.get("spent_nano_usd", 0)) for day in days),
            limit=int(state["spend"]["limit_nano_usd"]),
            charged_tokens=sum(int(charge[name]) for charge in charges for name in TOKENS),
        )

    def lines(self) -> list[dict[str, Any]]:
        """The newest lines of the ledger."""
        lines: list[dict[str, Any]] = self.get("turns", limit=MOST_LINES)["turns"]
        return lines

    def at_rest(self) -> None:
        """Wait until no model speaks and no function runs."""
        self.until(
            lambda: (
                not self.get("state")["emulator"]["active_streams"]
                and not any(it["events"] for it in self.get("environments")["environments"])
            )
        )

    def forget(self) -> None:
        """Begin again: no faults, no open breakers, and environments that remember nothing."""
        self.delete("faults")
        old = {it["pid"] for it in self.get("environments")["environments"]}
        for _ in old:
            self.delete("environments")
        self.until(lambda: len(self._fresh(old)) == len(old))
        tables = boto3.client(
            "dynamodb",
            TWIN_REGION,
            endpoint_url=f"http://{HOST}:{self.port + 1}",
            aws_access_key_id=INSIDER,
            aws_secret_access_key=INSIDER,
        )
        for key in self.get("state")["situation"]:
            if key.startswith("HEALTH#"):
                tables.delete_item(TableName="SituationTable", Key={"pk": {"S": "NOW"}, "sk": {"S": key}})

    def _fresh(self, old: set[int]) -> set[int]:
        return {it["pid"] for it in self.get("environments")["environments"]} - old

    def until(self, holds: Callable[[], bool], seconds: float = READY_S) -> None:
        """Wait until something holds, or for so long."""
        give_up_at = time.monotonic() + seconds
        while not holds() and time.monotonic() < give_up_at:
            time.sleep(0.1)


@contextmanager
def house(group: str) -> Iterator[House]:
    """A twin for the cells of a group."""
    with own_twin(*OPTIONS, *(() if group == CLOCK else FAILING)) as twin:
        yield House(twin.port)
