"""The Bedrock backend on real sockets: what it asks, what it makes of answers, and what of failures."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from local.eventstream import encode, event, exception
from mangaassist.errors import Rejected, Unavailable
from mangaassist.money.prices import Usage
from mangaassist.routing.backends import Alive, Message, Stopped, TextDelta, UsageReport
from mangaassist.routing.backends.bedrock import BedrockBackend
from mangaassist.transport import Transport
from tests.integration.bedrock_calls import (
    END,
    QUESTION,
    START,
    SYSTEM,
    ask,
    backend,
    call,
    client,
    said,
    text_of,
    whole,
)
from tests.integration.wire import Peer, ScriptedServer, answer, chunk, head, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mangaassist.errors import BackendError
    from tests.integration.wire import Asked

SECRET = "私の住所は"  # stands for anything of the shopper's that a service may repeat


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer(whole("やあ"))) as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bedrock(server: ScriptedServer, transport: Transport) -> BedrockBackend:
    return backend(server.url, transport)


def _request(server: ScriptedServer, backend: BedrockBackend, **asked: Any) -> tuple[Asked, dict[str, Any]]:
    """What the server is asked, checked against the service's own model."""
    server.then(answer(whole("はい")))
    events, failure = ask(backend, call(*asked.pop("messages", ()), **asked))
    assert (text_of(events), failure) == ("はい", None)
    sent = server.asked[-1]
    body: dict[str, Any] = json.loads(sent.body)
    operation = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("ConverseStream")
    assert operation.input_shape is not None
    model_id = unquote(sent.target.split("/")[2])
    report = ParamValidator().validate({"modelId": model_id, **body}, operation.input_shape)
    assert not report.has_errors(), report.generate_report()
    return sent, body


class TestRequest:
    def test_it_is_signed_and_complete(self, server: ScriptedServer, bedrock: BedrockBackend) -> None:
        sent, body = _request(server, bedrock)
        assert (sent.method, sent.target) == ("POST", "/model/jp.anthropic.claude-sonnet-4-6/converse-stream")
        assert sent.headers["host"] == f"127.0.0.1:{server.port}"
        assert re.search(r"/ap-northeast-1/bedrock/aws4_request,.*host", sent.headers["authorization"])
        assert body == {
            "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
            "system": [{"text": SYSTEM}],
            "inferenceConfig": {"maxTokens": 300, "temperature": 0.4},
        }

    def test_a_conversation_keeps_its_order_and_may_end_with_the_assistant(
        self, server: ScriptedServer, bedrock: BedrockBackend
    ) -> None:
        messages = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d"))
        _, body = _request(server, bedrock, messages=messages)
        assert [(message["role"], message["content"][0]["text"]) for message in body["messages"]] == [
            (message.role, message.text) for message in messages
        ]

    def test_a_model_without_sampling_gets_no_temperature(
        self, server: ScriptedServer, bedrock: BedrockBackend
    ) -> None:
        _, body = _request(server, bedrock, sampling=False, temperature=0.4)
        assert body["inferenceConfig"] == {"maxTokens": 300}

    def test_extra_fields_and_no_system_prompt(self, server: ScriptedServer, bedrock: BedrockBackend) -> None:
        fields = {"output_config": {"effort": "low"}}
        _, body = _request(server, bedrock, system="", extra_request_fields=fields)
        assert body["additionalModelRequestFields"] == fields
        assert "system" not in body

    @pytest.mark.parametrize(("least", "length", "is_marked"), [(10, 10, True), (10, 9, False), (None, 5000, False)])
    def test_a_system_prompt_is_cached_where_that_is_possible(
        self, server: ScriptedServer, transport: Transport, least: int | None, length: int, is_marked: bool
    ) -> None:
        counting = BedrockBackend(
            clients=lambda region: client(server.url, region), transport=transport, estimate_tokens=len
        )
        _, body = _request(server, counting, system="x" * length, prompt_cache_min_tokens=least)
        assert ({"cachePoint": {"type": "default"}} in body["system"]) is is_marked

    def test_a_tier_of_the_service_is_asked_for(self, server: ScriptedServer, bedrock: BedrockBackend) -> None:
        _, usual = _request(server, bedrock)
        assert "serviceTier" not in usual
        _, asked = _request(server, bedrock, service_tier="priority")
        assert asked["serviceTier"] == {"type": "priority"}

    @pytest.mark.parametrize(("version", "sent"), [("3", "3"), ("", "DRAFT")])
    def test_a_guardrail_goes_along(
        self, server: ScriptedServer, transport: Transport, version: str, sent: str
    ) -> None:
        guarded = backend(server.url, transport, guardrail_id="abc123", guardrail_version=version)
        _, body = _request(server, guarded)
        assert body["guardrailConfig"] == {"guardrailIdentifier": "abc123", "guardrailVersion": sent}

    @pytest.mark.parametrize(
        ("model_id", "region"),
        [
            ("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123", "us-east-1"),
            ("arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-4-6", "ap-northeast-3"),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", "ap-northeast-3"),
        ],
    )
    def test_an_arn_names_its_region_and_is_one_step_of_the_path(
        self, server: ScriptedServer, bedrock: BedrockBackend, model_id: str, region: str
    ) -> None:
        sent, _ = _request(server, bedrock, model_id=model_id, region="ap-northeast-3")
        assert unquote(sent.target) == f"/model/{model_id}/converse-stream"
        assert sent.target.count("/") == 3
        assert ":" not in sent.target
        assert f"/{region}/bedrock/aws4_request" in sent.headers["authorization"]


class TestAnswer:
    def test_a_whole_answer(self, server: ScriptedServer, bedrock: BedrockBackend) -> None:
        server.then(answer(whole("『ジョジョ』", "は", " いかが？")))
        events, failure = ask(bedrock)
        assert failure is None
        assert events == [
            Alive(),
            TextDelta("『ジョジョ』"),
            TextDelta("は"),
            TextDelta(" いかが？"),
            Stopped("complete"),
            UsageReport(Usage(40, 7, 512, 3)),
        ]

    @given(data=st.data(), texts=st.lists(st.text(max_size=12), max_size=6))
    def test_split_anywhere_it_is_the_same(
        self, server: ScriptedServer, bedrock: BedrockBackend, data: st.DataObject, texts: list[str]
    ) -> None:
        body = b"".join(whole(*texts))
        cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=12)))
        server.then(answer(body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)))
        events, failure = ask(bedrock)
        assert failure is None
        assert text_of(events) == "".join(texts)
        assert events[-2:] == [Stopped("complete"), UsageReport(Usage(40, 7, 512, 3))]

    @settings(deadline=None)
    @given(
        names=st.lists(st.sampled_from(["contentBlockDelta", "messageStop", "metadata", "messageStart", "new"])),
        payload=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["delta", "text", "stopReason", "usage", "inputTokens", "x"]), inner)
            ),
            max_leaves=6,
        ),
    )
    def test_whatever_events_hold_they_are_read_or_are_our_error(
        self, server: ScriptedServer, bedrock: BedrockBackend, names: list[str], payload: Any
    ) -> None:
        server.then(answer([*(event(name, payload) for name in names), *END]))
        events, failure = ask(bedrock)
        assert failure is None or failure.outcome in ("garbled", "cut")
        text_of(events).encode()  # it can be sent on

    @given(data=st.binary(max_size=200))
    def test_whatever_bytes_come_they_are_our_error(
        self, server: ScriptedServer, bedrock: BedrockBackend, data: bytes
    ) -> None:
        server.then(answer([data]))
        events, failure = ask(bedrock)
        assert events == []
        assert failure is not None
        assert failure.outcome in ("garbled", "cut")

    def test_thinking_and_sources_are_life_without_text(self, server: ScriptedServer, bedrock: BedrockBackend) -> None:
        deltas: list[dict[str, Any]] = [
            {"reasoningContent": {"text": "hm"}},
            {"reasoningContent": {"signature": "c2ln"}},
            {"citation": {"title": "t"}},
            {"toolUse": {"input": "{}"}},
            {"text": ""},
        ]
        server.then(
            answer(
                [
                    START,
                    event("contentBlockStart", {"contentBlockIndex": 0, "start": {}}),
                    *(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas),
                    event("somethingNew", {"text": "not for the shopper"}),
                    said("ok"),
                    *END,
                ]
            )
        )
        events, failure = ask(bedrock)
        assert failure is None
        assert events[:-2] == [Alive()] * 7 + [TextDelta("ok")]

    @pytest.mark.parametrize(
        ("stop_reason", "reason"),
        [
            ("end_turn", "complete"),
            ("stop_sequence", "complete"),
            ("of_next_year", "complete"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("guardrail_intervened", "filtered"),
            ("content_filtered", "filtered"),
            ("refusal", "filtered"),
        ],
    )
    def test_reasons_to_stop(
        self, server: ScriptedServer, bedrock: BedrockBackend, stop_reason: str, reason: str
    ) -> None:
        server.then(answer([START, said("a"), event("messageStop", {"stopReason": stop_reason}), END[-1]]))
        events, failure = ask(bedrock)
        assert failure is None
        assert Stopped(reason) in events

    def test_half_a_surrogate_pair_does_not_reach_the_shopper(
        self, server: ScriptedServer, bedrock: BedrockBackend
    ) -> None:
        headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
        half = encode(headers, rb'{"contentBlockIndex":0,"delta":{"text":"a\ud83db"}}')
        pair = encode(headers, rb'{"contentBlockIndex":0,"delta":{"text":"\ud83d\ude00"}}')
        server.then(answer([START, half, pair, *END]))
        events, _ = ask(bedrock)
        assert text_of(events) == "a\N{REPLACEMENT CHARACTER}b\N{GRINNING FACE}"

    def test_an_answer_that_ends_without_usage_is_still_complete(
        self, server: ScriptedServer, bedrock: BedrockBackend
    ) -> None:
        server.then(answer([START, said("a"), END[1]]))
        events, failure = ask(bedrock)
        assert (events[-1], failure) == (Stopped("complete"), None)

    @pytest.mark.parametrize(
        "after",
        [
            b"\xff" * 40,
            exception("internalServerException", {"message": SECRET}),
            event("metadata", {"usage": {"inputTokens": -1, "outputTokens": 2}}),
            event("metadata", {"usage": "none"}),
            END[2][:-9],
        ],
        ids=["noise", "exception", "impossible usage", "no usage", "half an event"],
    )
    def test_what_breaks_after_the_model_stopped_cannot_harm_its_answer(
        self, server: ScriptedServer, bedrock: BedrockBackend, after: bytes
    ) -> None:
        server.then(raw(head() + b"".join(map(chunk, [START, said("a"), END[1], after])), then=Peer.close))
        events, failure = ask(bedrock)
        assert (events[-1], failure) == (Stopped("complete"), None)

    def test_a_body_that_does_not_end_with_its_last_event_is_given_up(
        self, server: ScriptedServer, bedrock: BedrockBackend
    ) -> None:
        server.then(raw(head() + chunk(b"".join(whole("a"))), then=Peer.hang))
        stream = bedrock.open(call(), limit_s=1)
        began = time.monotonic()
        assert text_of(stream.poll(5) or ()) == "a"
        assert stream.poll(5) is None
        assert time.monotonic() - began < 2
        stream.close()
        assert server.peers[-1].left.wait(1)


REFUSALS: list[tuple[int, str, type[BackendError], str]] = [
    (429, "ThrottlingException", Unavailable, "throttled"),
    (429, "ModelNotReadyException", Unavailable, "throttled"),
    (400, "ServiceQuotaExceededException", Unavailable, "throttled"),
    (429, "", Unavailable, "throttled"),
    (503, "ServiceUnavailableException", Unavailable, "unavailable"),
    (500, "InternalServerException", Unavailable, "unavailable"),
    (408, "ModelTimeoutException", Unavailable, "unavailable"),
    (424, "ModelErrorException", Unavailable, "unavailable"),
    (502, "", Unavailable, "unavailable"),
    (404, "ResourceNotFoundException", Unavailable, "retired"),
    (403, "AccessDeniedException", Rejected, "denied"),
    (403, "UnrecognizedClientException", Rejected, "denied"),
    (403, "ExpiredTokenException", Rejected, "denied"),
    (403, "InvalidSignatureException", Rejected, "denied"),
    (403, "", Rejected, "denied"),
    (400, "ValidationException", Rejected, "invalid"),
    (413, "", Rejected, "invalid"),
    (302, "", Unavailable, "garbled"),
]


class TestRefusal:
    @pytest.mark.parametrize("told_by", ["header", "body"])
    @pytest.mark.parametrize(("status", "code", "kind", "outcome"), REFUSALS)
    def test_each_refusal_has_its_meaning_and_keeps_the_connection(
        self,
        server: ScriptedServer,
        bedrock: BedrockBackend,
        told_by: str,
        status: int,
        code: str,
        kind: type[BackendError],
        outcome: str,
    ) -> None:
        body = {"message": SECRET} | ({"__type": f"com.amazon#{code}"} if told_by == "body" else {})
        payload = json.dumps(body).encode()
        told = {"x_amzn_ErrorType": f"{code}:http://internal.amazon.com/"} if code and told_by == "header" else {}
        refusal = head(f"{status} No", framing=f"Content-Length: {len(payload)}", **told) + payload
        server.then(raw(refusal), answer(whole("ok")))
        events, failure = ask(bedrock)
        assert events == []
        assert type(failure) is kind
        assert failure.outcome == outcome
        assert SECRET not in str(failure)
        ask(bedrock)
        assert server.asked[-1].connection == server.asked[-2].connection

    def test_an_endless_error_body_is_not_read(self, server: ScriptedServer, bedrock: BedrockBackend) -> None:
        endless = chunk(b"x" * 16_000) * 40
        server.then(raw(head("500 No") + endless, then=Peer.hang))
        _, failure = ask(bedrock)
        assert failure is not None
        assert failure.outcome == "unavailable"
        assert server.peers[-1].left.wait(1)

    @pytest.mark.parametrize("code", ["<script>", "a" * 500, "Throttling\x01"])
    def test_a_code_that_is_none_stays_out_of_logs(
        self, server: ScriptedServer, bedrock: BedrockBackend, code: str
    ) -> None:
        payload = json.dumps({"__type": code}).encode()
        server.then(raw(head("400 No", framing=f"Content-Length: {len(payload)}") + payload))
        _, failure = ask(bedrock)
        assert str(failure) == "invalid: no code, status 400"

    @pytest.mark.parametrize("first", [[], [START, said("a")]], ids=["at once", "after text"])
    @pytest.mark.parametrize(
        ("name", "kind", "outcome"),
        [
            ("throttlingException", Unavailable, "throttled"),
            ("serviceUnavailableException", Unavailable, "unavailable"),
            ("internalServerException", Unavailable, "unavailable"),
            ("modelStreamErrorException", Unavailable, "unavailable"),
            ("modelTimeoutException", Unavailable, "unavailable"),
            ("validationException", Rejected, "invalid"),
            ("ofNextYearException", Unavailable, "unavailable"),
        ],
    )
    def test_an_exception_in_the_stream_means_the_same_after_its_text(
        self,
        server: ScriptedServer,
        bedrock: BedrockBackend,
        first: list[bytes],
        name: str,
        kind: type[BackendError],
        outcome: str,
    ) -> None:
        server.then(answer([b"".join([*first, exception(name, {"message": SECRET})])]))
        events, failure = ask(bedrock)
        assert text_of(events) == ("a" if first else "")
        assert type(failure) is kind
        assert failure.outcome == outcome
        assert SECRET not in str(failure)

    def test_an_unmodelled_error_in_the_stream(self, server: ScriptedServer, bedrock: BedrockBackend) -> None:
        headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": SECRET}
        server.then(answer([START, encode(headers, b"")]))
        _, failure = ask(bedrock)
        assert str(failure) == "unavailable: InternalFailure, status 500"


def _changed(message: bytes, at: int) -> bytes:
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


class TestNoise:
    @pytest.mark.parametrize(
        "noise",
        [
            _changed(said("b"), 2),
            _changed(said("b"), 9),
            _changed(said("b"), 40),
            _changed(said("b"), -1 % len(said("b"))),
            b"<html>captive portal</html>",
            encode({":message-type": "event", ":event-type": "contentBlockDelta"}, b"{"),
            encode({":message-type": "event", ":event-type": "contentBlockDelta"}, b"\xff"),
            encode({":message-type": "event", ":event-type": "contentBlockDelta"}, b"[" * 200_000),
            encode({":message-type": "event", ":event-type": "contentBlockDelta"}, b'{"delta":"text"}'),
            encode({":message-type": "event", ":event-type": "contentBlockDelta"}, b"x" * 2_000_000),
            encode({":message-type": "event", ":event-type": "messageStop"}, b"[]"),
            encode({"a": "b"}, b"{}"),
            event("messageStop", {"stopReason": "malformed_model_output"}),
        ],
        ids=[
            "length",
            "prelude checksum",
            "headers",
            "checksum",
            "html",
            "json",
            "utf-8",
            "deep json",
            "delta",
            "giant",
            "stop",
            "nameless",
            "malformed output",
        ],
    )
    def test_noise_is_garbled_after_the_text_before_it(
        self, server: ScriptedServer, bedrock: BedrockBackend, noise: bytes
    ) -> None:
        server.then(answer([START, said("a"), noise, said("c"), *END]))
        events, failure = ask(bedrock)
        assert events == [Alive(), TextDelta("a")]
        assert type(failure) is Unavailable
        assert failure.outcome == "garbled"


class TestBeforeSending:
    def test_without_credentials_every_model_is_denied(self, transport: Transport) -> None:
        session = botocore.session.Session()
        session.register_component("credential_provider", _NoCredentials())
        keyless: Any = session.create_client("bedrock-runtime", "ap-northeast-1", endpoint_url="http://127.0.0.1:9")
        _, failure = ask(BedrockBackend(clients=lambda _: keyless, transport=transport))
        assert str(failure) == "denied: NoCredentialsError"

    def test_parameters_that_the_service_has_not_are_invalid_and_not_repeated(self, bedrock: BedrockBackend) -> None:
        wrong: Any = Message("user", {"text": SECRET})  # type: ignore[arg-type]
        _, failure = ask(bedrock, call(wrong))
        assert str(failure) == "invalid: ParamValidationError"
        assert failure is not None
        assert failure.__cause__ is None
        assert failure.__suppress_context__


class _NoCredentials:
    def load_credentials(self) -> None:
        return None
