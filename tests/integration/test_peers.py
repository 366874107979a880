"""A contender of the comparison as a process: it asks over the wire, and says what it got."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import fake_bedrock
from peers.contenders import PEERS, PeerFailed, talking

QUESTION = "『鬼滅の刃』が好きな友達に贈る漫画を教えてください。"
RAW = next(peer for peer in PEERS if peer.code == "boto3")


def test_a_contender_asks_over_the_wire_and_what_it_got_is_told() -> None:
    """Raw boto3, in an environment that has it."""
    with fake_bedrock.running() as address, talking(RAW, Path(sys.executable)) as talk:
        talk.tell("begin", address=address, chain=[fake_bedrock.AT_ONCE], limit_s=3.0)
        answer = talk.tell("ask", question=QUESTION)
        assert (answer["error"], bool(answer["text"])) == ("", True)
        assert talk.tell("costs", question=QUESTION, rounds=2).keys() == {"cpu_ms", "wall_ms"}
        talk.tell("begin", address="http://127.0.0.1:9", chain=["none"], limit_s=1.0)
        assert talk.tell("ask", question=QUESTION)["error"] == "EndpointConnectionError"


def test_a_contender_whose_packages_are_not_there_is_named() -> None:
    missing = next(peer for peer in PEERS if peer.code == "litellm")
    with pytest.raises(PeerFailed, match=r"contender\.py litellm ended"), talking(missing, Path(sys.executable)):
        pass
