"""What documents that operators write are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a document: it cannot be changed, and holds no field that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
