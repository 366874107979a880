"""Japan's clock: the day of the accounts and of the windows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

JST = timezone(timedelta(hours=9), "JST")  # Japan has no daylight saving time


def jst(epoch_s: float) -> datetime:
    """An instant as Japan's clocks show it."""
    return datetime.fromtimestamp(epoch_s, JST)
