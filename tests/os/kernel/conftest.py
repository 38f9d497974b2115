"""Whoever runs the kit: a bare interpreter in a process of its own, as the superuser and as somebody who is nobody."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import pytest

from podkit._os._kernel import _landlock, _seccomp

KIT = Path(_landlock.__file__).parent
PROGRAMS = Path(__file__).parent / "programs"
NOBODY = 65534
SETPRIV = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin"]


@attrs.frozen
class Somebody:
    """A user who runs programs that have the package at hand as `_kernel`."""

    uid: int
    kit: str
    command: list[str]

    def run(self, source: str, *args: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        start = f"import sys; sys.path[:0] = [{self.kit!r}, {self.kit + '/programs'!r}]\n"
        command = [*self.command, "-I", "-S", "-c", start + source, *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd="/")

    def tells(self, source: str, *args: str):
        """What the program printed, read as JSON. It must have ended well."""
        done = self.run(source, *args)
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def own(self, path: str) -> None:
        for at, names, files in os.walk(path):
            for name in ("", *names, *files):
                os.chown(os.path.join(at, name), self.uid, -1, follow_symlinks=False)


@pytest.fixture(scope="session")
def kit():
    """The package where everybody can read it."""
    directory = tempfile.mkdtemp(prefix="pk")
    os.chmod(directory, 0o755)
    for name, source in (("_kernel", KIT), ("programs", PROGRAMS)):
        shutil.copytree(source, f"{directory}/{name}", ignore=shutil.ignore_patterns("__pycache__"))
    yield directory
    shutil.rmtree(directory)


def somebody(kit: str, name: str) -> Somebody:
    if name == "ourselves":
        return Somebody(os.geteuid(), kit, [sys.executable])
    if os.geteuid() != 0:
        pytest.skip("only the superuser can become somebody else")
    if shutil.which("setpriv") is None or not os.path.exists("/usr/bin/python3"):
        pytest.skip("needs setpriv (package util-linux) and /usr/bin/python3 (package python3)")
    return Somebody(NOBODY, kit, [*SETPRIV, "/usr/bin/python3"])


@pytest.fixture(params=["ourselves", "nobody"], scope="module")
def who(request, kit):
    return somebody(kit, request.param)


@pytest.fixture(scope="module")
def ourselves(kit):
    return somebody(kit, "ourselves")


@pytest.fixture(scope="session", autouse=True)
def _kernel_has_it():
    if _landlock.abi() < 6 or not _seccomp.supported():
        pytest.skip("needs Landlock 6 (Linux 6.12) and seccomp")


@pytest.fixture(scope="module")
def has_namespaces(who):
    """Whether this user may have them here."""
    source = "import json; from _kernel import _namespaces as n; print(json.dumps(n.available(user=sys.argv[1] != '0')))"
    return who.tells(source, str(who.uid))


@pytest.fixture
def namespaces(has_namespaces):
    if not has_namespaces:
        pytest.skip("namespaces are not to be had by this user here")


def make_yard(who: Somebody) -> str:
    """`w` may be written, `r` may be read, `s` is secret; they belong to `who`."""
    top = os.path.realpath(tempfile.mkdtemp(prefix="pk"))
    os.chmod(top, 0o755)
    for name in ("w/sub", "w/deep/er", "r/sub", "s/dir"):
        os.makedirs(f"{top}/{name}")
    for name in ("w/a", "w/x", "w/sub/b", "w/deep/er/f", "r/a", "r/sub/f", "s/key"):
        Path(f"{top}/{name}").write_text("content")
    for name in ("w/exe", "s/exe"):
        Path(f"{top}/{name}").write_text("#!/bin/sh\nexit 0\n")
        os.chmod(f"{top}/{name}", 0o755)
    os.symlink(f"{top}/s/key", f"{top}/w/l")
    os.symlink(f"{top}/s", f"{top}/w/ld")
    os.symlink("../s/new", f"{top}/w/dang")
    who.own(top)
    return top


@pytest.fixture
def yard(who):
    top = make_yard(who)
    yield top
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def found(who):
    """found(setup) -> what became of every probe of a process confined like that; each setup is run once."""
    known: dict[str, dict[str, str]] = {}

    def find(setup: str) -> dict[str, str]:
        if setup not in known:
            top = make_yard(who)
            try:
                known[setup] = who.tells("import confined; confined.main()", top, setup)
            finally:
                shutil.rmtree(top)
        return known[setup]

    return find
