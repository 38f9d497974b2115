"""The registry's log on disk: a journal, its generations, and the anchor in the lock file that vouches for it."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from podkit._store._anchor import Anchor, decode_anchor, encode_anchor
from podkit._store._journal import Journal
from podkit._store._journal_record import DamagedError
from podkit._store._lockfile import LockFile
from podkit._store._log_files import LogFiles
from podkit.errors import CorruptRegistryError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_FORMAT = 1


class RegistryLog:
    """The facts in `directory`, numbered from 1, for every process that opens it.

    Reading takes no lock unless something looks odd. What is odd is looked at again under the lock, and then is either the trace
    of a writer that died, which is put right, or damage, which is refused. `in_use` says whether somebody still holds a lease.
    """

    def __init__(self, directory: str, *, boot: str, timeout: float, in_use: Callable[[], bool]) -> None:
        self._files = LogFiles(directory)
        self._boot, self._in_use = boot, in_use
        self._lock = LockFile(os.path.join(directory, "lock"), timeout=timeout)
        self._journal: Journal | None = None
        self._entries: list[bytes] = []
        self._epoch: str | None = None  # of the registry we once saw here; another one is not ours
        self._last_anchor: tuple[bytes, Anchor | None] = (b"", None)
        self._pid = os.getpid()

    @property
    def size(self) -> int:
        """Bytes in the present log."""
        return 0 if self._journal is None else self._journal.mark.offset

    async def read(self, after: int) -> list[bytes]:
        """The facts after that number. Raises `RegistryError` and its kin."""
        if not self._glance():
            await self._lock_up()
            with self._locked():
                self._settle()
        journal = self._journal
        if journal is None or after > journal.mark.sequence:
            raise CorruptRegistryError(
                self._files.directory, f"the log does not reach number {after}, which was read from it before"
            )
        return self._entries[max(0, after - journal.base) :]

    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        """Append one record when the last fact has that number. Raises `RegistryError` and its kin; then nothing was appended."""
        await self._lock_up()
        with self._locked():
            journal = self._settle()
            if journal.mark.sequence != after:
                return False
            journal.append(facts)
            self._entries += facts
            with contextlib.suppress(OSError):  # the record counts; the next writer brings the anchor up
                self._vouch(journal)
            return True

    async def compact(self, after: int, facts: Sequence[bytes]) -> bool:
        """Go on in a new file that holds only `facts`, when the last fact has the number `after`."""
        await self._lock_up()
        with self._locked():
            old = self._settle()
            if old.mark.sequence != after:
                return False
            new = int(old.header["generation"]) + 1
            self._begin(new, str(old.header["epoch"]), base=after, facts=facts)
            self._files.remove_before(new)
            return True

    def close(self) -> None:
        """Let go of the files."""
        self._lock.close()
        self._drop_journal()

    # Looking without the lock.

    def _glance(self) -> bool:
        """Catch up without the lock. False when that does not do: nothing is there yet, or something looks odd."""
        try:
            self._check_process()
            if not self._lock.open(create=False):
                return False
            anchor = self._read_anchor()
            if anchor is None or anchor.boot != self._boot or self._epoch not in (None, anchor.epoch):
                return False
            return self._follow(anchor).mark.sequence >= anchor.sequence
        except (OSError, DamagedError, CorruptRegistryError):
            self._drop_journal()
            return False

    # Looking with the lock.

    async def _lock_up(self) -> None:
        with self._typed():
            self._check_process()
            if not self._lock.open(create=False):
                if self._files.generations() and not self._lock.open(create=False):  # somebody may have begun just now
                    raise CorruptRegistryError(self._lock.path, "the lock file is missing, and the log is there")
                self._lock.open(create=True)
        await self._lock.acquire()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._typed():
                yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        """What goes wrong comes out as an error of the registry, and what we knew of the log is read and verified anew after it."""
        try:
            yield
        except CorruptRegistryError:
            self._drop_journal()
            raise
        except DamagedError as error:
            anchor = self._last_anchor[1]
            path = self._lock.path if anchor is None else self._files.path(anchor.generation)
            self._drop_journal()
            raise CorruptRegistryError(path, error.reason, error.line, error.offset) from error
        except OSError as error:
            self._drop_journal()
            raise RegistryError(f"the registry in {self._files.directory} cannot be used: {error}") from error

    def _settle(self) -> Journal:
        """The journal, caught up and vouched for by the anchor. Begins one where there is none, or after a restart."""
        anchor = self._read_anchor()
        if self._epoch is not None and (anchor is None or anchor.epoch != self._epoch):
            raise CorruptRegistryError(self._files.directory, "the registry was removed or replaced while it was in use")
        if anchor is None:
            self._check_new()
            return self._begin(1, secrets.token_hex(8))
        if anchor.boot != self._boot:
            self._files.put_aside(anchor.generation, anchor.boot)
            return self._begin(anchor.generation + 1, secrets.token_hex(8))
        try:
            journal = self._follow(anchor)
        except FileNotFoundError:
            raise CorruptRegistryError(self._files.path(anchor.generation), "the log is missing") from None
        known = {mark.sequence: mark.digest.decode() for mark in (journal.previous, journal.mark)}
        if known.get(anchor.sequence) != anchor.digest:
            raise DamagedError(
                f"the log ends with number {journal.mark.sequence}, which does not go with its anchor ({anchor.sequence})",
                journal.mark.line,
                journal.mark.offset,
            )
        if anchor.sequence != journal.mark.sequence:
            self._vouch(journal)
        return journal

    def _check_new(self) -> None:
        """See to it that nothing was ever granted here: then a lock file without an anchor is a registry that begins."""
        for generation in self._files.generations():
            with contextlib.closing(Journal.open(self._files.path(generation))) as journal:
                if journal.catch_up():
                    raise CorruptRegistryError(self._lock.path, f"there is no anchor for {journal.path}")
        if self._in_use():
            raise CorruptRegistryError(self._files.directory, "pods hold leases here, and the log is missing")

    def _begin(self, generation: int, epoch: str, *, base: int = 0, facts: Sequence[bytes] = ()) -> Journal:
        header = {
            "podkit": "registry",
            "format": _FORMAT,
            "boot": self._boot,
            "epoch": epoch,
            "generation": generation,
            "base": base,
        }
        journal = Journal.create(self._files.path(generation), header, facts)
        try:
            self._vouch(journal)
        except BaseException:
            journal.close()
            raise
        self._drop_journal()
        self._journal, self._entries, self._epoch = journal, list(facts), epoch
        return journal

    # Both.

    def _follow(self, anchor: Anchor) -> Journal:
        """The journal of that anchor, with all that was appended to it. Raises `FileNotFoundError`, `OSError`, `DamagedError`."""
        journal = self._journal
        if journal is None or journal.header["generation"] != anchor.generation:
            journal = Journal.open(self._files.path(anchor.generation))
            expected = {"format": _FORMAT, "boot": anchor.boot, "epoch": anchor.epoch, "generation": anchor.generation}
            if any(journal.header.get(name) != value for name, value in expected.items()):
                journal.close()
                raise DamagedError("the header is of another podkit, boot or registry than the anchor", 1, 0)
            self._drop_journal()
            self._journal, self._epoch = journal, anchor.epoch
        self._entries += journal.catch_up()
        return journal

    def _read_anchor(self) -> Anchor | None:
        data = self._lock.anchor_bytes()
        if data != self._last_anchor[0]:
            self._last_anchor = (b"", None)
            self._last_anchor = (data, decode_anchor(data))
        return self._last_anchor[1]

    def _vouch(self, journal: Journal) -> None:
        """Write into the lock file how far the log has come."""
        anchor = Anchor(
            boot=self._boot,
            epoch=str(journal.header["epoch"]),
            generation=int(journal.header["generation"]),
            sequence=journal.mark.sequence,
            digest=journal.mark.digest.decode(),
        )
        self._lock.write_anchor(encode_anchor(anchor))

    def _check_process(self) -> None:
        """A forked copy of the program opens its own files: it shares nothing with its original, the lock least of all."""
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()

    def _drop_journal(self) -> None:
        journal, self._journal, self._entries = self._journal, None, []
        if journal is not None:
            journal.close()
