"""Log entries as JSON values and as bytes."""

from typing import Any, Final, get_args

import msgspec

from podkit.errors import LocalProtocolError, RemoteProtocolError, shown

from ._compound_shapes import TaggedShape
from ._derive import tagged_shape
from ._entries import LogEntry
from ._items import LoggedItem, SystemItem
from ._json import MAX_DEPTH, MismatchError, check_json, check_text, nested_too_deep
from ._methods_codec import finish

# An entry that is kept must fit into a snapshot: there it is in an array, in the data of a frame.
MAX_LEVELS: Final = MAX_DEPTH - 3
_ENTRY: Final[TaggedShape] = tagged_shape(get_args(LogEntry), lax=True)
_LOGGED: Final[TaggedShape] = tagged_shape(get_args(LoggedItem), lax=True)
_SYSTEM: Final[TaggedShape] = tagged_shape(get_args(SystemItem), lax=True, lenient=True)
_decode = msgspec.json.Decoder().decode


def encode_entry(entry: LogEntry) -> bytes:
    """A log entry as one JSON object in bytes, no newline. Raises `LocalProtocolError`, also for what no snapshot could carry."""
    return finish(entry_to_data(entry), most=MAX_LEVELS)


def decode_entry(data: bytes) -> LogEntry:
    """The log entry in one JSON object. An unknown kind is an `UnknownEntry`. Raises `RemoteProtocolError`."""
    head = bytes(data[:128])
    check_text(data)
    if nested_too_deep(data, most=MAX_LEVELS):
        raise RemoteProtocolError(f"nested deeper than {MAX_LEVELS} levels, or not JSON", head)
    try:
        entry: LogEntry = _read(_ENTRY, _decode(data))
    except (msgspec.MsgspecError, MismatchError) as error:
        raise RemoteProtocolError(f"not a log entry: {shown(str(error), 200)}", head) from None
    return entry


def entry_to_data(entry: LogEntry) -> dict[str, Any]:
    """A log entry as plain JSON values, as `Snapshot.entries` and `SegmentRotated.entry` hold them. Raises `LocalProtocolError`."""
    made: dict[str, Any] = _write(_ENTRY, entry)
    return made


def entry_from_data(data: object) -> LogEntry:
    """The log entry that plain JSON values stand for. Raises `RemoteProtocolError`."""
    made: LogEntry = _from_data(_ENTRY, data, "a log entry")
    return made


def logged_item_to_data(item: LoggedItem) -> dict[str, Any]:
    """A logged item as plain JSON values. Raises `LocalProtocolError`."""
    made: dict[str, Any] = _write(_LOGGED, item)
    return made


def logged_item_from_data(data: object) -> LoggedItem:
    """The logged item that plain JSON values stand for. Raises `RemoteProtocolError`."""
    made: LoggedItem = _from_data(_LOGGED, data, "a logged item")
    return made


def system_item_to_data(item: SystemItem) -> dict[str, Any]:
    """A system item as plain JSON values. Raises `LocalProtocolError`."""
    made: dict[str, Any] = _write(_SYSTEM, item)
    return made


def system_item_from_data(data: object) -> SystemItem:
    """The system item that plain JSON values stand for; of an unexpected shape, an `UnknownItem`. Raises `RemoteProtocolError`."""
    made: SystemItem = _from_data(_SYSTEM, data, "a system item")
    return made


def _write(shape: TaggedShape, value: object) -> Any:
    try:
        return shape.write(value)
    except MismatchError as error:
        raise LocalProtocolError(f"{type(value).__name__}: {error}") from None


def _read(shape: TaggedShape, value: object) -> Any:
    check_json(value)
    return shape.read(value)


def _from_data(shape: TaggedShape, data: object, what: str) -> Any:
    try:
        return _read(shape, data)
    except MismatchError as error:
        raise RemoteProtocolError(f"not {what}: {error}") from None
