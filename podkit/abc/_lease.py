"""Leases: who lives holds one. It ends with its holder, however that ends, and nothing else ends it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Lease(ABC):
    """The sign that a pod lives, in the hands of who holds it. Used with `with`, it is let go at the end of the block.

    `key` is `name.incarnation`. `fd` is a descriptor that a child process may inherit to hold the same lease, None where
    leases have none; the lease is free when every holder of it let go or is gone.
    """

    key: str
    fd: int | None = None

    @abstractmethod
    def release(self) -> None:
        """Let go. Does not wait, and may be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
