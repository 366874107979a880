"""Where two models meet in one answer: what the second repeats of the first is cut away."""

from __future__ import annotations

LEAST_OVERLAP = 4  # characters; shorter agreements happen by chance
WINDOW = 400  # characters of the text before that may come back


class Seam:
    """Joins a continuation to the text before it, holding back only what may still turn out to be a repetition."""

    def __init__(self, before: str) -> None:
        self._before = before
        self._held = ""
        self._open = bool(before)

    def feed(self, text: str) -> str:
        """Give what of the continuation is certainly new."""
        if not self._open:
            return text
        self._held += text
        if self._may_still_repeat():
            return ""
        return self._settle()

    def close(self) -> str:
        """Give what was held back when the continuation has ended."""
        if not self._open:
            return ""
        repeated = self._held.strip()
        rest = self._settle()
        return "" if len(repeated) >= LEAST_OVERLAP and self._before.startswith(repeated) else rest

    def _may_still_repeat(self) -> bool:
        """Whether everything held so far stands in the text before: at its very start, or running up to its end."""
        held = self._held.lstrip()
        if not held:
            return True
        if self._before.startswith(held) and len(held) < len(self._before):
            return True
        tail = self._before[-WINDOW:]
        return any(tail.startswith(held, start) for start in range(len(tail) - len(held)))

    def _settle(self) -> str:
        """Drop the longest repetition at the head of what is held, and let the rest through from now on."""
        self._open = False
        held, self._held = self._held, ""
        stripped = held.lstrip()
        if stripped.startswith(self._before):  # the model began again from the start
            return stripped[len(self._before) :]
        tail = self._before[-WINDOW:]
        for length in range(min(len(tail), len(stripped)), LEAST_OVERLAP - 1, -1):
            if tail.endswith(stripped[:length]):
                return stripped[length:]
        if self._before[-1:].isspace():
            return stripped
        return held
