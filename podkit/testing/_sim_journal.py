"""The registry of a world in files on the world's disk: podkit's own journal, lock file, anchor and turns, in virtual time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from podkit._store import PLACES, SIZE, DamagedError, RegistryLog, decode_anchors
from podkit.errors import PodkitError
from podkit.logic import Freed, Reserved, Table, decode_fact, fold_all, lease_key

from ._sim_disk import SimDisk, disk_of
from ._sim_files import SimFiles
from ._sim_registry import SharedLog

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence

    from podkit._store import Journal

    from ._sim_program import Program

RUN_DIR = "/run/podkit"
_ABOVE = ("/run", RUN_DIR)
_PLACE = f"{RUN_DIR}/.registry"
_PATIENCE = 10.0


class _ProgramLog(RegistryLog):
    """The log as one program has it open. `changed` is called after everything it did under the lock."""

    changed: Callable[[], None] | None = None

    def _with_lock(self, act: Callable[[Journal], bool]) -> bool:
        try:
            return super()._with_lock(act)
        finally:
            if self.changed is not None:
                self.changed()


class JournalLog(SharedLog):
    """What all programs of a world share, on a disk. What counts as kept is what the files say, whatever a program was told.

    `trouble_on_disk(program, call)` says what goes wrong with a call. `renewed` is called when a log begins in place of another.
    """

    shares_tables = False
    durable: bool

    def __init__(self, chance: random.Random, *, durable: bool) -> None:
        super().__init__()
        self.files, self.durable, self._chance = SimFiles(), durable, chance
        self.trouble_on_disk: Callable[[Program, str], str | None] | None = None
        self.renewed: Callable[[], None] | None = None
        self._boots = 1
        self._logs: dict[Program | None, _ProgramLog] = {}
        self._epoch, self._base, self._kept = "", 0, 0
        self._past: tuple[str, int, int] | None = None  # of the log that an earlier boot left: epoch, base, facts
        self._true = Table()
        disk = SimDisk(self.files)
        for path in (*_ABOVE, _PLACE):
            disk.mkdir(path)
            disk.sync_dir(path.rpartition("/")[0] or "/")

    def __repr__(self) -> str:
        return f"<JournalLog of {len(self._true)} pods, {self.files!r}>"

    def log_of(self, program: Program | None) -> RegistryLog:
        """The log as that program has it open; None is the test itself, on whose disk nothing goes wrong."""
        log = self._logs.get(program)
        if log is None:
            disk = disk_of(self.files, program, self._trouble_of)
            boot, durable = f"boot-{self._boots}", self.durable
            log = _ProgramLog(_PLACE, boot=boot, timeout=_PATIENCE, holders=self._holders, durable=durable, disk=disk)
            log.changed = lambda: self._look(program)
            self._logs[program] = log
        return log

    def _trouble_of(self, program: Program, call: str) -> str | None:
        return None if self.trouble_on_disk is None else self.trouble_on_disk(program, call)

    async def read(self, after: int, *, by: Program | None = None) -> list[bytes]:
        return await self.log_of(by).read(after)

    async def append(self, after: int, facts: Sequence[bytes], *, by: Program | None = None) -> bool:
        return await self.log_of(by).append(after, facts)

    async def compact(self, after: int, facts: Sequence[bytes], *, by: Program | None = None) -> bool:
        return await self.log_of(by).compact(after, facts)

    async def take_turn(self, by: Program | None) -> tuple[int, int] | None:
        return await self.log_of(by).take_turn()

    def leave_turn(self, by: Program | None, turn: tuple[int, int] | None) -> None:
        self.log_of(by).leave_turn(turn)

    def droppable(self, *, by: Program | None = None) -> int:
        return self.log_of(by).size

    def table_now(self) -> Table:
        return self._true

    def reboot(self) -> None:
        """The machine lost power: no lease is held, and on the disk is what was synced and some of the rest."""
        for lease in self._leases.values():
            lease.release()  # the pipes stay where they are
        self.files.lose_power(self._chance)
        self._boots += 1
        self._logs.clear()
        self._begin_anew("")
        found = self._read_plainly()
        self._past = None if found is None else (found[0], found[1], len(found[2]))
        self._tell()

    @property
    def _last(self) -> int:
        return self._base + self._kept

    def _holders(self, facts: Iterable[bytes]) -> list[str]:
        """As the file registry tells it: who holds a lease, and of whom these facts name and do not end, whose lease is missing."""
        named: dict[str, str] = {}
        for line in facts:
            try:
                fact = decode_fact(line)
            except PodkitError:
                continue
            if isinstance(fact, Reserved):
                named[fact.incarnation] = lease_key(fact.name, fact.incarnation)
            elif isinstance(fact, Freed):
                named.pop(fact.incarnation, None)
        return self.leases_held() + sorted(key for key in named.values() if key not in self._leases)

    # What the files say.

    def _look(self, by: Program | None) -> None:
        """See what was kept since the last time, by the plainest reading: lines that end, in the log that the anchor names."""
        found = self._read_plainly()
        if found is None:
            return
        epoch, base, facts = found
        if (epoch, base, len(facts)) == self._past:
            return  # nobody began a log since the machine did
        if epoch != self._epoch:
            before = self._epoch
            self._begin_anew(epoch)
            if before and self.renewed is not None:
                self.renewed()
        elif base != self._base:  # it dropped its past, and says the same as before
            self._true = fold_all(self._true, [decode_fact(line) for line in facts])
            self._base, self._kept = base, len(facts)
            self._tell()
            return
        new = facts[self._kept :]
        if new:
            self._base, self._kept = base, len(facts)
            self._true = fold_all(self._true, [decode_fact(line) for line in new])
            if self.appended is not None:
                self.appended(by, new)
            self._tell()

    def _begin_anew(self, epoch: str) -> None:
        self._epoch, self._base, self._kept = epoch, 0, 0
        self._true = self._folded = Table()

    def _read_plainly(self) -> tuple[str, int, list[bytes]] | None:
        """Epoch, base and facts of the log; None when there is none that could be read."""
        try:
            anchor, _ = decode_anchors(self.files.read(f"{_PLACE}/lock")[: PLACES * SIZE])
            lines = self.files.read(f"{_PLACE}/log.{anchor.generation if anchor else 0}").split(b"\n")[:-1]
        except (KeyError, DamagedError):
            return None
        if anchor is None:
            return None
        records = [line.partition(b"\t")[2].split(b"\t") for line in lines]
        try:
            base = int(json.loads(records[0][0])["base"])
        except (IndexError, ValueError, KeyError):
            return None
        return anchor.epoch, base, [fact for record in records[1:] for fact in record]
