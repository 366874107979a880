"""What documents that operators write are made of."""

from __future__ import annotations

from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a document: it cannot be changed, and holds no field that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def but(self, **changed: Any) -> Self:
        """The same part with other values, which are not validated; what was computed of the old ones is not kept."""
        return cast("Self", self.model_construct(**(dict(self) | changed)))
