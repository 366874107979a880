"""The twin as a process: how it starts, what it refuses to start with, how it stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.e2e.running import ROOT, free_pair, running

SMALL = str(ROOT / "tests" / "data" / "twin" / "template.yaml")


def started(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a twin that is expected to end by itself."""
    command = [sys.executable, "-m", "local", "--template", SMALL, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, env=environment, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_even_with_a_client_and_a_stream_open(number: signal.Signals) -> None:
    with running("--template", SMALL) as twin:
        twin.put("faults", {"dynamodb": {"fault": "hang"}})
        with twin.connect_with("?token=a"), socket.create_connection(("127.0.0.1", twin.port + 1)):
            began = time.monotonic()
            twin.process.send_signal(number)
            assert twin.process.wait(timeout=10) == 0
            assert time.monotonic() - began < 2.5
        assert twin.process.stdout is not None
        assert "Traceback" not in twin.process.stdout.read()


def test_one_line_says_that_it_is_ready_and_where() -> None:
    with running("--template", SMALL) as twin:
        assert f"http://127.0.0.1:{twin.port}/" in twin.ready_line
        assert f"ws://127.0.0.1:{twin.port}/live" in twin.ready_line


@pytest.mark.parametrize("which", [0, 1])
def test_a_port_in_use_is_said_plainly(which: int) -> None:
    port = free_pair()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + which))
        taken.listen()
        ended = started("--port", str(port))
    assert ended.returncode == 1
    assert f"port {port + which} is in use" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_an_unusable_template_is_said_plainly() -> None:
    ended = started("--template", "nowhere.yaml")
    assert ended.returncode == 1
    assert "nowhere.yaml cannot be read" in ended.stdout


def test_an_unusable_aws_configuration_is_said_plainly() -> None:
    ended = started("--port", str(free_pair()), environment={**os.environ, "AWS_PROFILE": "of nobody"})
    assert ended.returncode == 1
    assert "of nobody" in ended.stdout


def test_the_clock_stays_put_when_real_services_are_in_use() -> None:
    real = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://bedrock-runtime.ap-northeast-1.amazonaws.com"}
    with running("--template", SMALL, environment={**os.environ, **real}) as twin:
        refused = httpx.put(f"{twin.page}/twin/clock", json={"now": "2027-01-01T00:00:00+09:00"})
    assert refused.status_code == 400
    assert "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" in refused.json()["error"]


def test_the_console_tells_of_a_handler_that_breaks() -> None:
    with running("--template", SMALL) as twin:
        with twin.connect_with("?token=a") as connection:
            connection.send('{"do": "break"}')
            connection.recv(timeout=5)
        twin.process.terminate()
        assert twin.process.stdout is not None
        assert "twin: Talk failed: RuntimeError: talk broke" in twin.process.stdout.read()


@pytest.mark.parametrize("address", ["0.0.0.0", "8.8.8.8", "host.docker.internal"])  # noqa: S104
def test_emulated_aws_is_opened_to_containers_only(address: str) -> None:
    ended = started("--containers", address)
    assert ended.returncode == 2
    assert f"argument --containers: {address} " in ended.stderr


def test_an_address_of_another_machine_is_said_plainly() -> None:
    ended = started("--port", str(free_pair()), "--containers", "198.51.100.7")
    assert ended.returncode == 1
    assert "198.51.100.7 is no address of this machine" in ended.stdout


if sys.platform == "linux":  # elsewhere loopback has one address, and containers reach it without this option

    def test_containers_reach_emulated_aws_and_nothing_else() -> None:
        with running("--template", SMALL, "--containers", "127.0.0.2") as twin:
            keys = httpx.get(f"http://127.0.0.2:{twin.port + 1}/issuer/.well-known/jwks.json").json()
            assert keys == httpx.get(f"http://127.0.0.1:{twin.port + 1}/issuer/.well-known/jwks.json").json()
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"http://127.0.0.2:{twin.port}/twin/health")
            assert "127.0.0.2" in twin.ready_line
