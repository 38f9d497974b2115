"""A pod's own place for its programs' temporary files and home directory: private, and gone with the pod."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os import Root, join, make_private_dir, remove_tree
from podkit.errors import PathRefusedError

if TYPE_CHECKING:
    from podkit.abc import Registry

_log = logging.getLogger("podkit.scratch")
BASE = ".scratch"


@attrs.define(eq=False)
class Scratch:
    """`base/<incarnation>/{home,tmp}`, made when the first program is run.

    Where the registry has a directory it is below that, which is outside every scope; so no other pod can write there.
    """

    base: str
    incarnation: str
    made: bool = False

    @classmethod
    def of(cls, directory: str | None, incarnation: str) -> Scratch:
        """The place for this incarnation. Without a registry's directory it is in the temporary directory."""
        if directory is not None:
            return cls(join(directory, BASE), incarnation)
        return cls(join(os.path.realpath(tempfile.gettempdir()), f"podkit-scratch-{os.geteuid()}"), incarnation)

    @property
    def path(self) -> str:
        return join(self.base, self.incarnation)

    def make(self) -> tuple[str, str]:
        """Make it, and return where HOME and TMPDIR are. Raises `PathRefusedError` when somebody else has the place, `OSError`."""
        home, tmp = join(self.path, "home"), join(self.path, "tmp")
        if not self.made:
            try:
                self._make(home, tmp)
            except FileNotFoundError:  # the last pod before us took the base away just now
                self._make(home, tmp)
            self.made = True
        return home, tmp

    def _make(self, home: str, tmp: str) -> None:
        for directory in (self.base, self.path, home, tmp):
            make_private_dir(directory)

    async def remove(self) -> None:
        """Remove it with everything in it; what cannot be removed is left for the next sweep."""
        if self.made:
            self.made = False
            await remove_scratch(self.base, self.incarnation)


async def clear_scratch(registry: Registry, incarnation: str) -> None:
    """Remove what a pod that died left there."""
    if registry.directory is not None:
        await remove_scratch(join(registry.directory, BASE), incarnation)


async def remove_scratch(base: str, incarnation: str) -> None:
    """Remove what a pod's programs left there, in small steps. No link is followed. Trouble is logged."""
    path = join(base, incarnation)
    try:
        with Root() as root:
            removal = remove_tree(root, path, _allow)
            try:
                while removal.step():
                    await trio.lowlevel.checkpoint()
            finally:
                removal.close()
    except FileNotFoundError:
        pass
    except (OSError, PathRefusedError) as error:
        _log.warning("%s is left behind: %s", path, error)
        return
    with contextlib.suppress(OSError):  # others are in it
        os.rmdir(base)


def _allow(*_: object, **__: object) -> None:
    """It is ours."""
