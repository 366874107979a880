"""Bedrock's runtime, emulated on its real REST wire: Converse, ConverseStream, and InvokeModel for embeddings."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local import converse, embeddings, speech
from local.profiles import Bucket
from local.speech import Call
from local.wire import ServiceError

if TYPE_CHECKING:
    import random

    from local.bedrock_metrics import ModelMetrics
    from local.converse import Request
    from local.faults import Faults
    from local.profiles import Profiles
    from local.provisioned import Provisioned, ProvisionedThroughput
    from local.wire import Exchange
    from local.world import Snapshot, World

PATH = re.compile(r"^/model/(?P<model>[^/]+)/(?P<operation>converse|converse-stream|invoke)$")
PROVISIONED = re.compile(r"^arn:aws[a-z-]*:bedrock:[a-z0-9-]+:\d{12}:provisioned-model/[a-z0-9]{12}$")
PROMPT_CACHE_S = 300
THROTTLED = ServiceError(429, "ThrottlingException", "Too many requests, please wait before trying again.")
OVER_QUOTA = ServiceError(429, "ThrottlingException", "Too many tokens, please wait before trying again.")
RETIRED = ServiceError(
    404,
    "ResourceNotFoundException",
    "This model version has reached the end of its life. Please refer to the AWS documentation for more details.",
)
NOT_EMULATED = ServiceError(404, "UnknownOperationException", "The twin emulates no such operation of Bedrock.")
REFUSALS = {
    "throttle": THROTTLED,
    "unavailable": ServiceError(503, "ServiceUnavailableException", "The service is temporarily unavailable."),
    "denied": ServiceError(403, "AccessDeniedException", "You don't have access to the model with the specified ID."),
}


@dataclass
class Charge:
    """What one model id has been used for, as the service would bill it."""

    calls: int = 0
    throttled: int = 0
    refused: int = 0
    completed: int = 0
    closed_by_client: int = 0
    cut_by_deletion: int = 0
    broken: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True)
class Quota:
    """What a model id may still be asked for in this minute."""

    requests: Bucket
    tokens: Bucket


class Bedrock:
    """The service; one event loop runs it, so its counters need no lock."""

    def __init__(
        self,
        profiles: Profiles,
        faults: Faults,
        world: World,
        provisioned: ProvisionedThroughput,
        dice: random.Random,
        metrics: ModelMetrics,
        pace: float = 1,
        quotas: float = 1,
    ) -> None:
        self._profiles = profiles
        self._faults = faults
        self._world = world
        self._provisioned = provisioned
        provisioned.on_deleted = self._cut
        self._dice = dice
        self._metrics = metrics
        self._pace = pace  # of all latencies: below 1 for those in a hurry
        self._times = quotas  # as an account whose quotas were raised has them
        self._quotas: dict[str, Quota] = {}
        self._cached_prompts: dict[tuple[str, str], float] = {}
        self._charges: dict[str, Charge] = {}
        self._active: dict[Call, Exchange] = {}

    def state(self) -> dict[str, Any]:
        """What was charged and what runs, for people and tests."""
        streams = [{"model": call.model_id, "target": call.target, "said": call.said} for call in self._active]
        return {
            "charges": {model: asdict(charge) for model, charge in sorted(self._charges.items())},
            "active_streams": len(streams),
            "streams": streams,
            "closed_by_client": sum(charge.closed_by_client for charge in self._charges.values()),
            "cut_by_deletion": sum(charge.cut_by_deletion for charge in self._charges.values()),
        }

    async def __call__(self, exchange: Exchange) -> None:
        match = PATH.match(exchange.path)
        if match is None or exchange.method != "POST":
            await exchange.refuse(NOT_EMULATED)
            return
        model_id, operation = unquote(match["model"]), match["operation"]
        body = await exchange.body()
        try:
            if operation == "invoke":
                await self._invoke(model_id, body, exchange)
            else:
                await self._converse(model_id, body, exchange, streamed=operation == "converse-stream")
        except ServiceError as error:
            await exchange.refuse(error)

    async def _converse(self, model_id: str, body: bytes, exchange: Exchange, *, streamed: bool) -> None:
        snapshot = await self._world.snapshot(model_id)
        if not PROVISIONED.match(model_id) and model_id not in snapshot.model_ids:
            raise RETIRED
        charge = self._charges.setdefault(model_id, Charge())
        charge.calls += 1
        try:
            capacity = self._provisioned.serving(exchange.region, model_id) if PROVISIONED.match(model_id) else None
            call = self._admit(model_id, snapshot, capacity)
            request = converse.read(body, call.profile)
            quota = self._claim(call, request, capacity)
        except ServiceError as error:
            charge.throttled += error.status == 429
            charge.refused += error.status != 429
            raise
        self._active[call] = exchange
        usage: dict[str, int] = {}
        try:
            silent = call.fault_kind == "hang"  # the model never saw the call: nothing is charged
            usage = {} if silent else self._charge_prompt(call, request, charge)
            output = speech.prepare(call, request, usage)
            outcome = await (speech.stream if streamed else speech.whole)(call, output, exchange)
            if call not in self._active:
                outcome = speech.CUT_BY_DELETION
            setattr(charge, outcome, getattr(charge, outcome) + 1)
        finally:
            self._active.pop(call, None)
            charge.output_tokens += call.said
            if usage:
                self._metrics.count(exchange.region, model_id, usage["inputTokens"], call.said)
            quota.tokens.take(call.said * _burn_down(call) - request.max_tokens)

    def _cut(self, arn: str) -> None:
        """Break what still runs on throughput that was deleted."""
        for call in [call for call in self._active if call.model_id == arn]:
            self._active.pop(call).sever()

    def _admit(self, model_id: str, snapshot: Snapshot, capacity: Provisioned | None) -> Call:
        """Set the pace of a call, or refuse it as scripted."""
        target = snapshot.target_of(model_id)
        profile = self._profiles.of(capacity.purchase.variant if capacity else model_id)
        fault = self._faults.take(*filter(None, (target, model_id)))
        if fault and fault.fault in REFUSALS:
            raise REFUSALS[fault.fault]
        pace = self._profiles.model_units[profile.quality] if capacity else profile
        first, token = pace.first_token_ms * self._jitter() * self._pace, pace.token_ms * self._pace
        if fault and fault.fault == "slow":
            first = first if fault.first_token_ms is None else fault.first_token_ms
            token = token if fault.token_ms is None else fault.token_ms
        burst = self._profiles.burst_ms * self._pace
        return Call(model_id, target, profile, first, token, burst, fault, self._jitter)

    def _claim(self, call: Call, request: Request, capacity: Provisioned | None) -> Quota:
        """Take the tokens that the call may need from this minute's, as the service does before it runs a model."""
        per_minute = call.profile.tokens_per_minute * self._times  # the account's on demand, else what units carry
        if capacity is not None:
            per_minute = self._profiles.model_units[call.profile.quality].tokens_per_minute * capacity.purchase.units
        quota = self._quotas.get(call.model_id)
        if quota is None or quota.tokens.per_minute != per_minute:
            quota = Quota(Bucket(call.profile.requests_per_minute * self._times), Bucket(per_minute))
            self._quotas[call.model_id] = quota
        wanted = request.input_tokens + request.max_tokens
        if not quota.requests.has(1):
            raise THROTTLED
        if not quota.tokens.has(min(wanted, per_minute)):
            raise OVER_QUOTA
        quota.requests.take(1)
        quota.tokens.take(wanted)
        return quota

    def _charge_prompt(self, call: Call, request: Request, charge: Charge) -> dict[str, int]:
        """Charge the prompt: what a cache point covers is written once and read cheaply for a while."""
        cached, least = request.cached_tokens, call.profile.cache_min_tokens
        read = written = 0
        if least is not None and cached >= least:
            key, now = (call.model_id, request.cached_text), time.monotonic()
            read, written = (cached, 0) if self._cached_prompts.get(key, 0.0) > now else (0, cached)
            self._cached_prompts[key] = now + PROMPT_CACHE_S
        fresh = request.input_tokens - read - written
        charge.input_tokens += fresh
        charge.cache_read_tokens += read
        charge.cache_write_tokens += written
        return {"inputTokens": fresh, "cacheReadInputTokens": read, "cacheWriteInputTokens": written}

    async def _invoke(self, model_id: str, body: bytes, exchange: Exchange) -> None:
        """InvokeModel, for embedding models only: conversations go through Converse."""
        if model_id not in embeddings.MODELS:
            raise NOT_EMULATED
        charge = self._charges.setdefault(model_id, Charge())
        charge.calls += 1
        fault = self._faults.take("embeddings", model_id)
        kind = fault.fault if fault else ""
        if kind in REFUSALS:
            raise REFUSALS[kind]
        reply, tokens = embeddings.answer(model_id, body)
        wait_ms = self._profiles.embeddings.first_token_ms * self._jitter() * self._pace
        if fault and fault.first_token_ms is not None:
            wait_ms = fault.first_token_ms
        await exchange.pause(None if kind in ("hang", "stall") else wait_ms / 1000)
        if exchange.left():
            charge.closed_by_client += 1
            return
        charge.input_tokens += tokens
        match kind:
            case "cut":
                await exchange.cut()
            case "garbage":
                await exchange.answer(200, speech.GARBAGE)
            case "error_event":
                raise ServiceError(424, "ModelErrorException", speech.FAILURE)
            case _:
                charge.completed += 1
                self._metrics.count(exchange.region, model_id, tokens, 0)
                headers = [("x-amzn-bedrock-input-token-count", str(tokens))]
                await exchange.answer(200, json.dumps(reply).encode(), headers=headers)

    def _jitter(self) -> float:
        return self._dice.lognormvariate(0, self._profiles.jitter)


def _burn_down(call: Call) -> int:
    return 1 if PROVISIONED.match(call.model_id) else call.profile.output_burn_down
