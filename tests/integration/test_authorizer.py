"""The authorizer as the gateway calls it: with a real issuer on a socket and the allow-list in Parameter Store."""

from __future__ import annotations

import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import time_machine
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from moto import mock_aws

import authorizer
from mangaassist import bootstrap
from mangaassist.observability import metrics
from tests.integration import environment
from tokens import IssuerUnreachable, published_keys
from tools.watching.alarms import ORIGIN_REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ISSUER = environment.ENVIRONMENT["TOKEN_ISSUER"]
AUDIENCE = environment.ENVIRONMENT["TOKEN_AUDIENCE"]
ORIGINS = environment.ENVIRONMENT["ALLOWED_ORIGINS_PARAMETER"]
PAGE = "http://127.0.0.1:8080"  # the origin in the sample events
UNAUTHORIZED = r"^Unauthorized$"  # API Gateway looks for exactly this
REFUSED = ("token_expired", ORIGIN_REFUSED)  # the one is an error to Lambda, the other is not, as the alarm reckons
EVENTS_WITH_A_TOKEN = ("authorizer-query-token", "authorizer-subprotocol-token")


class Issuer:
    """An issuer on a loopback socket: publishes its key, counts who asks, and misbehaves when told."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.asked = 0
        self.answer: Callable[[Issuer, BaseHTTPRequestHandler], None] = publish
        issuer = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.answer(issuer, self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def key_set(self) -> bytes:
        key = ECAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return json.dumps({"keys": [{**key, "kid": "first", "use": "sig", "alg": "ES256"}]}).encode()

    def token(self, key_id: str = "first", **claims: Any) -> str:
        now = int(time.time())
        payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300} | claims
        return jwt.encode(payload, self._private, algorithm="ES256", headers={"kid": key_id})


def reply(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def publish(issuer: Issuer, request: BaseHTTPRequestHandler) -> None:
    reply(request, issuer.key_set())


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def parameters() -> Iterator[Any]:
    with mock_aws():
        yield bootstrap.session().client("ssm", region_name="ap-northeast-1")


@pytest.fixture(autouse=True)
def deployed(issuer: Issuer, parameters: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.enter(monkeypatch, TOKEN_JWKS_URL=issuer.url)
    authorizer.verifier.cache_clear()
    authorizer.allowed_origins.cache_clear()
    metrics.clear_metrics()
    allow(parameters, f"https://manga.example.com,{PAGE}")


def allow(parameters: Any, origins: str) -> None:
    parameters.put_parameter(Name=ORIGINS, Value=origins, Type="StringList", Overwrite=True)


def authorize(name: str, token: str | None = None, headers: dict[str, str] | None = None) -> Any:
    return authorizer.handler(environment.event(name, token, headers), environment.Context())


def effect(answer: dict[str, Any]) -> str:
    [statement] = answer["policyDocument"]["Statement"]
    return str(statement["Effect"])


@pytest.mark.parametrize("name", EVENTS_WITH_A_TOKEN)
def test_a_good_token_opens_the_door_to_its_subject(issuer: Issuer, name: str) -> None:
    answer = authorize(name, issuer.token())
    assert answer == {
        "principalId": "alice",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": "arn:aws:execute-api:ap-northeast-1:123456789012:a1b2c3d4e5/live/$connect",
                }
            ],
        },
        "context": {"user_id": "alice", "user_class": ""},
    }


@pytest.mark.parametrize("name", EVENTS_WITH_A_TOKEN)
def test_a_bad_token_is_unauthorized_in_just_this_word(issuer: Issuer, name: str) -> None:
    for token in ("TOKEN", issuer.token(exp=1), issuer.token(aud="another"), issuer.token("unknown")):
        with pytest.raises(Exception, match=UNAUTHORIZED):
            authorize(name, token)


def test_no_token_is_unauthorized(issuer: Issuer) -> None:
    for headers in ({}, {"Sec-WebSocket-Protocol": "mangaassist"}):
        with pytest.raises(Exception, match=UNAUTHORIZED):
            authorize("authorizer-no-token", headers=headers)
    assert issuer.asked == 0


@pytest.mark.parametrize("name", ["sec-websocket-protocol", "Sec-Websocket-Protocol", "SEC-WEBSOCKET-PROTOCOL"])
def test_the_subprotocol_is_read_however_it_is_written(issuer: Issuer, name: str) -> None:
    assert effect(authorize("authorizer-no-token", headers={name: f"mangaassist,{issuer.token()}"})) == "Allow"


def test_another_origin_is_denied(issuer: Issuer) -> None:
    answer = authorize("authorizer-wrong-origin", issuer.token())
    assert effect(answer) == "Deny"
    assert answer["principalId"] == "alice"


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        (f"https://a.example,{PAGE}", PAGE, "Allow"),
        (f"https://a.example, {PAGE}", PAGE, "Allow"),
        ("*", "https://anything.example", "Allow"),
        ("https://a.example,*", "null", "Allow"),
        ("https://a.example", "null", "Deny"),
        ("https://a.example", "https://a.example.evil.example", "Deny"),
        ("https://a.example", "https://a.exampl", "Deny"),
        ("https://a.example", "http://a.example", "Deny"),
        ("https://a.example", "https://a.example:8443", "Deny"),
        ("https://a.example", "", "Deny"),
    ],
)
def test_origins_match_to_the_letter(issuer: Issuer, parameters: Any, allowed: str, origin: str, expected: str) -> None:
    allow(parameters, allowed)
    assert effect(authorize("authorizer-query-token", issuer.token(), {"Origin": origin})) == expected


def test_a_client_without_an_origin_is_no_page_and_needs_no_list(issuer: Issuer, parameters: Any) -> None:
    parameters.delete_parameter(Name=ORIGINS)
    event = environment.event("authorizer-query-token", issuer.token())
    del event["headers"]["Origin"], event["multiValueHeaders"]["Origin"]
    assert effect(authorizer.handler(event, environment.Context())) == "Allow"


def test_two_origins_are_none_of_ours(issuer: Issuer) -> None:
    event = environment.event("authorizer-query-token", issuer.token())
    event["multiValueHeaders"]["origin"] = ["https://manga.example.com"]
    assert effect(authorizer.handler(event, environment.Context())) == "Deny"


def test_the_list_is_kept_for_five_minutes_and_outlives_an_outage(issuer: Issuer, parameters: Any) -> None:
    token = issuer.token(exp=int(time.time()) + 3600)
    with time_machine.travel(time.time(), tick=False) as clock:
        assert effect(authorize("authorizer-query-token", token)) == "Allow"
        allow(parameters, "https://new.example")
        clock.shift(299)
        assert effect(authorize("authorizer-query-token", token)) == "Allow"
        clock.shift(2)
        assert effect(authorize("authorizer-query-token", token)) == "Deny"
        parameters.delete_parameter(Name=ORIGINS)
        clock.shift(301)
        assert effect(authorize("authorizer-query-token", token, {"Origin": "https://new.example"})) == "Allow"


def test_a_list_that_was_never_read_is_a_failure_and_no_refusal(issuer: Issuer, parameters: Any) -> None:
    parameters.delete_parameter(Name=ORIGINS)
    with pytest.raises(GetParameterError):
        authorize("authorizer-query-token", issuer.token())


def test_the_issuer_is_asked_once_for_many(issuer: Issuer) -> None:
    for _ in range(5):
        authorize("authorizer-query-token", issuer.token())
    assert issuer.asked == 1
    for number in range(5):
        with pytest.raises(Exception, match=UNAUTHORIZED):
            authorize("authorizer-query-token", issuer.token(f"invented-{number}"))
    assert issuer.asked == 1


def drip(_issuer: Issuer, request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(100):
        request.wfile.write(b" ")
        time.sleep(0.03)


def hang(_issuer: Issuer, request: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


@pytest.mark.parametrize(
    "answer",
    [
        lambda issuer, request: reply(request, issuer.key_set(), 503),
        lambda issuer, request: reply(request, issuer.key_set(), 302, Location="/elsewhere"),
        lambda issuer, request: reply(request, b" " * 300_000 + issuer.key_set()),
        lambda _, request: reply(request, b"<html>"),
        lambda _, request: reply(request, b"[]"),
        lambda _, request: reply(request, b'{"keys": []}'),
        lambda _, request: request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
        lambda _, request: request.wfile.write(b"what?\r\n\r\n"),
        lambda _, request: None,
    ],
)
def test_an_issuer_that_answers_wrongly_is_our_failure_and_not_the_shoppers(
    issuer: Issuer, answer: Callable[[Issuer, BaseHTTPRequestHandler], None], capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.answer = answer
    with pytest.raises(IssuerUnreachable):
        authorize("authorizer-query-token", issuer.token())
    assert issuer.asked == 1
    assert '"IssuerUnreachable":[1.0]' in capsys.readouterr().out


@pytest.mark.parametrize("answer", [drip, hang])
def test_an_issuer_is_not_waited_for_longer_than_agreed(issuer: Issuer, answer: Any) -> None:
    issuer.answer = answer
    began = time.monotonic()
    with pytest.raises(IssuerUnreachable):
        published_keys(issuer.url, timeout_s=0.1)()
    assert time.monotonic() - began < 1.5


def test_an_issuer_that_is_gone_is_unreachable(issuer: Issuer) -> None:
    fetch = published_keys(issuer.url)
    issuer.close()
    with pytest.raises(IssuerUnreachable):
        fetch()


def test_each_refusal_is_counted_by_its_reason(issuer: Issuer, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match=UNAUTHORIZED):
        authorize("authorizer-query-token", issuer.token(exp=1))
    authorize("authorizer-wrong-origin", issuer.token())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    expired, wrong_origin = ([line for line in told if line.get("reason") == reason] for reason in REFUSED)
    assert [line["HandshakesRefused"] for line in (*expired, *wrong_origin)] == [[1.0], [1.0]]
    assert [line["HandshakesRefused"] for line in told if "Handshakes" in line] == [[1.0], [1.0]]


def test_nothing_of_a_token_is_written_down(issuer: Issuer, capsys: pytest.CaptureFixture[str]) -> None:
    written = Written()
    logging.getLogger("mangaassist").addHandler(written)
    token = issuer.token(sub="alice-in-wonderland")
    expired = issuer.token(sub="alice-in-wonderland", exp=1)
    try:
        authorize("authorizer-query-token", token)
        authorize("authorizer-wrong-origin", token)
        with pytest.raises(Exception, match=UNAUTHORIZED) as refusal:
            authorize("authorizer-subprotocol-token", expired)
    finally:
        logging.getLogger("mangaassist").removeHandler(written)
    everything = "\n".join([*written.lines, capsys.readouterr().out, *map(repr, refusal.value.args)])
    assert "token_expired" in everything
    assert refusal.value.__suppress_context__
    for secret in ("alice", token.split(".")[1], token.split(".")[2], expired.split(".")[1]):
        assert secret not in everything


class Written(logging.Handler):
    """Keeps whole log records as text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(repr(record.__dict__))


def test_an_event_that_cannot_be_read_is_not_quoted(issuer: Issuer) -> None:
    event = environment.event("authorizer-query-token", "secret")
    del event["methodArn"]
    with pytest.raises(ValueError, match="methodArn") as failure:
        authorizer.handler(event, environment.Context())
    assert "secret" not in str(failure.value)
    assert "input_value" not in str(failure.value)


def test_a_handshake_that_cannot_be_judged_counts_against_the_version_and_a_refused_one_does_not(
    issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match=UNAUTHORIZED):
        authorize("authorizer-query-token", issuer.token(exp=1))
    assert "VersionFailed" not in capsys.readouterr().out
    authorizer.verifier.cache_clear()
    issuer.close()
    with pytest.raises(IssuerUnreachable):
        authorize("authorizer-query-token", issuer.token())
    (line,) = (json.loads(line) for line in capsys.readouterr().out.splitlines() if "VersionFailed" in line)
    assert (line["function"], line["version"], line["VersionFailed"]) == ("function", "7", [1.0])
