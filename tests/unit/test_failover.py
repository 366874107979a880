"""The chain under one deadline: what a shopper gets when models fail, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mangaassist.deadline import Deadline
from mangaassist.errors import Rejected
from mangaassist.jst import jst
from mangaassist.money.prices import Usage, cost_nano_usd
from mangaassist.routing import policy
from mangaassist.routing.backends import Message, Stopped, TextDelta
from mangaassist.routing.estimates import Estimates
from mangaassist.routing.failover import Answered, Assignment, Failed, Failover, Happening, Progress, Switch, Text
from mangaassist.routing.prompt import Prompt
from mangaassist.routing.router import Route
from mangaassist.routing.situation import Capacity, Health, Situation
from tests.unit.fakes import (
    After,
    FakeClock,
    FakeProbes,
    FakePurse,
    ScriptedBackend,
    answer,
    cut,
    fails,
    hangs,
    stalls,
    thinks,
)

POLICY = policy.preset("current")
CLAUDE_3 = policy.preset("claude-3")
COMPLEX = ("ondemand-sonnet", "ondemand-haiku", "catalogue")
SIMPLE = ("ondemand-haiku", "catalogue")
LONG = "これは二十四文字よりもずっと長い最初の回答の文です。"


@dataclass
class Bench:
    """A chain with scripted models."""

    scripts: dict[str, list[list[After]]]
    chain: tuple[str, ...] = COMPLEX
    policy: policy.Policy = POLICY
    situation: Situation = field(default_factory=Situation)
    seconds: float = 28.0
    purse: FakePurse = field(default_factory=FakePurse)
    probes: FakeProbes = field(default_factory=FakeProbes)
    stop_after: int | None = None
    answer_share: float = 1.0
    patience_s: float = 0.25
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.backend = ScriptedBackend(self.clock, self.scripts)
        self.estimates = Estimates()
        self.progress = Progress()
        self.happenings: list[Happening] = []
        self.began = self.clock.monotonic()
        self.deadline = Deadline(at=self.began + self.seconds, arrived_at=self.began, monotonic=self.clock.monotonic)
        self.first_text_at: float | None = None

    def run(self) -> Bench:
        failover = Failover(
            backends={"bedrock": self.backend}, estimates=self.estimates, purse=self.purse, probes=self.probes
        )
        work = Assignment(
            route=Route(self.chain, "test", 0.8, complex=True, catalogue=False, answer_share=self.answer_share),
            prompt=Prompt("Be brief.", (), "質問"),
            policy=self.policy,
            situation=self.situation,
            now_s=self.clock.now_s(),
            today=jst(self.clock.now_s()).date(),
            deadline=self.deadline,
            first_text_by=self.began + self.policy.limits.first_text_ms / 1000,
            catalogue_answer=lambda interrupted: "[cut] catalogue" if interrupted else "catalogue",
            patience_s=lambda: self.patience_s,
        )
        for happening in failover.run(work, self.progress):
            self.happenings.append(happening)
            if isinstance(happening, Text) and self.first_text_at is None:
                self.first_text_at = self.clock.monotonic()
            if self.stop_after is not None and len(self.happenings) >= self.stop_after:
                self.progress.stop = "cancelled"
        return self

    @property
    def text(self) -> str:
        """What a client that follows the happenings has."""
        text = ""
        for happening in self.happenings:
            if isinstance(happening, Switch) and happening.kind == "restart":
                text = ""
            if isinstance(happening, Text):
                text += happening.text
        return text

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(attempt.target, attempt.outcome) for attempt in self.progress.attempts]

    @property
    def first_text_s(self) -> float:
        assert self.first_text_at is not None
        return self.first_text_at - self.began


def test_an_answer_arrives_whole_and_is_billed_as_the_service_says() -> None:
    bench = Bench({"ondemand-sonnet": [answer("ワン", "ピース")]}).run()
    assert bench.text == "ワンピース"
    assert (bench.progress.finish, bench.progress.target) == ("complete", "ondemand-sonnet")
    price = POLICY.model_of("ondemand-sonnet").prices[0]
    attempt = bench.progress.attempts[0]
    assert attempt.cost_nano_usd == cost_nano_usd(Usage(50, 2), price) > 0
    assert not attempt.usage.estimated
    assert Answered("ondemand-sonnet") in bench.happenings


def test_failover_before_any_text_is_silent() -> None:
    bench = Bench({"ondemand-sonnet": [fails("throttled")], "ondemand-haiku": [answer("はい")]}).run()
    assert bench.text == "はい"
    assert not [happening for happening in bench.happenings if isinstance(happening, Switch)]
    assert bench.outcomes == [("ondemand-sonnet", "throttled"), ("ondemand-haiku", "answered")]
    assert bench.progress.attempts[0].cost_nano_usd == 0


def test_a_hanging_primary_still_gives_first_text_within_three_seconds() -> None:
    bench = Bench({"ondemand-sonnet": [hangs()], "ondemand-haiku": [answer("はい", first_s=0.8)]}).run()
    assert bench.text == "はい"
    assert bench.first_text_s <= 3.0
    assert all(stream.closed for stream in bench.backend.streams)


def test_two_hanging_targets_end_in_the_catalogue_answer_in_time() -> None:
    bench = Bench({"ondemand-sonnet": [hangs()], "ondemand-haiku": [hangs()]}).run()
    assert bench.text == "catalogue"
    assert bench.first_text_s <= 3.0
    assert bench.progress.finish == "catalogue"
    assert [outcome for _, outcome in bench.outcomes] == ["silent", "silent"]


def test_the_first_text_budget_keeps_a_part_for_the_last_model_of_three() -> None:
    situation = Situation(capacity={"provisioned-sonnet": Capacity("arn:aws:bedrock:x", 2, 4e9)})
    chain = ("provisioned-sonnet", *COMPLEX)
    scripts = {"provisioned-sonnet": [hangs()], "ondemand-sonnet": [hangs()], "ondemand-haiku": [answer("ok")]}
    bench = Bench(scripts, chain=chain, situation=situation).run()
    assert bench.text == "ok"
    assert bench.first_text_s <= 3.0


def test_a_cut_after_a_few_words_begins_again_openly() -> None:
    bench = Bench({"ondemand-sonnet": [cut("あ", "い")], "ondemand-haiku": [answer("最初から")]}).run()
    assert bench.text == "最初から" == bench.progress.text
    assert Switch("restart", "ondemand-haiku", "cut") in bench.happenings


def test_a_cut_in_mid_answer_is_continued_and_the_repetition_removed() -> None:
    scripts = {"ondemand-sonnet": [cut(LONG)], "ondemand-haiku": [answer("最初の回答の文です。", "続きです。")]}
    bench = Bench(scripts).run()
    assert bench.text == LONG + "続きです。" == bench.progress.text
    assert Switch("continue", "ondemand-haiku", "cut") in bench.happenings
    roles = [message.role for message in bench.backend.calls[1].messages]
    assert roles == ["user", "assistant", "user"], "a model without prefill is told to go on"


def test_a_model_that_accepts_prefill_goes_on_from_the_very_words() -> None:
    scripts = {"ondemand-sonnet": [cut("あ ")], "ondemand-haiku": [answer("い")]}
    bench = Bench(scripts, policy=CLAUDE_3).run()
    assert bench.text == "あ い"
    assert bench.backend.calls[1].messages[-1] == Message("assistant", "あ"), "prefill must not end in white space"


def test_a_stall_is_a_failure_like_a_cut() -> None:
    bench = Bench({"ondemand-sonnet": [stalls(LONG)], "ondemand-haiku": [answer("続き")]}).run()
    assert bench.text == LONG + "続き"
    assert bench.outcomes[0] == ("ondemand-sonnet", "stalled")
    assert bench.progress.attempts[0].usage.estimated


def test_with_every_model_cut_the_answer_says_that_it_is_incomplete() -> None:
    bench = Bench({"ondemand-sonnet": [cut(LONG)], "ondemand-haiku": [fails()]}).run()
    assert bench.text == LONG + "[cut] catalogue"
    assert bench.progress.finish == "catalogue"


def test_a_rejected_call_is_not_tried_on_another_model() -> None:
    bench = Bench({"ondemand-sonnet": [[After(0.01, Rejected("denied"))]]}).run()
    assert bench.backend.asked == ["ondemand-sonnet"]
    assert bench.text == "catalogue"
    assert Failed("ondemand-sonnet", "denied") in bench.happenings


@pytest.mark.parametrize("outcome", ["denied", "invalid"])
def test_capacity_that_refuses_calls_does_not_keep_a_turn_from_its_answer_on_demand(outcome: str) -> None:
    bench = Bench(
        {"provisioned-sonnet": [[After(0.01, Rejected(outcome))]], "ondemand-sonnet": [answer("S")]},
        chain=("provisioned-sonnet", *COMPLEX),
        situation=Situation(capacity={"provisioned-sonnet": Capacity("arn:aws:bedrock:x", 2, 4e9)}),
    ).run()
    assert bench.text == "S"
    assert bench.outcomes == [("provisioned-sonnet", outcome), ("ondemand-sonnet", "answered")]
    assert Failed("provisioned-sonnet", outcome) in bench.happenings, "the operators have to know"


def test_what_capacity_and_on_demand_both_refuse_ends_the_chain() -> None:
    denied = [After(0.01, Rejected("denied"))]
    bench = Bench(
        {"provisioned-sonnet": [denied], "ondemand-sonnet": [list(denied)]},
        chain=("provisioned-sonnet", *COMPLEX),
        situation=Situation(capacity={"provisioned-sonnet": Capacity("arn:aws:bedrock:x", 2, 4e9)}),
    ).run()
    assert bench.backend.asked == ["provisioned-sonnet", "ondemand-sonnet"]
    assert bench.text == "catalogue"


def test_with_little_time_left_the_quality_class_gives_way() -> None:
    bench = Bench({"ondemand-haiku": [answer("早い")]}, seconds=4.5).run()
    assert bench.backend.asked == ["ondemand-haiku"]
    assert bench.progress.passed_over == [("ondemand-sonnet", "too_late_for_quality")]


def test_an_answer_is_clipped_to_the_tokens_that_fit_the_deadline() -> None:
    bench = Bench({"ondemand-sonnet": [answer("短い")]}, seconds=8.0).run()
    sonnet = POLICY.targets["ondemand-sonnet"]
    fitting = (8000 - sonnet.estimate.first_text_ms) / sonnet.estimate.token_ms
    assert bench.backend.calls[0].max_tokens == int(fitting) < sonnet.max_tokens


def test_a_tier_of_the_budget_shortens_the_answer_and_what_is_set_aside_for_it() -> None:
    whole, short = (Bench({"ondemand-haiku": [answer("短い")]}, SIMPLE, answer_share=share).run() for share in (1, 0.6))
    most = POLICY.targets["ondemand-haiku"].max_tokens
    assert short.backend.calls[0].max_tokens == int(most * 0.6)
    saved = most - int(most * 0.6)
    output_nano_usd = POLICY.price_of("ondemand-haiku", jst(short.clock.now_s()).date()).output_nano_usd
    assert whole.purse.committed_nano_usd - short.purse.committed_nano_usd == saved * output_nano_usd


def test_no_tier_makes_an_answer_too_short_to_be_worth_it() -> None:
    bench = Bench({"ondemand-haiku": [answer("短い")]}, SIMPLE, answer_share=0.01).run()
    assert bench.backend.calls[0].max_tokens == POLICY.answer.least_tokens


def test_the_answer_is_closed_cleanly_at_the_deadline() -> None:
    endless = [After(0.2, TextDelta("あ")) for _ in range(1000)]
    bench = Bench({"ondemand-sonnet": [endless]}).run()
    assert bench.progress.finish == "deadline"
    assert bench.clock.monotonic() - bench.began == pytest.approx(28.0, abs=0.05)
    assert bench.backend.streams[0].closed


def test_reasoning_is_life_but_not_text() -> None:
    bench = Bench({"ondemand-sonnet": [thinks(5.0, "遅い")], "ondemand-haiku": [answer("早い")]}).run()
    assert bench.text == "早い"
    assert bench.outcomes[0] == ("ondemand-sonnet", "silent")


def test_an_answer_without_a_word_is_a_failure() -> None:
    nothing = [After(0.5, Stopped("length")), After(0, None)]
    bench = Bench({"ondemand-sonnet": [nothing], "ondemand-haiku": [answer("はい")]}).run()
    assert bench.outcomes[0] == ("ondemand-sonnet", "empty")
    assert bench.text == "はい"


def test_a_cancel_stops_the_model_and_bills_what_was_used() -> None:
    bench = Bench({"ondemand-sonnet": [answer(*("あ" for _ in range(500)))]}, stop_after=5).run()
    assert bench.progress.finish == "cancelled"
    assert len(bench.text) <= 6
    assert bench.backend.streams[0].closed
    assert bench.outcomes == [("ondemand-sonnet", "cancelled")]
    assert bench.progress.attempts[0].usage.output_tokens > 0


def test_a_spent_budget_calls_no_model() -> None:
    bench = Bench({}, purse=FakePurse(limit_nano_usd=0)).run()
    assert bench.backend.calls == []
    assert bench.text == "catalogue"


def test_without_accounts_no_model_is_called_and_the_table_is_asked_once() -> None:
    bench = Bench({}, purse=FakePurse(down=True)).run()
    assert bench.backend.calls == []
    assert bench.progress.passed_over == [("ondemand-sonnet", "no_accounts")]


def test_a_half_open_target_is_tried_by_the_one_that_holds_the_probe() -> None:
    half_open = Situation(health={"ondemand-sonnet": Health(failures=3, open_until_s=1.0)})
    scripts = {"ondemand-sonnet": [answer("S")], "ondemand-haiku": [answer("H")]}
    assert Bench(dict(scripts), situation=half_open).run().text == "S"
    elsewhere = Bench(dict(scripts), situation=half_open, probes=FakeProbes(grant=False)).run()
    assert elsewhere.text == "H"
    assert elsewhere.progress.passed_over == [("ondemand-sonnet", "probed_elsewhere")]


def test_provisioned_capacity_is_called_by_its_arn_and_costs_no_tokens() -> None:
    capacity = Capacity("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl", 2, 4e9)
    situation = Situation(capacity={"provisioned-sonnet": capacity})
    bench = Bench(
        {"provisioned-sonnet": [answer("P")]}, chain=("provisioned-sonnet", "catalogue"), situation=situation
    ).run()
    assert bench.backend.calls[0].model_id == capacity.arn
    assert bench.progress.attempts[0].cost_nano_usd == 0


def test_a_reservation_is_never_less_than_the_bill() -> None:
    scripts = {"ondemand-sonnet": [answer("あ", tokens=POLICY.targets["ondemand-sonnet"].max_tokens)]}
    attempt = Bench(scripts).run().progress.attempts[0]
    assert attempt.reservation is not None
    assert attempt.reservation.nano_usd >= attempt.cost_nano_usd


WORDS = st.lists(st.sampled_from(["あ", "猫が", "好き。", "one ", "\n", "🎉", LONG]), min_size=1, max_size=12)
DELAYS = st.sampled_from([0.0, 0.01, 0.3, 1.1, 3.9, 4.1, 9.0])


@st.composite
def scripts_of_a_target(draw: st.DrawFn) -> list[After]:
    steps = [After(draw(DELAYS), TextDelta(word)) for word in draw(WORDS)][: draw(st.integers(0, 12))]
    ending = draw(st.sampled_from(["answer", "cut", "throttled", "hang", "denied", "no usage"]))
    match ending:
        case "answer":
            return [*steps, After(0.0, Stopped("complete")), After(0.0, None)]
        case "no usage":
            return [*steps, After(0.0, Stopped("length")), *hangs()]
        case "hang":
            return [*steps, *hangs()]
        case "denied":
            return [*steps, After(draw(DELAYS), Rejected("denied"))]
        case _:
            return [*steps, *fails(ending, draw(DELAYS))]


@settings(max_examples=400, deadline=None)
@given(
    sonnet=scripts_of_a_target(),
    haiku=scripts_of_a_target(),
    seconds=st.sampled_from([0.5, 3.0, 6.0, 28.0]),
    preset=st.sampled_from([POLICY, CLAUDE_3]),
    patience_s=st.sampled_from([0.01, 0.25]),
    open_s=st.sampled_from([0.0, 0.2, 1.5]),
)
def test_no_fault_schedule_crosses_the_deadline_or_blurs_two_models(
    sonnet: list[After], haiku: list[After], seconds: float, preset: policy.Policy, patience_s: float, open_s: float
) -> None:
    bench = Bench(
        {"ondemand-sonnet": [sonnet], "ondemand-haiku": [haiku]}, seconds=seconds, policy=preset, patience_s=patience_s
    )
    bench.backend.open_s = open_s
    bench.run()
    assert bench.clock.monotonic() - bench.began <= seconds + 0.05
    assert bench.text == bench.progress.text, "what the client has is what the server remembers"
    assert bench.text, "a turn never ends without a word"
    assert all(stream.closed for stream in bench.backend.streams)
    assert len(bench.progress.attempts) == len(bench.backend.calls), "every call has its ledger line"
    assert bench.first_text_s <= 3.0
    if bench.progress.finish == "complete":
        assert bench.progress.attempts[-1].outcome == "answered"


@given(limit=st.integers(0, 3_000_000))
def test_a_longer_estimate_never_lengthens_an_answer(limit: int) -> None:
    target = POLICY.targets["ondemand-haiku"]
    slower = target.model_copy(
        update={"estimate": target.estimate.model_copy(update={"token_ms": target.estimate.token_ms * 2})}
    )
    estimates = Estimates()
    assert estimates.tokens_within(slower, limit / 1000) <= estimates.tokens_within(target, limit / 1000)
