"""Kept answers: what is kept of one, and the port of the places that keep them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_WORDINGS = 16  # of one question that are kept


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `stamps` are of the products that its model was shown, and it dies with any of them."""

    wording: str  # digest of the question as it was asked
    text: str
    target: str
    model: str
    stamps: Mapping[str, str]  # product id -> notes.stamp
    expires_at: int  # epoch seconds
    vector: bytes = b""  # of the wording, packed; empty when it was not embedded


class AnswerStore(Protocol):
    """A place that keeps answers by bucket, the digest of what is asked. Every method raises KnowledgeUnavailable.

    No method takes longer than `limit_s`.
    """

    def read(self, bucket: str, limit_s: float) -> Sequence[Answer]:
        """The answers of a bucket, at most MOST_WORDINGS; expired ones may be among them."""
        ...

    def write(self, bucket: str, answer: Answer, limit_s: float) -> None:
        """Keep an answer in the place of the one to the same wording."""
        ...

    def drop(self, bucket: str, wording: str, limit_s: float) -> None:
        """Forget an answer."""
        ...

    def claim(self, bucket: str, wording: str, lease_s: float, limit_s: float) -> bool:
        """Whether nobody else is answering this wording; if so, it is claimed for `lease_s`."""
        ...

    def release(self, bucket: str, wording: str, limit_s: float) -> None:
        """Give up a claim."""
        ...


def packed(vector: Sequence[float]) -> bytes:
    """A vector in half precision, 2 bytes a number."""
    return struct.pack(f"<{len(vector)}e", *vector)


def unpacked(packed: bytes) -> Sequence[float]:
    """The vector again; raises struct.error for bytes that are none."""
    return struct.unpack(f"<{len(packed) // 2}e", packed)


def to_fields(answer: Answer) -> dict[str, Any]:
    """An answer as plain values."""
    return {
        "wording": answer.wording,
        "text": answer.text,
        "target": answer.target,
        "model": answer.model,
        "stamps": dict(answer.stamps),
        "expires_at": answer.expires_at,
        "vector": answer.vector,
    }


def from_fields(fields: Mapping[str, Any]) -> Answer:
    """The answer again; raises KeyError or TypeError for what is none, such as another version's."""
    answer = Answer(**{name: fields[name] for name in Answer.__dataclass_fields__})
    texts = (answer.wording, answer.text, answer.target, answer.model)
    kinds = ((answer.stamps, dict), (answer.expires_at, int), (answer.vector, bytes), *((text, str) for text in texts))
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError("no answer")
    return answer


def making_room[K](ends: Mapping[K, float], new: K, now_s: float) -> list[K]:
    """The wordings that go when a new one comes: those that are over, and of too many those that end first.

    Without a bound one question asked in a thousand ways would make each look at it slow, and in the end too slow.
    """
    others = sorted((wording for wording in ends if wording != new), key=lambda wording: ends[wording])
    over = sum(ends[wording] <= now_s for wording in others)
    return others[: max(over, len(others) + 1 - MOST_WORDINGS)]
