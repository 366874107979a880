"""What Bedrock offers in a region, and until when: its control plane's list of foundation models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist.capacity.control_plane import named
from mangaassist.jst import JST
from mangaassist.routing.lifecycle.findings import Life

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_bedrock import BedrockClient


class Offers:
    """Foundation models by region; raises ControlPlaneError."""

    def __init__(self, clients: Callable[[str], BedrockClient]) -> None:
        self._clients = clients

    def of(self, region: str) -> dict[str, Life]:
        """Every foundation model that the region lists, by id."""
        bedrock = self._clients(region)
        with named("Bedrock"):
            listed = bedrock.list_foundation_models()["modelSummaries"]
        return {summary["modelId"]: _life(summary.get("modelLifecycle", {})) for summary in listed}


def _life(told: Mapping[str, Any]) -> Life:
    """A model whose life is not told is there, so it is active."""
    ends = told.get("endOfLifeTime")
    return Life(told.get("status", "ACTIVE"), ends.astimezone(JST).date() if ends else None)
