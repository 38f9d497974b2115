"""The sessions of a world in files on the world's disk: podkit's own store, in virtual time, beside the registry's journal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from podkit._store import DamagedError, FileSessionStore, decode_session_anchors
from podkit.abc import Durability, Session, SessionStore, StoredSession

from ._sim_disk import SimDisk, disk_of
from ._sim_sessions import SharedSessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sim_files import SimFiles
    from ._sim_program import Program

_PLACE = "/run/podkit/.sessions"


class DiskSessions(SharedSessions):
    """Every program has the store open for itself, on a disk of its own. What counts as kept is what a plain reading says.

    `trouble_on_disk(program, call)` says what goes wrong with a call of a program. Without `durable` what was not written out
    may be lost with the power, names and all.
    """

    def __init__(self, files: SimFiles, *, durable: bool) -> None:
        self.files, self.directory, self.survives_power = files, _PLACE, durable
        self.files.clock = trio.current_time
        self.trouble_on_disk: Callable[[Program, str], str | None] | None = None
        self._durability = Durability.POWER if durable else Durability.PROCESS
        self._stores: dict[Program | None, FileSessionStore] = {}

    def __repr__(self) -> str:
        return f"<DiskSessions with durability {self._durability.value}, {self.files!r}>"

    def store_of(self, program: Program | None) -> SessionStore:
        """The store as that program has it open; None is the test itself, on whose disk nothing goes wrong."""
        store = self._stores.get(program)
        if store is None:
            disk = disk_of(self.files, program, self._trouble_of)
            boot = f"boot-{self.lost_power}"
            store = self._stores[program] = FileSessionStore(_PLACE, durability=self._durability.value, _disk=disk, _boot=boot)
        return store

    def _trouble_of(self, program: Program, call: str) -> str | None:
        return None if self.trouble_on_disk is None else self.trouble_on_disk(program, call)

    async def open(self, name: str, *, create: str | None = None) -> Session:
        return await self.store_of(None).open(name, create=create)

    async def read(self, name: str) -> StoredSession:
        return await self.store_of(None).read(name)

    async def names(self) -> tuple[str, ...]:
        return await self.store_of(None).names()

    def reboot(self) -> None:
        """The registry, whose disk it is, says what is left on it."""
        self.lost_power += 1
        self._stores.clear()

    # What the files say.

    def committed(self, name: str) -> list[bytes]:
        try:
            anchor, _ = decode_session_anchors(self.files.read(f"{_PLACE}/{name}/lock"))
        except (KeyError, DamagedError):
            return []
        if anchor is None or anchor.segment is None:
            return []
        return self._entries(f"{_PLACE}/{name}/{anchor.number}.{anchor.id}/{anchor.segments}.{anchor.segment}.log")

    def said(self, name: str) -> list[bytes]:
        place = f"{_PLACE}/{name}/"
        logs = [path for path in self.files.names if path.startswith(place) and path.endswith(".log")]
        return [entry for path in logs for entry in self._entries(path)]

    def _entries(self, path: str) -> list[bytes]:
        """The entries of a segment: its lines that end, without the first, which is about the file."""
        if path not in self.files.names:
            return []
        lines = self.files.read(path).split(b"\n")[1:-1]
        return [entry for line in lines for entry in line.split(b"\t")[1:]]


def sessions_on(files: SimFiles, *, durable: bool) -> DiskSessions:
    """Sessions on that disk, in a directory that is made for them."""
    disk = SimDisk(files)
    disk.mkdir(_PLACE)
    disk.sync_dir(os.path.dirname(_PLACE))
    return DiskSessions(files, durable=durable)
