"""A range of numbers for options of commands: click's own lets NaN and infinity pass."""

from __future__ import annotations

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A number in a range, and a number indeed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take it; click has its own way to refuse."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail("a finite number is expected", param, ctx)
        return found
