"""What functions print goes to a file, and the console shows one line of each error among it."""

from __future__ import annotations

import io
import json
import logging
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ERROR = '"level":"ERROR"'  # as Powertools writes it


class FunctionsLog(io.TextIOBase):
    """A stream for everything that functions and libraries print."""

    def __init__(self, file: IO[str], tell: Callable[[str], None]) -> None:
        self._file = file
        self._tell = tell

    def write(self, text: str) -> int:
        """Keep the text; tell of errors in it."""
        for line in text.splitlines():
            if ERROR in line:
                self._tell(_said(line))
        return self._file.write(text)

    def flush(self) -> None:
        """Nothing is held back: the file is written line by line."""


@contextmanager
def kept(path: Path, tell: Callable[[str], None], *, afresh: bool = True) -> Iterator[None]:
    """Send what is printed to a file while the block runs, and tell of errors among it; others may write there too."""
    path.parent.mkdir(exist_ok=True)
    streams = sys.stdout, sys.stderr
    if afresh:
        path.write_text("")
    with path.open("a", encoding="utf-8", buffering=1) as file:
        log = FunctionsLog(file, tell)
        sys.stdout = sys.stderr = log
        logging.basicConfig(stream=log, level=logging.WARNING)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams


def _said(line: str) -> str:
    try:
        record = json.loads(line)
        return f"{record.get('function_name', 'a function')} logged an error: {record['message']}"
    except (ValueError, KeyError, AttributeError):
        return f"a function logged an error: {line[:200]}"
