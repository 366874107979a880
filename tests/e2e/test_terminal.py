"""`make chat`: the same in a terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import until
from tests.e2e.running import ROOT, Running, free_pair

if TYPE_CHECKING:
    from collections.abc import Iterator


def chat(port: int, *arguments: str) -> subprocess.Popen[str]:
    """Start the terminal client on pipes."""
    command = [sys.executable, "-m", "local.chat", "--port", str(port), "--user", "terminal", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_questions_are_answered_in_one_conversation(twin: Running) -> None:
    with chat(twin.port, "--language", "ja") as process:
        said, _ = process.communicate("ワンピースは何巻まで?\n次に読むなら?\n", timeout=40)
    assert process.returncode == 0
    assert said.count("【エミュレーター】") == 2
    assert "ondemand-haiku · jp.anthropic.claude-haiku-5-5 · offpeak_simple · complete" in said
    assert "最初の文字" in said


def test_a_conversation_can_be_deleted(twin: Running) -> None:
    with chat(twin.port, "--language", "en") as process:
        said, _ = process.communicate("A zebra crossing?\n/forget\nWhat did I ask?\n", timeout=40)
    assert process.returncode == 0
    assert said.count("This conversation is deleted.") == 1
    assert "zebra" not in said.partition("This conversation is deleted.")[2]


@pytest.mark.alone
def test_ctrl_c_stops_the_answer_and_not_the_chat(twin: Running) -> None:
    twin.put("faults", {"ondemand-haiku": {"fault": "slow", "first_token_ms": 50, "token_ms": 120}})
    with chat(twin.port, "--language", "en") as process:
        assert process.stdin is not None
        process.stdin.write("How many volumes of Berserk?\n")
        process.stdin.flush()
        until(lambda: any(stream["said"] > 8 for stream in twin.get("state")["emulator"]["streams"]))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate("", timeout=20)
    assert process.returncode == 0
    assert "cancelled" in said


def test_a_broken_connection_is_made_anew(twin: Running) -> None:
    twin.put("faults", {"ondemand-haiku": {"fault": "slow", "first_token_ms": 50, "token_ms": 100}})
    with chat(twin.port, "--language", "en") as process:
        assert process.stdin is not None
        process.stdin.write("How many volumes of Berserk?\n")
        process.stdin.flush()
        until(lambda: any(stream["said"] > 20 for stream in twin.get("state")["emulator"]["streams"]))
        for connection in twin.get("state")["connections"]:
            twin.management().delete_connection(ConnectionId=connection["id"])
        said, _ = process.communicate("", timeout=30)
    assert "The connection broke" in said
    assert said.count("[emulated]") == 1
    assert "complete" in said


def test_without_a_twin_it_says_what_to_do() -> None:
    with chat(free_pair(), "--language", "en") as process:
        said, _ = process.communicate("", timeout=20)
    assert process.returncode == 1
    assert "Is make run running?" in said
