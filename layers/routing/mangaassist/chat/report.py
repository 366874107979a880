"""What a turn tells when it is over: its `end` frame, its ledger account, its log line and its metrics.

Logs and metrics carry ids, names, times and amounts, never a word of what was said.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from mangaassist.knowledge import claims
from mangaassist.metric import Metric
from mangaassist.money.ledger import TurnAccount, attempt_fields
from mangaassist.money.prices import Usage, usd
from mangaassist.observability import logger, measure, measure_by
from mangaassist.routing.policy import CATALOGUE
from mangaassist.routing.router import BUDGET_GUARD

KEPT_ANSWER = "kept_answer"  # the reason of a turn that another one had answered already
FAILED = "error"
UNSETTLED = "an account could not be settled"

if TYPE_CHECKING:
    from mangaassist.capacity.use import Use
    from mangaassist.chat.turn import Turn
    from mangaassist.money.ledger import Attempt
    from mangaassist.routing.router import Route


def end_fields(turn: Turn) -> dict[str, Any]:
    """The fields of the `end` frame, beside its type and numbers."""
    progress = turn.progress
    return {
        "finish": progress.finish,
        "target": progress.target,
        "model": progress.model,
        "reason": KEPT_ANSWER if turn.findings.kept else turn.route.reason,
        "attempts": [_attempt_line(attempt) for attempt in progress.attempts],
        "usage": _tokens(_sum([attempt.usage for attempt in progress.attempts])),
        "cost_usd": usd(account(turn).cost_nano_usd),
        "first_text_ms": first_text_ms(turn),
        "total_ms": total_ms(turn),
        "citations": claims.citations(turn.findings.products, progress.text),
    }


def account(turn: Turn) -> TurnAccount:
    """What the ledger keeps."""
    return TurnAccount(
        turn_id=turn.id,
        run_id=turn.run_id,
        user_id=turn.shopper.user_id,
        user_class=turn.shopper.user_class,
        reason=turn.route.reason,
        kind=turn.route.kind,
        finish=_finish(turn),
        first_text_ms=first_text_ms(turn),
        total_ms=total_ms(turn),
        attempts=tuple(turn.progress.attempts),
        lookup=turn.findings.charge(turn.day),
        kept=turn.findings.kept.how if turn.findings.kept else "",
        tier=turn.route.tier,
    )


def _finish(turn: Turn) -> str:
    """How it ended; an unknown failure ends in an error, whatever the chain had come to."""
    return turn.progress.finish if turn.reference is None else FAILED


def turn(turn: Turn, logged_percent: int = 100) -> None:
    """The metrics of a finished turn, and its log line; of turns without trouble only a share is logged."""
    cost_nano_usd = account(turn).cost_nano_usd
    if _met_trouble(turn):
        _log(turn, cost_nano_usd, stands_for=1)
    elif zlib.crc32(turn.run_id.encode()) % 100 < logged_percent:
        _log(turn, cost_nano_usd, stands_for=100 / logged_percent)
    measure(Metric.Turns)
    measure(Metric.Posts, turn.delivery.posts)
    measure(Metric.TotalTime, total_ms(turn))
    if (first_ms := first_text_ms(turn)) is not None:
        measure(Metric.FirstText, first_ms)
    _measure_chain(turn)
    _measure_money(turn, cost_nano_usd)
    _measure_findings(turn)


def _met_trouble(turn: Turn) -> bool:
    """Whether somebody may want to know why it went as it did."""
    first_ms = first_text_ms(turn)
    slow = first_ms is None or first_ms > turn.view.policy.limits.first_text_ms
    return slow or turn.is_lost() or len(turn.progress.attempts) > 1 or turn.progress.target == CATALOGUE


def _log(turn: Turn, cost_nano_usd: int, *, stands_for: float) -> None:
    progress = turn.progress
    logger.info(
        "turn",
        extra={
            "turn_id": turn.id,
            "session_id": turn.session.id,
            "reason": turn.route.reason,
            "tier": turn.route.tier,
            "pace": round(turn.route.pace, 3),
            "score": round(turn.route.score, 3),
            "finish": _finish(turn),
            "target": progress.target,
            "attempts": [f"{attempt.target}:{attempt.outcome}" for attempt in progress.attempts],
            "passed_over": [f"{target}:{why}" for target, why in progress.passed_over],
            "first_text_ms": first_text_ms(turn),
            "total_ms": total_ms(turn),
            "posts": turn.delivery.posts,
            "cost_nano_usd": cost_nano_usd,
            "policy_version": turn.view.policy_version,
            "abandoned": turn.abandoned,
            "products": len(turn.findings.products),
            "missing": list(turn.findings.found.missing),
            "kept": turn.findings.kept.how if turn.findings.kept else None,
            "stands_for": round(stands_for, 2),
        },
    )


def _measure_chain(turn: Turn) -> None:
    """Who answered, and how deep the chain was walked for it."""
    progress, policy = turn.progress, turn.view.policy
    measure(Metric.Attempts, len(progress.attempts))
    _measure_targets(turn)
    if len(progress.attempts) > 1:
        measure(Metric.Fallbacks)
    answered_by = policy.targets.get(progress.target)
    if turn.route.complex and answered_by and answered_by.quality == "fast":
        measure(Metric.Downgrades)
    if progress.target == CATALOGUE and turn.reference is None:
        measure(Metric.CatalogueAnswers)


def _measure_targets(turn: Turn) -> None:
    """What each target had to do with the turn; an error is nobody's answer."""
    progress = turn.progress
    costs = {progress.target: 0}
    for attempt in progress.attempts:
        costs[attempt.target] = costs.get(attempt.target, 0) + attempt.cost_nano_usd
    for target, cost_nano_usd in costs.items():
        answers = int(target == progress.target and turn.reference is None)
        measure_by({Metric.Answers: answers, Metric.AttemptCostNanoUsd: cost_nano_usd}, target=target)


def _measure_money(turn: Turn, cost_nano_usd: int) -> None:
    """What the turn cost, and how the day's money goes."""
    measure(Metric.CostNanoUsd, cost_nano_usd)
    measure(Metric.SpendPace, 100 * turn.route.pace)
    if turn.route.tier:
        measure(Metric.BudgetTiers)
    if turn.route.reason == BUDGET_GUARD:
        measure(Metric.BudgetGuarded)


def _measure_findings(turn: Turn) -> None:
    """Whether knowledge was complete, and whether a kept answer spared a model."""
    findings = turn.findings
    if findings.found.missing:
        measure(Metric.KnowledgePartial)
    if findings.kept:
        measure(Metric.CacheHits)
    elif findings.inquiry:
        measure(Metric.CacheMisses)


def capacity_used(window: str, use: Use) -> None:
    """Count what a turn took of a window's capacity."""
    used = {
        Metric.ProvisionedRequests: use.requests,
        Metric.ProvisionedTokens: use.tokens,
        Metric.ProvisionedThrottles: use.throttled,
        Metric.SpillOver: use.spilled,
    }
    measure_by(used, window=window)


def attempt_failed(turn_id: str, target: str, outcome: str) -> None:
    """A target failed a turn; refusals that no other model cures are the operators' to mend."""
    if outcome in ("denied", "invalid", "retired"):
        logger.error("a target refuses calls", extra={"turn_id": turn_id, "target": target, "outcome": outcome})
        measure(Metric.TargetRefused)
    else:
        logger.warning("a target failed", extra={"turn_id": turn_id, "target": target, "outcome": outcome})
        measure(Metric.TargetFailed)
    if outcome == "throttled":
        measure(Metric.TargetThrottled)
    measure_by({Metric.AttemptsFailed: 1}, target=target)


def invalid_policy(version: int, reason: str) -> None:
    """An override of the policy is wrong and ignored; the last good one stays in force."""
    logger.error("the policy override is invalid", extra={"version": version, "fault": reason})
    measure(Metric.InvalidPolicy)


def unknown_failure(turn_id: str) -> str:
    """Log the failure being handled with its stack; gives the reference that the shopper is told."""
    reference = str(uuid.uuid4())
    logger.exception("a turn failed", extra={"turn_id": turn_id, "reference": reference})
    measure(Metric.TurnFailed)
    return reference


def unfinished(part: str) -> None:
    """Log, with its stack, the failure of one part of a turn's ending."""
    logger.exception("a part of a turn's ending failed", extra={"part": part})
    measure(Metric.TurnPartFailed)


def unsettled(account: TurnAccount) -> None:
    """The ledger could not be written: its line goes to the log, from where it can be entered."""
    logger.error(
        UNSETTLED,
        extra={
            "turn_id": account.turn_id,
            "lines": [attempt_fields(attempt) for attempt in account.attempts],
            "lookup": asdict(account.lookup) if account.lookup else None,
        },
    )
    measure(Metric.LedgerWriteFailed)


def without_accounts(route: Route) -> Route:
    """The route of a turn that nothing may be charged to."""
    return replace(route, chain=(CATALOGUE,))


def first_text_ms(turn: Turn) -> int | None:
    """Milliseconds from the message's arrival to the post of its first text."""
    at = turn.delivery.first_text_at
    return None if at is None else round((at - turn.deadline.arrived_at) * 1000)


def total_ms(turn: Turn) -> int:
    """Milliseconds since the message's arrival."""
    return round((turn.deadline.monotonic() - turn.deadline.arrived_at) * 1000)


def _attempt_line(attempt: Attempt) -> dict[str, Any]:
    return {
        "target": attempt.target,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "first_text_ms": attempt.first_text_ms,
        "total_ms": attempt.total_ms,
        "usage": _tokens(attempt.usage),
        "cost_usd": usd(attempt.cost_nano_usd),
    }


def _tokens(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "estimated": usage.estimated,
    }


def _sum(usages: list[Usage]) -> Usage:
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cache_read_tokens=sum(usage.cache_read_tokens for usage in usages),
        cache_write_tokens=sum(usage.cache_write_tokens for usage in usages),
        estimated=any(usage.estimated for usage in usages),
    )
