"""Which products answer a question best: pure, from what the index found and what the table says now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.knowledge import catalogue, names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mangaassist.knowledge.index import Hit
    from mangaassist.knowledge.product import Product
    from mangaassist.knowledge.wanted import Wanted

RANK_OFFSET = 10  # of reciprocal rank fusion (Cormack et al. 2009); small, because the lists are short
NAMED = 3.0
BY_AUTHOR = 1.5
PER_KIND = 0.06  # a kind that was asked for, against about 0.09 for the nearest vector
ALL_KINDS = 0.1
PER_LIKE = 0.25  # times the rarity of a kind that a likeness shares: being supernatural says more than being seinen
OUT_OF_STOCK = 0.02


@dataclass(frozen=True, slots=True)
class Candidates:
    """Product ids in the order found, by how they were found."""

    named: tuple[str, ...] = ()  # by a title that the question spells out
    by_author: tuple[str, ...] = ()
    near: tuple[str, ...] = ()  # by their vectors
    of_kinds: tuple[str, ...] = ()  # by kinds that the question names, or that a likeness implies

    def ids(self) -> tuple[str, ...]:
        """All of them, the surest first."""
        return tuple(dict.fromkeys((*self.named, *self.by_author, *self.near, *self.of_kinds)))


def candidates(wanted: Wanted, found: Sequence[Hit], near: Sequence[Hit], of_kinds: Sequence[str]) -> Candidates:
    """Tell titles from authors among the hits; a name within a longer name that was found too does not count."""
    spans = set(wanted.names)
    titles = {hit.id: _longest(hit.titles, spans) for hit in found}
    authors = {hit.id: _longest(hit.authors, spans) for hit in found}
    spelled = [*titles.values(), *authors.values()]
    return Candidates(
        named=(
            *(work for work in wanted.works if _is_titled(work, spans)),
            *(one for one, name in titles.items() if name and not _within(name, spelled)),
        ),
        by_author=(
            *(work for work in wanted.works if not _is_titled(work, spans)),
            *(one for one, name in authors.items() if name and not _within(name, spelled)),
        ),
        near=tuple(hit.id for hit in near),
        of_kinds=tuple(of_kinds),
    )


def best(wanted: Wanted, found: Candidates, products: Mapping[str, Product], limit: int) -> tuple[Product, ...]:
    """At most `limit` products, best first: those named, then those of a named author, then what is nearest.

    Where only facts of named works are asked nothing else comes along. Likeness leaves out the works that it is a
    likeness to; what was declined stays out, and so does a wrong status, unless a work was named.
    """
    scored = [
        (_score(wanted, found, product), place, product)
        for place, product in enumerate(products[one] for one in found.ids() if one in products)
        if _is_wanted(wanted, found, product)
    ]
    scored.sort(key=lambda entry: (-entry[0], entry[1]))
    return tuple(product for _, _, product in scored[:limit])


def _is_wanted(wanted: Wanted, found: Candidates, product: Product) -> bool:
    named = product.id in found.named
    if wanted.facts_only and not (named or product.id in found.by_author):
        return False
    if wanted.likeness and (named or product.id in wanted.works):
        return False
    if not named and wanted.unwanted.intersection((*product.work.genres, product.work.demographic)):
        return False
    titles, _ = names.search_keys(product.work)
    if wanted.refuses(product.id, titles, named=named):
        return False
    return named or wanted.status is None or product.work.status == wanted.status


def _score(wanted: Wanted, found: Candidates, product: Product) -> float:
    of = {*product.work.genres, product.work.demographic}
    kinds = of & wanted.kinds
    score = PER_KIND * len(kinds) + (ALL_KINDS if kinds and kinds == wanted.kinds else 0)
    score += PER_LIKE * sum(catalogue.rarity().get(kind, 1.0) for kind in of & wanted.like)
    score += NAMED * (product.id in found.named) + BY_AUTHOR * (product.id in found.by_author)
    for ranks in (found.near, found.of_kinds):
        if product.id in ranks:
            score += 1 / (RANK_OFFSET + ranks.index(product.id) + 1)
    return score - (OUT_OF_STOCK if product.stock == 0 else 0)


def _is_titled(work: str, spans: set[str]) -> bool:
    """Whether a question that names a work does so by its title, not by its author alone."""
    found = catalogue.works().get(work)
    return found is not None and not spans.isdisjoint(names.search_keys(found)[0])


def _longest(keys: Sequence[str], spans: set[str]) -> str:
    return max((key for key in keys if key in spans), key=len, default="")


def _within(name: str, spelled: Sequence[str]) -> bool:
    return any(name != other and name in other for other in _filled(spelled))


def _filled(spelled: Sequence[str]) -> Iterator[str]:
    return (name for name in spelled if name)
