"""Sessions in files: a directory for each name, and in it every session of that name."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from podkit._os import DISK, Disk, boot_id, make_private_dir, network_filesystem
from podkit._store._file_session import FileSession, refused
from podkit._store._plan_session import check_id
from podkit._store._session_files import LOCK, LONGEST
from podkit._store._session_lock import SessionLock
from podkit._store._session_look import SessionInfo, VerifiedSession, peek_session, read_session, verify_session
from podkit._store._session_open import begin_session, check_unused, resume_session
from podkit.abc import Durability, Session, SessionStore, StoredSession
from podkit.errors import InvalidNameError, PathRefusedError, SessionBusyError, SessionError, UnknownSessionError
from podkit.protocol import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")

_SCHEMES = {Durability.PROCESS: "file://", Durability.POWER: "file+power://"}
_PATH_MAX = 4095


class FileSessionStore(SessionStore):
    """The sessions in `directory`, for every program that opens it; `durability` is "process" or "power".

    The directory is made with mode 0700; one that is a link, belongs to somebody else, can be entered by others, or is on a network
    file system is refused with `SessionError`. A session is held by a lock that the kernel takes back when the holder is gone.
    Each name has a directory with all sessions it ever had: `create` begins another one, and nothing of the earlier ones changes.

    Appending is one write in the calling task, which the end of the program does not undo. With `durability="power"`, `sync` waits
    for the disk in a thread, once for everybody who waits, and what begins or replaces a file (`open`, `rotate`, `save`) is written
    out before it returns, in the calling task. With "process" `sync` has nothing to do, and after a loss of power a log may have
    lost its end: that is said in a warning, and the session is what is left. A disk that once refused to write out makes a session
    read-only. An anchor beside the logs tells how far they came, at most 64 records behind: a log that lost its end in any other
    way is refused with `CorruptLogError`, as is all other damage.

    Opening reads and verifies the current segment, in a thread; `peek` answers at once how long it is.
    """

    locator: str
    directory: str
    durability: Durability

    def __init__(
        self, directory: str | os.PathLike[str], *, durability: str = "process", _disk: Disk | None = None, _boot: str | None = None
    ) -> None:
        self.durability = Durability(durability)
        if self.durability not in _SCHEMES:
            raise ValueError("the durability of sessions in files is 'process' or 'power'")
        self.directory = os.path.abspath(os.fspath(directory))
        if len(os.fsencode(self.directory)) + 1 + LONGEST > _PATH_MAX:
            raise SessionError(f"no sessions can be kept in a directory whose path has {len(self.directory)} characters")
        self.locator = _SCHEMES[self.durability] + self.directory
        self._disk = DISK if _disk is None else _disk
        with _typed(f"no sessions can be kept in {self.directory}"):
            self._boot = boot_id() if _boot is None else _boot
            make_private_dir(self.directory, disk=self._disk)
            kind = network_filesystem(self.directory) if self._disk.may_wait else None
            if kind is not None:
                raise SessionError(f"no sessions can be kept in {self.directory}: it is on a network file system ({kind})")
            if self.durability is Durability.POWER:
                self._disk.sync_dir(os.path.dirname(self.directory))

    def __repr__(self) -> str:
        return f"FileSessionStore({self.directory!r}, durability={self.durability.value!r})"

    async def open(self, name: str, *, create: str | None = None) -> Session:
        check_name(name)
        if create is None:
            return await self._work(self._resume, name)
        check_id(create)
        await trio.lowlevel.checkpoint()
        return self._begin(name, create)

    async def names(self) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        found = []
        with _typed("the sessions cannot be listed"):
            for name in sorted(self._disk.listdir(self.directory)):
                with contextlib.suppress(InvalidNameError, FileNotFoundError, NotADirectoryError):
                    if self._has_session(check_name(name)):
                        found.append(name)
        return tuple(found)

    async def peek(self, name: str) -> SessionInfo:
        """What there is of the session of `name`, whoever holds it. What it costs does not depend on how long the log is.

        The last record is verified and the anchor is heeded; nothing else is read. Raises as `open` does, except that nobody is
        ever busy.
        """
        check_name(name)
        await trio.lowlevel.checkpoint()
        return self._looked(name, peek_session, "looked at")

    async def read(self, name: str) -> StoredSession:
        check_name(name)
        return await self._work(self._looked, name, read_session, "read")

    async def verify(self, name: str) -> VerifiedSession:
        """Read the whole session of `name`, whoever holds it, and check every record of every segment; in a thread.

        Nothing is changed. Raises `CorruptLogError` for the first damage, and as `peek` does.
        """
        check_name(name)
        return await self._work(self._looked, name, verify_session, "verified")

    async def _work(self, act: Callable[..., _T], *args: Any) -> _T:
        if self._disk.may_wait:
            return await trio.to_thread.run_sync(act, *args)
        await trio.lowlevel.checkpoint()
        return act(*args)

    def _looked(self, name: str, look: Callable[..., _T], done: str) -> _T:
        with _typed(f"the session of {name} cannot be {done}"), contextlib.closing(self._look(name)) as lock:
            return look(name, self._place(name), lock, boot=self._boot, disk=self._disk)

    def _begin(self, name: str, session: str) -> Session:
        place = self._place(name)
        with _typed(f"a session of {name} cannot be made"):
            make_private_dir(place, disk=self._disk)
            lock = self._hold(name, SessionLock(os.path.join(place, LOCK), disk=self._disk, create=True))
            with _unlocking(lock):
                found = begin_session(place, lock, session, boot=self._boot, durability=self.durability, disk=self._disk)
                return FileSession(name, lock, found, self.durability)

    def _resume(self, name: str) -> Session:
        with _typed(f"the session of {name} cannot be opened"):
            lock = self._hold(name, self._look(name, write=True))
            with _unlocking(lock):
                found = resume_session(name, self._place(name), lock, boot=self._boot, durability=self.durability, disk=self._disk)
                return FileSession(name, lock, found, self.durability)

    def _hold(self, name: str, lock: SessionLock) -> SessionLock:
        try:
            if not lock.take():
                raise SessionBusyError(name, lock.holder())
        except BaseException:
            lock.close()
            raise
        return lock

    def _look(self, name: str, *, write: bool = False) -> SessionLock:
        """The lock file of a name that must have one. Raises `UnknownSessionError`, `CorruptLogError` and `OSError`."""
        place = self._place(name)
        try:
            self._disk.lstat(place)
            make_private_dir(place, disk=self._disk)
            return SessionLock(os.path.join(place, LOCK), disk=self._disk, write=write)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                check_unused(place, self._disk)
            raise UnknownSessionError(name) from None

    def _has_session(self, name: str) -> bool:
        with contextlib.closing(SessionLock(os.path.join(self._place(name), LOCK), disk=self._disk, write=False)) as lock:
            try:
                return lock.anchor() is not None
            except SessionError:
                return True  # a damaged one

    def _place(self, name: str) -> str:
        return os.path.join(self.directory, name)


def open_sessions(locator: str) -> SessionStore:
    """Open the store that another process has as `store.locator`. Raises `SessionError` when it is not one of ours."""
    for durability, scheme in _SCHEMES.items():
        if locator.startswith(scheme + "/"):
            return FileSessionStore(locator.removeprefix(scheme), durability=durability)
    raise SessionError(f"there are no sessions at {locator!r}: a locator is file:// or file+power:// and an absolute path")


@contextlib.contextmanager
def _unlocking(lock: SessionLock) -> Iterator[None]:
    """Let go of the lock when this fails."""
    try:
        yield
    except BaseException:
        lock.unlock()
        raise


@contextlib.contextmanager
def _typed(what: str) -> Iterator[None]:
    """Raise what the system refuses as an error of the session."""
    try:
        yield
    except PathRefusedError as error:
        raise SessionError(f"{what}: {error}") from error
    except OSError as error:
        raise refused(what, error) from error
