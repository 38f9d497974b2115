"""Who says yes: a scope, asked about the path that is really meant, and podkit's own directories, which are nobody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from podkit.errors import AccessDeniedError
from podkit.protocol import Permission

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit._os import Place, Root
    from podkit.logic import Scope


@attrs.define(eq=False)
class ControlPlane:
    """The directories that podkit keeps for itself (run directory, registry, leases, logs): outside every scope, existing or not.

    `directories` are absolute normal paths; where there is a link in one, it counts under both names.
    """

    directories: tuple[str, ...]
    _settled: dict[str, str] = attrs.field(factory=dict, init=False)

    def holds(self, root: Root, path: str) -> bool:
        """Whether `path` is one of them or in one."""
        return any(_is_in(path, own) for own in self._names(root))

    def is_below(self, root: Root, path: str) -> bool:
        """Whether one of them is `path` or in it."""
        return any(_is_in(own, path) for own in self._names(root))

    def _names(self, root: Root) -> list[str]:
        names = list(self.directories)
        for directory in self.directories:
            real = self._settled.get(directory)
            if real is None:
                place = root.walk(directory, lambda found: found)
                real = place.path
                if place.info is not None:  # once it is there, what it is called does not change
                    self._settled[directory] = real
            names.append(real)
        return names


@attrs.frozen
class ScopeJudge:
    """Judges places by a scope and the control plane; what operations of `podkit._os` on files ask.

    `asked` must be allowed at the path that is meant, links resolved. The path as it was written must not be out of sight either
    (READ at least): a link from elsewhere is no way in. `sensitive` says of a path why podkit's own tools do not change it although
    the scope allows that, or None; it is asked about both. Raises `AccessDeniedError`.
    """

    root: Root
    scope: Scope
    control: ControlPlane
    sensitive: Callable[[str], str | None] | None = None

    def __call__(self, place: Place, asked: Permission, /, *, whole: bool = False) -> None:
        paths = (place.path,) if place.path == place.shown else (place.path, place.shown)
        for path in paths:
            if self.control.holds(self.root, path):
                raise AccessDeniedError(path, asked, "podkit keeps this directory for itself")
        if self.scope.at(place.path) < asked:
            self._deny(self._blame(place), asked)
        if len(paths) > 1 and self.scope.at(place.shown) < min(asked, Permission.READ):
            self._deny(place.shown, Permission.READ)
        if asked is Permission.WRITE and self.sensitive is not None:
            for path in paths:
                why = self.sensitive(path)
                if why is not None:
                    raise AccessDeniedError(path, asked, why)
        if whole:
            self._check_whole(place, asked)

    def _check_whole(self, place: Place, asked: Permission) -> None:
        if self.control.is_below(self.root, place.path):
            raise AccessDeniedError(place.path, asked, "podkit keeps a directory below it for itself")
        if self.scope.whole(place.path) < asked:
            raise AccessDeniedError(place.path, asked, "something below it is denied or lent, so it has to stay where it is")

    def _blame(self, place: Place) -> str:
        """The path to name in the refusal. Where a link led on from a directory that may not be read, its text is not told."""
        for link in place.links:
            if self.scope.at(link) < Permission.READ:
                return link
        return place.path

    def _deny(self, path: str, asked: Permission) -> None:
        explanation = self.scope.explain(path, asked=asked)
        raise AccessDeniedError(path, asked, explanation, explanation.holder)


def _is_in(path: str, directory: str) -> bool:
    return path == directory or directory == "/" or path.startswith(directory + "/")
