"""An order applied to a process that somebody else forked, as a tmux server does: `python -P -I -S _wrap.py ORDER`.

ORDER is the number of an inherited descriptor, or the path of a private file of this user, which is removed when it has been
read. This process becomes the program, with its own stdin, stdout and stderr: confined as in a ward, but nobody ends what it
leaves behind. When that fails it says so on stderr and exits with 127 (there is no such program) or 126, and nothing ran.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podkit._os._kernel import _namespaces, _tool
    from podkit._os._kernel._calls import KernelError
    from podkit._os._kernel._order import LIMIT, OrderError, read_order
else:  # run by path there is no podkit, only the files beside this one; last, so that nothing there hides a standard module
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from _kernel import _namespaces, _tool
    from _kernel._calls import KernelError
    from _kernel._order import LIMIT, OrderError, read_order


def take(where: str) -> bytes:
    """The bytes of the order. Raises `OSError` for a file that others could have written or read."""
    if where.isdigit():
        with open(int(where), "rb") as file:
            return file.read(LIMIT + 1)
    fd = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise OSError(errno.EPERM, "not a private file of this user", where)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(where)
        return file.read(LIMIT + 1)


def apply(order: dict[str, Any]) -> None:
    """Become the program. Mounts need a mount namespace, and that a user namespace unless we may do without."""
    apart = bool(order["mounts"] or order["binds"]) and order["namespaces"]
    if apart:
        try:
            _namespaces.enter(user=False, pid=False, mount=True)
        except KernelError:
            _namespaces.enter(user=True, pid=False, mount=True)
    _tool.calm_signals()
    _tool.become(order, namespaces=apart)


def main() -> int:
    """Returns only when it came to nothing."""
    try:
        apply(read_order(take(sys.argv[1])))
    except (KernelError, OrderError, OSError) as error:
        sys.stderr.write(f"podkit: {error}\n")
        return 127 if isinstance(error, KernelError) and (error.step, error.error) == ("exec", errno.ENOENT) else 126
    except IndexError:
        sys.stderr.write("podkit: which order?\n")
    return 126


if __name__ == "__main__":
    sys.exit(main())
