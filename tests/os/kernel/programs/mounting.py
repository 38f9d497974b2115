"""What the tests of mounts begin with."""

import json
import os
import stat
import sys

from _kernel import _namespaces, _process
from _kernel._calls import KernelError
from _kernel._namespaces import Mount, enter, mount_all, mount_proc, private_root
from tries import call, in_child, read, write

__all__ = ["KernelError", "Mount", "USER", "call", "drop", "enter", "in_child", "json", "mount_all", "mount_proc", "mounts"]
__all__ += ["_namespaces", "_process", "os", "outcome", "private_root", "read", "refusal", "stat", "sys", "tell", "top", "write"]
top = sys.argv[1] if len(sys.argv) > 1 else ""
USER = os.geteuid() != 0


def refusal(action, *args):
    try:
        action(*args)
    except KernelError as error:
        return [error.step, error.error, error.path]


def outcome(action):
    try:
        return action() or "ok"
    except OSError as error:
        return error.errno


def mounts(*pairs):
    mount_all([Mount(f"{top}/{name}", how) for name, how in pairs])


def drop():
    _process.drop_capabilities(_process.KEEP_AS_ROOT if not USER else ())


def tell(*values):
    print(json.dumps(values))
