"""Where a catalogue is loaded to, in memory: a table, a collection behind a session's own transport, and a model."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import requests
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from requests.adapters import BaseAdapter

from local import embeddings
from local.search_collection import Collection
from local.search_errors import SearchError
from mangaassist.knowledge import catalogue
from mangaassist.knowledge.embeddings import TITAN
from mangaassist.knowledge.loading import rows
from mangaassist.knowledge.loading.backoff import Backoff
from mangaassist.knowledge.loading.embedding import TOKENS_HEADER, Embeddings
from mangaassist.knowledge.loading.loader import Loader
from mangaassist.knowledge.loading.search import SearchIndex, signed
from mangaassist.knowledge.loading.table import ProductTable
from mangaassist.knowledge.product import Product, product
from tests.integration import tables
from tests.integration.environment import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.knowledge.loading.report import Report

PRODUCTS = ENVIRONMENT["PRODUCTS_TABLE"]
ENDPOINT = "https://collection.ap-northeast-1.aoss.example"
INDEX = "products"
TOO_MANY = (429, {"status": 429, "error": {"type": "Too Many Requests", "reason": "429"}})

type Generation = Literal["nextgen", "classic"]


class CollectionInMemory(BaseAdapter):
    """The twin's emulated collection as a session's transport; refusals are scripted."""

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        self.collection = Collection(0, lambda: 0.0, classic=generation == "classic")
        self.requests: list[tuple[str, str]] = []
        self.bulks: list[list[dict[str, Any]]] = []  # the actions of each
        self.signed: list[str] = []
        self.refusals: list[tuple[int, Any] | Exception] = []  # what the next requests meet
        self.rejected: Counter[str] = Counter()  # how often a product's document is
        self.reason = (429, "rejected_execution_exception")
        self.after_bulk: Callable[[], None] = lambda: None

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, **_: Any
    ) -> requests.Response:
        assert request.url is not None
        path = urlsplit(request.url).path
        self.requests.append((str(request.method), path))
        self.signed.append(request.headers["Authorization"])
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            return _response(*refusal)
        body = request.body or b""
        assert isinstance(body, bytes)
        try:
            return _response(200, self._done(str(request.method), path, body))
        except SearchError as error:
            return _response(error.status, error.body)

    def close(self) -> None:
        pass

    def documents(self) -> list[dict[str, Any]]:
        """Everything in the index."""
        found = self.collection.search(INDEX, json.dumps({"size": 10_000}).encode())
        return [hit["_source"] | {"_id": hit["_id"]} for hit in found["hits"]["hits"]]

    def ids(self) -> list[str]:
        """The products that the index has, one for each document."""
        return sorted(document["id"] for document in self.documents())

    def _done(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        match method, path.removeprefix(f"/{INDEX}"):
            case "GET", "":
                return self.collection.describe(INDEX)
            case "PUT", "":
                return self.collection.create(INDEX, body)
            case "POST", "/_search":
                return self.collection.search(INDEX, body)
            case "POST", "/_bulk":
                return self._bulk(body)
        raise AssertionError(f"{method} {path}")

    def _bulk(self, body: bytes) -> dict[str, Any]:
        """Do what a bulk says but for the documents to be rejected."""
        lines = iter(body.splitlines(keepends=True))
        answers: list[dict[str, Any]] = []
        self.bulks.append([])
        for line in lines:
            action = json.loads(line)
            self.bulks[-1].append(action)
            more = b"" if "delete" in action else next(lines)
            name = json.loads(more)["id"] if more else ""
            if self.rejected[name] > 0:
                self.rejected[name] -= 1
                status, kind = self.reason
                answers.append({"index": {"_id": None, "status": status, "error": {"type": kind, "reason": "-"}}})
            else:
                answers += self.collection.bulk(line + more, INDEX)["items"]
        self.after_bulk()
        return {"took": 1, "errors": any("error" in told for it in answers for told in it.values()), "items": answers}


def _response(status: int, told: Any) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO(told if isinstance(told, bytes) else json.dumps(told).encode())
    return response


@dataclass
class ModelInMemory:
    """Bedrock's InvokeModel by the twin's vectors; `troubles` are the codes that the next calls meet."""

    texts: list[str] = field(default_factory=list)  # every one that was paid for
    calls: int = 0
    troubles: list[str] = field(default_factory=list)
    hates: str = ""  # texts with this in them are always throttled
    holds: Event | None = None  # calls after the first `held_after` wait for it
    held_after: int = 0
    lock: Any = field(default_factory=Lock)

    def invoke_model(self, *, modelId: str, body: bytes, contentType: str, accept: str) -> Any:
        asked = json.loads(body)
        texts = [asked["inputText"]] if modelId == TITAN else asked["texts"]
        with self.lock:
            self.calls += 1
            waits = self.holds if self.calls > self.held_after else None
        if waits is not None:
            waits.wait(5)
        with self.lock:
            trouble = self.troubles.pop(0) if self.troubles else ""
            if self.hates and any(self.hates in text for text in texts):
                trouble = "ThrottlingException"
            if trouble:
                status = {"ThrottlingException": 429, "InternalServerException": 500}.get(trouble, 400)
                told: Any = {"Error": {"Code": trouble}, "ResponseMetadata": {"HTTPStatusCode": status}}
                raise ClientError(told, "InvokeModel")
            self.texts += texts
        reply, tokens = embeddings.answer(modelId, body)
        headers = {} if modelId == TITAN else {TOKENS_HEADER: str(tokens)}
        return {"body": io.BytesIO(json.dumps(reply).encode()), "ResponseMetadata": {"HTTPHeaders": headers}}


@dataclass
class Shelves:
    """A deployment to load into, and what it has then."""

    dynamodb: DynamoDBClient
    generation: Generation = "nextgen"
    model: ModelInMemory = field(default_factory=ModelInMemory)
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.index = CollectionInMemory(self.generation)
        self.backoff = Backoff(self.slept.append, lambda most_s: most_s)

    def parts(
        self, *, search: bool = True, model: str = TITAN, endpoint: str = ENDPOINT
    ) -> tuple[ProductTable, Embeddings, SearchIndex | None]:
        """Table, embeddings and index as the loader has them."""
        table = ProductTable(self.dynamodb, PRODUCTS, self.backoff)
        models: Any = self.model
        index = None
        if search:
            session = signed(Credentials("key", "secret", "token"), "ap-northeast-1")
            session.mount(endpoint, self.index)
            index = SearchIndex(session, endpoint, INDEX, self.generation, self.backoff)
        return table, Embeddings(models, model, self.backoff), index

    def loader(self, **choices: Any) -> Loader:
        """A loader as each process makes its own."""
        return Loader(*self.parts(**choices), self.backoff)

    def load(self, products: Iterable[Product], *, again: bool = False, **choices: Any) -> Report:
        """Load products as a file of theirs."""
        return self.loader(**choices).load(rows_of(products), again=again)

    def items(self) -> dict[str, dict[str, Any]]:
        """The table, by id."""
        return {item["id"]: item for item in tables.everything(self.dynamodb, PRODUCTS)}

    def products(self) -> dict[str, Product]:
        """The products that a turn would find in the table."""
        return {name: product(item) for name, item in self.items().items()}


def rows_of(products: Iterable[Product]) -> Iterator[Any]:
    """A file with these products."""
    return rows.read((json.dumps(one.facts()).encode() + b"\n" for one in products), "catalogue.jsonl")


def some(number: int) -> list[Product]:
    """Products of different works; beyond the catalogue that ships, of further volumes of them."""
    works = list(catalogue.works().values())
    return [
        Product(replace(works[place % len(works)], id=f"p-{place}", title_en=f"Number {place}"), price_yen=500)
        for place in range(number)
    ]


def figures(report: Report) -> tuple[int, int, int, int, int]:
    """Unchanged, facts only, embedded, failed, bad."""
    return report.unchanged, report.facts_only, report.embedded, report.failed, report.bad


def same(shelf: Shelves, products: Sequence[Product]) -> bool:
    """Whether table and index have these products and no others."""
    return shelf.products() == {it.id: it for it in products} and shelf.index.ids() == sorted(it.id for it in products)


def create_table(dynamodb: DynamoDBClient, name: str = PRODUCTS) -> None:
    """Make the products table, unless the template's tables have it among them."""
    if name not in dynamodb.list_tables()["TableNames"]:
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
