"""What a pod does with files itself, within its scope."""

from __future__ import annotations

import os
import stat
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import trio

from podkit import abc as ports
from podkit._os import Root, make_directory, open_listing, open_read, open_write, remove, remove_tree, rename, spell, stat_path
from podkit.abc import FileStat
from podkit.confinement._judge import ControlPlane, ScopeJudge
from podkit.errors import AccessDeniedError, PathRefusedError, shown
from podkit.protocol import Permission, check_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from podkit._os import Pinned, Writing
    from podkit.confinement._gate import Gate
    from podkit.logic import Scope

_CHUNK = 2**20
_MAX_ENTRIES = 100_000
_ENTRIES_AT_ONCE = 2048


class Files(ports.Files):
    """Reading and writing for one pod. A path is text; a relative one starts at the pod's own `cwd`, and nothing in it is expanded.

    Links are followed as far as the scope allows what they lead to. Every operation raises `AccessDeniedError` for what the scope
    does not allow and `PathRefusedError` for what cannot be done with such a path or file; plain absence and trouble are
    `FileNotFoundError` and other `OSError`s. Work is done in steps of at most 1 MiB with a checkpoint between them; a cancelled
    write has changed nothing.
    """

    def __init__(
        self,
        *,
        scope: Callable[[], Scope],
        gate: Gate,
        cwd: str,
        control: Sequence[str] = (),
        committed: Callable[[], Awaitable[None]] | None = None,
        max_bytes: int = 64 * 2**20,
        kernel: bool | None = None,
        holder: Callable[[str], Awaitable[str | None]] | None = None,
        pins: Callable[[], Sequence[Pinned]] = tuple,
        sensitive: Callable[[str], str | None] | None = None,
        cross_mounts: bool = True,
    ) -> None:
        """`scope` is asked at every operation, inside the `gate`. `control` are podkit's own directories, never touched here.

        `committed` is awaited before anything is changed. `max_bytes` bounds a file that is read or written. `kernel` is passed to
        `Root`. `holder` is asked who may write at a path where we may not, so that a refusal can name them.

        `pins` tell what was at the targets of the scope when it was given: whatever is done at or below one is done in that very
        object, or refused ("replaced") when something else is there by now. `sensitive` says of a path why it is not to be changed
        although the scope allows it, or None. With `cross_mounts=False` what is on another mount than the target it is in is
        refused. Raises `InvalidRuleError` when `cwd` or one of `control` is not an absolute normal path.
        """
        self._scope = scope
        self._gate = gate
        self._cwd = check_path(cwd)
        self._control = ControlPlane(tuple(check_path(directory) for directory in control))
        self._committed = committed
        self._pins, self._sensitive, self._cross_mounts = pins, sensitive, cross_mounts
        self._swept: set[str] = set()
        self._max_bytes = max_bytes
        self._kernel = kernel
        self._holder = holder

    async def read_bytes(self, path: str) -> bytes:
        """The whole content of a regular file. Raises `PathRefusedError` when it has more than `max_bytes`."""
        async with self._operation("reading", path) as (root, judge):
            fd, place = open_read(root, path, judge, cwd=self._cwd)
            try:
                return await self._read(fd, place.shown)
            finally:
                os.close(fd)

    async def read_text(self, path: str) -> str:
        """The same as text. Raises `PathRefusedError` when it is not UTF-8."""
        data = await self.read_bytes(path)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise PathRefusedError(spell(path, cwd=self._cwd).shown, f"not UTF-8 text (byte {error.start})") from error

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Make `data` the whole content of a file, new or not; missing directories on the way are made.

        Whoever reads it meanwhile sees the old content or the new. Only a file that may be written while its directory may not is
        changed in place.
        """
        content = memoryview(bytes(data))
        if len(content) > self._max_bytes:
            raise PathRefusedError(spell(path, cwd=self._cwd).shown, f"more than {self._max_bytes} bytes to write")
        async with self._change("writing", path) as (root, judge):
            writing = open_write(root, path, judge, size=len(content), cwd=self._cwd, swept=self._swept)
            with trio.CancelScope(shield=writing.in_place):
                await _write(writing, content)

    async def write_text(self, path: str, text: str) -> None:
        """The same with text, as UTF-8. Raises `UnicodeEncodeError` for a lone surrogate."""
        await self.write_bytes(path, text.encode())

    async def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted; one that is not UTF-8 has `\\xNN` for its odd bytes.

        Raises `PathRefusedError` for more than 100,000.
        """
        async with self._operation("listing", path) as (root, judge):
            fd, place = open_listing(root, path, judge, cwd=self._cwd)
            try:
                names = []
                with os.scandir(fd) as entries:
                    for entry in entries:
                        names.append(_readable(entry.name))
                        if len(names) > _MAX_ENTRIES:
                            raise PathRefusedError(place.shown, f"has more than {_MAX_ENTRIES} entries")
                        if len(names) % _ENTRIES_AT_ONCE == 0:
                            await trio.lowlevel.checkpoint()
            finally:
                os.close(fd)
        return sorted(names)

    async def stat(self, path: str) -> FileStat:
        """What is there, links followed."""
        async with self._operation("looking at", path) as (root, judge):
            info = stat_path(root, path, judge, cwd=self._cwd)
        return FileStat(kind=_kind(info.st_mode), size=info.st_size, modified=info.st_mtime)

    async def make_directory(self, path: str) -> None:
        """Make one directory in one that is there. Raises `FileExistsError`."""
        async with self._change("making", path) as (root, judge):
            make_directory(root, path, judge, cwd=self._cwd)

    async def remove(self, path: str) -> None:
        """Remove a file, a link (never what it leads to) or an empty directory. A target of the scope itself stays."""
        async with self._change("removing", path) as (root, judge):
            remove(root, path, judge, cwd=self._cwd)

    async def rename(self, source: str, target: str) -> None:
        """Give `source` (a link itself, never what it leads to) the name `target`; a file there is replaced.

        Both ends have to be allowed with everything below them: what is lent or denied stays where it is, and so do the targets of
        the scope.
        """
        async with self._change("renaming", source) as (root, judge):
            rename(root, source, target, judge, cwd=self._cwd)

    async def remove_tree(self, path: str) -> None:
        """Remove a directory with everything below it, or whatever else is there. No link is followed.

        All of it has to be allowed, nothing may be mounted in it, and a target of the scope stays. Once begun it goes on to its
        end, also when it is cancelled. An `OSError` in the middle leaves the rest.
        """
        async with self._change("removing", path) as (root, judge):
            removal = remove_tree(root, path, judge, cwd=self._cwd)
            with closing(removal), trio.CancelScope(shield=True):
                while removal.step():
                    await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _change(self, what: str, path: str) -> AsyncIterator[tuple[Root, ScopeJudge]]:
        if self._committed is not None:
            await self._committed()
        async with self._operation(what, path) as given:
            yield given

    @asynccontextmanager
    async def _operation(self, what: str, path: str) -> AsyncIterator[tuple[Root, ScopeJudge]]:
        await trio.lowlevel.checkpoint()
        try:
            async with self._gate.shared(f"{what} {shown(path)}"):
                with Root(kernel=self._kernel, pins=self._pins(), cross_mounts=self._cross_mounts) as root:
                    yield root, ScopeJudge(root, self._scope(), self._control, self._sensitive)
        except AccessDeniedError as error:
            if error.holder is None and error.asked is Permission.WRITE and self._holder is not None:
                error.holder = await self._holder(error.path)
            raise

    async def _read(self, fd: int, path: str) -> bytes:
        too_much = PathRefusedError(path, f"has more than {self._max_bytes} bytes")
        if os.fstat(fd).st_size > self._max_bytes:
            raise too_much
        chunks = []
        left = self._max_bytes
        while chunk := os.read(fd, min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise too_much
            chunks.append(chunk)
            await trio.lowlevel.checkpoint()
        return b"".join(chunks)


async def _write(writing: Writing, content: memoryview) -> None:
    try:
        for start in range(0, len(content), _CHUNK):
            writing.write(content[start : start + _CHUNK])
            await trio.lowlevel.checkpoint()
    except BaseException:
        writing.abandon()
        raise
    writing.commit()


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    return "directory" if stat.S_ISDIR(mode) else "other"


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
