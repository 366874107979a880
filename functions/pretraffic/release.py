"""Whether a release may be shown to shoppers: its new versions do what shoppers will ask of them.

The message function is asked a question that no kept answer serves, so that its turn goes through tables and a model.
The authorizer is shown a token of a key that does not exist: to refuse it, it must start and fetch the issuer's keys.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from mangaassist.chat.rehearsal import CONNECTION
from mangaassist.errors import MangaAssistError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_lambda import LambdaClient

TRIES = 4  # a model that stumbles, a snapshot or a grant that is not ready yet is no fault of the version
PAUSE_S = 15.0
QUESTION = "ワンピースに似た完結済みの作品を教えてください。(リリース {name} の確認)"
ANSWERED = ("complete", "length")
UNKNOWN_KEY = {"alg": "RS256", "kid": "rehearsal", "typ": "JWT"}


class ReleaseFaulty(MangaAssistError):
    """A version did not do what it was asked; the text says what it did instead."""


class Versions(Protocol):
    """Calls versions of functions."""

    def invoke(self, arn: str, event: dict[str, Any]) -> Any:
        """What a version answers, or what Lambda says of its failure; raises ReleaseFaulty when it cannot be called."""
        ...


class LambdaVersions:
    """Lambda's."""

    def __init__(self, client: LambdaClient) -> None:
        self._client = client

    def invoke(self, arn: str, event: dict[str, Any]) -> Any:
        """As the port says."""
        try:
            reply = self._client.invoke(FunctionName=arn, Payload=json.dumps(event))
            return json.loads(reply["Payload"].read())
        except ClientError as error:
            raise ReleaseFaulty(f"it cannot be called: {error.response['Error']['Code']}") from error
        except (BotoCoreError, ValueError) as error:
            raise ReleaseFaulty(f"it cannot be called: {type(error).__name__}") from error


class Release:
    """A release about to get traffic, under a name of its own."""

    def __init__(
        self,
        versions: Versions,
        name: str,
        *,
        message: str,
        authorizer: str,
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._versions = versions
        self._name = name
        self._message = message
        self._authorizer = authorizer
        self._now_s = now_s
        self._sleep = sleep

    def check(self) -> None:
        """Ask both versions; raises ReleaseFaulty."""
        self._patiently("authorizer", lambda: _refuses(self._versions.invoke(self._authorizer, self._handshake())))
        self._patiently("message", lambda: _answers(self._versions.invoke(self._message, self._ask())))

    def _patiently(self, function: str, check: Callable[[], None]) -> None:
        for tries in range(1, TRIES + 1):
            try:
                check()
            except ReleaseFaulty as fault:
                if tries == TRIES:
                    raise ReleaseFaulty(f"{function}: {fault}") from fault
                self._sleep(PAUSE_S)
            else:
                return

    def _handshake(self) -> dict[str, Any]:
        """A browser's handshake as API Gateway passes it on."""
        parts = (json.dumps(UNKNOWN_KEY).encode(), b"{}", b"no signature")
        token = ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        return {
            "type": "REQUEST",
            "methodArn": "arn:aws:execute-api:rehearsal:0:rehearsal/live/$connect",
            "headers": {},
            "multiValueHeaders": {},
            "queryStringParameters": {"token": token},
            "requestContext": self._context("$connect", "CONNECT"),
        }

    def _ask(self) -> dict[str, Any]:
        """A shopper's question as API Gateway passes it on."""
        user = f"rehearsal-{self._name}"
        return {
            "requestContext": self._context("$default", "MESSAGE")
            | {"messageId": "rehearsal", "authorizer": {"principalId": user, "user_id": user}},
            "body": json.dumps({"action": "ask", "message": QUESTION.format(name=self._name)}, ensure_ascii=False),
            "isBase64Encoded": False,
        }

    def _context(self, route: str, kind: str) -> dict[str, Any]:
        now_s = self._now_s()
        return {
            "routeKey": route,
            "eventType": kind,
            "extendedRequestId": "rehearsal",
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now_s)),
            "messageDirection": "IN",
            "stage": "live",
            "connectedAt": int(now_s * 1000),
            "requestTimeEpoch": int(now_s * 1000),
            "identity": {"sourceIp": "127.0.0.1"},
            "requestId": f"rehearsal-{self._name}",
            "domainName": "rehearsal.invalid",
            "connectionId": f"{CONNECTION}{self._name}",
            "apiId": "rehearsal",
        }


def _refuses(answer: Any) -> None:
    """The token is refused, and for no other reason than that its issuer does not know its key."""
    said = answer.get("errorMessage") if isinstance(answer, dict) else None
    if said != "Unauthorized":
        raise ReleaseFaulty(f"it does not refuse a token of an unknown key, but {_failure(answer)}")


def _answers(answer: Any) -> None:
    """A model's answer came, frame by frame, to its end; without one only where the day's money is spent."""
    frames = answer.get("frames") if isinstance(answer, dict) else None
    if not frames:
        raise ReleaseFaulty(f"it posts nothing, but {_failure(answer)}")
    last = frames[-1]
    if last["type"] != "end":
        raise ReleaseFaulty(f"it answers with an error: {last.get('code')}")
    if [frame.get("seq") for frame in frames] != list(range(len(frames))):
        raise ReleaseFaulty("its frames are not in order")
    is_spent = last["reason"] == "budget_guard" and not last["attempts"]
    if last["finish"] not in ANSWERED and not is_spent:
        outcomes = [f"{attempt['target']}:{attempt['outcome']}" for attempt in last["attempts"]]
        raise ReleaseFaulty(f"its answer ends as {last['finish']} after {outcomes}")
    if not any(frame["type"] == "delta" for frame in frames):
        raise ReleaseFaulty("its answer is empty")


def _failure(answer: Any) -> str:
    """What Lambda says of a failure: its kind and text, never what was answered."""
    if isinstance(answer, dict) and "errorMessage" in answer:
        return f"fails: {answer.get('errorType')}: {answer['errorMessage']}"
    return "answers something else"
