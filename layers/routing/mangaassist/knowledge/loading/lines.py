"""A file's lines as text, however it comes in pieces: never more of it in memory than a piece and a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LINE_LIMIT_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"


class LineTooLong(ValueError):
    """A line is longer than any row can be; those after it can be read."""


class NotUtf8(ValueError):
    """The file is in another encoding, which is not guessed."""


class Lines:
    """Gives one line after the other, without its end; `number` is that of the last one, counted from 1."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._lines = _split(pieces)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line; raises LineTooLong, after which it may be asked again, or NotUtf8."""
        line = next(self._lines)
        self.number += 1
        if len(line) > LINE_LIMIT_BYTES:
            raise LineTooLong(f"the line is longer than {LINE_LIMIT_BYTES // 1024} KiB")
        try:
            return (line.removeprefix(_BOM) if self.number == 1 else line).decode().rstrip("\r")
        except UnicodeDecodeError as error:
            raise NotUtf8(
                f"this is no text in UTF-8 ({error.reason} at byte {error.start + 1} of the line): save the file as "
                "UTF-8. Nothing was read from here on"
            ) from error


def _split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        rest = rest[: LINE_LIMIT_BYTES + 1]  # enough to be seen as too long
    if rest:
        yield rest
