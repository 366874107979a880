"""An uploaded catalogue goes into the products table and the search index; its report goes beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mangaassist import bootstrap
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure, metrics, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_MS = 60_000  # kept of the function's time, to index and write what is embedded


class Named(BaseModel):
    """A bucket."""

    name: str


class Keyed(BaseModel):
    """An object in it."""

    key: str


class Detail(BaseModel):
    """Which object was created."""

    bucket: Named
    object: Keyed


class Upload(BaseModel):
    """What EventBridge tells of an upload, as far as it is needed; Powertools' model asks for more than S3 promises."""

    detail: Detail


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Load the upload; Lambda repeats what raises, and the repetition goes on where this stopped."""
    upload = Upload.model_validate(event).detail
    told: dict[str, int] = {}
    with traced("ingest", on=bootstrap.settings().tracing == "on"):
        try:
            bootstrap.ingest().take(
                upload.bucket.name,
                upload.object.key,
                progress=lambda report: told.update(report.counts()),
                has_time=lambda: context.get_remaining_time_in_millis() > RESERVE_MS,
            )
        finally:
            measure(Metric.IngestRows, told.get("rows", 0))
            measure(Metric.IngestBadRows, told.get("bad", 0))
            measure(Metric.IngestFailedRows, told.get("failed", 0))
            measure(Metric.EmbeddingTokens, told.get("embedding_tokens", 0))
            logger.info("upload", extra={"object": upload.object.key, **told})
    return told
