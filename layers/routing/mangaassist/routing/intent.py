"""Whether a question asks for something of the store's catalogue.

Yes: it wants works recommended, found or chosen to buy or read (also when that needs a plan or a comparison), or a
fact that a catalogue holds about a work, a series or an author: who made it, genre, synopsis, volumes, price, stock,
edition, release, running or ended, rating and reviews, age; or it only names a title, an author or a genre.
No: small talk and thanks; the store's service, even where a title is named (shipping, orders, returns, account,
payment, points, hours, policy); and reasoning about works that asks for none of the above (why, themes, endings,
comparisons of characters), which needs a mind and no catalogue.
A denied wish ("no recommendations, please", 「おすすめはいらない」) is no wish. Where a message is about service,
only a wish for recommended works counts beside it, or a need that has a sentence of its own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from mangaassist.routing import wording as cues

if TYPE_CHECKING:
    from mangaassist.routing.wording import Wording

_PHRASE = 6  # words: so short a mention of manga ("three kingdoms manga") is a search
_MANY_TASTES = 3


class _Sets(NamedTuple):
    """Families of cues by what they say about the catalogue, each set as bits."""

    wish: int  # asks for works, whatever else is said
    need: int  # asks for a fact of the catalogue, or names what it holds
    own: int  # a need that stands for itself in a sentence beside talk of service
    asking: int  # makes a need of the mere mention of manga
    recommend: int
    offer: int  # with mention of manga: does the store have such works?
    manga: int
    thing: int  # manga, or some of it by name
    plan: int
    reasoning: int
    service: int


@cache
def _sets() -> _Sets:
    bits = cues.lexicon().bits
    facts = ("author", "release", "review", "popular", "stock", "edition", "volume", "synopsis", "similar")
    return _Sets(
        wish=bits("recommend", "want", "pick", "gift", "money", "price"),
        need=bits(*facts, "title", "author_name", "genre"),
        own=bits("author", "release", "review", "popular", "stock"),
        asking=bits("ask", "fact", "done", "length", "person", "mood", "choose", "plan"),
        recommend=bits("recommend"),
        offer=bits("stock", "recommend"),
        manga=bits("work"),
        thing=bits("work", "title", "author_name", "genre"),
        plan=bits("plan"),
        reasoning=bits("why", "analyse", "theme", "summary", "opinion", "how", "explain", "compare"),
        service=bits("ops"),
    )


def asks_catalogue(wording: Wording, *, is_complex: bool) -> bool:
    """Whether the question needs the catalogue, by the rule above; `is_complex` is the verdict on its complexity."""
    sets = _sets()
    if wording.service:
        return any(_asks_beside_service(sentence, sets) for sentence in wording.sentences)
    said = 0
    for sentence in wording.sentences:
        said |= sentence
    if said & sets.wish or wording.tastes >= _MANY_TASTES:
        return True
    manga = bool(said & sets.manga) or wording.quoted
    if is_complex and said & sets.reasoning:
        return manga and bool(said & sets.offer)
    if is_complex and not wording.tastes and not said & sets.plan:
        return False
    return bool(said & sets.need) or (manga and (bool(said & sets.asking) or wording.length < _PHRASE))


def _asks_beside_service(sentence: int, sets: _Sets) -> bool:
    if sentence & sets.recommend and sentence & sets.thing:
        return True
    return bool(sentence & sets.own) and not sentence & sets.service
