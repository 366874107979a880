"""What the twin takes of the machine: so that a load can tell its limits from the application's."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PROC = Path("/proc")  # Linux tells there; elsewhere memory, sockets and other processes stay unknown
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def figures(others: Sequence[int] = ()) -> dict[str, Any]:
    """Processor seconds, resident memory, threads and open sockets: the twin's own, and its environments' together.

    They are apart, because the twin's emulators keep what they are sent, and so grow, while functions must not.
    """
    return {
        "cpu_s": round(time.process_time(), 3),
        "memory_mb": _sum([_memory_mb(os.getpid())]),
        "threads": threading.active_count(),
        "sockets": _sum([_sockets(os.getpid())]),
        "environments_cpu_s": round(sum(map(_cpu_s, others)), 3),
        "environments_memory_mb": _sum(map(_memory_mb, others)),
        "environments_threads": sum(map(_threads, others)),
        "environments_sockets": _sum(map(_sockets, others)),
    }


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 1) if known else None


def _memory_mb(pid: int) -> float | None:
    try:
        resident_pages = int((PROC / str(pid) / "statm").read_text("ascii").split()[1])
    except OSError:
        return None
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_s(pid: int) -> float:
    user, system = _status(pid)[11:13] or (0, 0)
    return (int(user) + int(system)) / TICKS_PER_S


def _threads(pid: int) -> int:
    return int(next(iter(_status(pid)[17:18]), 0))


def _status(pid: int) -> list[str]:
    """The fields after the program's name, which may have blanks in it."""
    try:
        return (PROC / str(pid) / "stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _sockets(pid: int) -> int | None:
    try:
        return sum(_is_socket(entry) for entry in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return None


def _is_socket(entry: Path) -> bool:
    try:
        return str(entry.readlink()).startswith("socket:")
    except OSError:  # closed since the folder was read
        return False
