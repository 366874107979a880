"""A rehearsal's frames go to whoever invoked the function, and a shopper's to the shopper."""

from __future__ import annotations

import json
import string

from mangaassist.chat.rehearsal import CONNECTION, Rehearsals

GATEWAYS = set(string.ascii_letters + string.digits + "+/=_-")  # what the ids of API Gateway are made of


class Gateway:
    """A poster that remembers."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, bytes]] = []

    def post(self, connection_id: str, data: bytes) -> None:
        self.posted.append((connection_id, data))


def test_frames_of_a_rehearsal_are_kept_until_they_are_taken() -> None:
    gateway = Gateway()
    rehearsals = Rehearsals(gateway)
    for seq in range(2):
        rehearsals.post(f"{CONNECTION}d-1", json.dumps({"seq": seq}).encode())
    rehearsals.post(f"{CONNECTION}d-2", b'{"seq": 7}')
    assert rehearsals.take(f"{CONNECTION}d-1") == [{"seq": 0}, {"seq": 1}]
    assert rehearsals.take(f"{CONNECTION}d-1") == []
    assert rehearsals.take(f"{CONNECTION}d-2") == [{"seq": 7}]
    assert gateway.posted == []


def test_frames_of_a_shopper_are_passed_on_and_not_kept() -> None:
    gateway = Gateway()
    rehearsals = Rehearsals(gateway)
    rehearsals.post("Zjz9zdE9IAMCE3g=", b"{}")
    assert gateway.posted == [("Zjz9zdE9IAMCE3g=", b"{}")]
    assert rehearsals.take("Zjz9zdE9IAMCE3g=") == []


def test_no_shoppers_connection_looks_like_a_rehearsal() -> None:
    assert not set(CONNECTION) <= GATEWAYS
