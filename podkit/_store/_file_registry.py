"""The registry in files: shared by all programs of one user on one machine that open the same directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from typing import TYPE_CHECKING

import trio

from podkit._os import (
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
from podkit.errors import InvalidNameError, PathRefusedError, RegistryError
from podkit.logic import check_lease_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podkit.logic import Allocation

_SCHEME = "file://"
_RECHECK = 0.25
_LEFT_BEHIND = 60.0  # seconds; a lease younger than that may be one that is being taken


class FileRegistry(Registry):
    """The registry in the directory `dir`. Whoever opens the same directory shares it; exclusivity is as wide as that.

    Without `dir` it is the user's registry of this machine: `podkit` in `$XDG_RUNTIME_DIR`, else `podkit-<uid>` in the temporary
    directory. The directory is made with mode 0700; one that is a link, belongs to somebody else, can be entered by others, or is
    on a network file system is refused with `RegistryError`. A change waits for other programs at most `lock_timeout` seconds,
    then raises `RegistryBusyError`. Files are read and written at once, in the calling task, for microseconds; nothing is synced to
    disk, because after a restart of the machine nobody holds anything.
    """

    locator: str
    directory: str
    exclusive: str | None

    def __init__(self, dir: str | os.PathLike[str] | None = None, *, lock_timeout: float = 10.0) -> None:
        self.directory = _default_directory() if dir is None else os.path.abspath(os.fspath(dir))
        self.exclusive = None if self.directory == _default_directory() else f"exclusive within {self.directory}"
        self.locator = _SCHEME + self.directory
        self._leases = os.path.join(self.directory, ".leases")
        log = os.path.join(self.directory, ".registry")
        _make(self.directory)
        _check_local(self.directory)
        _make(self._leases)
        _make(log)
        self._log = RegistryLog(log, boot=boot_id(), timeout=lock_timeout, in_use=self._in_use)

    def __repr__(self) -> str:
        return f"FileRegistry({self.directory!r})"

    async def read(self, after: int) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return await self._log.read(after)

    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        return await self._log.append(after, facts)

    async def compact(self, after: int, facts: Sequence[bytes]) -> bool:
        return await self._log.compact(after, facts)

    def droppable(self) -> int:
        return self._log.size

    async def hold(self, key: str) -> Lease:
        path = self._lease(key)
        await self.read(0)  # leases in a registry without a log would say that the log was lost
        try:
            return hold_lease(key, path)
        except FileExistsError:
            raise RegistryError(f"the lease {key} was taken before") from None
        except OSError as error:
            raise RegistryError(f"the lease {key} cannot be taken: {error}") from error

    async def held(self, key: str) -> bool:
        await trio.lowlevel.checkpoint()
        return lease_state(self._lease(key)) is not LeaseState.FREE

    async def gone(self, key: str) -> None:
        path = self._lease(key)
        while await wait_lease(path) is not LeaseState.FREE:
            if all(row.key != key for row in await self.rows()):
                return
            await trio.sleep(_RECHECK)

    async def forget(self, key: str) -> None:
        with contextlib.suppress(OSError):  # left behind, it is removed by the next sweep
            drop_lease(self._lease(key))

    def lease_from_fd(self, key: str, fd: int) -> Lease:
        try:
            return take_lease(key, self._lease(key), fd)
        except OSError as error:
            raise RegistryError(f"the lease {key} was not inherited: {error}") from error

    async def sweep(self, author: str = "witness") -> tuple[Allocation, ...]:
        freed = await super().sweep(author)
        rows = {row.key for row in await self.rows()}
        for key in self._keys():
            path = self._lease(key)
            with contextlib.suppress(OSError):
                if key not in rows and time.time() - os.lstat(path).st_mtime > _LEFT_BEHIND:
                    drop_lease(path)
        return freed

    def _lease(self, key: str) -> str:
        return os.path.join(self._leases, check_lease_key(key))

    def _keys(self) -> list[str]:
        found = []
        for name in sorted(os.listdir(self._leases)):
            with contextlib.suppress(InvalidNameError):
                found.append(check_lease_key(name))
        return found

    def _in_use(self) -> bool:
        return any(lease_state(self._lease(key)) is LeaseState.HELD for key in self._keys())


def open_registry(locator: str) -> Registry:
    """Open the registry that another process has as `registry.locator`. Raises `RegistryError` when it is not one of ours."""
    if not locator.startswith(_SCHEME + "/"):
        raise RegistryError(f"there is no registry at {locator!r}: a locator is file:// and an absolute path")
    return FileRegistry(locator.removeprefix(_SCHEME))


def _make(path: str) -> None:
    try:
        make_private_dir(path)
    except (PathRefusedError, OSError) as error:
        raise RegistryError(f"no registry can be kept in {path}: {error}") from error


def _check_local(path: str) -> None:
    kind = network_filesystem(path)
    if kind is not None:
        raise RegistryError(f"no registry can be kept in {path}: it is on a network file system ({kind}), other machines see it")


def _default_directory() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime) and os.stat(runtime).st_uid == os.geteuid():
        return os.path.join(os.path.abspath(runtime), "podkit")
    return os.path.join(os.path.abspath(tempfile.gettempdir()), f"podkit-{os.geteuid()}")
