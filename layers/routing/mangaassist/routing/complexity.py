"""How much thinking a question asks for: cues of reasoning and of conditions, added up to a score in [0, 1].

Complex is what needs reasoning (why, how, analysis, interpretation, opinion), comparison, planning, a summary with conditions,
several conditions at once on what is recommended, or several requests in one message. Simple is small talk, the store's
service, one fact, and a recommendation with a condition or two, however politely or lengthily it is asked.
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
    "how": (0.4, 0.2, 0.7),
    "theme": (0.6, 0.1, 0.75),
    "aspect": (0.12, 0.1, 0.4),
    "compare": (0.55, 0.15, 0.8),
    "choose": (0.25, 0.1, 0.35),
    "plan": (0.4, 0.2, 0.7),
    "depth": (0.2, 0.1, 0.4),
    "summary": (0.4, 0.1, 0.5),
    "opinion": (0.3, 0.15, 0.5),
}
_THEME_WISHED = 0.2  # of a work to be found, a theme is one condition more and nothing to reason about
_CONDITIONS = (
    *("turn", "wish", "exclude", "liked", "mood", "lead", "genre", "length", "done", "limit", "money"),
    *("person", "gift", "each", "also", "count"),
)
_TWICE = frozenset(("person", "exclude", "mood", "lead", "genre"))  # two of these are two conditions
_OF_CONDITIONS = (0.0, 0.1, 0.3, 0.6, 0.75, 0.9)  # what so many conditions add
_ALTERNATIVES = 0.3
_SERVICE = 0.4  # how much of its reasoning a question about the store's service keeps
_MANY_SERVICES = 5
_LONG = 25  # words, or what is said in as many
_CHARACTERS_PER_WORD = 2.2


def score(wording: Wording) -> float:
    """The complexity of a question, 0 to 1; `COMPLEX` and above is complex."""
    counts = wording.counts
    reasoning = _reasoning(wording)
    conditions = sum(2 if counts[kind] > 1 and kind in _TWICE else 1 for kind in _CONDITIONS if kind in counts)
    total = 0.1 + _OF_CONDITIONS[min(conditions, 5)]
    if wording.service:
        total = 0.1 + 0.3 * (counts["ops"] >= _MANY_SERVICES) + 0.5 * (total - 0.1)
        reasoning *= _SERVICE
    length = wording.latin_words + wording.run_characters / _CHARACTERS_PER_WORD
    if length > _LONG:
        total += min((length - _LONG) * 0.012, 0.3)
    if wording.asked > 1:
        total += 0.1
    if "brief" in counts or "denied" in counts:
        total -= 0.2
    return max(0.0, min(1.0, total + reasoning))


def _reasoning(wording: Wording) -> float:
    counts = wording.counts
    total = 0.0
    for family, (first, more, most) in _REASONING.items():
        if family in counts:
            total += min(first + more * (counts[family] - 1), most)
    if "theme" in counts and "recommend" in counts:
        total -= _REASONING["theme"][0] - _THEME_WISHED
    if "choose" in counts and (wording.titles > 1 or "or" in counts):
        total += _ALTERNATIVES
    return total
