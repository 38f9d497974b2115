"""A control group for one call, where this user may make one: its processes are killed together, however fast they fork."""

from __future__ import annotations

import contextlib
import os

_PREFIX = "podkit-"


def home() -> str | None:
    """The directory of our own control group (version 2) or None if none can be made there. Removes what the dead left."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            own = next((line[3:].rstrip("\n") for line in file if line.startswith("0::/")), None)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [(fields[fields.index("-") + 1], fields[3], fields[4]) for fields in map(str.split, file)]
    except (OSError, ValueError, IndexError):
        return None
    points = [point for kind, root, point in mounts if (kind, root) == ("cgroup2", "/")]
    if own is None or not points:
        return None
    directory = points[-1] + own.rstrip("/")
    _clear(directory)
    trial = make(directory)
    if trial is None:
        return None
    usable = os.access(f"{trial}/cgroup.procs", os.W_OK) and os.access(f"{trial}/cgroup.kill", os.W_OK)
    remove(trial)
    return directory if usable else None


def name(directory: str, nanny: int, ward: int) -> str:
    """The group of that ward of that nanny."""
    return f"{directory}/{_PREFIX}{nanny}-{ward}"


def make(directory: str) -> str | None:
    """A new group, named after this process and its parent; None when there can be none."""
    group = name(directory, os.getppid(), os.getpid())
    try:
        os.mkdir(group)
    except OSError:
        return None
    return group


def enter(group: str) -> bool:
    """Move this process into the group. What it starts is in there too."""
    return _write(f"{group}/cgroup.procs", b"0")


def kill(group: str) -> bool:
    """Kill everybody in the group, and whoever is being forked right now. They are not gone yet when this returns."""
    return _write(f"{group}/cgroup.kill", b"1")


def remove(group: str) -> bool:
    """Remove the group if nobody is in it. Answers whether it is gone."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _clear(directory: str) -> None:
    with contextlib.suppress(OSError):
        for entry in os.listdir(directory):
            maker = entry.removeprefix(_PREFIX).partition("-")[0]
            if entry.startswith(_PREFIX) and maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
                remove(f"{directory}/{entry}")


def _write(path: str, data: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, data)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
