"""Calls of the twin's models by a real boto3 client, and what comes of them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
import urllib3.exceptions
from botocore.eventstream import ChecksumMismatch, InvalidHeadersLength, InvalidPayloadLength
from botocore.exceptions import ClientError, ConnectionClosedError, ResponseStreamingError

HAIKU = "jp.anthropic.claude-haiku-5-5"
QUESTION = "ワンピースは何巻まで出ていますか？"
BROKEN = (
    ConnectionClosedError,
    ResponseStreamingError,
    ChecksumMismatch,
    InvalidHeadersLength,
    InvalidPayloadLength,
    urllib3.exceptions.ProtocolError,  # what botocore lets through when a stream's connection ends
)


def user(text: str = QUESTION) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def events(bedrock: Any, model: str = HAIKU, messages: Any = None, **more: Any) -> list[dict[str, Any]]:
    with closing(bedrock.converse_stream(modelId=model, messages=messages or user(), **more)["stream"]) as stream:
        return list(stream)


def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as refusal:
        call()
    response = refusal.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]
