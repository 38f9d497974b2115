"""One session in files, in the hands of the one who writes it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import trio

from podkit._store._committer import Committer, Landed
from podkit._store._journal import Journal, SyncError
from podkit._store._plan_session import check_entries, check_id, decode_manifest, encode_manifest
from podkit._store._session_anchor import SessionAnchor
from podkit._store._session_files import check_end
from podkit._store._session_forks import forked, unforked
from podkit._store._session_lock import LostError, SessionLock
from podkit.abc import Durability, Session
from podkit.errors import CorruptLogError, SessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from podkit._store._journal_record import Mark
    from podkit._store._session_open import Found

_BEHIND = 64  # records that the anchor may be behind: writing it costs about as much as writing a record
_PATIENCE = 10.0  # seconds that letting go waits for a disk


class FileSession(Session):
    """A session of a `FileSessionStore`. The lock is held, what is damaged was refused, what was unfinished is cut off."""

    def __init__(self, name: str, lock: SessionLock, found: Found, durability: Durability) -> None:
        self.name, self.id, self.durability = name, found.anchor.id, durability
        self.segment = found.anchor.segment
        self._lock, self._files, self._anchor = lock, found.files, found.anchor
        self._segments, self._entries, self._manifest = found.segments, found.entries, found.manifest
        self._journal = found.journal
        if self._journal is not None:
            self._journal.forget()
        self._durable = durability is Durability.POWER
        self._stopped: str | None = None  # why nothing is committed any more
        self._errno: int | None = None
        self._closed = self._broken = self._abandoned = self._anchor_due = False
        self._behind = 0  # records that the anchor does not know of
        self._changes = self._synced = 0
        self._retired: list[Journal] = []  # of earlier segments, which a write-out may still be at
        self._committer = Committer(self._begin, in_thread=lock.disk.may_wait)
        forked(self)

    def __repr__(self) -> str:
        return f"<FileSession {self.name} {self.id}>"

    @property
    def entries(self) -> Sequence[bytes]:
        return self._entries

    def forget(self) -> None:
        self._entries = ()

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self._segments)

    @property
    def manifest(self) -> Mapping[str, Any] | None:
        return decode_manifest(self._manifest)

    def append(self, entries: Sequence[bytes]) -> None:
        journal = self._journal
        if self._stopped is not None or journal is None:
            raise self._refusal()
        check_entries(entries)
        if not entries:
            return
        if self._behind >= _BEHIND and not self._durable:
            self._keep_up(journal.mark)
        try:
            journal.append_checked(entries)
        except OSError as error:
            raise self._cut_back(journal, error) from error
        self._behind += 1
        self._changes += 1

    async def sync(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        change = self._changes
        self._check()
        if not self._durable or self._synced >= change:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        while self._synced < change:
            await self._committer.flight()
            if self._synced < change:
                self._check()

    def rotate(self, segment: str, entries: Sequence[bytes]) -> None:
        self._check()
        check_id(segment)
        check_entries(entries)
        if segment in self._segments:
            raise SessionError(f"session {self.id} has a segment {segment} already")
        old, number = self._journal, len(self._segments) + 1
        try:
            if old is not None and self._durable:
                old.sync()
            before = None if old is None else old.mark
            new = self._files.make_segment(number, segment, entries, before, durable=self._durable)
        except OSError as error:
            raise self._failed("no segment could be begun", error) from error
        anchor = self._anchor_at(new.mark, segments=number, segment=segment)
        try:
            self._lock.replace(self._anchor, anchor, durable=self._durable)
        except OSError as error:
            new.close()
            failed = self._failed("no segment could be begun", error)
            if not self._broken:  # else an anchor that names it may be on the disk
                self._files.drop_segment(number, segment)
            raise failed from error
        if old is not None:
            self._retired.append(old)
        new.forget()
        self._journal, self._anchor, self._behind = new, anchor, 0
        self._segments.append(segment)
        self.segment = segment
        self._changes += 1
        self._synced = self._changes if self._durable else 0
        self._close_retired()

    def read(self, segment: str) -> list[bytes]:
        self._check()
        if segment not in self._segments:
            raise KeyError(segment)
        number = self._segments.index(segment) + 1
        try:
            entries, journal = self._files.read_segment(number, segment)
            with contextlib.closing(journal):
                if number < len(self._segments):
                    with contextlib.closing(self._files.open_segment(number + 1, self._segments[number])) as follower:
                        check_end(journal, follower.header)
                elif self._journal is None or journal.mark != self._journal.mark:
                    raise CorruptLogError(
                        journal.path, "it does not end where it was written to", journal.mark.line, journal.mark.offset
                    )
        except OSError as error:
            raise refused("the segment could not be read", error) from error
        return entries

    def save(self, manifest: Mapping[str, Any]) -> None:
        self._check()
        data = encode_manifest(manifest)
        try:
            self._lock.check_place()
            self._files.write_manifest(data, durable=self._durable)
        except OSError as error:
            raise self._failed("the manifest could not be saved", error) from error
        self._manifest = data

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._stopped = self._stopped or "it was let go"
            with trio.move_on_after(_PATIENCE, shield=True):
                while self._committer.busy or (self._durable and not self._broken and self._due):
                    await self._committer.flight()
            self._abandoned = self._committer.busy  # a disk that hangs: who writes it out lets go
            if not self._abandoned:
                self._let_go()
        await trio.lowlevel.checkpoint()

    @property
    def _due(self) -> bool:
        """Whether there is anything left to write out, the anchor included: then all that was committed is vouched for."""
        return self._synced < self._changes or self._anchor_due

    def _begin(self) -> tuple[Callable[[], None], Landed]:
        """Write out what was committed so far: what a thread does, and what follows from how that went."""
        journal, changes = self._journal, self._changes
        if journal is None or self._synced >= changes:
            return self._lock.sync, self._anchored
        mark = journal.mark

        def landed(error: BaseException | None) -> None:
            if error is not None:
                self._break(error)
            else:
                self._synced = max(self._synced, changes)
                if journal is self._journal:
                    with contextlib.suppress(OSError):  # it counts; the next write-out brings the anchor up
                        self._vouch(mark)
                        self._anchor_due = True
            self._over()

        return journal.sync, landed

    def _anchored(self, error: BaseException | None) -> None:
        self._anchor_due = False
        if error is not None:
            self._break(error)
        else:
            self._lock.lasts()
        self._over()

    def _over(self) -> None:
        self._close_retired()
        if self._abandoned:
            self._let_go()

    def _anchor_at(self, mark: Mark, **more: Any) -> SessionAnchor:
        fields = {"sequence": mark.sequence, "digest": mark.digest.decode(), "durability": self.durability.value, **more}
        return attrs.evolve(self._anchor, **fields)

    def _vouch(self, mark: Mark) -> None:
        """Write into the lock file how far the log has come."""
        anchor = self._anchor_at(mark)
        self._lock.write(anchor, lasting=self._durable)
        self._anchor, self._behind = anchor, 0

    def _keep_up(self, mark: Mark) -> None:
        try:
            self._vouch(mark)
        except LostError as error:
            raise self._failed("nothing was committed", error) from error
        except OSError:
            return  # what it says still holds

    def _cut_back(self, journal: Journal, error: OSError) -> SessionError:
        try:
            journal.cut()
        except OSError as worse:
            self._break(worse)
        return refused("nothing was committed", error)

    def _failed(self, what: str, error: OSError) -> SessionError:
        if isinstance(error, SyncError | LostError):
            self._break(error)
        return refused(what, error)

    def _break(self, error: BaseException) -> None:
        self._broken = True
        self._errno = getattr(error, "errno", None)
        self._stopped = f"it is read-only since {error}"

    def _check(self) -> None:
        if self._stopped is not None:
            raise self._refusal()

    def _refusal(self) -> SessionError:
        error = SessionError(f"session {self.id} of {self.name}: {self._stopped or 'there is no segment yet'}")
        error.errno = self._errno
        return error

    def _close_retired(self) -> None:
        while self._retired and not self._committer.busy:
            self._retired.pop().close()

    def _let_go(self) -> None:
        if self._behind and not self._broken and not self._durable and self._journal is not None:
            with contextlib.suppress(OSError):  # what it says still holds
                self._vouch(self._journal.mark)
        self._close_files()
        self._lock.unlock()
        unforked(self)

    def _close_files(self) -> None:
        for journal in (*self._retired, *([self._journal] if self._journal else [])):
            journal.close()

    def after_fork(self) -> None:
        """In a forked copy: the original holds the session, and nothing of it is touched from here."""
        self._committer.forget()
        self._closed, self._stopped = True, "this is a forked copy of the program that holds it"
        self._close_files()
        self._lock.close()


def refused(what: str, error: OSError) -> SessionError:
    """What the system refused, as an error of the session."""
    typed = SessionError(f"{what}: {error}")
    typed.errno = error.errno
    return typed
