"""Confine yourself as told, run every probe, and print what became of each: {probe: "ok" or an errno's name}."""

import errno
import json
import os
import pty
import sys

import files_probes
import other_probes
import outside
import tries
from _kernel import _landlock, _namespaces, _process, _seccomp

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the copy of the package and of these programs
TOP, SETUP = sys.argv[1], sys.argv[2].split()


def system():
    """What a program needs to run at all."""
    wanted = ("/usr", "/etc", "/bin", "/lib", "/lib64", "/sys", sys.prefix, sys.base_prefix)
    return sorted({HERE, *(path for path in map(os.path.realpath, wanted) if os.access(path, os.R_OK))})


R = _landlock.Rule


class Yard:
    def __init__(self, world):
        self.outside, self.d = world, TOP
        self.w, self.r, self.s = (f"{TOP}/{name}" for name in "wrs")


def restrict(shared):
    rules = [R(path, "read") for path in (*system(), "/proc", f"{TOP}/r")]
    rules += [R(f"{TOP}/w", "write"), R("/dev/null", "edit"), R("/dev/urandom", "read")]
    if shared:
        rules.append(R("/dev/shm", "write"))
    _landlock.restrict(rules, network="network" in SETUP)


def confine(shared=False):
    if "capable" not in SETUP:
        _process.drop_capabilities(_process.KEEP_AS_ROOT if os.geteuid() == 0 else ())
    _process.no_new_privileges()
    restrict(shared)
    if "landlock" not in SETUP:
        _seccomp.install(
            unix_sockets="sockets" in SETUP,
            network="network" in SETUP,
            strict="strict" in SETUP,
            attributes="attributes" in SETUP,
        )


def main():
    world = outside.Outside(TOP)
    _, tries.TERMINAL = pty.openpty()
    if "root" in SETUP:
        _namespaces.enter(user=os.geteuid() != 0)
        _namespaces.private_root([*((path, False) for path in (*system(), f"{TOP}/r")), (f"{TOP}/w", True)])
        first = os.fork()
        if first:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
        assert _namespaces.mount_proc()
        if inner := os.fork():
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
    confine()
    found, yard = {}, Yard(world)
    for name, probe in (files_probes.PROBES | other_probes.PROBES).items():
        try:
            probe(yard)
            found[name] = "ok"
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno, str(error))
    print(json.dumps(found))
