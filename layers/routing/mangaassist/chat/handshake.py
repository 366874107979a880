"""What a WebSocket handshake brings: headers in any case, subprotocols, a token, and the word of the authorizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUBPROTOCOL = "mangaassist"


class Authorizer(BaseModel):
    """`requestContext.authorizer` of every event after the handshake; Powertools' WebSocket models leave it out."""

    principal_id: str = Field(alias="principalId", min_length=1)
    user_class: str = ""


def header_values(headers: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """Every value of a header in `multiValueHeaders`, where its name has whatever case the client chose."""
    return [value for key, values in headers.items() if key.lower() == name.lower() for value in values]


def subprotocols(headers: Mapping[str, Sequence[str]]) -> list[str]:
    """The subprotocols offered, in the client's order; they may stand in one header or in several."""
    offered = ",".join(header_values(headers, "Sec-WebSocket-Protocol")).split(",")
    return [word.strip() for word in offered if word.strip()]


def token(headers: Mapping[str, Sequence[str]], query: Mapping[str, str]) -> str | None:
    """The token: query string `token`, or the word offered after the subprotocol `mangaassist`; None without either.

    The pair is for browsers, which cannot set headers on a WebSocket and should not keep tokens in addresses.
    """
    offered = subprotocols(headers)
    pair = offered[offered.index(SUBPROTOCOL) :][1:2] if SUBPROTOCOL in offered else []
    return query.get("token") or next(iter(pair), None)
