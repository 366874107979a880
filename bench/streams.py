"""What an answer of 50 tokens costs: raw boto3, our backend, and a whole turn, one after the other in every round."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING, Any

from bench import fake_bedrock, rig
from bench.report import Row
from bench.scripted import ScriptedModel
from bench.timing import Samples, interleaved
from mangaassist.clock import Clock
from mangaassist.routing import policy as policies
from mangaassist.routing.backends import Message, ModelCall, TextDelta
from mangaassist.routing.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

ABOVE_RAW_MS = 0.5
PER_SECOND = 400
AT_ONCE, IN_SLICES, SLICE_S = 16, 4, 1.0
ROUNDS = {fake_bedrock.AT_ONCE: (600, 60), fake_bedrock.TOKEN_BY_TOKEN: (70, 5)}
NAMES = {
    fake_bedrock.AT_ONCE: "50 tokens at once",
    fake_bedrock.TOKEN_BY_TOKEN: "50 tokens, 1 ms between them",
}
RAW, BACKEND, TURN = "raw boto3", "our backend", "whole turn"


def measure() -> list[Row]:
    """CPU and wall time per answer, however its bytes come."""
    rig.silence()
    rows = [_own_code()]
    with fake_bedrock.running() as address:
        for model_id, (rounds, warm_up) in ROUNDS.items():
            contenders, house = _contenders(address, model_id)
            rows += _rows(model_id, interleaved(contenders, rounds, warm_up))
            house.verify()
    return rows


def _own_code() -> Row:
    """What is left of a turn when the model and the tables cost nothing."""
    clock, tokens = Clock(), ["漫画"] * fake_bedrock.TOKENS
    house = rig.House(ScriptedModel(tokens, clock.monotonic, clock.sleep), policies.preset("current"))
    house.ask()
    rig.check("".join(tokens), house.take_frames())
    taken = interleaved({TURN: house.ask}, *ROUNDS[fake_bedrock.AT_ONCE])[TURN]
    return Row(
        "answer",
        f"{fake_bedrock.TOKENS} tokens from a model in memory: whole turn",
        f"CPU {taken.cpu_p50_ms:.2f} ms",
        figures={"cpu_p50_ms": taken.cpu_p50_ms},
    )


def measure_throughput() -> list[Row]:
    """Answers per second with 16 threads in one process, boto3 and ours in turns."""
    rig.silence()
    with fake_bedrock.running() as address:
        contenders, house = _contenders(address, fake_bedrock.AT_ONCE)
        done = dict.fromkeys((RAW, TURN), 0)
        for _ in range(IN_SLICES):
            for name in done:
                done[name] += _answers_in(contenders[name], SLICE_S)
        house.verify()
    raw, ours = (done[name] / (IN_SLICES * SLICE_S) for name in (RAW, TURN))
    return [
        Row(
            "throughput",
            f"answers/s, {AT_ONCE} at once in one process",
            f"whole turn {ours:.0f}/s, raw boto3 {raw:.0f}/s ({ours / raw:.2f} ×)",
            f"≥ {PER_SECOND}/s (Portkey 240/s, LiteLLM Router 40/s)",
            ours >= PER_SECOND,
            {"ours_per_s": ours, "raw_per_s": raw, "ratio": ours / raw},
        )
    ]


def _contenders(address: str, model_id: str) -> tuple[dict[str, Callable[[], object]], rig.House]:
    client, backend, policy = rig.model_client(address), rig.bedrock_backend(address), rig.policy_of(model_id)
    history = tuple(Message(entry["role"], entry["text"]) for entry in rig.HISTORY)
    prompt = Prompt(policy.answer.system_prompt, history, rig.QUESTION)
    target = policy.targets["ondemand-sonnet"]
    call = ModelCall(target, policy.model_of(target.name), model_id, prompt.system, prompt.messages, target.max_tokens)
    house = rig.House(backend, policy)
    text = _raw(client, call)
    if _ours(backend, call) != text:
        raise RuntimeError("boto3 and our backend do not agree")
    house.ask()
    rig.check(text, house.take_frames())
    return {RAW: lambda: _raw(client, call), BACKEND: lambda: _ours(backend, call), TURN: house.ask}, house


def _raw(client: BedrockRuntimeClient, call: ModelCall) -> str:
    """An answer as boto3 gives it: what everybody has to pay."""
    messages: Any = [{"role": message.role, "content": [{"text": message.text}]} for message in call.messages]
    answer: Any = client.converse_stream(
        modelId=call.model_id,
        system=[{"text": call.system}],
        messages=messages,
        inferenceConfig={"maxTokens": call.max_tokens, "temperature": 0.4},
    )
    said = [event["contentBlockDelta"]["delta"]["text"] for event in answer["stream"] if "contentBlockDelta" in event]
    return "".join(said)


def _ours(backend: Any, call: ModelCall) -> str:
    stream = backend.open(call, 1.0)
    said = ""
    while (events := stream.poll(1.0)) is not None:
        said += "".join(event.text for event in events if isinstance(event, TextDelta))
    stream.close()
    return said


def _rows(model_id: str, samples: Mapping[str, Samples]) -> list[Row]:
    what, raw = NAMES[model_id], samples[RAW]
    rows = []
    for name, taken in samples.items():
        above = taken.cpu_p50_ms - raw.cpu_p50_ms
        measured = f"CPU {taken.cpu_p50_ms:.2f} ms, wall {taken.wall_p50_ms:.2f} ms"
        figures = {"cpu_p50_ms": taken.cpu_p50_ms, "wall_p50_ms": taken.wall_p50_ms, "cpu_above_raw_ms": above}
        is_aim = (model_id, name) == (fake_bedrock.AT_ONCE, TURN)
        rows.append(
            Row(
                "answer",
                f"{what}: {name}",
                measured if name == RAW else f"{measured}: {above:+.2f} ms CPU",
                f"≤ {ABOVE_RAW_MS} ms CPU above raw boto3 (Portkey 4.5 ms, LiteLLM > 20 ms)" if is_aim else "",
                above <= ABOVE_RAW_MS if is_aim else None,
                figures,
            )
        )
    return rows


def _answers_in(run: Callable[[], object], seconds: float) -> int:
    """How many answers 16 threads get in so many seconds."""
    gc.collect()
    until = time.perf_counter() + seconds
    done = [0] * AT_ONCE

    def work(place: int) -> None:
        while time.perf_counter() < until:
            run()
            done[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done)
