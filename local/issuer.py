"""The identity provider of the twin: signs tokens for made-up shoppers and publishes the key to check them with."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from local.wire import ServiceError

if TYPE_CHECKING:
    from local.wire import Exchange

AUDIENCE = "mangaassist-twin"
LIFE_S = 12 * 60 * 60
JWKS_PATH = "/issuer/.well-known/jwks.json"


class Issuer:
    """A key pair that lives as long as the process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = uuid.uuid4().hex[:8]

    @property
    def jwks_url(self) -> str:
        return self.url + JWKS_PATH.removeprefix("/issuer")

    def token(self, user: str, life_s: int = LIFE_S) -> str:
        """A token for a shopper, valid from now by the twin's clock; a negative life makes one that has expired."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + life_s}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})

    async def __call__(self, exchange: Exchange) -> None:
        """Serve the public key."""
        if exchange.path != JWKS_PATH:
            await exchange.refuse(ServiceError(404, "NotFound", f"only {JWKS_PATH} is served"))
            return
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        await exchange.answer_json({"keys": [{**public, "kid": self._key_id, "use": "sig", "alg": "ES256"}]})
