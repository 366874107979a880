"""The ingest function as EventBridge calls it: what is loaded, reported, counted, and when another try goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

import ingest
from mangaassist import bootstrap
from mangaassist.errors import IngestUnfinished, StoreUnavailable
from mangaassist.knowledge.loading import intake
from mangaassist.knowledge.loading.intake import Intake
from mangaassist.observability import metrics
from tests.integration import environment, shelves
from tests.integration.shelves import Shelves, some

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from tests.integration.tables import Door
    from tests.unit.fakes import FakeClock

BUCKET = "uploads"
KEY = "spring/catalogue.jsonl"


@dataclass(frozen=True)
class Context(environment.Context):
    """Lambda's, with a little or a lot of time."""

    left_ms: int = 900_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@pytest.fixture
def shelf(dynamodb: DynamoDBClient) -> Shelves:
    shelves.create_table(dynamodb)
    return Shelves(dynamodb)


@pytest.fixture
def s3(dynamodb: DynamoDBClient) -> S3Client:
    """A bucket, in the same emulated AWS."""
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture(autouse=True)
def _deployed(monkeypatch: pytest.MonkeyPatch, shelf: Shelves, s3: S3Client, clock: FakeClock) -> None:
    """The function's application over doubles; everything above `bootstrap.ingest` is the real one."""
    environment.enter(monkeypatch)
    metrics.clear_metrics()
    taken = Intake(s3, shelf.loader(), clock.now_s)
    monkeypatch.setattr(bootstrap, "ingest", lambda: taken)


def upload(s3: S3Client, body: bytes, key: str = KEY) -> dict[str, Any]:
    """Put a file, and give what EventBridge says of it."""
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    detail = {"bucket": {"name": BUCKET}, "object": {"key": key, "size": len(body)}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def file(number: int) -> bytes:
    return b"".join(json.dumps(one.facts(), ensure_ascii=False).encode() + b"\n" for one in some(number))


def call(event: dict[str, Any], **context: Any) -> dict[str, int]:
    """Call the function, as JSON there and back."""
    lambdas: Any = Context(**context)
    answer: dict[str, int] = json.loads(json.dumps(ingest.handler(json.loads(json.dumps(event)), lambdas)))
    return answer


def reports(s3: S3Client) -> dict[str, dict[str, Any]]:
    """The reports by their keys."""
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="reports/").get("Contents", [])
    return {it["Key"]: json.loads(s3.get_object(Bucket=BUCKET, Key=it["Key"])["Body"].read()) for it in found}


def counted(out: str, name: str) -> float:
    """The sum of a metric in what was printed."""
    documents = [json.loads(line) for line in out.splitlines() if '"_aws"' in line]
    return sum(sum(document.get(name, [])) for document in documents)


def test_an_upload_is_sold_and_found_and_its_report_lies_beside_it(
    s3: S3Client, shelf: Shelves, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(upload(s3, file(3) + b'{"id": "secret-row", "colour": "red"}\n'))
    assert (answer["rows"], answer["embedded"], answer["bad"], answer["failed"]) == (4, 3, 1, 0)
    assert shelf.products() == {it.id: it for it in some(3)}
    assert shelf.index.ids() == ["p-0", "p-1", "p-2"]
    ((key, report),) = reports(s3).items()
    assert key.startswith(f"reports/{KEY}-2026")
    assert key.endswith("Z.json")
    assert report["file"] == f"s3://{BUCKET}/{KEY}"
    assert report["problems"] == [{"line": 4, "reason": "unknown field 'colour'; title_ja: Field required", "id": ""}]
    assert {name: report[name] for name in answer} == answer
    out = capsys.readouterr().out
    assert [counted(out, it) for it in ("IngestRows", "IngestBadRows", "IngestFailedRows")] == [4, 1, 0]
    assert counted(out, "EmbeddingTokens") == answer["embedding_tokens"] > 0
    assert "secret-row" not in out
    assert "ONE PIECE" not in out


def test_a_second_delivery_of_the_same_event_costs_nothing(s3: S3Client, shelf: Shelves) -> None:
    event = upload(s3, file(3))
    call(event)
    answer = call(event)
    assert (answer["unchanged"], answer["embedding_nano_usd"]) == (3, 0)
    assert len(shelf.model.texts) == 3


@pytest.mark.parametrize(
    ("key", "body", "told"),
    [
        ("a.xlsx", b"PK", "a catalogue is a .csv or .jsonl file: not '.xlsx'"),
        ("a.csv", "id,題名\n".encode("cp932"), "save the file as UTF-8"),
        ("a.csv", b"id;title_ja\n", "columns that are unknown"),
        ("a.csv", b"", "the file is empty"),
        ("a.jsonl", b"\n" * 2000, "the file is longer than"),
    ],
)
def test_a_file_that_no_other_try_can_cure_ends_with_a_report_that_says_why(
    s3: S3Client, shelf: Shelves, monkeypatch: pytest.MonkeyPatch, key: str, body: bytes, told: str
) -> None:
    monkeypatch.setattr(intake, "FILE_LIMIT_BYTES", 1000)
    assert call(upload(s3, body, key))["rows"] == 0
    (report,) = reports(s3).values()
    assert told in report["unread"]
    assert shelf.index.requests == [], "nothing is made for it"


def test_a_file_that_was_deleted_meanwhile_is_no_failure(s3: S3Client) -> None:
    event = upload(s3, file(1))
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    assert call(event)["rows"] == 0
    (report,) = reports(s3).values()
    assert "deleted" in report["unread"]


def test_a_report_is_never_taken_for_an_upload(s3: S3Client) -> None:
    event = upload(s3, file(1), "reports/a.jsonl-20261123T030000Z.json")
    assert call(event) == {}
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


def test_a_long_key_still_has_a_report(s3: S3Client) -> None:
    call(upload(s3, file(1), "漫" * 330 + ".jsonl"))
    assert len(reports(s3)) == 1


def test_when_the_time_is_over_another_try_goes_on(s3: S3Client, shelf: Shelves) -> None:
    event = upload(s3, file(3))
    shelf.load(some(2))
    with pytest.raises(IngestUnfinished):
        call(event, left_ms=ingest.RESERVE_MS - 1)
    assert reports(s3) == {}
    assert call(event)["embedded"] == 1
    assert len(reports(s3)) == 1


def test_a_table_out_of_reach_is_left_to_another_try(s3: S3Client, door: Door) -> None:
    event = upload(s3, file(1))
    door.close()
    with pytest.raises(StoreUnavailable):
        call(event)
    door.open()
    assert call(event)["embedded"] == 1


def test_the_composition_root_builds_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    endpoint = {"SEARCH_ENDPOINT": "https://c.example", "SEARCH_GENERATION": "classic", "AWS_REGION": "ap-northeast-1"}
    environment.enter(monkeypatch, EMBEDDING_REGION="us-east-1", **endpoint)
    bootstrap.ingest.cache_clear()
    try:
        loader = bootstrap.ingest()._loader
        assert loader._search is not None
        assert loader._search.place == "https://c.example/products"
        assert loader._embeddings._client.meta.region_name == "us-east-1"
        environment.enter(monkeypatch, SEARCH_ENDPOINT="")
        bootstrap.ingest.cache_clear()
        assert bootstrap.ingest()._loader._search is None
    finally:
        bootstrap.ingest.cache_clear()


def test_a_product_is_what_the_newest_upload_says(s3: S3Client, shelf: Shelves) -> None:
    call(upload(s3, file(2)))
    cheaper = replace(some(1)[0], price_yen=1)
    answer = call(upload(s3, json.dumps(cheaper.facts()).encode()))
    assert answer["facts_only"] == 1
    assert shelf.products() == {"p-0": cheaper, "p-1": some(2)[1]}
