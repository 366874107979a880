"""What a projection rests on: the policy, the price book, the day whose prices hold, and what is assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.errors import PriceUnknown

if TYPE_CHECKING:
    from datetime import date

    from mangaassist.money.book import PriceBook
    from mangaassist.money.rates import Offer, Price
    from mangaassist.routing.policy import Policy

DAYS_PER_MONTH = 30
HOURS_PER_MONTH = 24 * DAYS_PER_MONTH


@dataclass(frozen=True, slots=True)
class Assumed:
    """Of a turn and what is around it; measured where README says so, else rules of thumb."""

    posts: float = 10  # of a streamed answer (`make bench`)
    connection_minutes: float = 2
    function_runs: float = 2  # the message's, and a share of authorizer, connect and disconnect
    memory_gb: float = 1769 / 1024
    table_writes: float = 10
    table_reads: float = 8
    search_units: float = 2  # OpenSearch compute units, around the clock


@dataclass(frozen=True, slots=True)
class Terms:
    """Prices of a day."""

    policy: Policy
    book: PriceBook
    day: date
    assumed: Assumed = Assumed()

    def price(self, target: str) -> Price:
        """Of a target's tokens."""
        return self.policy.price_of(target, self.day)

    def offer(self, target: str) -> Offer:
        """A target's model as it is sold by the unit; raises PriceUnknown where it is not."""
        offer = self.policy.model_of(target).provisioned
        if offer is None:
            raise PriceUnknown(f"{self.policy.targets[target].model} ({target}) is not sold by the model unit")
        return offer

    def message_usd(self, target: str, input_tokens: float, output_tokens: float) -> float:
        """What a message costs where tokens are billed, with no part of the prompt from a cache."""
        price = self.price(target)
        long = price.long_context
        rates = long if long and input_tokens > long.above_tokens else price
        return (input_tokens * rates.input_nano_usd + output_tokens * rates.output_nano_usd) / 1e9
