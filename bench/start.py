"""What a start costs: the message function's init in fresh processes, against boto3 and one client in others.

Times are taken inside the process, so the interpreter's own start is in none of them. It starts without its site
packages and finds what the contender names. Two packages that only developers have are hidden from all contenders:
botocore imports awscrt and pyOpenSSL where it finds them, and boto3 would look slower than it is on Lambda.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bench.report import Row
from tools import artifact

ROOT = Path(__file__).parent.parent
PACKAGES = Path(sysconfig.get_path("purelib"))
BUILDS = (ROOT / ".aws-sam" / "host", ROOT / ".aws-sam" / "build")
RUNS = 15
MOST = 1.5
TIMED = """
import json, sys, time
sys.modules.update(awscrt=None, OpenSSL=None)
taken = []
for code in {stages!r}:
    wall, cpu = time.perf_counter(), time.process_time()
    exec(code)
    taken.append([(time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000])
print(json.dumps(taken))
"""
BARE = ("import boto3; boto3.client('dynamodb')",)
MESSAGE = (
    "import message",  # which makes everything, as on Lambda
)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_REGION": "ap-northeast-1",
    "AWS_DEFAULT_REGION": "ap-northeast-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "STAGE": "dev",
    "CONNECTIONS_TABLE": "connections",
    "TURNS_TABLE": "turns",
    "SITUATION_TABLE": "situation",
    "IDEMPOTENCY_TABLE": "idempotency",
    "PRODUCTS_TABLE": "products",
    "ANSWERS_TABLE": "answers",
    "CONNECTIONS_ENDPOINT": "https://a1b2c3d4e5.execute-api.ap-northeast-1.amazonaws.com/live",
    "TOKEN_ISSUER": "https://issuer.example",
    "TOKEN_AUDIENCE": "mangaassist",
    "TOKEN_JWKS_URL": "https://issuer.example/.well-known/jwks.json",
    "ALLOWED_ORIGINS_PARAMETER": "allowed-origins",
}


@dataclass(frozen=True)
class Contender:
    """Code to run in a fresh process, stage by stage, and the folders that it finds its modules in."""

    name: str
    stages: tuple[str, ...]
    path: tuple[Path, ...]

    def start(self) -> list[tuple[float, float]]:
        """Wall and CPU milliseconds of every stage; raises CalledProcessError."""
        command = [sys.executable, "-S", "-c", TIMED.format(stages=self.stages)]
        environment = {"PATH": os.environ["PATH"], **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(map(str, self.path))}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return [(wall_ms, cpu_ms) for wall_ms, cpu_ms in json.loads(ran.stdout.splitlines()[-1])]


def measure() -> list[Row]:
    """Start the contenders in turns; the first round only fills caches and writes bytecode."""
    bare = Contender("import boto3, client of dynamodb", BARE, (PACKAGES,))
    contenders = [bare, *_message_functions()]
    taken: dict[str, list[list[tuple[float, float]]]] = {contender.name: [] for contender in contenders}
    for number in range(RUNS + 1):
        for contender in contenders:
            times = contender.start()
            if number:
                taken[contender.name].append(times)
    bare_ms, _ = _median(taken[bare.name], 0)
    rows: list[Row] = []
    for contender in contenders:
        times_of = taken[contender.name]
        rows.append(_row(contender.name, _median(times_of, 0), bare_ms, is_aim=contender is not bare))
    return rows


def _message_functions() -> list[Contender]:
    """The source tree, and the newest build that is for this machine's processor."""
    source = Contender(
        "message function, source", MESSAGE, (ROOT / "functions/message", ROOT / "layers/routing", PACKAGES)
    )
    for build in BUILDS:
        layer = build / "RoutingLayer" / "python"
        name = f"message function, built in {build.relative_to(ROOT)}{_age(build)}"
        built = Contender(name, MESSAGE, (build / "MessageFunction", layer))
        if layer.is_dir() and _runs(built):
            return [source, built]
    return [source]


def _age(build: Path) -> str:
    """A word of warning about a build that is not of this source."""
    built_at = (build / "template.yaml").stat().st_mtime
    changed_at = max(file.stat().st_mtime for file in artifact.sources(ROOT))
    return " (before the last change)" if changed_at > built_at else ""


def _runs(contender: Contender) -> bool:
    try:
        contender.start()
    except subprocess.CalledProcessError:
        return False
    return True


def _median(times: list[list[tuple[float, float]]], stage: int) -> tuple[float, float]:
    wall, cpu = zip(*(stages[stage] for stages in times), strict=True)
    return statistics.median(wall), statistics.median(cpu)


def _row(name: str, times: tuple[float, float], bare_ms: float, *, is_aim: bool = False) -> Row:
    wall_ms, cpu_ms = times
    ratio = wall_ms / bare_ms
    return Row(
        "init",
        name,
        f"{ratio:.2f} × ({wall_ms:.0f} ms, CPU {cpu_ms:.0f} ms)",
        f"≤ {MOST} × boto3 and one client (LiteLLM 11.9 ×)" if is_aim else "",
        ratio <= MOST if is_aim else None,
        {"wall_ms": wall_ms, "cpu_ms": cpu_ms, "ratio": ratio},
    )
