"""A day's books against what Bedrock counted of the same models: tokens, and by how much the two differ.

Bedrock's metrics are those of the whole account: another application that asks the same model id, or a person, makes
them more than ours. They lag by minutes, and the day of a call that crosses midnight may be the other one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from mangaassist.capacity import metric_data
from mangaassist.jst import JST
from mangaassist.money.books import Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from mangaassist.capacity.metric_data import MetricData
    from mangaassist.money.books import Books
    from mangaassist.routing.policy import Policy

NAMESPACE, DIMENSION = "AWS/Bedrock", "ModelId"
PERIOD_S = 3600  # a JST day is whole hours of UTC
METRICS = {"input": "InputTokenCount", "output": "OutputTokenCount"}


@dataclass(frozen=True, slots=True)
class Metered:
    """Tokens as Bedrock counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """One model's day: ours, theirs, and the tokens between the two."""

    model: str
    calls: int
    estimated: int  # of our calls, because the stream broke before the service told
    ours: Metered
    cached_tokens: int  # of prompts; whether Bedrock's input counts them is documented nowhere
    theirs: Metered

    @property
    def apart_tokens(self) -> int:
        """By how many tokens the two differ, with cached ones counted as Bedrock seems to."""
        more = self.theirs.input_tokens - self.ours.input_tokens
        return min(abs(more), abs(more - self.cached_tokens)) + abs(self.theirs.output_tokens - self.ours.output_tokens)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A day, model by model."""

    day: date
    models: tuple[Compared, ...]

    @property
    def drift_percent(self) -> float:
        """Tokens that the two differ by, of those that Bedrock counted; all of ours, where it counted none."""
        apart = sum(it.apart_tokens for it in self.models)
        theirs = sum(it.theirs.input_tokens + it.theirs.output_tokens for it in self.models)
        ours = sum(it.ours.input_tokens + it.ours.output_tokens for it in self.models)
        return 100 * apart / (theirs or ours) if apart else 0.0

    def document(self) -> dict[str, Any]:
        """The same as JSON takes it."""
        models = [asdict(it) for it in self.models]
        return {"day": self.day.isoformat(), "drift_percent": self.drift_percent, "models": models}


class Meter:
    """Reads Bedrock's metrics, which are where a model was called; raises ControlPlaneError."""

    def __init__(self, clients: Callable[[str], MetricData]) -> None:
        self._clients = clients

    def used(self, models: Iterable[str], regions: Iterable[str], day: date) -> dict[str, Metered]:
        """What models were used for on a JST day, in all of these regions together."""
        names = sorted(models)
        found = dict.fromkeys(names, Metered())
        for region in sorted(set(regions)) if names else ():
            for name, here in self._in(region, names, day).items():
                before = found[name]
                found[name] = Metered(
                    before.input_tokens + here.input_tokens, before.output_tokens + here.output_tokens
                )
        return found

    def _in(self, region: str, names: list[str], day: date) -> dict[str, Metered]:
        queries = [
            metric_data.asked(f"{kind}_{number}", (NAMESPACE, metric), {DIMENSION: name}, PERIOD_S, "Sum")
            for number, name in enumerate(names)
            for kind, metric in METRICS.items()
        ]
        midnight = datetime.combine(day, time(), JST)
        since_s, until_s = midnight.timestamp(), (midnight + timedelta(days=1)).timestamp()
        points = metric_data.points(self._clients(region), queries, since_s, until_s)
        whole = {key: round(sum(values.values())) for key, values in points.items()}
        return {name: Metered(whole[f"input_{number}"], whole[f"output_{number}"]) for number, name in enumerate(names)}


class Used(Protocol):
    """Who tells what models were used for."""

    def used(self, models: Iterable[str], regions: Iterable[str], day: date) -> dict[str, Metered]: ...


def reconcile(books: Books, policy: Policy, meter: Used) -> Reconciliation:
    """Compare a day's books with the meter: models of the books, and all of the policy, which may be missing there.

    Embeddings are left out, because loading the catalogue uses the same model; so is an endpoint of one's own.
    """
    asked = {name: it for name, it in policy.targets.items() if it.backend == "bedrock"}
    ours = {policy.model_of(name).id: Sum() for name, it in asked.items() if not it.published_capacity_only}
    ours |= {model: it for model, it in books.by["model"].items() if _is_of_bedrock(model, policy)}
    regions = {target.region for target in asked.values()}
    regions |= {model.split(":")[3] for model in ours if model.startswith("arn:")}
    theirs = meter.used(ours, regions, books.day)
    return Reconciliation(books.day, tuple(_compared(model, it, theirs) for model, it in sorted(ours.items())))


def _is_of_bedrock(model: str, policy: Policy) -> bool:
    hosted = {policy.model_of(name).id for name, target in policy.targets.items() if target.backend == "sagemaker"}
    return model not in hosted and model not in policy.knowledge.embedding_prices


def _compared(model: str, it: Sum, theirs: Mapping[str, Metered]) -> Compared:
    return Compared(
        model=model,
        calls=it.calls,
        estimated=it.estimated,
        ours=Metered(it.input_tokens, it.output_tokens),
        cached_tokens=it.cache_read_tokens + it.cache_write_tokens,
        theirs=theirs[model],
    )
