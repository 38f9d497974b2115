"""What a registry's files say, and what may be done to them: followed without the lock, settled and changed with it."""

from __future__ import annotations

import contextlib
import logging
import secrets
from typing import TYPE_CHECKING

from podkit._os import DISK, UNKNOWN, Disk
from podkit._store._anchor import Anchor, decode_anchors, encode_anchor
from podkit._store._anchor_places import next_place, put_anchor
from podkit._store._journal import Journal
from podkit._store._journal_record import DamagedError, NewerError, boot_of, readable_entries
from podkit._store._log_files import LogFiles
from podkit.errors import CorruptRegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from podkit._store._lockfile import LockFile

_FORMAT = 1
_SHOWN = 8
_log = logging.getLogger("podkit.registry")


class LogState:
    """The journal and the anchor that vouches for it, in `directory`. Raises `OSError` and `CorruptRegistryError`.

    `holders` answers who may still hold a lease: the keys that are held, or that the given facts name and that cannot be found.
    """

    def __init__(
        self,
        directory: str,
        lock: LockFile,
        *,
        boot: str,
        durable: bool,
        holders: Callable[[Iterable[bytes]], Sequence[str]],
        disk: Disk = DISK,
    ) -> None:
        self.files = LogFiles(directory, disk=disk)
        self.journal: Journal | None = None
        self.entries: list[bytes] = []
        self.known = False  # whether somebody was told facts from here; then it must stay the same registry
        self._epoch: str | None = None  # of that registry
        self._lock, self._boot, self._durable, self._holders, self._disk = lock, boot, durable, holders, disk
        self._seen: tuple[bytes, Anchor | None, int] = (b"", None, 0)
        self._tidy = False

    # Without the lock.

    def glance(self) -> bool:
        """Catch up. False when that does not do: nothing is there yet, or something looks odd and needs the lock to be judged."""
        try:
            anchor = self._anchor()
            if anchor is None or self._is_earlier(anchor) or (self.known and anchor.epoch != self._epoch):
                return False
            return self._follow(anchor).mark.sequence >= anchor.sequence
        except (OSError, CorruptRegistryError):
            self.drop()
            return False

    def cluttered(self) -> bool:
        """Whether a writer that died left files behind. Looked at once, by whoever opens the registry."""
        if self._tidy or self.journal is None:
            return False
        with contextlib.suppress(OSError):
            self._tidy = not self.files.cluttered(int(self.journal.header["generation"]))
        return not self._tidy

    def drop(self) -> None:
        """Forget what was read: it is read and verified anew."""
        journal, self.journal, self.entries = self.journal, None, []
        self._seen = (b"", None, 0)
        if journal is not None:
            journal.close()

    # With the lock.

    def settle(self) -> Journal:
        """The journal, caught up and vouched for by the anchor. Begins one where there is none, or after a restart.

        What is damaged is refused while anybody may hold a lease. When nobody does, and we never read it before, it is put aside
        and a new one is begun.
        """
        try:
            journal = self._agree()
        except CorruptRegistryError as error:
            if self.known or isinstance(error.__cause__, NewerError):
                raise
            journal = self._replace(error)
        if not self._tidy:
            self._tidy_up(int(journal.header["generation"]))
        return journal

    def add(self, journal: Journal, facts: Sequence[bytes]) -> None:
        """Append one record. Raises `SyncError` when it is there, and may not last; with any other `OSError` it is not."""
        journal.append(facts)
        self.entries += facts
        if self._durable:
            journal.sync()
        with contextlib.suppress(OSError):  # the record counts; the next writer brings the anchor up
            self._vouch(journal)

    def replace(self, old: Journal, facts: Sequence[bytes]) -> None:
        """Go on in a new file that holds only `facts`, numbered on from where the old one ends."""
        generation = int(old.header["generation"]) + 1
        self._begin(generation, str(old.header["epoch"]), base=old.mark.sequence, facts=facts)
        self.files.remove_before(generation)

    def _agree(self) -> Journal:
        anchor = self._anchor()
        if self.known and (anchor is None or anchor.epoch != self._epoch):
            raise CorruptRegistryError(
                self.files.directory, "the registry was removed or replaced while it was in use; open it again"
            )
        if anchor is None:
            self._check_new()
            return self._begin(self.files.highest() + 1, secrets.token_hex(8))
        if self._is_earlier(anchor):
            if self._holders(()):
                raise CorruptRegistryError(self._lock.path, "it is of another boot of the machine, and yet leases are held")
            self.files.put_aside(anchor.generation, anchor.boot)
            return self._begin(anchor.generation + 1, secrets.token_hex(8))
        try:
            journal = self._follow(anchor)
        except FileNotFoundError:
            raise CorruptRegistryError(self.files.path(anchor.generation), "the log is missing") from None
        if not journal.ended(anchor.sequence, anchor.digest):
            reason = f"the log ends with number {journal.mark.sequence}, which does not go with its anchor ({anchor.sequence})"
            raise CorruptRegistryError(journal.path, reason, journal.mark.line, journal.mark.offset)
        if anchor.sequence != journal.mark.sequence:
            self._vouch(journal)
        return journal

    def _check_new(self) -> None:
        """See to it that nothing was ever granted here: then a lock file without an anchor is a registry that begins."""
        for generation in self.files.generations():
            path = self.files.path(generation)
            with _damage(path), contextlib.closing(Journal.open(path, disk=self._disk)) as journal:
                if journal.catch_up():
                    raise CorruptRegistryError(self._lock.path, f"there is no anchor for {journal.path}")
        if self._holders(()):
            raise CorruptRegistryError(self.files.directory, "pods hold leases here, and the log is missing")

    def _replace(self, error: CorruptRegistryError) -> Journal:
        """Put everything aside and begin anew, unless somebody may hold something: then nothing is touched."""
        self.check_free(error)
        why = f"damaged-{secrets.token_hex(4)}"
        highest = self.files.highest()
        with contextlib.suppress(CorruptRegistryError):
            anchor = self._anchor()
            highest = max(highest, 0 if anchor is None else anchor.generation)
        self.files.keep_copy(self._lock.anchor_bytes(), why)
        for generation in self.files.generations():
            self.files.put_aside(generation, why)
        journal = self._begin(highest + 1, secrets.token_hex(8))
        _log.warning("%s; nobody holds a lease, so it begins anew and the evidence is kept as *.%s", error, why)
        return journal

    def check_free(self, error: CorruptRegistryError) -> None:
        """Raise `error`, with a word on what helps, while anybody may hold a lease."""
        facts: list[bytes] = []
        for generation in self.files.generations():
            data = self.files.raw(generation)
            boot = boot_of(data)
            if boot is None or not self._is_of_earlier_boot(
                boot
            ):  # else whoever it names is dead, whatever was lost with the power
                facts += readable_entries(data)
        keys = self._holders(facts)
        if keys:
            names = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
            reason = f"{error.reason}; it begins anew by itself once nobody may hold a lease, and these may: {names}"
            raise CorruptRegistryError(error.file, reason, error.line, error.offset) from error

    def _tidy_up(self, generation: int) -> None:
        """Remove what writers that died left behind. A later log than the anchor's is such a thing only if it was never used."""
        for other in self.files.generations():
            if other > generation:
                if self.files.raw(other).count(b"\n") > 2:  # its header, and what it was made with
                    reason = f"it was in use, and the anchor is of generation {generation}"
                    raise CorruptRegistryError(self.files.path(other), reason)
                self.files.remove(other)
        self.files.tidy(generation)
        self._tidy = True

    def _begin(self, generation: int, epoch: str, *, base: int = 0, facts: Sequence[bytes] = ()) -> Journal:
        header = {
            "podkit": "registry",
            "format": _FORMAT,
            "boot": self._boot,
            "epoch": epoch,
            "generation": generation,
            "base": base,
        }
        path = self.files.path(generation)
        # Its header lasts in any case: without it nobody could tell after a loss of power that it is of another boot.
        journal = Journal.create(path, header, facts, durable=self._durable, lasting=True, disk=self._disk)
        try:
            self._vouch(journal, durable=self._durable)
        except BaseException:
            journal.close()
            raise
        seen = self._seen
        self.drop()
        self.journal, self.entries, self._epoch, self._seen = journal, list(facts), epoch, seen
        return journal

    # Both.

    def _follow(self, anchor: Anchor) -> Journal:
        """The journal of that anchor, with all that was appended to it. Raises `FileNotFoundError` too."""
        journal, path = self.journal, self.files.path(anchor.generation)
        with _damage(path):
            if journal is None or journal.header["generation"] != anchor.generation:
                journal = Journal.open(path, disk=self._disk)
                try:
                    self._check_header(journal, anchor)
                except BaseException:
                    journal.close()
                    raise
                seen = self._seen
                self.drop()
                self.journal, self._epoch, self._seen = journal, anchor.epoch, seen
            self.entries += journal.catch_up()
        return journal

    def _is_earlier(self, anchor: Anchor) -> bool:
        return self._is_of_earlier_boot(anchor.boot)

    def _is_of_earlier_boot(self, boot: str) -> bool:
        """Who cannot tell boots apart (it may see no /proc) takes every one for this one."""
        return boot != self._boot and UNKNOWN not in (boot, self._boot)

    def _check_header(self, journal: Journal, anchor: Anchor) -> None:
        fmt = journal.header.get("format")
        if type(fmt) is int and fmt > _FORMAT:
            raise NewerError(f"it was written by a newer podkit (format {fmt})", 1, 0)
        expected = {"format": _FORMAT, "boot": anchor.boot, "epoch": anchor.epoch, "generation": anchor.generation}
        if any(journal.header.get(name) != value for name, value in expected.items()):
            raise DamagedError("the header is of another podkit, boot or registry than the anchor", 1, 0)

    def _anchor(self) -> Anchor | None:
        data = self._lock.anchor_bytes()
        if data != self._seen[0]:
            self._seen = (b"", None, 0)
            with _damage(self._lock.path):
                self._seen = (data, *decode_anchors(data))
        return self._seen[1]

    def _vouch(self, journal: Journal, *, durable: bool = False) -> None:
        """Write into the lock file how far the log has come."""
        anchor = Anchor(
            boot=str(journal.header["boot"]),
            epoch=str(journal.header["epoch"]),
            generation=int(journal.header["generation"]),
            sequence=journal.mark.sequence,
            digest=journal.mark.digest.decode(),
        )
        data, (seen, _, place) = encode_anchor(anchor), self._seen
        self._seen = (b"", None, place)
        self._lock.write_anchor(data, place)
        if durable:
            self._lock.sync()
        self._seen = put_anchor(seen, data, place), anchor, next_place(place)


@contextlib.contextmanager
def _damage(path: str) -> Iterator[None]:
    """Say which file is damaged."""
    try:
        yield
    except DamagedError as error:
        raise CorruptRegistryError(path, error.reason, error.line, error.offset) from error
