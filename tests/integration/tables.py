"""Tables as the template makes them, behind a client whose requests can be counted, interleaved, refused and lost."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from samtranslator.yaml_helper import yaml_parse

from mangaassist.stores import from_item, to_item
from tests.integration.environment import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

CONNECTIONS = ENVIRONMENT["CONNECTIONS_TABLE"]
TURNS = ENVIRONMENT["TURNS_TABLE"]
SITUATION = ENVIRONMENT["SITUATION_TABLE"]
IDEMPOTENCY = ENVIRONMENT["IDEMPOTENCY_TABLE"]
PRODUCTS = ENVIRONMENT["PRODUCTS_TABLE"]
ANSWERS = ENVIRONMENT["ANSWERS_TABLE"]
NAMES = {
    "ConnectionsTable": CONNECTIONS,
    "TurnsTable": TURNS,
    "SituationTable": SITUATION,
    "IdempotencyTable": IDEMPOTENCY,
    "ProductsTable": PRODUCTS,
    "AnswersTable": ANSWERS,
}
CREATED_WITH = ("AttributeDefinitions", "KeySchema", "BillingMode")
TEMPLATE = Path(__file__).parents[2] / "template.yaml"


class Door:
    """Every request of a client goes through here, one after the other, as a table serves those to one item.

    `requests` keeps their names. `before` may wait or raise in a request's place; `after` may raise when the table has
    done what was asked, as when its answer is lost.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.before: Callable[[str], None] = nothing
        self.after: Callable[[str], None] = nothing
        self._lock = threading.Lock()

    def serve(self, operation: str, request: Callable[[], Any]) -> Any:
        self.before(operation)
        with self._lock:  # moto's conditional writes are not atomic by themselves
            self.requests.append(operation)
            answer = request()
        self.after(operation)
        return answer

    def close(self) -> None:
        """Let no request reach its table."""
        self.before = out_of_reach

    def open(self) -> None:
        """Let requests and answers through again."""
        self.before = self.after = nothing


def nothing(_operation: str) -> None:
    """Let a request or its answer pass."""


def out_of_reach(_operation: str) -> None:
    """Fail as when no connection can be made."""
    raise EndpointConnectionError(endpoint_url="https://dynamodb.example")


def lost(_operation: str) -> None:
    """Fail as when an answer does not arrive."""
    raise ReadTimeoutError(endpoint_url="https://dynamodb.example")


def client(door: Door) -> DynamoDBClient:
    """A client whose requests go through a door."""

    class Watched:
        def _make_api_call(self, operation: str, parameters: Any) -> Any:
            return door.serve(operation, lambda: super(Watched, self)._make_api_call(operation, parameters))  # type: ignore[misc]

    session = boto3.Session(region_name="ap-northeast-1", aws_access_key_id="x", aws_secret_access_key="x")
    session.events.register("creating-client-class.dynamodb", lambda base_classes, **_: base_classes.insert(0, Watched))
    return session.client("dynamodb")


def create(dynamodb: DynamoDBClient, names: dict[str, str] = NAMES) -> None:
    """Make the template's tables, under these names for its logical ids."""
    for logical_id, properties in _tables().items():
        wanted: Any = {name: properties[name] for name in CREATED_WITH}
        dynamodb.create_table(TableName=names[logical_id], **wanted)


@cache
def _tables() -> dict[str, dict[str, Any]]:
    resources = yaml_parse(TEMPLATE.read_text("utf-8"))["Resources"]
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::DynamoDB::Table"
    }


def put(dynamodb: DynamoDBClient, table: str, **fields: object) -> None:
    """Write an item past all conditions."""
    dynamodb.put_item(TableName=table, Item=to_item(fields))


def get(dynamodb: DynamoDBClient, table: str, pk: str, sk: str) -> dict[str, Any]:
    """An item as Python values; empty when there is none."""
    answer = dynamodb.get_item(TableName=table, Key=to_item({"pk": pk, "sk": sk}))
    return from_item(answer.get("Item", {}))


def everything(dynamodb: DynamoDBClient, table: str) -> list[dict[str, Any]]:
    """All items of a table as Python values."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    return [from_item(item) for page in pages for item in page["Items"]]


def interleaved[T](door: Door, choices: Sequence[int], *works: Callable[[], T]) -> list[T]:
    """Run works in threads of which one moves at a time, each from one request to before the next.

    `choices` tell which of those that wait goes on (the first, when no choice is left). Raises what a work raises.
    """
    order = iter(choices)
    goes = [threading.Semaphore(0) for _ in works]
    moved: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
    mine = threading.local()

    def gate(_operation: str) -> None:
        moved.put((mine.number, True))
        goes[mine.number].acquire()

    def run(number: int) -> T:
        mine.number = number
        try:
            return works[number]()
        finally:
            moved.put((number, False))

    door.before = gate
    waiting: list[int] = []
    moving = len(works)
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(run, number) for number in range(len(works))]
        while moving or waiting:
            while moving:
                number, waits = moved.get()
                moving -= 1
                waiting += [number] if waits else []
            if waiting:
                waiting.sort()
                goes[waiting.pop(next(order, 0) % len(waiting))].release()
                moving = 1
    door.open()
    return [future.result() for future in futures]
