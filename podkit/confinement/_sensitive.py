"""Names that programs obey: what is written there is run or believed later, outside of any scope. podkit's tools leave them be."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podkit.confinement._form import Look

_GIT: Final = ".git"
# With everything in them.
_DIRECTORIES: Final = {
    ".claude": "an agent's settings",
    ".codex": "an agent's settings",
    ".cursor": "an agent's settings",
    ".gemini": "an agent's settings",
    ".vscode": "an editor's settings",
    ".idea": "an editor's settings",
    ".ssh": "who may log in, and how",
}
_FILES: Final = {
    ".gitmodules": "what git fetches and runs",
    ".gitconfig": "git's settings",
    ".mcp.json": "which servers an agent starts",
    ".claude.json": "an agent's settings",
    ".envrc": "a shell runs it on the way",
}
_SHELL: Final = re.compile(
    r"\.(?:(?:bash|zsh|ksh|csh|tcsh)rc|bash_(?:profile|login|logout|aliases)|profile|login|z(?:profile|shenv|log(?:in|out)))"
)
# Of a repository: directories with everything in them, and files.
_IN_GIT: Final = {
    "hooks": "git runs what is in it",
    "rebase-merge": "git runs what is in it",
    "config": "git's settings name programs",
    "config.worktree": "git's settings name programs",
    "commondir": "it says where git's settings are",
    "gitdir": "it says where git's settings are",
}
_ITSELF = "a repository's settings and hooks come with it"
_SKIPPED: Final = frozenset(["node_modules"])
# Characters that some file systems leave out of a name: with them in it, it is the same name all the same.
_UNSEEN = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


def sensitive(path: str) -> str | None:
    """Why podkit's own tools do not write, make, remove or rename what is at `path`, there or not; None when they may.

    `path` is absolute and normal. Sensitive are, at any depth and in any case: `.git` itself, and in it hooks, settings and what
    says where these are, in the repositories of submodules and worktrees as well; settings of agents and editors, `.envrc`, and
    the files that shells run when they start. Everything else in `.git` is ordinary.
    """
    parts = _folded(path).split("/")
    for place, part in enumerate(parts):
        why = _DIRECTORIES.get(part)
        if why is None and place == len(parts) - 1:
            why = "a shell runs it when it starts" if _SHELL.fullmatch(part) else _FILES.get(part)
        if why is None and part == _GIT:
            why = _in_git(parts[place + 1 :])
        if why is not None:
            return why
    return None


def made_sensitive(path: str) -> str | None:
    """The same for a directory or link that is made at `path`, or gets that name: what is in it comes with it. None when it may.

    So in `.git` the directories that lead to what is sensitive may not be exchanged either.
    """
    why = sensitive(path)
    if why is None and _leads(_folded(path).split("/")):
        why = _ITSELF
    return why


def existing_sensitive(look: Look, roots: Sequence[str], limit: int = 5000) -> tuple[str, ...]:
    """What is sensitive and there, below `roots`: nearest first, looking at no more than `limit` entries.

    Not looked into: links, `node_modules`, and of `.git` what holds nothing sensitive. `.git` itself is among them only when it is
    a file, since programs like git write in it.
    """
    found: list[str] = []
    # And whether it is in a repository's own directory.
    left = deque((root.rstrip("/"), _GIT in _folded(root).split("/")) for root in roots)
    seen = 0
    while left and seen < limit:
        directory, in_git = left.popleft()
        for entry in look.entries(directory or "/")[: limit - seen]:
            seen += 1
            path, name, is_directory = f"{directory}/{entry.name}", entry.name, entry.kind == "dir"
            if entry.kind == "link":
                continue
            if in_git or name.startswith(".") or not name.isascii():  # only these can be sensitive
                name = _folded(name)
                if sensitive(path) and not (is_directory and name == _GIT):
                    found.append(path)
                    continue
            if is_directory and name not in _SKIPPED and not (in_git and not _leads(_folded(path).split("/"))):
                left.append((path, in_git or name == _GIT))
    return tuple(found)


def _in_git(rest: list[str]) -> str | None:
    if not rest:
        return _ITSELF
    if rest[0] in ("modules", "worktrees"):
        # The name of a submodule may have several parts, so these are looked for at any depth.
        return next((_IN_GIT[part] for part in rest[1:] if part in _IN_GIT), None)
    if rest[:2] == ["info", "attributes"]:
        return "it says which programs git runs on files"
    return _IN_GIT.get(rest[0])


def _leads(parts: list[str]) -> bool:
    """Whether what is in a directory of this name belongs to what is sensitive in a repository."""
    if _GIT not in parts:
        return False
    rest = parts[parts.index(_GIT) + 1 :]
    return rest[:1] in (["modules"], ["worktrees"]) or rest == ["info"]


def _folded(name: str) -> str:
    """A name as a file system sees it that tells no case apart."""
    return name.casefold() if name.isascii() else name.translate(_UNSEEN).casefold()
