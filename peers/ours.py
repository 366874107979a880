"""Our side of the costs, in a process like the peers': a whole turn with stores in memory, on the same emulator."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1024 if sys.platform == "linux" else 1024 * 1024
for only_of_developers in ("awscrt", "OpenSSL"):  # botocore would use them here, and has none of them on Lambda
    sys.modules[only_of_developers] = None  # type: ignore[assignment]
sys.path[:0] = [str(ROOT), str(ROOT / "functions" / "message"), str(ROOT / "layers" / "routing")]


def main() -> None:
    """Import what the message function does at its start, then do what the lines say."""
    environment = json.loads(os.environ.pop("MESSAGE_ENVIRONMENT"))
    os.environ |= environment
    began = time.perf_counter()
    import message

    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    said = {"import_s": time.perf_counter() - began, "memory_mb": memory_mb, "handler": message.handler.__name__}
    tell = sys.stdout
    sys.stdout = sys.stderr  # where logs and metrics go meanwhile
    print(json.dumps(said), file=tell, flush=True)
    house: Any = None
    for line in sys.stdin:
        told = json.loads(line)
        if told.pop("do") == "begin":
            house = _house(told["address"], told["chain"][0])
            answer: dict[str, Any] = {}
        else:
            answer = _costs(house, told["rounds"])
        print(json.dumps(answer), file=tell, flush=True)


def _house(address: str, model_id: str) -> Any:
    from bench import rig

    rig.silence()
    return rig.House(rig.bedrock_backend(address), rig.policy_of(model_id))


def _costs(house: Any, rounds: int) -> dict[str, Any]:
    walls, cpu = [], time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        house.ask()
        walls.append((time.perf_counter() - began) * 1000)
    taken = (time.process_time() - cpu) * 1000 / rounds
    house.verify()
    return {"cpu_ms": taken, "wall_ms": walls}


if __name__ == "__main__":
    main()
