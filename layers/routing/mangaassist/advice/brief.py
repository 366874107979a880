"""The tables of the project's brief (3.3, 4.2, 6.1 and its 300K rule) beside what prices say.

The brief's own prices are the preset `claude-3`. Where a table rests on assumptions that it does not tell, those that
come closest are searched for; where none do, the verdict says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from mangaassist.advice.load import load_of
from mangaassist.advice.patterns import PATTERNS
from mangaassist.advice.profile import Profile
from mangaassist.advice.projection import projected
from mangaassist.advice.terms import DAYS_PER_MONTH, HOURS_PER_MONTH
from mangaassist.money.book import HOSTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mangaassist.advice.terms import Terms

CLOSE = 0.05  # a figure that assumptions bring this near counts as reproduced

# Table 6.1, US dollars a month: on demand, provisioned, SageMaker, hybrid.
TABLE_6_1 = {
    (1_000_000, "simple"): (15_000, 10_800, 8_200, 9_500),
    (1_000_000, "mixed"): (28_000, 16_200, 12_400, 14_800),
    (100_000, "simple"): (1_500, 10_800, 8_200, 2_100),
    (100_000, "mixed"): (2_800, 10_800, 8_200, 3_200),
}
# Table 4.2, US dollars an hour in Tokyo.
TABLE_4_2 = {
    "ml.g5.xlarge": 1.41,
    "ml.g5.2xlarge": 1.89,
    "ml.g5.12xlarge": 7.09,
    "ml.p4d.24xlarge": 40.97,
    "ml.inf2.xlarge": 0.99,
}
# Table 3.3: target, units, tokens a minute, US dollars an hour, hours of the day.
TABLE_3_3 = (
    ("peak 18:00-24:00", "provisioned-sonnet", "ondemand-sonnet", 2, 80_000, 46.0, 6),
    ("business 09:00-18:00", "provisioned-haiku", "ondemand-haiku", 1, 40_000, 5.0, 9),
)
COLUMNS = {
    "on-demand": "on demand",
    "provisioned": "provisioned",
    "sagemaker": "SageMaker",
    "hybrid-scheduled": "hybrid",
}
RULE_TOKENS_PER_HOUR = 300_000
RULE_MIX = (3, 1)  # tokens in to tokens out, as the brief's prices are usually blended
INPUTS = (100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 800, 1000)
OUTPUTS = (50, 100, 150, 200, 250, 300, 400, 500)
COMPLEX = tuple(step / 100 for step in range(0, 51, 1))
UNIT_COUNTS = range(9)


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure of the brief beside ours; `assumed` is what ours rests on."""

    where: str
    what: str
    claimed_usd: float
    found_usd: float
    assumed: str
    verdict: str

    @property
    def ratio(self) -> float:
        """Ours over the brief's."""
        return self.found_usd / self.claimed_usd


@dataclass(frozen=True, slots=True)
class Closest:
    """The assumptions under which the brief's on-demand column comes out nearest."""

    input_tokens: int
    output_tokens: int
    complex_share: float  # of the mixed rows
    worst_error: float

    def profile(self, messages_per_day: int, mix: str) -> Profile:
        """A row of table 6.1 under them."""
        return Profile(
            messages_per_day=messages_per_day,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            complex_share=self.complex_share if mix == "mixed" else 0.0,
        )


def claims(terms: Terms) -> tuple[Claim, ...]:
    """Every figure that the brief states, in the order of its sections; `terms` are those of its own prices."""
    return (*_windows(terms), *_instances(terms), *_projection(terms), _rule(terms))


def _windows(terms: Terms) -> Iterator[Claim]:
    for window, target, against, units, per_minute, claimed, hours in TABLE_3_3:
        offer = terms.offer(target)
        hour_usd = units * float(offer.unit_hour_usd)
        how = f"{units} x ${offer.unit_hour_usd}"
        yield Claim("3.3", f"{window}, an hour", claimed, hour_usd, how, _says(claimed, hour_usd))
        discounted = units * float(offer.unit_hour_usd_for("OneMonth")) * HOURS_PER_MONTH
        yield Claim(
            "3.3",
            f"{window}, a month of the window's hours, if they could be committed",
            hour_usd * hours * DAYS_PER_MONTH,
            hour_usd * HOURS_PER_MONTH,
            f"${hour_usd:g} x {HOURS_PER_MONTH} h; ${discounted:,.0f} with the discount of 3.2",
            "a commitment is billed around the clock: it cannot be had for a window alone",
        )
        tokens_usd = per_minute * 60 * _blended_usd(against, terms)
        cheaper = "on demand is cheaper" if tokens_usd < claimed else "units are cheaper"
        yield Claim(
            "3.3",
            f"{window}, the same tokens on demand",
            claimed,
            tokens_usd,
            f"{per_minute:,} tokens a minute at 3:1",
            f"{cheaper} even at the planned peak",
        )


def _instances(terms: Terms) -> Iterator[Claim]:
    for instance, claimed in TABLE_4_2.items():
        quote = terms.book.quote(f"{HOSTING}{instance}", "ap-northeast-1", terms.day)
        verdict = _says(claimed, quote.usd) if quote.verified else "not confirmed; the price book has only this figure"
        if instance == "ml.inf2.xlarge":
            verdict += "; the row's columns are shifted: 4 vCPUs, 16 GB of memory, 32 GB on the accelerator"
        yield Claim("4.2", f"{instance}, an hour", claimed, quote.usd, quote.source, verdict)


def closest(terms: Terms) -> Closest:
    """Search for one set of assumptions that explains all four on-demand figures of table 6.1."""
    fast, quality = ("ondemand-haiku", "ondemand-sonnet")
    wanted = {key: row[0] / (key[0] * DAYS_PER_MONTH) for key, row in TABLE_6_1.items()}

    def error(tokens: tuple[int, int], share: float) -> float:
        simple = terms.message_usd(fast, *tokens)
        mixed = (1 - share) * simple + share * terms.message_usd(quality, *tokens)
        found = {"simple": simple, "mixed": mixed}
        return max(abs(found[mix] / usd - 1) for (_, mix), usd in wanted.items())

    tried = product(product(INPUTS, OUTPUTS), COMPLEX)
    (tokens, share), worst = min(((it, error(*it)) for it in tried), key=lambda found: found[1])
    return Closest(*tokens, share, worst)


def _projection(terms: Terms) -> Iterator[Claim]:
    """Table 6.1 column by column: on demand explained, and what the others come to under the same assumptions."""
    assumed = closest(terms)
    for (messages, mix), row in TABLE_6_1.items():
        profile = assumed.profile(messages, mix)
        how = f"{assumed.input_tokens} tokens in, {assumed.output_tokens} out"
        if mix == "mixed":
            how += f", {assumed.complex_share:.0%} complex"
        for (key, name), claimed in zip(COLUMNS.items(), row, strict=True):
            found = _month(key, profile, terms)
            verdict = _says(claimed, found) + _itself(key, claimed, terms)
            yield Claim("6.1", f"{messages:,} messages a day, {mix}: {name}", claimed, found, how, verdict)


def _itself(key: str, claimed: float, terms: Terms) -> str:
    """What would cost a figure whatever the traffic, where capacity is bought by the hour."""
    if key == "provisioned":
        names, usd = _units_for(claimed, terms)
    elif key == "sagemaker":
        names, usd = _instances_for(claimed, terms)
    else:
        return ""
    return f"; the figure itself is near {names} around the clock (${usd:,.0f})"


def _month(key: str, profile: Profile, terms: Terms) -> float:
    """What the models of a pattern cost: the brief counts nothing around them."""
    pattern = next(it for it in PATTERNS if it.key == key)
    return projected(pattern, load_of(profile), profile, terms).models_usd


def _units_for(monthly_usd: float, terms: Terms) -> tuple[str, float]:
    """The model units around the clock whose month comes nearest to a figure, and that month."""
    months = {
        name: float(terms.offer(target).unit_hour_usd) * HOURS_PER_MONTH
        for name, target in (("quality", "provisioned-sonnet"), ("fast", "provisioned-haiku"))
    }
    tried = [dict(zip(months, counts, strict=True)) for counts in product(UNIT_COUNTS, repeat=len(months))]
    costs = [(sum(count * months[name] for name, count in it.items()), it) for it in tried if any(it.values())]
    usd, nearest = min(costs, key=lambda cost: abs(cost[0] - monthly_usd))
    names = [f"{count} unit{'s' if count > 1 else ''} of the {name} class" for name, count in nearest.items() if count]
    return " and ".join(names), usd


def _instances_for(monthly_usd: float, terms: Terms) -> tuple[str, float]:
    usd = terms.book.quote(f"{HOSTING}ml.g5.2xlarge", "ap-northeast-1", terms.day).usd * HOURS_PER_MONTH
    count = max(1, round(monthly_usd / usd))
    return f"{count} ml.g5.2xlarge", count * usd


def _rule(terms: Terms) -> Claim:
    """The 300K rule: one unit against that many tokens an hour on demand."""
    offer = terms.offer("provisioned-sonnet")
    unit_usd, token_usd = float(offer.unit_hour_usd), _blended_usd("ondemand-sonnet", terms)
    even, carried = unit_usd / token_usd, offer.unit_tokens_per_minute * 60
    fits = "more than" if even > carried else "within"
    tokens_usd = RULE_TOKENS_PER_HOUR * token_usd
    return Claim(
        "6.2",
        "300K tokens an hour pay for one unit",
        unit_usd,
        tokens_usd,
        "$3 and $15 a million at 3:1",
        f"on demand they cost {tokens_usd / unit_usd:.0%} of the unit's hour; the two are even at {even / 1e6:.2f} "
        f"million tokens an hour, {fits} the {carried / 1e6:.1f} million that a unit is taken to carry",
    )


def _blended_usd(target: str, terms: Terms) -> float:
    """Of one token on demand, three in to one out."""
    return terms.message_usd(target, *RULE_MIX) / sum(RULE_MIX)


def _says(claimed: float, found: float) -> str:
    error = abs(found / claimed - 1)
    if error <= CLOSE:
        return "reproduced"
    return (
        f"cannot be reconciled: {found / claimed:.1f} times the figure"
        if found > claimed
        else (f"cannot be reconciled: {found / claimed:.0%} of the figure")
    )
