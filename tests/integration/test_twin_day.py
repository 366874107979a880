"""The driver of a day says what it waits for instead of driving on, and when a question was asked."""

from __future__ import annotations

import json
import threading
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local import day
from local.clock import JST

if TYPE_CHECKING:
    from collections.abc import Iterator

MIDNIGHT = "2026-11-20T00:00:00+09:00"
RUN = {"name": "KeepPeak-1", "input": "{}", "status": "RUNNING", "state": "Inspect"}


class Control(BaseHTTPRequestHandler):
    """A twin whose state never changes, whatever is asked of it."""

    state: dict[str, Any]

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(self.state).encode())

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where a twin in this state answers."""
    monkeypatch.setattr(day, "GIVE_UP_S", 0.0)
    control = type("Standing", (Control,), {"state": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), control) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def standing(executions: list[dict[str, Any]], looked_at: str) -> dict[str, Any]:
    return {
        "clock": {"now": MIDNIGHT},
        "windows": [],
        "provisioned": [],
        "executions": executions,
        "schedules": [{"looked_at": looked_at}],
    }


@pytest.mark.parametrize("port", [standing([RUN], MIDNIGHT)], indirect=True)
def test_an_execution_that_hangs_is_named_and_the_clock_is_not_moved_on(port: int) -> None:
    with pytest.raises(day.Stuck, match=r"KeepPeak-1 is RUNNING in Inspect"):
        day.Driver(port, date(2026, 11, 20)).drive(lambda now, state: None)


@pytest.mark.parametrize("port", [standing([], "2026-11-27T12:00:00+09:00")], indirect=True)
def test_a_clock_that_the_schedules_have_not_seen_is_not_moved_on(port: int) -> None:
    with pytest.raises(day.Stuck, match=r"the schedules or their executions are not at rest"):
        day.Driver(port, date(2026, 11, 20)).drive(lambda now, state: None)


def test_a_question_over_which_the_clock_was_moved_belongs_to_no_part_of_the_day() -> None:
    before, after = (datetime(2026, 11, 20, hour, 30, tzinfo=JST) for hour in (7, 8))
    early, moved = (day.Asked(before, until, "complete", "a target", "") for until in (before, after))
    asked = day.Day(asked=[early, moved])
    assert asked.within(0, 8) == [early]
    assert asked.within(8, 24) == []
