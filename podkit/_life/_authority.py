"""What a pod may do right now: its row in the registry, less what is lent, less podkit's own directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.confinement import ControlPlane, Files, Gate, Level, made_sensitive
from podkit.errors import RegistryError, StaleIncarnationError
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podkit.abc import Registry
    from podkit.logic import Allocation, Fact, Table


class Authority:
    """The one place in a pod where its scope changes. Revocation is at once; `gate` tells when what began before it is over."""

    row: Allocation
    table: Table
    gate: Gate
    control: tuple[str, ...]
    control_plane: ControlPlane
    grant: Scope
    effective: Scope  # with podkit's own directories still in it
    scope: Scope
    ended: bool

    def __init__(self, registry: Registry, table: Table, row: Allocation, *, control: Iterable[str]) -> None:
        self.registry = registry
        self.row = row
        self.gate = Gate()
        self.ended = False
        self.control = tuple(sorted(set(control)))
        self.control_plane = ControlPlane(self.control)
        self._shield = shield(self.control)
        self.grant = self._shielded(row.grant)
        self.table = table
        self._take(table)

    def _shielded(self, scope: Scope) -> Scope:
        return scope if self._shield is None else scope & self._shield

    def _take(self, table: Table) -> None:
        if table.sequence < self.table.sequence or self.ended:
            return  # somebody of ours saw more meanwhile, or we hold nothing any more
        self.table = table
        row = table.get(self.row.incarnation)
        if row is not None:
            self.row = row
        self.effective = table.effective(self.row.incarnation) if row is not None else self.row.scope
        self.scope = self._shielded(self.effective)

    def files(self, *, cwd: str, level: str) -> Files:
        """The files within it, as it is at every moment. Raises `InvalidRuleError` for a `cwd` that is not absolute."""
        return Files(
            scope=lambda: self.scope,
            gate=self.gate,
            cwd=cwd,
            control=self.control,
            holder=self.holder,
            pins=lambda: self.row.pins,
            sensitive=made_sensitive,
            cross_mounts=level != Level.STRICT.value,
        )

    def end(self) -> None:
        """From here nothing may be done any more: what was ours is about to be somebody else's."""
        self.ended = True
        self.effective = self.scope = self.grant = Scope.none()

    async def transact(self, decide: Callable[[Table], Iterable[Fact]]) -> Table:
        """Change the registry, and take over what that means for us before anything else runs."""
        table = await self.registry.transact(decide)
        self._take(table)
        return table

    async def refresh(self) -> Table:
        """Look again: somebody else may have given scope back."""
        table = await self.registry.rows()
        self._take(table)
        return table

    async def holder(self, path: str) -> str | None:
        """Who may write at `path` right now, if it is somebody else and the registry can tell."""
        try:
            table = await self.registry.rows()
        except RegistryError:
            return None
        for row in table.near(Scope.write(path)):
            if row.incarnation != self.row.incarnation and table.effective(row.incarnation).at(path) is Permission.WRITE:
                return table.label(row, seen_from=self.row.tree)
        return None

    def check_live(self) -> None:
        """Raise `StaleIncarnationError` when our row is gone, or we are."""
        if self.ended or self.table.get(self.row.incarnation) is None:
            raise StaleIncarnationError(self.row.name, self.row.incarnation)


def shield(control: Iterable[str]) -> Scope | None:
    """Everything but these directories: run directories, registry and leases are outside every scope."""
    denied = tuple(ScopeRule(target, Permission.READ) for target in control)
    return Scope(allow=[ScopeRule("/", Permission.WRITE)], deny=denied) if denied else None
