"""Whether a directory is on a file system of another machine, where locks and pipes do not mean what they mean here."""

from __future__ import annotations

import os

_MOUNTS = "/proc/self/mountinfo"
_NETWORK = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "ocfs2", "gfs2", "beegfs", "glusterfs", "fuse.sshfs"]
)


def network_filesystem(path: str) -> str | None:
    """The type of the network file system that `path` is on; None when it is on none, or that cannot be told. Raises `OSError`."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as mounts:
            lines = mounts.read().splitlines()
    except OSError:
        return None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        kind = rest.partition(" ")[0]
        if kind in _NETWORK and fields.split()[2:3] == [wanted]:
            return kind
    return None
