"""Where a pod's files are: the tree's run directory, and one directory in it for each pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from podkit._os import join, make_private_dir, remove_pod_dir

if TYPE_CHECKING:
    from podkit.abc import Registry


@attrs.frozen
class Place:
    """`run_dir` holds one directory a pod; None: this tree has no files. `own` says that we made it and shall remove it."""

    run_dir: str | None
    own: bool = False

    @classmethod
    def of_root(cls, registry: Registry, run_dir: str | None, tree: str) -> Place:
        """The place of a new tree: given, or below the registry's directory, or nowhere."""
        if run_dir is not None:
            return cls(run_dir)
        if registry.directory is not None:
            return cls(join(registry.directory, tree), own=True)
        return cls(None)

    def open(self) -> None:
        """Make the run directory, private."""
        if self.run_dir is not None:
            make_private_dir(self.run_dir)

    def pod_dir(self, name: str) -> str | None:
        return None if self.run_dir is None else join(self.run_dir, name)

    def make(self, name: str) -> str | None:
        """Make the directory of one pod, private; return it."""
        path = self.pod_dir(name)
        if path is not None:
            make_private_dir(path)
        return path

    def stderr(self, name: str) -> str | None:
        path = self.pod_dir(name)
        return None if path is None else join(path, "stderr.log")

    def clear(self, name: str) -> None:
        """Remove the directory of a pod that is gone, as far as podkit made what is in it."""
        path = self.pod_dir(name)
        if path is not None:
            remove_pod_dir(path)

    def close(self) -> None:
        """Remove our run directory when nothing is left in it."""
        if self.run_dir is not None and self.own:
            remove_pod_dir(self.run_dir, ())
