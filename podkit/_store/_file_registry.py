"""The registry in files: shared by all programs of one user on one machine that open the same directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import weakref
from typing import TYPE_CHECKING

import trio

from podkit._os import (
    DISK,
    Disk,
    LeaseState,
    boot_id,
    drop_lease,
    hold_lease,
    lease_state,
    make_private_dir,
    network_filesystem,
    take_lease,
    wait_lease,
)
from podkit._store._registry_log import RegistryLog
from podkit.abc import Lease, Registry
from podkit.errors import InvalidNameError, PathRefusedError, PodkitError, RegistryError
from podkit.logic import Freed, Reserved, check_lease_key, decode_fact, lease_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podkit.logic import Allocation, Fact, Table

_SCHEME = "file://"
_RECHECK = 0.25
_LEFT_BEHIND = 60.0  # seconds; a lease younger than that may be one that is being taken


class FileRegistry(Registry):
    """The registry in the directory `dir`. Whoever opens the same directory shares it; exclusivity is as wide as that.

    Without `dir` it is the user's registry of this machine: `podkit` in `$XDG_RUNTIME_DIR`, else `podkit-<uid>` in the temporary
    directory. The directory is made with mode 0700; one that is a link, belongs to somebody else, can be entered by others, or is
    on a network file system is refused with `RegistryError`. A change waits for other programs, in the order in which they came,
    at most `lock_timeout` seconds, then raises `RegistryBusyError`. Files are read and written at once, in the calling task, for
    microseconds.

    Every change survives the death of every program. It needs no disk to survive a restart of the machine, because then nobody
    holds anything: a new boot begins an empty log, and keeps the old one as evidence of who held what. `durable=True` is for
    who wants that evidence complete, or works where the system does not tell boots apart: a change then counts once it is on
    the disk, and a disk that once failed to sync makes this object read-only. All programs of a registry should say the same.

    What reads and writes it keeps two files open. `close`, or the end of a `with` block, lets go of them, and so does the end of
    the object. While a pod of this program is open in it, `close` raises `RegistryError`; afterwards everything else does.

    Damaged files are refused with `CorruptRegistryError` and kept while any lease may be held. As soon as none is, whoever opens
    the registry next puts them aside as `*.damaged-*`, logs a warning and begins anew. Files of a newer podkit are never touched.
    """

    locator: str
    directory: str
    exclusive: str | None

    def __init__(
        self,
        dir: str | os.PathLike[str] | None = None,
        *,
        lock_timeout: float = 10.0,
        durable: bool = False,
        _disk: Disk | None = None,
    ) -> None:
        self.directory = _default_directory() if dir is None else os.path.abspath(os.fspath(dir))
        self.exclusive = None if self.directory == _default_directory() else f"exclusive within {self.directory}"
        self.locator = _SCHEME + self.directory
        self._leases = os.path.join(self.directory, ".leases")
        log = os.path.join(self.directory, ".registry")
        self._disk = disk = DISK if _disk is None else _disk
        _make(self.directory, disk)
        _check_local(self.directory)
        _make(self._leases, disk)
        _make(log, disk)
        self._durable = durable
        self._taken: weakref.WeakSet[Lease] = weakref.WeakSet()
        if durable:
            self._sync_names(os.path.dirname(self.directory), self.directory)
        self._log = RegistryLog(log, boot=_boot(), timeout=lock_timeout, holders=self._holders, durable=durable, disk=disk)

    def __repr__(self) -> str:
        return f"FileRegistry({self.directory!r})"

    def close(self) -> None:
        """Let go of the files. What is under way is done or fails. May be called again.

        Raises `RegistryError` while a pod of this program holds its lease through this object; then nothing was closed.
        """
        if holding := sorted(lease.key for lease in self._taken if lease.fd is not None):
            raise RegistryError(f"the registry in {self.directory} cannot be closed: open in it are {', '.join(holding)}")
        self._log.end()

    async def read(self, after: int) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return await self._log.read(after)

    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        return await self._log.append(after, facts)

    async def compact(self, after: int, facts: Sequence[bytes]) -> bool:
        return await self._log.compact(after, facts)

    def droppable(self) -> int:
        return self._log.size

    async def transact(self, decide: Callable[[Table], Iterable[Fact]], *, author: str = "witness") -> Table:
        """As in `Registry`; who waits is served in the order of coming, and decides on what those before it left."""
        turn = await self._log.take_turn()
        try:
            return await super().transact(decide, author=author)
        finally:
            self._log.leave_turn(turn)

    async def hold(self, key: str) -> Lease:
        path = self._lease(key)
        await self.read(0)  # leases in a registry without a log would say that the log was lost
        try:
            lease = hold_lease(key, path, disk=self._disk)
        except FileExistsError:
            raise RegistryError(f"the lease {key} was taken before") from None
        except OSError as error:
            raise RegistryError(f"the lease {key} cannot be taken: {error}") from error
        try:
            if self._durable:  # a row that outlives its lease would be nobody's to free
                self._sync_names(self._leases)
        except BaseException:
            lease.release()
            raise
        self._taken.add(lease)
        return lease

    async def held(self, key: str) -> bool:
        self._log.check_open()
        await trio.lowlevel.checkpoint()
        return self._look(key) is not LeaseState.FREE

    async def gone(self, key: str) -> None:
        self._log.check_open()
        path = self._lease(key)
        while await wait_lease(path, disk=self._disk) is not LeaseState.FREE:
            if all(row.key != key for row in await self.rows()):
                return
            await trio.sleep(_RECHECK)

    async def forget(self, key: str) -> None:
        self._log.check_open()
        with contextlib.suppress(OSError):  # left behind, it is removed by the next sweep
            drop_lease(self._lease(key), disk=self._disk)

    def lease_from_fd(self, key: str, fd: int) -> Lease:
        self._log.check_open()
        try:
            lease = take_lease(key, self._lease(key), fd, disk=self._disk)
        except OSError as error:
            raise RegistryError(f"the lease {key} was not inherited: {error}") from error
        self._taken.add(lease)
        return lease

    async def sweep(self, author: str = "witness") -> tuple[Allocation, ...]:
        freed = await super().sweep(author)
        rows = {row.key for row in await self.rows()}
        with contextlib.suppress(OSError):  # what is left behind is removed by a later sweep
            for key in self._keys():
                path = self._lease(key)
                if key not in rows and time.time() - self._disk.lstat(path).st_mtime > _LEFT_BEHIND:
                    drop_lease(path, disk=self._disk)
        return freed

    def lost(self, key: str) -> bool:
        """Whether there is no trace of this lease: it was never taken, or something removed it. Nobody can tell who holds it."""
        self._log.check_open()
        return self._look(key) is LeaseState.MISSING

    def _lease(self, key: str) -> str:
        return os.path.join(self._leases, check_lease_key(key))

    def _sync_names(self, *directories: str) -> None:
        try:
            for path in directories:
                self._disk.sync_dir(path)
        except OSError as error:
            raise RegistryError(f"the registry in {self.directory} cannot be made durable: {error}") from error

    def _look(self, key: str) -> LeaseState:
        return lease_state(self._lease(key), disk=self._disk)

    def _keys(self) -> list[str]:
        found = []
        for name in sorted(self._disk.listdir(self._leases)):
            with contextlib.suppress(InvalidNameError):
                found.append(check_lease_key(name))
        return found

    def _holders(self, facts: Iterable[bytes]) -> list[str]:
        """Whose lease is held; and of the pods that these facts name and do not end, whose lease cannot be found."""
        named: dict[str, str] = {}
        for line in facts:
            with contextlib.suppress(PodkitError):
                fact = decode_fact(line)
                if isinstance(fact, Reserved):
                    named[fact.incarnation] = lease_key(fact.name, fact.incarnation)
                elif isinstance(fact, Freed):
                    named.pop(fact.incarnation, None)
        held = [key for key in self._keys() if self._look(key) is LeaseState.HELD]
        return held + sorted(key for key in named.values() if self._look(key) is LeaseState.MISSING)


def open_registry(locator: str) -> Registry:
    """Open the registry that another process has as `registry.locator`. Raises `RegistryError` when it is not one of ours."""
    if not locator.startswith(_SCHEME + "/"):
        raise RegistryError(f"there is no registry at {locator!r}: a locator is file:// and an absolute path")
    return FileRegistry(locator.removeprefix(_SCHEME))


def _make(path: str, disk: Disk) -> None:
    try:
        make_private_dir(path, disk=disk)
    except (PathRefusedError, OSError) as error:
        raise RegistryError(f"no registry can be kept in {path}: {error}") from error


def _boot() -> str:
    try:
        return boot_id()
    except OSError as error:
        raise RegistryError(f"it cannot be told whether the machine was restarted: {error}") from error


def _check_local(path: str) -> None:
    try:
        kind = network_filesystem(path)
    except OSError as error:
        raise RegistryError(f"no registry can be kept in {path}: {error}") from error
    if kind is not None:
        raise RegistryError(f"no registry can be kept in {path}: it is on a network file system ({kind}), other machines see it")


def _default_directory() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime) and os.stat(runtime).st_uid == os.geteuid():
        return os.path.join(os.path.abspath(runtime), "podkit")
    return os.path.join(os.path.abspath(tempfile.gettempdir()), f"podkit-{os.geteuid()}")
