"""A turn without a shopper: a new version is asked one before shoppers are, and hands back what it would have posted.

It is a turn like any other, with policy, limits, models, tables and books, but for its connection. API Gateway gives
out no id like this one, so no shopper can ask for a rehearsal; whoever may invoke the function could be any shopper.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mangaassist.chat.delivery import Poster

CONNECTION = "rehearsal."  # what the ids begin with; API Gateway's are in base64, which has no dot


class Rehearsals:
    """A poster that keeps what is posted to rehearsals, and passes everything else on to the shoppers."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._frames: dict[str, list[Any]] = {}

    def post(self, connection_id: str, data: bytes) -> None:
        """Keep or pass on one message; raises ConnectionGone or TooFast."""
        if connection_id.startswith(CONNECTION):
            self._frames.setdefault(connection_id, []).append(json.loads(data))
        else:
            self._poster.post(connection_id, data)

    def take(self, connection_id: str) -> list[Any]:
        """What was posted to a rehearsal, once; nothing for a shopper's connection."""
        return self._frames.pop(connection_id, [])
