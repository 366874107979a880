"""Tokens are judged by the issuer's keys alone, and the issuer is asked seldom."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from mangaassist.chat import handshake
from tokens import IssuerUnreachable, SigningKeys, TokenRefused, Verifier, published_keys

if TYPE_CHECKING:
    from collections.abc import Callable

ISSUER = "https://issuer.example"
AUDIENCE = "mangaassist"

RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
WEAK_RSA_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose
EC_KEY = ec.generate_private_key(ec.SECP256R1())

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def published(key_id: str, key: PrivateKey, **fields: str) -> dict[str, Any]:
    public = key.public_key()
    algorithm: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(public, as_dict=True), "kid": key_id, **fields}


def token(
    key: Any = RSA_KEY,
    key_id: str | None = "first",
    algorithm: str | None = "RS256",
    /,
    without: str = "",
    **claims: Any,
) -> str:
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300} | claims
    payload.pop(without, None)
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": key_id} if key_id else {})


def forged(header: dict[str, Any], secret: bytes = b"") -> str:
    """A token that PyJWT refuses to make: any header, signed as HS256 with whatever bytes."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 300}
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    )
    signature = hmac.digest(secret, f"{head}.{body}".encode(), "sha256") if secret else b""
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


class Issuer:
    """An issuer in memory: counts how often it is asked, and does not answer when down."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.down = False

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.down:
            raise IssuerUnreachable("down")
        return {"keys": self.keys}


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(published("first", RSA_KEY), published("curve", EC_KEY))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(issuer: Issuer, clock: Clock) -> Verifier:
    return Verifier(SigningKeys(issuer, clock), ISSUER, AUDIENCE)


def reason(verifier: Verifier, token: str | None) -> str:
    with pytest.raises(TokenRefused) as refusal:
        verifier.holder(token)
    return refusal.value.reason


@pytest.mark.parametrize(
    ("claim", "told", "user_class"),
    [
        ("tier", "member", "member"),
        ("tier", "会員", ""),
        ("tier", ["member"], ""),
        ("tier", "m" * 33, ""),
        ("other", "member", ""),
        ("", "member", ""),
    ],
)
def test_a_class_is_taken_from_the_claim_that_is_named_if_it_can_be_one(
    issuer: Issuer, clock: Clock, claim: str, told: object, user_class: str
) -> None:
    verifier = Verifier(SigningKeys(issuer, clock), ISSUER, AUDIENCE, claim)
    assert verifier.holder(token(tier=told)).user_class == user_class


def test_a_good_token_names_its_subject(verifier: Verifier) -> None:
    assert verifier.holder(token()).user_id == "alice"
    assert verifier.holder(token(EC_KEY, "curve", "ES256", sub="bob")).user_id == "bob"
    assert verifier.holder(token(aud=["another", AUDIENCE])).user_id == "alice"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: None, "token_missing"),
        (lambda: "", "token_missing"),
        (lambda: "not.a.token", "token_malformed"),
        (lambda: "\ud800", "token_malformed"),
        (lambda: token() + "A" * 4, "signature_wrong"),
        (lambda: token(OTHER_RSA_KEY), "signature_wrong"),
        (lambda: token(exp=int(time.time()) - 60), "token_expired"),
        (lambda: token(nbf=int(time.time()) + 60), "token_immature"),
        (lambda: token(iss="https://other.example"), "issuer_wrong"),
        (lambda: token(aud="another"), "audience_wrong"),
        (lambda: token(without="exp"), "claim_missing"),
        (lambda: token(without="iss"), "claim_missing"),
        (lambda: token(without="aud"), "claim_missing"),
        (lambda: token(without="sub"), "claim_missing"),
        (lambda: token(sub=""), "subject_invalid"),
        (lambda: token(sub="a\nb"), "subject_invalid"),
        (lambda: token(sub="x" * 256), "subject_invalid"),
        (lambda: token(sub=7), "token_malformed"),
        (lambda: token(RSA_KEY, None), "key_id_missing"),
        (lambda: token(RSA_KEY, "unheard-of"), "key_unknown"),
        (lambda: token(None, "first", "none"), "algorithm_refused"),
        (lambda: forged({"alg": "None", "kid": "first"}), "algorithm_refused"),
        (lambda: token(RSA_KEY, "first", "RS512"), "algorithm_refused"),
        (lambda: token(RSA_KEY, "first", "PS256"), "algorithm_refused"),
        (lambda: token(EC_KEY, "first", "ES256"), "algorithm_refused"),
        (lambda: forged({"alg": "HS256", "kid": "first"}, public_pem()), "algorithm_refused"),
        (lambda: forged({"kid": "first"}), "algorithm_refused"),
        (lambda: forged({"alg": "RS256", "kid": "first"}), "signature_wrong"),
        (lambda: forged({"alg": "RS256", "kid": 1}), "token_malformed"),
    ],
)
def test_everything_else_is_refused_with_a_reason(
    verifier: Verifier, made: Callable[[], str | None], expected: str
) -> None:
    assert reason(verifier, made()) == expected


def public_pem() -> bytes:
    return RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_few_seconds_between_clocks_are_forgiven(verifier: Verifier) -> None:
    now = int(time.time())
    assert verifier.holder(token(exp=now - 5)).user_id == "alice"
    assert verifier.holder(token(nbf=now + 5, iat=now + 5)).user_id == "alice"


@given(st.text())
def test_no_text_makes_the_verifier_stumble(text: str) -> None:
    verifier = Verifier(SigningKeys(Issuer(published("first", RSA_KEY))), ISSUER, AUDIENCE)
    assert reason(verifier, text) in ("token_missing", "token_malformed", "algorithm_refused", "key_id_missing")


def test_a_refusal_carries_nothing_of_the_token(verifier: Verifier) -> None:
    with pytest.raises(TokenRefused) as refusal:
        verifier.holder(token(RSA_KEY, "first", sub="alice", aud="secret-audience"))
    assert refusal.value.args == ("audience_wrong",)
    assert refusal.value.__suppress_context__
    assert refusal.value.__cause__ is None


def test_keys_are_fetched_once_and_again_after_an_hour(verifier: Verifier, issuer: Issuer, clock: Clock) -> None:
    for _ in range(3):
        verifier.holder(token())
    assert issuer.asked == 1
    clock.now += 3600
    verifier.holder(token())
    assert issuer.asked == 2


def test_a_rotated_key_works_at_first_sight(verifier: Verifier, issuer: Issuer, clock: Clock) -> None:
    verifier.holder(token())
    issuer.keys = [published("second", OTHER_RSA_KEY)]
    clock.now += 10
    assert verifier.holder(token(OTHER_RSA_KEY, "second")).user_id == "alice"
    assert issuer.asked == 2
    assert reason(verifier, token()) == "key_unknown"


def test_unknown_keys_ask_the_issuer_once_in_ten_seconds(verifier: Verifier, issuer: Issuer, clock: Clock) -> None:
    for number in range(100):
        assert reason(verifier, token(OTHER_RSA_KEY, f"invented-{number}")) == "key_unknown"
    assert issuer.asked == 1
    clock.now += 10
    for number in range(100):
        assert reason(verifier, token(OTHER_RSA_KEY, f"invented-{number}")) == "key_unknown"
    assert issuer.asked == 2


def test_tokens_that_cannot_be_valid_never_ask_the_issuer(verifier: Verifier, issuer: Issuer) -> None:
    for refused in ("", "a.b.c", token(None, "first", "none"), token(RSA_KEY, None)):
        reason(verifier, refused)
    assert issuer.asked == 0


def test_without_keys_nothing_is_judged(verifier: Verifier, issuer: Issuer, clock: Clock) -> None:
    issuer.down = True
    for _ in range(5):
        with pytest.raises(IssuerUnreachable):
            verifier.holder(token())
    assert issuer.asked == 1
    issuer.down = False
    clock.now += 10
    assert verifier.holder(token()).user_id == "alice"


def test_keys_at_hand_outlive_an_issuer_that_is_down(verifier: Verifier, issuer: Issuer, clock: Clock) -> None:
    verifier.holder(token())
    issuer.down = True
    clock.now += 3600
    assert verifier.holder(token()).user_id == "alice"
    with pytest.raises(IssuerUnreachable):
        verifier.holder(token(OTHER_RSA_KEY, "perhaps-new"))
    assert issuer.asked == 2


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["not a key"],
        [{"kty": "oct", "k": "c2VjcmV0", "kid": "first"}],
        [published("first", RSA_KEY, use="enc")],
        [published("first", RSA_KEY, alg="RS512")],
        [{**published("first", RSA_KEY), "kid": 1}],
    ],
)
def test_a_key_set_without_a_usable_key_is_no_key_set(
    verifier: Verifier, issuer: Issuer, keys: list[dict[str, Any]]
) -> None:
    issuer.keys = keys
    with pytest.raises(IssuerUnreachable):
        verifier.holder(token())


def test_keys_for_other_purposes_are_passed_over(verifier: Verifier, issuer: Issuer) -> None:
    issuer.keys = [{"kty": "new"}, published("first", OTHER_RSA_KEY, use="enc"), published("first", RSA_KEY, use="sig")]
    assert verifier.holder(token()).user_id == "alice"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_weak_key_proves_nothing(verifier: Verifier, issuer: Issuer) -> None:
    issuer.keys = [published("first", WEAK_RSA_KEY)]
    assert reason(verifier, token(WEAK_RSA_KEY)) == "key_weak"


@pytest.mark.parametrize(
    "url", ["http://issuer.example/keys", "ftp://127.0.0.1/keys", "file:///etc/passwd", "http://127.0.0.1.example/", ""]
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="TOKEN_JWKS_URL must be https"):
        published_keys(url)


@pytest.mark.parametrize(
    "url", ["https://issuer.example/", "http://127.0.0.1:8081/", "http://localhost/", "http://[::1]/"]
)
def test_those_places_are_accepted(url: str) -> None:
    assert callable(published_keys(url))


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({}, {"token": "q"}, "q"),
        ({}, {"token": ""}, None),
        ({}, {}, None),
        ({"Sec-WebSocket-Protocol": ["mangaassist, h"]}, {}, "h"),
        ({"sec-websocket-protocol": ["mangaassist,h"]}, {}, "h"),
        ({"SEC-WEBSOCKET-PROTOCOL": ["mangaassist", "h"]}, {}, "h"),
        ({"Sec-Websocket-Protocol": ["other, mangaassist, h"]}, {}, "h"),
        ({"Sec-WebSocket-Protocol": ["mangaassist"]}, {}, None),
        ({"Sec-WebSocket-Protocol": ["mangaassist"]}, {"token": "q"}, "q"),
        ({"Sec-WebSocket-Protocol": ["mangaassist, other"]}, {"token": "q"}, "q"),
        ({"Sec-WebSocket-Protocol": ["h, mangaassist"]}, {}, None),
        ({"Sec-WebSocket-Protocol": ["other, h"]}, {}, None),
        ({"Sec-WebSocket-Protocol": [" , "]}, {}, None),
    ],
)
def test_a_token_stands_in_the_address_or_beside_the_subprotocol(
    headers: dict[str, list[str]], query: dict[str, str], expected: str | None
) -> None:
    assert handshake.token(headers, query) == expected
