"""Many texts as vectors: InvokeModel of a batch, repeated while the service is busy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge import embeddings
from mangaassist.knowledge.loading.backoff import Refused
from mangaassist.stores import NO_ANSWER, error_code, http_status
from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

    from mangaassist.knowledge.embeddings import Vector
    from mangaassist.knowledge.loading.backoff import Backoff

TOKENS_HEADER = "x-amzn-bedrock-input-token-count"
_BUSY = frozenset({"ThrottlingException", "ModelNotReadyException", "ModelTimeoutException", "ModelErrorException"})
_OF_THE_TEXT = "ValidationException"


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of some texts in their order, and the tokens that they cost."""

    vectors: list[Vector]
    tokens: int


class Embeddings:
    """Embeds texts; many threads may."""

    def __init__(self, client: BedrockRuntimeClient, model: str, backoff: Backoff) -> None:
        self._client = client
        self.model = model
        self._backoff = backoff

    @property
    def texts_at_once(self) -> int:
        """How many texts a call takes."""
        return embeddings.TEXTS_AT_ONCE[self.model]

    def of(self, texts: Sequence[str]) -> Vectors | Refused:
        """The vectors of at most `texts_at_once` texts, or why these have none.

        Raises KnowledgeUnavailable for what no other text would meet otherwise, such as a denied model.
        """
        body = json.dumps(embeddings.request(self.model, texts), ensure_ascii=False).encode()
        reason = "stopped"
        for _ in self._backoff.tries():
            try:
                return self._asked(body, texts)
            except ClientError as error:
                reason = error_code(error)
                if reason == _OF_THE_TEXT:
                    break
                if reason not in _BUSY and http_status(error) < 500:
                    raise KnowledgeUnavailable("embeddings", reason) from error
            except NO_ANSWER as error:
                reason = type(error).__name__
            except (ValueError, KeyError, TypeError):
                reason = "garbled"
        return Refused(f"embeddings: {reason}")

    def _asked(self, body: bytes, texts: Sequence[str]) -> Vectors:
        answer = self._client.invoke_model(
            modelId=self.model, body=body, contentType="application/json", accept="application/json"
        )
        reply: Any = json.loads(answer["body"].read())
        found = embeddings.vectors(self.model, reply)
        if len(found) != len(texts):
            raise ValueError("there is not one vector for each text")
        headers: dict[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
        told = reply.get("inputTextTokenCount") or headers.get(TOKENS_HEADER)
        return Vectors(found, int(told) if told else sum(map(estimate, texts)))
