"""moto's S3 in the twin, asked by a real boto3 client: what the application keeps there, and how it breaks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from tests.e2e.running import ROOT, Running, running
from tests.integration.twin_calls import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "shelf"  # of the template
CATALOGUE = b"".join(b"%05d,%s\n" % (number, b"x" * 2000) for number in range(10_000))
PATHS = Config(s3={"addressing_style": "path"})


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--template", str(ROOT / "tests" / "data" / "workflow" / "template.yaml")) as twin:
        yield twin


@pytest.fixture(autouse=True)
def _no_faults_left(twin: Running) -> Iterator[None]:
    yield
    twin.delete("faults")


@pytest.fixture(scope="module")
def s3(twin: Running) -> Any:
    return twin.client("s3", config=PATHS.merge(Config(read_timeout=30)))  # the first answer waits for moto's imports


def keys(s3: Any, bucket: str = BUCKET) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def test_the_templates_bucket_is_there_and_others_can_be_made(s3: Any) -> None:
    s3.create_bucket(Bucket="other", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {BUCKET, "other"}
    s3.delete_bucket(Bucket="other")


@pytest.mark.parametrize("body", [CATALOGUE, io.BytesIO(CATALOGUE)], ids=["bytes", "stream"])
def test_a_catalogue_of_ten_thousand_lines_comes_back_whole(s3: Any, body: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="目録/catalogue.csv", Body=body)
    assert keys(s3) == ["目録/catalogue.csv"]
    assert s3.head_object(Bucket=BUCKET, Key="目録/catalogue.csv")["ContentLength"] == len(CATALOGUE)
    lines = s3.get_object(Bucket=BUCKET, Key="目録/catalogue.csv")["Body"].iter_lines()
    assert b"".join(line + b"\n" for line in lines) == CATALOGUE
    s3.delete_object(Bucket=BUCKET, Key="目録/catalogue.csv")
    assert keys(s3) == []


def test_a_client_that_is_not_told_to_use_paths_finds_the_same(twin: Running, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="one", Body=b"1")
    assert twin.client("s3").get_object(Bucket=BUCKET, Key="one")["Body"].read() == b"1"
    s3.delete_object(Bucket=BUCKET, Key="one")
    assert refused(lambda: s3.get_object(Bucket=BUCKET, Key="one")) == (404, "NoSuchKey")
    assert refused(lambda: s3.get_object(Bucket="nowhere", Key="one")) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("throttle", 503, "SlowDown"), ("unavailable", 503, "ServiceUnavailable"), ("denied", 403, "AccessDenied")],
)
def test_s3_refuses_in_its_own_words(twin: Running, s3: Any, fault: str, status: int, code: str) -> None:
    twin.put("faults", {"s3": {"fault": fault, "operation": "GetObject"}})
    assert refused(lambda: s3.get_object(Bucket=BUCKET, Key="one")) == (status, code)
    assert keys(s3) == []


def test_s3_falls_silent_breaks_off_or_takes_its_time(twin: Running, s3: Any) -> None:
    twin.put("faults", {"s3": {"fault": "hang", "count": 1}})
    with pytest.raises(ReadTimeoutError):
        twin.client("s3", config=Config(read_timeout=0.3)).list_buckets()
    twin.put("faults", {"s3": {"fault": "cut", "count": 1}})
    with pytest.raises(ConnectionClosedError):
        s3.list_buckets()
    twin.put("faults", {"s3": {"fault": "slow", "first_token_ms": 50, "count": 1}})
    assert s3.list_buckets()["Buckets"]
