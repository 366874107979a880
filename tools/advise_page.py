"""An advice in words: a page of tables and plots, with the brief's figures beside what prices say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mangaassist.advice import brief
from mangaassist.advice.projection import AROUND, MODELS
from mangaassist.money.book import price_book
from mangaassist.routing import policy as policies
from reporting.page import Page, Section, Table
from tools import advise_plots as plots

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mangaassist.advice.advice import Advice
    from mangaassist.advice.projection import Cost, Projection

UNVERIFIED = "*"
ASSUMED = (
    "A projection, not a bill. Months have 30 days. Prices marked * were not confirmed for their region: put yours "
    "into the policy (models) or give them with --price. Latencies are the policy's estimates, spread lognormally. An "
    "instance answers as many at a time as the profile says, and units are planned to be 80 % full in a busy "
    "minute. Around the models are counted: the gateway, functions, tables and, if wanted, search; not counted are "
    "data transfer, logs and support. Questions about the catalogue are counted like all others: the notes that they "
    "bring along, some 1,000 tokens each, are not."
)
CUSTOM_MODELS = (
    "The brief's table has custom models as impossible on Bedrock. AWS also imports custom models and deploys tuned "
    "ones on demand for some bases; whether for yours, AWS's documentation says."
)


def page(advice: Advice) -> Page:
    """The whole report."""
    sections = [
        Section(
            "What each pattern costs", (), (patterns(advice), plots.cost(advice), _models(advice), _around(advice))
        ),
        Section("For and against", (), (_judgements(advice),)),
        Section("The flowchart", (_leaf(advice),), (_flowchart(advice),)),
        _fit(advice),
        _even(advice),
        Section("How sure the verdict is", (_sureness(advice),), (_variations(advice),)),
        _brief(advice),
    ]
    figures = [
        ("recommended", _title(advice, advice.verdict.recommended)),
        ("a month", _month(_of(advice, advice.verdict.recommended))),
        ("the cheapest that fits", _title(advice, advice.verdict.cheapest)),
        ("messages a day", f"{advice.profile.messages_per_day:,}"),
    ]
    footnote = f"{_asked(advice)} {ASSUMED} {CUSTOM_MODELS}"
    return Page("Which deployment pattern", verdict(advice), figures, sections, footnote)


def verdict(advice: Advice) -> str:
    """The recommendation in two sentences."""
    it = advice.verdict
    if it.recommended is None:
        return f"No pattern fits: {it.because}. What is against each is below."
    return f"Run {_title(advice, it.recommended)}, for {_month(_of(advice, it.recommended))} a month: {it.because}."


def summary(advice: Advice) -> Table:
    """One row a pattern, short enough for a terminal."""
    columns = ["pattern", "a month", "models", "first text", "95 of 100", "fits"]
    return Table("", columns, [[*_figures(advice, it), _fits(advice, it, 1)] for it in advice.projections])


def patterns(advice: Advice) -> Table:
    """One row a pattern: what it costs, how fast it is, what is bought."""
    columns = ["pattern", "a month", "of it models", "first text p50", "p95", "bought by the hour", "fits"]
    rows = [[*_figures(advice, it), _bought(it), _fits(advice, it)] for it in advice.projections]
    return Table("", columns, rows)


def _figures(advice: Advice, it: Projection) -> list[str]:
    title = f"{it.pattern.title} (recommended)" if it.pattern.key == advice.verdict.recommended else it.pattern.title
    if it.obstacle or it.latency is None:
        return [title, "-", "-", "-", "-"]
    first, late = it.latency.first_text_p50_ms, it.latency.first_text_p95_ms
    return [title, _month(it), f"${it.models_usd:,.0f}", f"{first:,.0f} ms", f"{late:,.0f} ms"]


def _fits(advice: Advice, it: Projection, most: int | None = None) -> str:
    excluded = next(found.excluded for found in advice.verdict.judgements if found.key == it.pattern.key)
    return "no: " + "; ".join(excluded[:most]) if excluded else "yes"


def _bought(it: Projection) -> str:
    parts = [f"{units.units} x {units.target}, {units.used_share:.0%} used" for units in it.plan.units]
    if found := it.plan.instances:
        parts.append(f"{found.least} to {found.most} instances, {found.used_share:.0%} used")
    return "; ".join(parts) or "nothing"


def _models(advice: Advice) -> Table:
    columns = ["pattern", "part", "a month", "price confirmed", "source"]
    rows = [[it.pattern.title, *_part(part)] for it in advice.projections for part in it.costs if part.group == MODELS]
    return Table("Models, part by part", columns, rows)


def _around(advice: Advice) -> Table:
    it = _of(advice, advice.verdict.recommended) or advice.projections[0]
    rows = [_part(part) for part in it.costs if part.group == AROUND]
    columns = ["part", "a month", "price confirmed", "source"]
    caption = "Of the other patterns only the functions' time differs."
    return Table(f"What is around them: {it.pattern.title}", columns, rows, caption)


def _part(part: Cost) -> list[str]:
    return [part.name, f"${part.monthly_usd:,.2f}", _confirmed(part.verified), part.source]


def _confirmed(verified: bool) -> str:
    return "yes" if verified else f"no {UNVERIFIED}"


def _judgements(advice: Advice) -> Table:
    rows = [
        [_title(advice, it.key), str(it.score), _listed(it.favourable), _listed((*it.excluded, *it.adverse))]
        for it in advice.verdict.judgements
    ]
    caption = (
        "Criteria are those of the brief's 7.2 (strong 2, medium 1, weak -1, impossible -3); it has no column for the "
        "hybrid patterns, so that one is ours."
    )
    return Table("", ["pattern", "criteria", "for", "against"], rows, caption)


def _listed(reasons: Sequence[str]) -> str:
    return "; ".join(reasons) or "-"


def _leaf(advice: Advice) -> str:
    return f"The brief's flowchart (7.1) leads to: {_title(advice, advice.verdict.walk.leaf)}."


def _flowchart(advice: Advice) -> Table:
    rows = [[step.question, "yes" if step.answer else "no", step.because] for step in advice.verdict.walk.steps]
    return Table("", ["question", "answer", "because"], rows)


def _fit(advice: Advice) -> Section:
    parts = (plots.demand(advice), _windows(advice), plots.use(advice), plots.latency(advice))
    return Section("How full, how fast", (), parts)


def _even(advice: Advice) -> Section:
    parts = (plots.volume(advice), plots.unit_hour(advice), _units(advice))
    return Section("Where it pays", tuple(_crossings(advice)), parts)


def _windows(advice: Advice) -> Table:
    columns = [
        "window",
        "target",
        "busiest minute",
        "in the policy",
        "units needed",
        "an endpoint",
        "the brief's ladder",
        "a month",
    ]
    rows = [
        [
            it.window,
            it.target,
            f"{it.tokens_per_minute:,.0f} tokens",
            str(it.units),
            str(it.units_needed),
            "with it" if it.with_endpoint else "without",
            it.by_the_brief,
            f"${it.monthly_usd:,.0f}{'' if it.verified else UNVERIFIED}",
        ]
        for it in advice.sizes
    ]
    caption = (
        "Units needed so that no question spills over, with an endpoint that takes those about the catalogue and "
        "without one; the month is of those units, half an hour's lead included."
    )
    return Table("Model units by the forecast", columns, rows, caption)


def _crossings(advice: Advice) -> Iterator[str]:
    for it in advice.volumes:
        name = _title(advice, it.key)
        if it.first is None:
            yield f"{name[0].upper()}{name[1:]} is at no volume cheaper than on demand, with this mix."
        else:
            turns = ", ".join(f"{crossing.becomes} from {crossing.messages_per_day:,}" for crossing in it.crossings)
            yield f"{name[0].upper()}{name[1:]} is, messages a day, {turns or 'cheaper throughout'} than on demand."


def _units(advice: Advice) -> Table:
    columns = [
        "unit",
        "commitment",
        "an hour",
        "against, on demand",
        "a million of that",
        "even at tokens an hour",
        "use needed",
        "",
    ]
    rows = [
        [
            f"{it.target} ({it.model})",
            it.commitment,
            f"${it.unit_hour_usd:,.2f}{'' if it.verified else UNVERIFIED}",
            "its own model" if it.against == it.target else f"{it.against} ({_model(advice, it.against)})",
            f"${it.on_demand_usd_per_million:,.2f}",
            "-" if it.tokens_per_hour is None else f"{it.tokens_per_hour:,.0f}",
            "-" if it.use_needed is None else f"{it.use_needed:.0%}",
            "pays above that" if it.pays else "never pays, even when it is full",
        ]
        for it in advice.units
    ]
    caption = (
        "Where the unit's model is another than the one it stands in for, there are two answers: what is saved when it "
        "answers instead, and what its own model would cost on demand."
    )
    return Table("One model unit against tokens on demand", columns, rows, caption)


def _model(advice: Advice, target: str) -> str:
    return advice.terms.policy.targets[target].model


def _sureness(advice: Advice) -> str:
    changed = [it.name for it in advice.variations if it.changes_verdict]
    if not changed:
        return "The verdict holds under every change below."
    return f"It changes under {len(changed)} of {len(advice.variations)} changes: {', '.join(changed)}."


def _variations(advice: Advice) -> Table:
    rows = [
        [
            it.name,
            _title(advice, it.recommended),
            _title(advice, it.cheapest),
            f"${it.months[it.recommended]:,.0f}" if it.recommended else "-",
            "changes" if it.changes_verdict else "holds",
        ]
        for it in advice.variations
    ]
    return Table("", ["if", "recommended", "cheapest that fits", "a month", "verdict"], rows)


def _brief(advice: Advice) -> Section:
    preset = policies.preset("claude-3")
    undying = {name: model.but(end_of_life=None) for name, model in preset.models.items()}
    terms = replace(advice.terms, policy=preset.but(models=undying), book=price_book())
    found = brief.closest(terms)
    told = (
        f"Table 6.1 does not say what it assumes. Its on-demand column comes out, within {found.worst_error:.1%}, at "
        f"{found.input_tokens} tokens in and {found.output_tokens} out, with {found.complex_share:.0%} of the mixed "
        "questions complex. Below, the other columns are computed under the same."
    )
    rows = [
        [it.where, it.what, f"${it.claimed_usd:,.2f}", f"${it.found_usd:,.2f}", it.assumed, it.verdict]
        for it in brief.claims(terms)
    ]
    columns = ["section", "figure", "the brief", "by the prices", "resting on", "verdict"]
    return Section("The brief's figures", (told,), (Table("", columns, rows),))


def _asked(advice: Advice) -> str:
    it = advice.profile
    return (
        f"Asked for {it.messages_per_day:,} messages a day of {it.input_tokens} tokens in and {it.output_tokens} out, "
        f"{it.complex_share:.0%} complex, {it.catalogue_share:.0%} about the catalogue; policy "
        f"{advice.terms.policy.name}, prices of {advice.terms.day}."
    )


def _of(advice: Advice, key: str | None) -> Projection | None:
    return next((it for it in advice.projections if it.pattern.key == key), None)


def _title(advice: Advice, key: str | None) -> str:
    found = _of(advice, key)
    return found.pattern.title if found else "none"


def _month(it: Projection | None) -> str:
    return f"${it.monthly_usd:,.0f}{'' if it.is_verified else UNVERIFIED}" if it else "-"
