"""Redis servers in processes of their own: plain, over TLS, with the user of stacks/cache.yaml, and a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtranslator.yaml_helper import yaml_parse

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.cache.resp import Server
from tests.e2e.running import free_pair
from tests.integration.wire import certified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mangaassist.knowledge.cache.resp import Command, Login, Reply

READY_S = 10
USER, PASSWORD = "message", "a-signed-request"  # pragma: allowlist secret
OWNER = ("default", "of-the-tests")  # who may do everything
STACK = Path(__file__).parents[2] / "stacks" / "cache.yaml"
KINDS = ("plain", "tls", "user", "cluster")  # each is what the one before it is not; the cluster is what AWS runs


@dataclass
class RedisServer:
    """A server that is ready."""

    process: subprocess.Popen[bytes]
    port: int
    ca_bundle: str | None
    login: Login | None
    log: Path

    @property
    def endpoint(self) -> str:
        """Its address, by the name that its certificate carries."""
        return f"{'rediss' if self.ca_bundle else 'redis'}://localhost:{self.port}"

    def server(self, login: Login | None = None, **options: Any) -> Server:
        """A new client, with no connection yet."""
        return Server(self.endpoint, ca_bundle=self.ca_bundle, login=login or self.login, **options)

    def ask(self, *command: str | bytes | int) -> Reply:
        """Do something to it as its owner."""
        with closing(self.server(login=lambda: OWNER)) as client:
            (reply,) = client.ask(command, limit_s=READY_S)
        return reply

    def hang(self) -> None:
        """Let it say nothing more; the system still accepts connections for it."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it speak again."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def access_string() -> list[str]:
    """What the cache's user may do in AWS, word by word."""
    user = yaml_parse(STACK.read_text("utf-8"))["Resources"]["MessageUser"]["Properties"]
    return str(user["AccessString"]).split()


@contextmanager
def running(kind: str, folder: Path, *settings: str, port: int | None = None) -> Iterator[RedisServer]:
    """Start a server of one of KINDS with its files in `folder`, and stop it."""
    program = shutil.which("redis-server")
    assert program, "these tests need a real redis-server: apt install redis-server"
    folder.mkdir(parents=True, exist_ok=True)
    port, log = port or free_pair(), folder / "log"
    pem = str(certified(folder / "localhost.pem")) if kind in ("tls", "cluster") else None
    lines = ["bind 127.0.0.1", 'save ""', "appendonly no", f"dir {folder}", f"logfile {log}"]
    lines += [f"user {OWNER[0]} on >{OWNER[1]} ~* &* +@all" if kind in ("user", "cluster") else ""]
    lines += [f"user {USER} >{PASSWORD} {' '.join(access_string())}" if kind in ("user", "cluster") else ""]
    lines += _tls(port, pem) if pem else [f"port {port}"]
    lines += [f"cluster-enabled yes\ntls-cluster yes\ncluster-port {port + 1}" if kind == "cluster" else "", *settings]
    (folder / "redis.conf").write_text("\n".join(lines))
    login = (lambda: (USER, PASSWORD)) if kind in ("user", "cluster") else None
    process = subprocess.Popen([program, str(folder / "redis.conf")], env={"PATH": os.defpath})
    server = RedisServer(process, port, pem, login, log)
    try:
        _wait_for(server, "PING", "PONG")
        if kind == "cluster":
            server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            _wait_for(server, "GET", None)
        yield server
    finally:
        server.stop()


def _tls(port: int, pem: str) -> list[str]:
    files = [f"tls-{use}-file {pem}" for use in ("cert", "key", "ca-cert")]
    return ["port 0", f"tls-port {port}", *files, "tls-auth-clients no"]


def _wait_for(server: RedisServer, command: str, wanted: Reply) -> None:
    """Ask until it is as wanted; what it logged is the failure's text."""
    asked: Command = (command,) if command == "PING" else (command, "answers:none")
    until = time.monotonic() + READY_S
    while time.monotonic() < until and server.process.poll() is None:
        try:
            if server.ask(*asked) == wanted:
                return
        except KnowledgeUnavailable:
            time.sleep(0.02)
    said = server.log.read_text() if server.log.exists() else ""
    raise AssertionError(f"redis-server did not get ready: {said}")
