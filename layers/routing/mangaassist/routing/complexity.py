"""How much thinking a question asks for: cues of reasoning and of conditions, added up to a score in [0, 1].

Complex is what needs reasoning (why, how, analysis, interpretation, opinion), comparison, planning, a summary with
conditions, several conditions at once on what is recommended, or several requests in one message. Simple is small
talk, the store's service, one fact, and a recommendation with a condition or two, however lengthily it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mangaassist.routing.wording import Wording

COMPLEX = 0.7  # the brief's COMPLEXITY_THRESHOLD

# What the first cue of a family adds, each further one, and at most all together.
_REASONING = {
    "why": (0.62, 0.2, 0.8),
    "reasons": (0.4, 0.1, 0.5),
    "analyse": (0.6, 0.15, 0.9),
    "explain": (0.5, 0.1, 0.6),
    "how": (0.5, 0.2, 0.7),
    "theme": (0.6, 0.1, 0.75),
    "aspect": (0.12, 0.1, 0.4),
    "compare": (0.6, 0.15, 0.8),
    "choose": (0.25, 0.1, 0.35),
    "plan": (0.4, 0.2, 0.7),
    "depth": (0.2, 0.1, 0.4),
    "summary": (0.4, 0.1, 0.5),
    "opinion": (0.3, 0.15, 0.5),
    "open": (0.1, 0.0, 0.1),
}
_THEME_WISHED = 0.2  # of a work to be found, a theme is one condition more and nothing to reason about
_OF_CONDITIONS = (0.0, 0.1, 0.3, 0.6, 0.75, 0.9)  # what so many conditions add
_WISHES = frozenset(("recommend", "similar", "want", "pick", "gift", "choose", "plan", "exclude", "wish", "money"))
_FACTS = frozenset(("author", "release", "price", "stock", "volume", "review", "edition", "synopsis", "fact"))
_SIMPLE = frozenset((*_FACTS, "genre", "popular", "similar", "recommend", "ops", "chat", "pick", "mood", "person"))
_SHOP_FACTS = frozenset(("price", "stock", "volume"))
_LOOK_UP = (
    0.5  # how much of its reasoning "which is cheaper" or "why is it out of stock" keeps, which a look-up answers
)
_LITERARY = frozenset(
    ("theme", "aspect", "analyse", "opinion", "summary", "reasons", "how", "plan", "pick", "recommend")
)
_BASE = 0.1
_ALTERNATIVES = 0.3  # a choice between things named
_TWO_TITLES = 0.3
_TWO_QUESTIONS = 0.1
_BRIEF = 0.2  # taken off when brevity is asked for, or reasoning is declined
_ONLY_DESCRIBED = 0.4  # conditions that describe a work whose fact is asked, not a work that is wished for
_NOTHING_SIMPLE = 0.25  # a whole sentence without any cue of an everyday need
_ABOUT_WORKS = 0.15  # and about works at that
_SERVICE, _SERVICE_CONDITIONS = 0.4, 0.5  # how much a question about the store's service keeps of both
_MANY_SERVICES, _TANGLED = 5, 0.3  # so many matters of service in one message add so much
_SENTENCE, _LONG = 12, 25  # words, or what is said in as many
_OF_SENTENCE, _OF_EACH_WORD_MORE, _OF_LENGTH = 0.05, 0.012, 0.3


def score(wording: Wording) -> float:
    """The complexity of a question, 0 to 1; `COMPLEX` and above is complex."""
    counts = wording.counts
    reasoning = _of_reasoning(wording)
    conditions = _of_conditions(wording) + _of_length(wording)
    total = _BASE
    if wording.service:
        reasoning *= _SERVICE
        conditions *= _SERVICE_CONDITIONS
        total += _TANGLED * (counts["ops"] >= _MANY_SERVICES)
    total += _TWO_QUESTIONS * (wording.asked > 1) - _BRIEF * ("brief" in counts or "denied" in counts)
    return max(0.0, min(1.0, round(total + reasoning + conditions, 3)))


def _of_reasoning(wording: Wording) -> float:
    counts = wording.counts
    total = 0.0
    for family, (first, more, most) in _REASONING.items():
        if family in counts:
            total += min(first + more * (counts[family] - 1), most)
    if "theme" in counts and "recommend" in counts:
        total -= _REASONING["theme"][0] - _THEME_WISHED
    if "choose" in counts and (wording.titles > 1 or "or" in counts):
        total += _ALTERNATIVES
    elif wording.titles > 1 and _FACTS.isdisjoint(counts):
        total += _TWO_TITLES
    if not _SHOP_FACTS.isdisjoint(counts) and _LITERARY.isdisjoint(counts):
        total *= _LOOK_UP
    return total


def _of_conditions(wording: Wording) -> float:
    counts = wording.counts
    added = _OF_CONDITIONS[min(wording.conditions, len(_OF_CONDITIONS) - 1)]
    return added if _FACTS.isdisjoint(counts) or not _WISHES.isdisjoint(counts) else added * _ONLY_DESCRIBED


def _of_length(wording: Wording) -> float:
    counts = wording.counts
    length = wording.length
    added = _OF_SENTENCE * (length > _SENTENCE) + min(max(length - _LONG, 0) * _OF_EACH_WORD_MORE, _OF_LENGTH)
    if length >= _SENTENCE / 2 and _SIMPLE.isdisjoint(counts):
        added += _NOTHING_SIMPLE
        if wording.works or wording.quoted or "aspect" in counts or "theme" in counts:
            added += _ABOUT_WORKS
    return added
