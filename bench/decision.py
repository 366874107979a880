"""What a routing decision costs with all its guards: reading the question, and the rules on a live situation."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import Row
from bench.timing import percentile
from mangaassist.jst import JST
from mangaassist.routing import policy as policies
from mangaassist.routing import question
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Capacity, Health, Situation

if TYPE_CHECKING:
    from mangaassist.routing.policy import Policy

QUESTIONS = Path(__file__).parent.parent / "tests" / "data" / "questions.jsonl"
LANGUAGES = {"ja": "Japanese", "en": "English"}
ROUNDS = 30
P50_US, P99_US = 25, 100
ARN = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl"
INSTANTS = tuple(datetime(2026, 11, 23, hour, 30, tzinfo=JST) for hour in (3, 10, 20))


def measure() -> list[Row]:
    """Time every question of the labelled set at night, in business hours and at the peak."""
    policy = policies.preset("current")
    asked = [json.loads(line) for line in QUESTIONS.read_text("utf-8").splitlines() if line]
    rows = []
    for language, name in LANGUAGES.items():
        texts = [entry["text"] for entry in asked if entry["language"] == language]
        times_us = _times_us(texts, policy)
        p50, p99 = percentile(times_us, 0.5), percentile(times_us, 0.99)
        rows.append(
            Row(
                "decision",
                f"read and route {len(texts)} {name} questions",
                f"p50 {p50:.1f} µs, p99 {p99:.1f} µs",
                f"p50 ≤ {P50_US} µs, p99 ≤ {P99_US} µs (LiteLLM: p50 219 µs)",
                p50 <= P50_US and p99 <= P99_US,
                {"p50_us": p50, "p99_us": p99},
            )
        )
    return rows


def _times_us(texts: list[str], policy: Policy) -> list[float]:
    situations = {now: _situation(now, policy) for now in INSTANTS}
    times: list[float] = []
    for number in range(ROUNDS + 2):
        for now, situation in situations.items():
            for text in texts:
                began = time.thread_time_ns()  # a busy machine's other work is not ours
                decide(question.read(text), situation, policy, now)
                took = time.thread_time_ns() - began
                if number >= 2:
                    times.append(took / 1000)
    return times


def _situation(now: datetime, policy: Policy) -> Situation:
    """A day like any other: money spent, capacity published, one target saturated a while ago, one that failed."""
    now_s = now.timestamp()
    return Situation(
        committed_nano_usd=policy.budget.daily_nano_usd // 3,
        capacity={
            "provisioned-sonnet": Capacity(ARN, 2, now_s + 3600, saturated_until_s=now_s - 5),
            "provisioned-haiku": Capacity(ARN, 1, now_s + 3600),
        },
        health={"ondemand-sonnet": Health(failures=2, last_failure_s=now_s - 10)},
    )
