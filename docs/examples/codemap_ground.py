"""The ground codemap.py stands on: the tree it works in, and the proof that nothing else is left of a run."""

from __future__ import annotations

import email
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codemap_plan import MARK, Job, Part, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from codemap_screen import Seen

    from podkit.logic import Allocation

MAX_TASK = 900_000  # a task travels as one method, which may have 1 MiB


@contextmanager
def ground(directory: str | None, *, keep: bool) -> Iterator[str]:
    """The tree to map, by its real path: the one given, or a copy of `email` that is removed afterwards unless `keep`."""
    if directory is not None:
        yield os.path.realpath(directory, strict=True)
        return
    above = os.path.realpath(tempfile.mkdtemp(prefix="codemap-"))
    try:
        root = os.path.join(above, "email")
        shutil.copytree(Path(email.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))
        yield root
    finally:
        if keep:
            print(f"kept: {above}")
        else:
            shutil.rmtree(above, ignore_errors=True)


def plan(root: str) -> tuple[Part, ...]:
    """The parts of the tree, with absolute paths. `ValueError` when it cannot be mapped; nothing is touched then."""
    parts = tuple(part.at(root) for part in split(find_files(root)))
    for page in (os.path.join(root, "CODEMAP.md"), *(page for part in parts for page in part.pages())):
        if os.path.lexists(page) and not (os.path.isfile(page) and Path(page).read_bytes().startswith(MARK.encode())):
            raise ValueError(f"{page} is there already, and codemap.py did not write it")
    for part in parts:
        if len(Job(root, part).to_json()) > MAX_TASK:
            raise ValueError(
                f"the part {part.name} has too many files ({len(part.files)}) for one task; map its directories one by one"
            )
    return parts


def find_files(root: str) -> list[str]:
    """The Python files below `root`, relative and sorted; links and hidden directories are passed by."""
    found = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__pycache__" and sayable(name))
        for name in files:
            path = os.path.join(directory, name)
            if name.endswith(".py") and sayable(name) and os.path.isfile(path) and not os.path.islink(path):
                found.append(os.path.relpath(path, root))
    return sorted(found)


def sayable(name: str) -> bool:
    """Whether a file name is text: a task is JSON, and a name that is not UTF-8 cannot be said in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def leftovers(table: Iterable[Allocation], directory: str | None, seen: Iterable[Seen]) -> list[str]:
    """What there still is of the pods that were seen: processes, leases, sockets, allocations. Empty when all went well.

    `table` is what the registry says now, `directory` is where it lies.
    """
    rows = {one.row.incarnation: one.row for one in seen}
    found = [f"allocation of {row.name}" for row in table if row.incarnation in rows]
    for row in rows.values():
        if row.pid is not None and row.pid != os.getpid() and runs(row.pid):
            found.append(f"process {row.pid} of {row.name}")
        if directory is not None and os.path.lexists(os.path.join(directory, ".leases", row.key)):
            found.append(f"lease of {row.name}")
        path = row.address.removeprefix("unix://")
        if os.path.lexists(path):
            found.append(f"socket of {row.name}")
        if row.run_dir is not None and os.path.lexists(os.path.join(row.run_dir, row.name)):
            found.append(f"directory of {row.name}")
    return found


def runs(pid: int) -> bool:
    """Whether a process of this number is there, be it a zombie of ours. One that only its new parent has to bury counts as gone:
    after a pod was killed, what it leaves behind belongs to the system."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # somebody else's: the number was given away again
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, parent = file.read().rpartition(")")[2].split()[:2]
    except OSError:  # it went just now, or this system has no such file
        return os.path.isdir(f"/proc/{pid}") or not os.path.isdir("/proc/self")
    return state not in "ZX" or int(parent) == os.getpid()
