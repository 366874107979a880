"""The twin that a group of cells meets: its faults, its books, and how it is made to forget the cell before."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from chaos.matrix import BUDGET, CLOCK, SMALL_BUDGET_USD, WITHIN
from chaos.verdict import TOKENS, Books
from local.aws import INSIDER
from local.invoke import HOST, ROOT, own_twin
from mangaassist.chat.report import UNSETTLED
from mangaassist.routing.policy import preset_document
from tools.place import TWIN_REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

OPTIONS = ("--environments", "2", "--quotas", "100", "--seed", "1", "--set", "TURNS_PER_MINUTE=6000")
FAILING = ("--endpoint", "starting_s=0", "--set", "ANSWER_CACHE=redis", "--set", "CAPACITY_MODE=off")
POOR = ("--set", "CAPACITY_MODE=off")  # no hours that are paid for already
READY_S = 60.0
MOST_LINES = 1_000
TWIN_FOLDER = ROOT / ".twin"
EMBEDS = "embed"  # in the ids of models that answer nobody


@dataclass(frozen=True)
class House:
    """A running twin."""

    port: int

    @property
    def url(self) -> str:
        """Where shoppers connect."""
        return f"ws://{HOST}:{self.port}/live"

    @property
    def page(self) -> str:
        """The origin that browsers name."""
        return f"http://{HOST}:{self.port}"

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

    def delete(self, path: str) -> Any:
        """Reset a control."""
        return httpx.delete(f"{self.controls}/{path}", timeout=20).raise_for_status().json()

    def kill(self) -> int:
        """Kill the environment with the most events under way; how many these were."""
        killed = self.delete("environments")["killed"]
        return killed["events"] if killed else 0

    def is_answering(self) -> bool:
        """Whether a model speaks to a function."""
        return bool(self.get("state")["emulator"]["active_streams"])

    def books(self) -> Books:
        """The accounts and charges as they are now."""
        state = self.get("state")
        charges = {model: charge for model, charge in state["emulator"]["charges"].items() if EMBEDS not in model}
        days = {key: row for key, row in state["situation"].items() if key.startswith("SPEND#")}
        committed = {day: int(row.get("committed_nano_usd", 0)) for day, row in days.items()}
        spent = {day: int(row.get("spent_nano_usd", 0)) for day, row in days.items()}
        return Books(
            committed=sum(committed.values()),
            reserved={day: committed[day] - spent[day] for day in days if committed[day] != spent[day]},
            limit=int(state["spend"]["limit_nano_usd"]),
            charged=Counter(
                {
                    (model, kind): int(charge[kind])
                    for model, charge in charges.items()
                    for kind in TOKENS
                    if charge[kind]
                }
            ),
        )

    def lines(self) -> list[dict[str, Any]]:
        """The newest lines of the ledger."""
        lines: list[dict[str, Any]] = self.get("turns", limit=MOST_LINES)["turns"]
        return lines

    def unsettled(self) -> set[str]:
        """The turns whose accounts are told by the log, because the tables would not have them."""
        lines = (TWIN_FOLDER / f"twin-{self.port}.log").read_text("utf-8").splitlines()
        told = (json.loads(line) for line in lines if UNSETTLED in line)
        return {str(it["turn_id"]) for it in told}

    def faults_met(self) -> Counter[str]:
        """How many scripted faults calls have met since the twin's start, by what they were faults of."""
        return Counter({key: int(met) for key, met in self.get("state")["faults_met"].items()})

    def at_rest(self) -> bool:
        """Wait until no model speaks and no function runs; False when something never ends."""
        try:
            self.until(
                lambda: (
                    not self.is_answering() and not any(it["events"] for it in self.get("environments")["environments"])
                )
            )
        except TimeoutError:
            return False
        return True

    def forget(self) -> None:
        """Begin again: no faults, no open breakers, and environments that remember nothing."""
        self.delete("faults")
        old = {it["pid"] for it in self.get("environments")["environments"]}
        for _ in old:
            self.delete("environments")
        self.until(lambda: len(self._fresh(old)) == len(old))
        for key in self.get("state")["situation"]:
            if key.startswith("HEALTH#"):
                self._tables.delete_item(TableName="SituationTable", Key={"pk": {"S": "NOW"}, "sk": {"S": key}})

    def spend_at_most(self, daily_usd: str) -> None:
        """Put a policy in force whose day may cost so much."""
        document = json.loads(preset_document("current")) | {"budget": {"daily_usd": daily_usd}}
        row = {"pk": {"S": "NOW"}, "sk": {"S": "POLICY"}, "version": {"N": "1"}}
        self._tables.put_item(TableName="SituationTable", Item=row | {"document": {"S": json.dumps(document)}})

    @cached_property
    def _tables(self) -> DynamoDBClient:
        return boto3.client(
            "dynamodb",
            TWIN_REGION,
            endpoint_url=f"http://{HOST}:{self.port + 1}",
            aws_access_key_id=INSIDER,
            aws_secret_access_key=INSIDER,
        )

    def _fresh(self, old: set[int]) -> set[int]:
        return {it["pid"] for it in self.get("environments")["environments"]} - old

    def until(self, holds: Callable[[], bool], seconds: float = READY_S) -> None:
        """Wait until something holds; raises TimeoutError."""
        give_up_at = time.monotonic() + seconds
        while True:
            with suppress(httpx.TransportError):  # a busy twin may take its time
                if holds():
                    return
            if time.monotonic() > give_up_at:
                raise TimeoutError
            time.sleep(0.1)


def _options(group: str) -> tuple[str, ...]:
    if group in (CLOCK, *WITHIN):
        return ()
    return POOR if group == BUDGET else FAILING


@contextmanager
def house(group: str) -> Iterator[House]:
    """A twin for the cells of a group."""
    with own_twin(*OPTIONS, *_options(group)) as twin:
        found = House(twin.port)
        if group == BUDGET:
            found.spend_at_most(SMALL_BUDGET_USD)
        yield found
