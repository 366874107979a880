"""The endpoint of our own model at a deployment: how it is hosted, who is sent there, and how it is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from mangaassist import bootstrap
from mangaassist.capacity.endpoint import EndpointWatch, Whose
from mangaassist.jst import jst
from mangaassist.money.book import HOSTING, price_book
from mangaassist.routing import policy
from mangaassist.routing.backends import Message, ModelCall
from mangaassist.routing.backends.sagemaker import SageMakerBackend
from mangaassist.routing.router import GUARDED
from mangaassist.routing.store import SituationStore
from mangaassist.signing import SdkSigner
from mangaassist.tokens import estimate
from mangaassist.transport import Transport
from tools.place import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mangaassist.capacity.endpoint import Copies, Cost, EndpointUse, Hosting
    from mangaassist.money.book import PriceBook, Quote
    from mangaassist.routing.backends import Backend
    from mangaassist.routing.policy import Policy, Target
    from mangaassist.routing.situation import Health
    from mangaassist.routing.store import View
    from tools.place import Place

TARGET = "sagemaker-custom"
QUESTIONS = (
    "ワンピースに似た、完結済みの冒険漫画を三つ教えてください。",
    "『鋼の錬金術師』の作者のほかの作品はありますか?",
    "小学生の娘に贈る、料理が出てくる漫画を探しています。",
    "進撃の巨人は全部で何巻ですか? 一巻の値段も知りたいです。",
    "Which finished mystery manga would you give to somebody who loved Monster?",
    "サッカー漫画で、女性が主人公のものはありますか?",
    "Is Vagabond still being published, and how many volumes are in stock?",
    "夜ふかしの日に一気読みできる、短い恋愛漫画のおすすめは?",
)
SHELF = "棚{number}: 海賊王を夢見る少年が仲間を集めて大海原を旅する、笑いと涙の冒険物語。全{number}巻、在庫あり。"


@dataclass(frozen=True, slots=True)
class Routing:
    """Whether turns go to the endpoint now, and the sentence that says why."""

    routed: bool
    policy: str
    why: str


@dataclass
class Desk:
    """What the commands work with; nothing is asked before it is needed, and tests bring their own backend."""

    place: Place
    chosen: Backend | None = None
    monotonic: Callable[[], float] = time.monotonic
    transport: Transport = field(default_factory=lambda: Transport(ca_bundle=bootstrap.trusted()))
    numbers: count[int] = field(default_factory=lambda: count(int(time.time())))

    @property
    def name(self) -> str:
        """What to call the deployment in messages."""
        return self.place.name

    @cached_property
    def endpoint(self) -> tuple[str, str]:
        """The names of the endpoint and of its component, "" where it has none."""
        found = self.place.endpoint_of_ours()
        if found is None and self.place.is_twin:
            raise failure(f"{self.name} hosts no endpoint: start it with make run ENDPOINT=on")
        if found is None:
            raise failure(f"{self.name} has no endpoint: deploy it with EnableSageMaker=true")
        return found

    @cached_property
    def watch(self) -> EndpointWatch:
        """Who knows what AWS tells of it."""
        return EndpointWatch(self.place.client("sagemaker"), self.place.client("cloudwatch"))

    def hosting(self) -> Hosting:
        """The endpoint as it is now."""
        return self.watch.hosting(self.endpoint[0])

    def whose(self) -> tuple[Whose, ...]:
        """Whose metrics there are: each variant's, or the component's."""
        name, component = self.endpoint
        if component:
            return (Whose(name, "", component),)
        return tuple(Whose(name, variant.name) for variant in self.hosting().variants)

    def copies(self) -> Copies | None:
        """The component as it is now; None where the variants hold the model themselves."""
        component = self.endpoint[1]
        return self.watch.copies(component) if component else None

    @cached_property
    def book(self) -> PriceBook:
        """What instances cost by the hour."""
        return price_book()

    def costs(self, found: Mapping[Whose, EndpointUse]) -> dict[Whose, tuple[Quote, Cost]]:
        """What the instances of each of these cost in their span, where the price of their type is known."""
        hosting = self.hosting()
        types = self.watch.instance_types(hosting.configuration)
        now = {variant.name: variant.instances for variant in hosting.variants}
        region, today = self.place.client("sagemaker").meta.region_name, jst(self.place.now_s()).date()
        costs = {}
        for whose, use in found.items():
            variant = whose.variant or next(iter(types), "")
            name = f"{HOSTING}{types.get(variant, '')}"
            if name not in self.book.names() or region not in self.book.regions():
                continue
            quote = self.book.quote(name, region, today)
            cost = use.cost(quote.usd, now.get(variant), hosting.created_s, self.place.now_s())
            if cost is not None:
                costs[whose] = quote, cost
        return costs

    @cached_property
    def backend(self) -> Backend:
        """What turns ask it through."""
        if self.chosen is not None:
            return self.chosen
        name, component = self.endpoint
        meta = self.place.client("sagemaker-runtime").meta
        signer = SdkSigner(self.place.session.get_credentials, meta.region_name, "sagemaker")
        return SageMakerBackend(self.transport, signer, meta.endpoint_url, name, component=component)

    def close(self) -> None:
        """Close the connections that are kept for the next answer."""
        self.transport.close()

    @cached_property
    def view(self) -> View:
        """The situation and the policy in force."""
        store = SituationStore(
            self.place.client("dynamodb"),
            self.place.situation_table,
            default_policy=policy.preset(self.place.preset),
            now_s=self.place.now_s,
            on_invalid_policy=lambda version, text: None,  # the view says so, too
            backends=frozenset(("bedrock", "sagemaker")),
        )
        return store.view()

    @property
    def target(self) -> Target:
        """What the policy in force says of it."""
        return self.view.policy.targets[TARGET]

    def routing(self) -> Routing:
        """Whether catalogue questions go there now."""
        view = self.view
        if view.ignored_version:
            named = f"version {view.ignored_version}"
            return Routing(False, named, f"not known: {named} is invalid, each environment keeps its last good policy")
        named = f"version {view.policy_version}" if view.policy_version else f"preset {self.place.preset}"
        against = self._against(view, named)
        return Routing(not against, named, against or f"catalogue questions, by {named}")

    def _against(self, view: View, named: str) -> str:
        budget, now_s = view.policy.budget, self.place.now_s()
        now = jst(now_s)
        if not self.target.deployed:
            return f"nothing: {TARGET} is not deployed in {named}"
        tier = budget.tier(view.situation.committed_nano_usd, now.hour * 60 + now.minute)
        if tier is not None and tier.models in GUARDED:
            return f"nothing: the budget of the day is all but spent (${budget.daily_usd} by {named})"
        return _broken(view.situation.health.get(TARGET), now_s)

    def call(self, question: str, tokens: int | None) -> ModelCall:
        """A question as turns put it, without what they look up."""
        chosen: Policy = self.view.policy
        model = chosen.model_of(TARGET)
        system, asked = chosen.answer.system_prompt, (Message("user", question),)
        return ModelCall(self.target, model, model.id, system, asked, tokens or self.target.max_tokens)

    def next_call(self, tokens: int, prompt_tokens: int) -> ModelCall:
        """Another question each time, about so long: one that a container has seen costs it less.

        Of the system's words it has them all in mind, as it has with turns.
        """
        number = next(self.numbers)
        words = [f"{number}: {QUESTIONS[number % len(QUESTIONS)]}"]
        missing = prompt_tokens - estimate(self.view.policy.answer.system_prompt) - estimate(words[0])
        each = estimate(SHELF.format(number=number))
        words += [SHELF.format(number=number + line) for line in range(max(0, missing // each))]
        return self.call("\n".join(words), tokens)


def _broken(health: Health | None, now_s: float) -> str:
    if health is None or not health.open_until_s:
        return ""
    after = f"its breaker opened after {health.failures} failure{'' if health.failures == 1 else 's'}"
    if health.is_half_open(now_s):
        return f"one question, to see whether it lives again: {after}"
    until = jst(max(health.open_until_s, health.probe_until_s))
    return f"nothing until {until:%T} JST: {after}"
