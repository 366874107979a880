"""What tokens cost: exact, in integer nano-dollars (10⁻⁹ USD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mangaassist.money.rates import Price

NANO_PER_USD = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt; `estimated` when the stream broke before the service reported them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    estimated: bool = False


def cost_nano_usd(usage: Usage, price: Price) -> int:
    """Price an attempt's tokens; prices are whole nano-dollars per token, so the sum is exact.

    Above the long-context step the higher rates hold for the whole request, not for the excess alone.
    """
    prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    rates = price.long_context if price.long_context and prompt_tokens > price.long_context.above_tokens else price
    return (
        usage.input_tokens * rates.input_nano_usd
        + usage.output_tokens * rates.output_nano_usd
        + usage.cache_read_tokens * rates.cache_read_nano_usd
        + usage.cache_write_tokens * rates.cache_write_nano_usd
    )


def usd(nano_usd: int) -> float:
    """Nano-dollars as a number for people and frames."""
    return nano_usd / NANO_PER_USD
