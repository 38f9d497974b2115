"""The types wire fields are declared with: bounded integers, UUIDs, opaque JSON; and how a field is left out."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeAlias

import attrs
import msgspec


@attrs.frozen
class Range:
    """The integers a field may hold, both ends included."""

    low: int
    high: int


@attrs.frozen
class Uuid:
    """Marks text that is a UUID; it is read in any of the usual spellings and kept in the hyphenated lower-case one."""


@attrs.frozen
class Lenient:
    """Marks a field in which a member of a known kind but of another shape stays opaque instead of being refused."""


U16: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1), Range(0, 2**16 - 1)]
U32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1), Range(0, 2**32 - 1)]
I64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1), Range(-(2**63), 2**63 - 1)]
# msgspec has no bound above 2**63 - 1: what is beyond u64 is refused after it (see the events codec).
U64: TypeAlias = Annotated[int, msgspec.Meta(ge=0), Range(0, 2**64 - 1)]
# Numbers podkit itself counts with: runs and sequences.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1), Range(0, 2**63 - 1)]

UuidText: TypeAlias = Annotated[str, Uuid()]

# A plain JSON value: None, bool, int (64 bits), finite float, str, list, dict with text keys.
Json: TypeAlias = Any

OMIT: Final = {"podkit_omit": True}  # metadata of a field that is not written while it has its default


def named(wire: str) -> dict[str, str]:
    """Metadata of a field whose name on the wire is a Python keyword."""
    return {"podkit_wire": wire}


def as_tuple(value: Iterable[Any]) -> tuple[Any, ...]:
    """Any sequence as a tuple: what wire classes keep."""
    return tuple(value)
