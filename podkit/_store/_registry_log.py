"""The registry's log on disk, as the registry uses it: who may write when, what goes wrong, and forked copies."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from podkit._os import DISK, Disk
from podkit._store._journal import SyncError
from podkit._store._lockfile import LockFile
from podkit._store._log_state import LogState
from podkit._store._turns import Turns
from podkit.errors import CorruptRegistryError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podkit._store._journal import Journal


class RegistryLog:
    """The facts in `directory`, numbered from 1, for every process that opens it.

    Reading takes no lock unless something looks odd. What is odd is looked at again under the lock, and then is either the trace
    of a writer that died, which is put right, or damage, which is refused while anybody may hold a lease; `holders` says who.
    With `durable` a record is on the disk before it counts. A disk that once refused to sync makes this object read-only.
    """

    def __init__(
        self,
        directory: str,
        *,
        boot: str,
        timeout: float,
        holders: Callable[[Iterable[bytes]], Sequence[str]],
        durable: bool = False,
        disk: Disk = DISK,
    ) -> None:
        self.directory = directory
        self._lock = LockFile(os.path.join(directory, "lock"), timeout=timeout, disk=disk)
        self._turns = Turns(lambda: self._lock.fd, timeout=timeout, disk=disk)
        self._state = LogState(directory, self._lock, boot=boot, durable=durable, holders=holders, disk=disk)
        self._unsure: str | None = None
        self._ended = False
        self._inside = 0  # tasks that wait for their turn or have it
        _open.add(self)

    def __del__(self) -> None:
        self._lock.close()
        self._state.drop()

    @property
    def size(self) -> int:
        """Bytes in the present log."""
        journal = self._state.journal
        return 0 if journal is None else journal.mark.offset

    async def read(self, after: int) -> list[bytes]:
        """The facts after that number. Raises `RegistryError` and its kin."""
        self.check_open()
        if not self._glance():
            await self._locked(_nothing)
            self.check_open()
        elif self._state.cluttered():
            self._tidy()
        journal = self._state.journal
        if journal is None or after > journal.mark.sequence:
            raise CorruptRegistryError(self.directory, f"the log does not reach number {after}, which was read from it before")
        self._state.known = True
        return self._state.entries[max(0, after - journal.base) :]

    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        """Append one record when the last fact has that number. Raises `RegistryError` and its kin.

        Then nothing was appended; except that a record which could not be synced is there and may not last.
        """

        def act(journal: Journal) -> bool:
            if journal.mark.sequence != after:
                return False
            self._state.add(journal, facts)
            return True

        self._check_sure()
        return await self._locked(act)

    async def compact(self, after: int, facts: Sequence[bytes]) -> bool:
        """Go on in a new file that holds only `facts`, when the last fact has the number `after`."""

        def act(journal: Journal) -> bool:
            if journal.mark.sequence != after:
                return False
            self._state.replace(journal, facts)
            return True

        self._check_sure()
        return await self._locked(act)

    async def take_turn(self) -> tuple[int, int] | None:
        """Wait for our turn to change something, in the order in which programs came; it ends with `leave_turn` of the answer.

        What this task reads and appends meanwhile is not overtaken by anybody. Raises `RegistryError` and its kin.
        """
        self.check_open()
        self._inside += 1
        try:
            if self._lock.fd < 0:
                self._open_lock()
            return await self._turns.take()
        except BaseException as error:
            self._step_out()
            if isinstance(error, CorruptRegistryError):
                self._state.drop()
            elif isinstance(error, OSError):
                raise self._typed(error) from error
            raise

    def leave_turn(self, turn: tuple[int, int] | None) -> None:
        """Our turn is over."""
        self._turns.leave(turn)
        self._step_out()

    def end(self) -> None:
        """Let go of the files for good, once no task is in the middle of a change. What is asked next is refused."""
        self._ended = True
        if not self._inside:
            self.close()

    def check_open(self) -> None:
        """Raise `RegistryError` after the end."""
        if self._ended:
            raise RegistryError(f"the registry in {self.directory} was closed here")

    def _step_out(self) -> None:
        self._inside -= 1
        if self._ended and not self._inside:
            self.close()

    def close(self) -> None:
        """Let go of the files. What is asked next opens them again."""
        self._lock.close()
        self._state.drop()
        self._turns.reset()
        self._inside = 0

    def _glance(self) -> bool:
        try:
            return self._lock.open(create=False) and self._state.glance()
        except (OSError, CorruptRegistryError):
            return False

    def _tidy(self) -> None:
        """Put right what a writer that died left behind, unless that had to wait."""
        if self._lock.try_acquire():
            self._with_lock(_nothing)

    def _open_lock(self) -> None:
        if self._lock.open(create=False):
            return
        if self._state.files.generations() and not self._lock.open(create=False):  # somebody may have begun just now
            missing = CorruptRegistryError(self._lock.path, "the lock file is missing, and the log is there")
            if self._state.known:
                raise missing
            self._state.check_free(missing)
        self._lock.open(create=True)

    async def _locked(self, act: Callable[[Journal], bool]) -> bool:
        """What `act` answers of the settled journal, under the lock, when it is our turn."""
        turn = await self.take_turn()
        try:
            await self._lock.acquire(self._turns.waited)
            return self._with_lock(act)
        finally:
            self.leave_turn(turn)

    def _with_lock(self, act: Callable[[Journal], bool]) -> bool:
        try:
            return act(self._state.settle())
        except CorruptRegistryError:
            self._state.drop()
            raise
        except OSError as error:
            raise self._typed(error) from error
        finally:
            self._lock.release()

    def _typed(self, error: OSError) -> RegistryError:
        """What went wrong, as an error of the registry. What we knew of the log is read and verified anew after it."""
        self._state.drop()
        if isinstance(error, SyncError):
            self._unsure = str(error)
        return RegistryError(f"the registry in {self.directory} cannot be used: {error}")

    def _check_sure(self) -> None:
        if self._unsure is not None:
            raise RegistryError(f"the registry in {self.directory} is read-only here since {self._unsure}")


def _nothing(_journal: Journal) -> bool:
    return True  # to have settled it was enough


_open: weakref.WeakSet[RegistryLog] = weakref.WeakSet()


def _close_after_fork() -> None:
    """A forked copy opens its own files: it shares nothing with its original, the lock least of all."""
    for log in tuple(_open):
        log.close()


os.register_at_fork(after_in_child=_close_after_fork)
