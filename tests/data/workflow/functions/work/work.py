"""Does as it is told."""

from __future__ import annotations

import threading
from typing import Any

TIMES: dict[str, int] = {}


class Busy(Exception):
    """Worth another try."""


class Broken(Exception):
    """Worth none."""


def connect(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Let everybody in."""
    return {"statusCode": 200}


def handler(event: dict[str, Any], context: Any) -> Any:
    """Answer, fail or take too long."""
    match event["do"]:
        case "busy_once":
            TIMES[event["name"]] = TIMES.get(event["name"], 0) + 1
            if TIMES[event["name"]] == 1:
                raise Busy("come back later")
        case "break":
            raise Broken("壊れました")
        case "sleep":
            threading.Event().wait(2.5)
        case "nonsense":
            return {"said": {1, 2}}
    return {"said": event.get("say")}
