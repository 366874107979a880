"""Whether a question asks for something of the store's catalogue.

Yes: it wants works recommended, found or chosen to buy or read (also when that needs a plan or a comparison), or a
fact that a catalogue holds about a work, a series or an author: who made it, genre, synopsis, volumes, price, stock,
edition, release, running or ended, rating and reviews, age; or it only names a title or an author.
No: small talk and thanks; the store's service, even where a title is named (shipping, orders, returns, account,
payment, points, hours, policy); and reasoning about works that asks for none of the above (why, themes, endings,
comparisons of characters), which needs a mind and no catalogue.
A denied wish ("no recommendations, please", 「おすすめはいらない」) is no wish. A recommendation outweighs service and
reasoning in the same message; of a message about service, other needs count only in sentences without it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from mangaassist.routing import wording as cues

if TYPE_CHECKING:
    from mangaassist.routing.wording import Wording


@cache
def _sets() -> tuple[int, ...]:
    bits = cues.lexicon().bits
    return (
        bits("recommend", "similar", "pick", "gift"),
        bits("author", "release", "stock", "review", "edition", "popular", "price", "volume", "synopsis", "money"),
        bits("volume", "price", "synopsis", "edition"),
        bits("title", "author_name", "genre"),
        bits("want", "fact", "done", "length", "person"),
        bits("work", "genre"),
        bits("ops"),
        bits("why", "analyse", "theme", "summary", "opinion", "how", "explain", "compare"),
        bits("stock", "price", "money", "edition"),
    )


def asks_catalogue(wording: Wording) -> bool:
    """Whether the question needs the catalogue, by the rule above."""
    wish, need, mention, named, want, work, ops, reasoning, buying = _sets()
    everything = 0
    for sentence in wording.sentences:
        everything |= sentence
    if wording.service:
        return any(_asks_beside_service(sentence, wish, need & ~mention, work | named, ops) for sentence in wording.sentences)
    if everything & wish:
        return True
    if everything & reasoning:
        return bool(everything & buying)
    if everything & need or everything & named:
        return True
    return bool(everything & work and everything & want)


def _asks_beside_service(sentence: int, wish: int, need: int, thing: int, ops: int) -> bool:
    if sentence & wish and sentence & thing:
        return True
    return not sentence & ops and bool(sentence & need)
