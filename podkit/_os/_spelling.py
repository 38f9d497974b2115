"""What can be said about a path without looking at a disk."""

from __future__ import annotations

import attrs

from podkit.errors import PathRefusedError

MAX_PATH = 4095  # bytes, PATH_MAX without its NUL
MAX_NAME = 255  # bytes
_SHORT = 255  # then no name in it is too long either
_ODD = ("//", "/.", "\0")


@attrs.frozen
class Spelling:
    """A path as somebody wrote it.

    `parts` may hold `..`, which only a walk can resolve; `shown` has them taken out by spelling alone. `directory`
    says that the path can only mean a directory, because it ends in `/`, `.` or `..`.
    """

    shown: str
    parts: tuple[str, ...]
    directory: bool


def spell(path: object, *, cwd: str) -> Spelling:
    """Take `path` apart; one that does not start with `/` starts at `cwd`.

    `.` and repeated slashes mean nothing, and no name is expanded (`~`, `$HOME`, `file://` and `%2e` are names like any other).
    Raises `PathRefusedError` for what cannot be a path: not text, empty, a NUL, more than 4095 bytes, a part of more than 255.
    """
    if not isinstance(path, str):
        raise PathRefusedError(repr(path)[:200], "a path is text")
    if not path:
        raise PathRefusedError(path, "a path is not empty")
    if "\0" in path:
        raise PathRefusedError(path, "a path holds no NUL character")
    full = path if path.startswith("/") else f"{cwd}/{path}"
    parts = tuple(part for part in full.split("/") if part not in ("", "."))
    check_size(full, parts)
    shown: list[str] = []
    for part in parts:
        if part != "..":
            shown.append(part)
        elif shown:
            shown.pop()
    return Spelling("/" + "/".join(shown), parts, path.rpartition("/")[2] in ("", ".", ".."))


def plain(path: object, cwd: str) -> str | None:
    """`path` in full when there is nothing about it that would have to be thought about, as there is about most; else None."""
    if isinstance(path, str) and path:
        full = path if path[0] == "/" else f"{cwd}/{path}"
        if len(full) <= _SHORT and full.isascii() and full[-1] != "/" and not any(odd in full for odd in _ODD):
            return full
    return None


def check_size(path: str, parts: tuple[str, ...]) -> None:
    """Raise `PathRefusedError` for a path that is too long or is not text that can be written down."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise PathRefusedError(path, "a path is text without lone surrogates") from None
    if size > MAX_PATH:
        raise PathRefusedError(path, f"too long: a path has at most {MAX_PATH} bytes")
    if size > MAX_NAME and any(len(part.encode()) > MAX_NAME for part in parts):
        raise PathRefusedError(path, f"too long: a name in a path has at most {MAX_NAME} bytes")
