"""Who is asking: JSON Web Tokens, verified with the keys that their issuer publishes."""

from __future__ import annotations

import ipaddress
import json
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import urllib3

from mangaassist.errors import MangaAssistError
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwt.types import Options

ALGORITHMS = ("RS256", "ES256")
STRICTLY: Options = {"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True}
LEEWAY_S = 10  # clocks of issuers differ by this much and no more
SUBJECT_CHARACTERS = 255  # OpenID Connect's limit for `sub`, which is ASCII
CLASS = re.compile(r"[A-Za-z0-9_-]{1,32}")

KEYS_LIFE_S = 60 * 60
FETCH_INTERVAL_S = 10
FETCH_TIMEOUT_S = 2.0
KEY_SET_BYTES = 256 * 1024

REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "token_expired",
    jwt.ImmatureSignatureError: "token_immature",
    jwt.InvalidAlgorithmError: "algorithm_refused",
    jwt.InvalidAudienceError: "audience_wrong",
    jwt.InvalidIssuerError: "issuer_wrong",
    jwt.InvalidKeyError: "key_weak",
    jwt.InvalidSignatureError: "signature_wrong",
    jwt.MissingRequiredClaimError: "claim_missing",
}


class TokenRefused(MangaAssistError):
    """A token does not prove who is asking; `reason` is a code that says nothing of its contents."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class IssuerUnreachable(MangaAssistError):
    """The issuer's keys cannot be had, so that no judgement on a token is possible."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a token; the class is "" where the token tells none that could be one."""

    user_id: str
    user_class: str = ""


class Verifier:
    """Verifies tokens of one issuer for one audience; `class_claim` names the claim with the user's class, if any."""

    def __init__(self, keys: SigningKeys, issuer: str, audience: str, class_claim: str = "") -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._class_claim = class_claim

    def holder(self, token: str | None) -> Holder:
        """Who holds a valid token; raises TokenRefused or IssuerUnreachable.

        The header is judged before a key is looked up, so that a token that cannot be valid never causes a fetch.
        """
        if not token:
            raise TokenRefused("token_missing")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise TokenRefused("algorithm_refused")
            if not header.get("kid"):
                raise TokenRefused("key_id_missing")
            claims = jwt.decode(
                token,
                self._keys.key(header["kid"]),
                algorithms=ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options=STRICTLY,
            )
        except (jwt.PyJWTError, UnicodeEncodeError) as error:  # PyJWT encodes lone surrogates without a check
            # Without its cause: PyJWT's texts quote the token's contents, and the runtime logs whole chains.
            raise TokenRefused(REASONS.get(type(error), "token_malformed")) from None
        subject: str = claims["sub"]
        if not 0 < len(subject) <= SUBJECT_CHARACTERS or not (subject.isascii() and subject.isprintable()):
            raise TokenRefused("subject_invalid")
        return Holder(subject, self._class(claims))

    def _class(self, claims: Mapping[str, Any]) -> str:
        told = claims.get(self._class_claim, "") if self._class_claim else ""
        return told if isinstance(told, str) and CLASS.fullmatch(told) else ""


class SigningKeys:
    """An issuer's public keys by key id, fetched when first needed and kept for the environment's life.

    They are fetched anew after an hour, and at once when a token names a key that is not among them: a rotated key
    works at first sight. The issuer is asked at most every 10 s, whoever asks and whether or not it answers, so that
    invented key ids cannot be turned against it. While it does not answer, the keys already held go on serving.
    """

    def __init__(self, fetch: Callable[[], Any], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._asked_at = float("-inf")

    def key(self, key_id: str) -> jwt.PyJWK:
        """The key of that id; raises TokenRefused if the issuer has none, IssuerUnreachable if it cannot be asked."""
        with self._lock:
            now = self._monotonic()
            known = key_id in self._keys and now - self._fetched_at < KEYS_LIFE_S
            if not known and now - self._asked_at >= FETCH_INTERVAL_S:
                self._refresh(now)
            key = self._keys.get(key_id)
            if key is not None:
                return key
            if self._fetched_at < self._asked_at:  # the last attempt failed: the key may well exist
                raise IssuerUnreachable
            raise TokenRefused("key_unknown")

    def _refresh(self, now: float) -> None:
        self._asked_at = now
        try:
            published = _verifying(jwt.PyJWKSet.from_dict(self._fetch()))
        except (IssuerUnreachable, jwt.PyJWTError) as error:
            measure(Metric.IssuerUnreachable)
            logger.error(
                "the issuer's signing keys cannot be had", extra={"fault": str(error), "kept": len(self._keys)}
            )
            return
        self._fetched_at = now
        self._keys = published


def published_keys(url: str, timeout_s: float = FETCH_TIMEOUT_S) -> Callable[[], dict[str, Any]]:
    """A fetch of the key set at `url`, which must be https, or http on this machine itself.

    It raises IssuerUnreachable. Redirects are not followed: they could lead away from what was configured.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise ValueError(f"TOKEN_JWKS_URL must be https, or http on loopback: {url}")
    # A connection kept for the next time, an hour later, would be dead by then and look like a failure of the issuer.
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=timeout_s), retries=False, headers={"Connection": "close"})

    def fetch() -> dict[str, Any]:
        try:
            with pool.request("GET", url, redirect=False, preload_content=False) as response:
                body = _read(response, time.monotonic() + timeout_s)
        except urllib3.exceptions.HTTPError as error:
            raise IssuerUnreachable(type(error).__name__) from error
        if response.status != 200:
            raise IssuerUnreachable(f"HTTP {response.status}")
        try:
            key_set = json.loads(body)
        except ValueError as error:
            raise IssuerUnreachable("not JSON") from error
        if not isinstance(key_set, dict):
            raise IssuerUnreachable("not a key set")
        return key_set

    return fetch


def _verifying(key_set: jwt.PyJWKSet) -> dict[str, jwt.PyJWK]:
    keys = {
        key.key_id: key
        for key in key_set
        if isinstance(key.key_id, str) and key.public_key_use in (None, "sig") and key.algorithm_name in ALGORITHMS
    }
    if not keys:
        raise IssuerUnreachable("no key that could verify a token")
    return keys


def _read(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """Read a body piece by piece: a socket's time-out bounds each wait, and only this their sum."""
    body = b""
    while piece := response.read1(64 * 1024):
        body += piece
        if len(body) > KEY_SET_BYTES:
            raise IssuerUnreachable("key set too large")
        if time.monotonic() > until:
            raise IssuerUnreachable("too slow")
    return body


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
