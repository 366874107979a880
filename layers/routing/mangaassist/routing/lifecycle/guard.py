"""The daily look at the policy's models: does each answer, and how long will it last?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist.jst import jst
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure
from mangaassist.routing.lifecycle.findings import asked_of_bedrock, called_on_demand, findings, soonest_end

if TYPE_CHECKING:
    from mangaassist.clock import Clock
    from mangaassist.routing.lifecycle.board import FindingBoard
    from mangaassist.routing.lifecycle.findings import Finding
    from mangaassist.routing.lifecycle.offers import Offers
    from mangaassist.routing.lifecycle.probe import Prober
    from mangaassist.routing.store import SituationStore


NO_END_DAYS = 9_999  # told where no end is known: an alarm that heard nothing would ring on for an end that is over


class LifecycleGuard:
    """Looks at every model once; safe to repeat, at the price of the probes."""

    def __init__(
        self,
        *,
        situation: SituationStore,
        offers: Offers,
        prober: Prober,
        board: FindingBoard,
        clock: Clock,
    ) -> None:
        self._situation = situation
        self._offers = offers
        self._prober = prober
        self._board = board
        self._clock = clock

    def check(self) -> dict[str, Any]:
        """Look, keep what was found, count it, and give a summary; raises ControlPlaneError and StoreUnavailable."""
        policy = self._situation.view().policy
        regions = sorted({target.region for target in asked_of_bedrock(policy)})
        lives = {region: self._offers.of(region) for region in regions}
        probes = {target.name: self._prober.probe(target, policy) for target in called_on_demand(policy)}
        found = findings(policy, lives, probes, jst(self._clock.now_s()).date())
        for finding in found:
            self._board.note(finding)
            _tell(finding)
        return _count(found)


def _tell(finding: Finding) -> None:
    fields = {
        "model": finding.model,
        "model_id": finding.model_id,
        "region": finding.region,
        "status": finding.status,
        "days_left": finding.days_left,
        "probes": dict(finding.probes),
    }
    if finding.failed or finding.status in ("LEGACY", "UNLISTED"):
        logger.warning("a model needs a successor", extra=fields)
    else:
        logger.info("a model was looked at", extra=fields)


def _count(found: tuple[Finding, ...]) -> dict[str, Any]:
    failed = sum(len(finding.failed) for finding in found)
    measure(Metric.ModelProbeFailed, failed)
    days = soonest_end(found)
    measure(Metric.ModelEndOfLifeDays, NO_END_DAYS if days is None else days)
    return {"models": len(found), "probes_failed": failed, "end_of_life_days": days}
