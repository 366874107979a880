"""An uploaded file: read from its bucket as it comes, loaded, and reported beside it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mangaassist.knowledge.loading import rows
from mangaassist.knowledge.loading.rows import Bad
from mangaassist.stores import error_code, store_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

    from mangaassist.knowledge.loading.loader import Loader
    from mangaassist.knowledge.loading.report import Report
    from mangaassist.knowledge.loading.rows import Good

REPORTS = "reports/"
FILE_LIMIT_BYTES = 64 * 1024 * 1024
PIECE_BYTES = 64 * 1024
KEY_PART = 200  # characters of the file's key in the report's, which may have 1,024 bytes
_GONE = frozenset({"NoSuchKey", "404"})


class Intake:
    """Takes uploads in."""

    def __init__(self, s3: S3Client, loader: Loader, now_s: Callable[[], float] = time.time) -> None:
        self._s3 = s3
        self._loader = loader
        self._now_s = now_s

    def take(
        self, bucket: str, key: str, progress: Callable[[Report], object], has_time: Callable[[], bool]
    ) -> Report | None:
        """Load a file and write its report; None for a report, which is no catalogue.

        What another try cannot cure is told by the report. Raises IngestUnfinished, StoreUnavailable and
        KnowledgeUnavailable: the same call again goes on.
        """
        if key.startswith(REPORTS):
            return None
        report = self._loader.load(self._rows(bucket, key), progress, has_time=has_time)
        self._tell(bucket, key, report)
        return report

    def _rows(self, bucket: str, key: str) -> Iterator[Good | Bad]:
        try:
            with store_errors():
                answer = self._s3.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise
            yield Bad(0, "the file was deleted before it was read", ends=True)
            return
        body, size = answer["Body"], answer["ContentLength"]
        if size > FILE_LIMIT_BYTES:
            body.close()
            limit = FILE_LIMIT_BYTES // 1024 // 1024
            yield Bad(0, f"the file is longer than {limit} MiB: part it, or load it with make ingest", ends=True)
            return
        yield from rows.read(_pieces(body), key)

    def _tell(self, bucket: str, key: str, report: Report) -> None:
        now = datetime.fromtimestamp(self._now_s(), UTC)
        told = {"file": f"s3://{bucket}/{key}", "finished": now.isoformat(timespec="seconds"), **report.document()}
        with store_errors():
            self._s3.put_object(
                Bucket=bucket,
                Key=f"{REPORTS}{key[:KEY_PART]}-{now:%Y%m%dT%H%M%SZ}.json",
                Body=json.dumps(told, ensure_ascii=False, indent=1).encode(),
                ContentType="application/json",
            )


def _pieces(body: StreamingBody) -> Iterator[bytes]:
    """A body in pieces; raises StoreUnavailable when it breaks off."""
    with store_errors():
        yield from body.iter_chunks(PIECE_BYTES)
