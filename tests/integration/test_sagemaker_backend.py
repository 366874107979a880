"""The SageMaker backend on real sockets: what it asks, what it makes of answers, and what of failures."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError
from hypothesis import given, settings
from hypothesis import strategies as st

from local.eventstream import encode, exception
from mangaassist.errors import Rejected, Unavailable
from mangaassist.money.prices import Usage
from mangaassist.routing import policy
from mangaassist.routing.backends import Message, ModelCall, Stopped, UsageReport
from mangaassist.routing.backends.sagemaker import SageMakerBackend
from mangaassist.signing import SdkSigner
from mangaassist.transport import Transport
from tests.integration.bedrock_calls import QUESTION, SYSTEM, events_of, text_of
from tests.integration.wire import Peer, ScriptedServer, answer, chunk, head, raw
from tests.unit.test_completions import DIALECTS, PIECES, openai

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mangaassist.errors import BackendError
    from mangaassist.routing.backends import StreamEvent

SECRET = "私の住所は"  # stands for anything of the shopper's that a service may repeat
REGION = "ap-northeast-1"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer(parts(openai(PIECES)))) as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


def backend(server: ScriptedServer, transport: Transport, component: str = "") -> SageMakerBackend:
    """A backend of an endpoint at a scripted server."""
    signer = SdkSigner(lambda: Credentials("key", "secret", "token"), REGION, "sagemaker")
    return SageMakerBackend(transport, signer, server.url, "manga/assist", component=component)


def call(*messages: Message, **model: Any) -> ModelCall:
    """A call of the custom target."""
    current = policy.preset("current")
    asked = current.models["custom"].model_copy(update=model)
    said = messages or (Message("user", QUESTION),)
    return ModelCall(current.targets["sagemaker-custom"], asked, asked.id, SYSTEM, said, 300)


def part(data: bytes) -> bytes:
    """A PayloadPart of the stream."""
    kinds = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return encode(kinds, data)


def parts(said: bytes, size: int = 11) -> list[bytes]:
    """A container's bytes in parts that keep to nothing."""
    return [part(said[at : at + size]) for at in range(0, len(said), size)]


def ask(of: SageMakerBackend, question: ModelCall | None = None) -> tuple[list[StreamEvent], BackendError | None]:
    """One call from its sending to its end."""
    try:
        stream = of.open(question or call(), limit_s=2)
    except (Unavailable, Rejected) as error:
        return [], error
    return events_of(stream)


def test_it_asks_as_the_sdk_would_and_signs_for_sagemaker(server: ScriptedServer, transport: Transport) -> None:
    server.then(answer(parts(openai(PIECES))))
    ask(backend(server, transport, component="manga-ic"), call(temperature=0.7, extra_request_fields={"top_k": 5}))
    asked = server.asked[-1]
    assert asked.target == "/endpoints/manga%2Fassist/invocations-response-stream"
    assert "/sagemaker/aws4_request" in asked.headers["authorization"]
    assert asked.headers["x-amz-security-token"] == "token"
    assert asked.headers["x-amzn-sagemaker-inference-component"] == "manga-ic"
    assert json.loads(asked.body) == {
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
        "max_tokens": 300,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.7,
        "top_k": 5,
    }
    model = botocore.session.get_session().get_service_model("sagemaker-runtime")
    http = model.operation_model("InvokeEndpointWithResponseStream").http
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", http["requestUri"]), asked.target)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_every_dialect_streams_exactly(server: ScriptedServer, transport: Transport, dialect: str) -> None:
    server.then(answer(parts(DIALECTS[dialect](PIECES))))
    events, failure = ask(backend(server, transport))
    assert failure is None
    assert text_of(events) == "".join(PIECES)
    assert [event for event in events if isinstance(event, Stopped)] == [Stopped("complete")]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_no_cut_of_parts_or_packets_harms_the_text(
    server: ScriptedServer, transport: Transport, size: int, packets: list[int]
) -> None:
    sent = b"".join(parts(openai(PIECES), size))
    pieces, at = [], 0
    for length in packets * 100:
        if at < len(sent):
            pieces.append(sent[at : at + length])
            at += length
    server.then(answer([*pieces, sent[at:]] if at < len(sent) else pieces))
    events, failure = ask(backend(server, transport))
    assert (failure, text_of(events)) == (None, "".join(PIECES))


def test_usage_is_the_containers(server: ScriptedServer, transport: Transport) -> None:
    server.then(answer(parts(openai(PIECES, usage={"prompt_tokens": 40, "completion_tokens": 7}))))
    events, _ = ask(backend(server, transport))
    assert UsageReport(Usage(40, 7)) in events


@pytest.mark.parametrize(
    ("status", "code", "kind", "outcome"),
    [
        (424, "ModelError", Unavailable, "unavailable"),
        (429, "ModelNotReadyException", Unavailable, "throttled"),
        (429, "ThrottlingException", Unavailable, "throttled"),
        (503, "ServiceUnavailable", Unavailable, "unavailable"),
        (500, "InternalFailure", Unavailable, "unavailable"),
        (530, "InternalDependencyException", Unavailable, "unavailable"),
        (400, "ValidationError", Rejected, "invalid"),
        (403, "AccessDeniedException", Rejected, "denied"),
        (418, "Teapot", Rejected, "invalid"),
    ],
)
def test_every_refusal_is_one_of_ours_and_repeats_nothing(
    server: ScriptedServer, transport: Transport, status: int, code: str, kind: type[BackendError], outcome: str
) -> None:
    body = json.dumps({"OriginalMessage": SECRET, "message": SECRET}).encode()
    told = {"x_amzn_errortype": f"{code}:http://x/"}
    server.then(raw(head(f"{status} No", framing=f"Content-Length: {len(body)}", **told) + body))
    events, failure = ask(backend(server, transport))
    assert events == []
    assert isinstance(failure, kind)
    assert failure.outcome == outcome
    assert SECRET not in str(failure)


@pytest.mark.parametrize(
    ("original", "outcome"),
    [
        (429, "throttled"),
        (503, "throttled"),
        (400, "refused"),
        (413, "refused"),
        (422, "refused"),
        (404, "unavailable"),
        (500, "unavailable"),
        (0, "unavailable"),
    ],
)
def test_a_container_that_is_full_or_refuses_a_question_is_not_broken(
    server: ScriptedServer, transport: Transport, original: int, outcome: str
) -> None:
    body = json.dumps({"Message": SECRET, "OriginalStatusCode": original, "OriginalMessage": SECRET}).encode()
    server.then(raw(head("424 No", framing=f"Content-Length: {len(body)}", x_amzn_errortype="ModelError") + body))
    _, failure = ask(backend(server, transport))
    assert isinstance(failure, Unavailable)
    assert failure.outcome == outcome
    assert SECRET not in str(failure)


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"OriginalStatusCode": "429"}'])
def test_a_container_of_which_nothing_is_told_is_unavailable(
    server: ScriptedServer, transport: Transport, body: bytes
) -> None:
    server.then(raw(head("424 No", framing=f"Content-Length: {len(body)}", x_amzn_errortype="ModelError") + body))
    _, failure = ask(backend(server, transport))
    assert failure is not None
    assert failure.outcome == "unavailable"


def test_a_component_without_a_copy_is_asleep_and_not_wrong(server: ScriptedServer, transport: Transport) -> None:
    server.then(raw(head("400 No", framing="Content-Length: 2", x_amzn_errortype="ValidationError") + b"{}"))
    _, failure = ask(backend(server, transport, component="manga-ic"))
    assert isinstance(failure, Unavailable)


@pytest.mark.parametrize("name", ["ModelStreamError", "InternalStreamFailure"])
def test_a_stream_that_the_service_breaks_off_is_unavailable_after_its_text(
    server: ScriptedServer, transport: Transport, name: str
) -> None:
    said = openai(PIECES)
    half = said[: said.index("完結".encode())]
    server.then(answer([*parts(half), exception(name, {"Message": SECRET, "ErrorCode": "StreamBroken"})]))
    events, failure = ask(backend(server, transport))
    assert text_of(events) == "『寄生獣』は全10巻で"
    assert isinstance(failure, Unavailable)
    assert (failure.outcome, SECRET in str(failure)) == ("unavailable", False)


def test_a_stream_that_ends_early_is_cut(server: ScriptedServer, transport: Transport) -> None:
    said = openai(PIECES)
    for length in range(60, said.index(b"[DONE]") - 120, 37):
        server.then(answer(parts(said[:length])))
        _, failure = ask(backend(server, transport))
        assert isinstance(failure, Unavailable)
        assert (failure.outcome, length) == ("cut", length)


def test_silence_is_no_failure_of_the_backend(server: ScriptedServer, transport: Transport) -> None:
    server.then(raw(head() + chunk(part(b"data: ")), then=Peer.hang))
    stream = backend(server, transport).open(call(), limit_s=2)
    assert stream.poll(0.05) == ()
    stream.close()


def test_without_credentials_it_is_denied_and_nothing_is_sent(server: ScriptedServer, transport: Transport) -> None:
    before = len(server.asked)
    none = SageMakerBackend(transport, SdkSigner(lambda: None, REGION, "sagemaker"), server.url, "manga")
    with pytest.raises(Rejected) as failure:
        none.open(call(), limit_s=1)
    assert failure.value.outcome == "denied"
    assert isinstance(failure.value.__cause__, NoCredentialsError)
    assert len(server.asked) == before
