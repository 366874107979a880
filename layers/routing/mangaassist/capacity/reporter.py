"""The last step: the record, the metric, the notice, and whether the execution ends well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mangaassist.capacity import notices
from mangaassist.capacity.notices import Billed
from mangaassist.capacity.planning import HELD
from mangaassist.capacity.rules import unit_price_nano_usd
from mangaassist.capacity.workflow import Report
from mangaassist.errors import ControlPlaneError
from mangaassist.jst import jst
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure

if TYPE_CHECKING:
    from mangaassist.capacity.control_plane import Purchase
    from mangaassist.capacity.ports import Ports
    from mangaassist.capacity.workflow import Ended


class Reporter:
    """Raises ControlPlaneError and StoreUnavailable; may be called again."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def report(self, ended: Ended) -> Report:
        """Note what became of an execution; operators are told of each trouble once."""
        text, in_trouble = notices.summary(ended), notices.is_trouble(ended)
        self._note_unbought(ended)
        told = {"action": ended.request.action, "window": ended.request.window, "summary": text}
        if in_trouble:
            measure(Metric.CapacityFailed)
            logger.error("capacity needs a look", extra=told)
        else:
            logger.info("capacity", extra=told)
        if notices.is_news(ended):
            self._tell(ended, notices.notice(ended, self._ports.rules.owner, self._billed()))
        return Report(ok=not in_trouble, summary=text)

    def _note_unbought(self, ended: Ended) -> None:
        """Put on record what was not bought; a day that is over for its window stays so."""
        opening = ended.opening
        if opening is None or ended.request.is_rehearsal:
            return
        record = self._ports.register.record(opening.window, opening.day)
        if opening.outcome in ("dry_run", "refused") and record.tended_until_s <= self._ports.now_s():
            state, reason = opening.outcome, notices.summary(ended)
        elif ended.failure and record.state == "creating" and not record.arn:
            state, reason = "refused", f"{ended.failure.error} {ended.failure.cause}"
        else:
            return
        if record.state in HELD:
            return
        fields = {} if record.arn else {k: value for k, value in opening.purchased().items() if k != "number"}
        self._ports.register.note_after(record, **(fields | {"state": state, "reason": reason[:1024]}))

    def _tell(self, ended: Ended, notice: notices.Notice) -> None:
        about = ended.opening or next(iter(ended.closing), None)
        window = about.window if about else ended.request.window or "all"
        day = about.day if about else jst(self._ports.now_s()).date().isoformat()
        if self._ports.register.record(window, day).told == notice.gist:
            return
        self._ports.board.post(notice.subject, notice.message)
        self._ports.register.note(window, day, told=notice.gist)

    def _billed(self) -> tuple[Billed, ...] | None:
        try:
            owned = self._ports.control_plane.owned(self._ports.rules.owner)
        except ControlPlaneError:
            return None
        return tuple(self._price(purchase) for purchase in owned)

    def _price(self, purchase: Purchase) -> Billed:
        record = self._ports.register.record(purchase.window, purchase.day)
        price = unit_price_nano_usd(record, self._ports.policy)
        return Billed(purchase.name, purchase.status, purchase.units, purchase.units * price)
