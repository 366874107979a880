"""An uploaded catalogue goes into the products table and the search index; nothing does so yet."""

from __future__ import annotations

from typing import Any


def handler(event: dict[str, Any], context: object) -> None:
    """Leave the upload where it is."""
