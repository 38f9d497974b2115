"""Does somebody write there already? One test for births, roots and the laws."""

from __future__ import annotations

import attrs

from podkit.logic._allocations import Allocation
from podkit.logic._scope import Scope
from podkit.logic._table import Table


@attrs.frozen
class Conflict:
    """`path` would have two writers: the asker and the pod of `row`."""

    path: str
    row: Allocation


def find_conflict(table: Table, scope: Scope, *, exempt: str | None = None) -> Conflict | None:
    """The first row whose pod may write, right now, where `scope` asks for write; None when there is none.

    Each row counts with its effective scope, so the row found is the holder itself and not a pod above it. `exempt` is the
    incarnation that hands over. Reads never conflict. Paths are compared as they are written down: two names of one
    directory are told apart here, and are one only after the walk made them canonical.
    """
    for row in table.near(scope):
        if row.incarnation == exempt:
            continue
        path = scope.common_write(table.effective(row.incarnation))
        if path is not None:
            return Conflict(path, row)
    return None
