"""The children a pod remembers: kept in its manifest from before their birth is told until they are stopped, reachable or not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from podkit._os import new_secret
from podkit.errors import SessionError
from podkit.logic import Allocation

from ._child import Child
from ._deaths import watch_beyond, watch_child
from ._plan_manifest import ChildRecord, encode_manifest
from ._plan_reports import parent_instance

if TYPE_CHECKING:
    from ._kept import Kept
    from ._pod import Pod

_log = logging.getLogger("podkit.members")


class Members:
    """Records of children by name. Whether one is there is for the registry to say; here is only who belongs to us."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._records = {record.name: record for record in kept.manifest.children}
        self.closed = False  # the pod ends: its children end with it, and are remembered as they were

    def __repr__(self) -> str:
        return f"<Members {', '.join(self._records) or 'none'}>"

    def get(self, name: str) -> ChildRecord | None:
        return self._records.get(name)

    def keep(self, record: ChildRecord) -> None:
        """Remember a child, before anybody is told that it is one. Raises `SessionError`; then it is not remembered."""
        self._save(self._records | {record.name: record})

    def knows(self, child: Child) -> bool:
        """Whether the child could be restored."""
        record = self._records.get(child.name)
        return self._kept.sessions is not None and record is not None and record.incarnation == child.incarnation

    def forget(self, child: Child) -> None:
        """Remember it no longer: it was stopped. What cannot be written now is written with the next change."""
        if self.closed or not self.knows(child):
            return
        left = {name: record for name, record in self._records.items() if name != child.name}
        try:
            self._save(left)
        except SessionError as error:
            self._records = left
            _log.error("it is not kept yet that pod %s is gone: %s", child.name, error, extra={"incarnation": child.incarnation})

    def _save(self, records: dict[str, ChildRecord]) -> None:
        if self._kept.sessions is not None:
            manifest = attrs.evolve(self._kept.manifest, children=tuple(records.values()))
            self._kept.log.save(encode_manifest(manifest))
        self._records = records

    def meet(self, pod: Pod) -> None:
        """Meet the children of a restored pod: those who outlived it are watched, of the others there are handles that are gone."""
        pod.children.recall(pod.setting.kept.state.reports)
        rows = {row.name: row for row in pod.authority.table.children(pod.incarnation)}
        for row in rows.values():
            # A row without a secret is no child's that we could have had, but a registry may be written by others.
            instance = new_secret()[:32] if row.secret_sha256 is None else parent_instance(row.secret_sha256)
            child = Child(pod, row, address=row.address, process=None, instance=instance)
            pod.children.add(child)
            pod.start_soon(watch_child, pod, child, row)
        pod.start_soon(watch_beyond, pod)
        for record in self._records.values():
            if record.name not in rows:
                pod.children.lose(_gone(pod, record))
        met = {
            name: attrs.evolve(record, incarnation=rows[name].incarnation) if name in rows else record
            for name, record in self._records.items()
        }
        if met != self._records:
            self._save(met)


def _gone(pod: Pod, record: ChildRecord) -> Child:
    row = Allocation(
        name=record.name,
        tree=pod.tree,
        incarnation=record.incarnation,
        scope=record.scope,
        grant=record.grant,
        address="",
        parent=pod.incarnation,
    )
    child = Child(pod, row, address="", process=None, instance=new_secret()[:32])
    child.gone.set()
    return child
