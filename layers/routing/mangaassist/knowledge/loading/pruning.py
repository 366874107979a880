"""Products that the file does not have any more: found by a look at the whole table, deleted from index and table."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING

from mangaassist.knowledge.loading.report import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from mangaassist.knowledge.loading.changes import Known
    from mangaassist.knowledge.loading.search import SearchIndex
    from mangaassist.knowledge.loading.table import ProductTable

DELETED_AT_ONCE = 200


def absent(table: ProductTable, ids: Set[str]) -> dict[str, Known]:
    """What the table has beside these products, by id; raises StoreUnavailable."""
    return {one: known for one, known in table.all_known() if one not in ids}


def prune(table: ProductTable, search: SearchIndex | None, products: Mapping[str, Known]) -> list[Problem]:
    """Delete products; gives those that could not be. Raises StoreUnavailable and KnowledgeUnavailable.

    The index comes first: of a product that is in the table alone, this can be repeated.
    """
    problems = []
    for some in batched(products, DELETED_AT_ONCE, strict=False):
        refused = search.delete({one: products[one].index_id for one in some}) if search else {}
        undone = table.delete(one for one in some if one not in refused)
        problems += [Problem(0, why.reason, one) for one, why in refused.items()]
        problems += [Problem(0, "table: too busy", one) for one in sorted(undone)]
    return problems
