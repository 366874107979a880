"""How many WebSocket posts an answer takes: a whole turn on scripted time, so nothing sleeps."""

from __future__ import annotations

import itertools

from bench import rig
from bench.report import Row
from bench.scripted import ScriptedClock, ScriptedModel
from mangaassist.clock import Clock
from mangaassist.routing import policy as policies

TOKENS = 250
TOKENS_PER_S = (25, 40, 60, 100)
TOKEN_CHARACTERS = 2
FIRST_S = 0.5
POST_S = 0.012
MOST = 12
TEXT = (
    "『鬼滅の刃』がお好きなら、まずは次の作品をおすすめします。"
    "どちらも全10巻以内で完結しています。"
    "贈り物でしたら、化粧箱入りの全巻セットもございますよ!"
)


def measure() -> list[Row]:
    """Count the posts of one answer at typical speeds, `start` and `end` included."""
    rig.silence()
    posts = {speed: _posts(speed) for speed in TOKENS_PER_S}
    return [
        Row(
            "posts",
            f"{TOKENS} tokens at {' / '.join(map(str, posts))} tokens/s",
            f"{' / '.join(map(str, posts.values()))} posts",
            f"≤ {MOST} (bedrock-chat: one per token)",
            max(posts.values()) <= MOST,
            {f"at_{speed}_per_s": count for speed, count in posts.items()},
        )
    ]


def _posts(tokens_per_s: float) -> int:
    clock = ScriptedClock()
    characters = itertools.cycle(TEXT)
    tokens = ["".join(itertools.islice(characters, TOKEN_CHARACTERS)) for _ in range(TOKENS)]
    model = ScriptedModel(tokens, clock.monotonic, clock.sleep, FIRST_S, 1 / tokens_per_s)
    house = rig.House(model, policies.preset("current"), Clock(clock.now_s, clock.monotonic, clock.sleep))
    house.memory.sleep, house.memory.post_s = clock.sleep, POST_S
    house.ask()
    frames = house.take_frames()
    rig.check("".join(tokens), frames)
    return len(frames)
