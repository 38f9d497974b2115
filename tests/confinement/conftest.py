"""The grounds: a tree with everything in it that leads elsewhere, and `Files` over the scope of the corpus."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from podkit._os import has_openat2
from podkit.confinement import Files, Gate
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

FILES = {
    "w/f": "in w",
    "w/.git/config": "git",
    "w/priv/note": "private",
    "w/d/f": "deep",
    "r/f": "in r",
    "n/f": "in n",
    "n/k/f": "below n",
    "s/key": "secret",
    "s/dir/x": "x",
    "w-evil/f": "evil",
    "w2/f": "two",
    "W/f": "big",
}
LINKS = {
    "w/ld": "{}/s",
    "w/l": "{}/s/key",
    "w/rl": "../s/key",
    "w/in": "f",
    "w/dang": "{}/s/new",
    "w/loop": "loop",
    "w/c1": "c2",
    "w/c2": "c3",
    "w/c3": "../s/key",
    "w/abs": "/etc/passwd",
    "r/up": "../w",
}
LIMIT = 8 * 2**20


class Grounds:
    """`files` and what is around them. Names are relative to the directory `top`."""

    def __init__(self, top: str, kernel: bool) -> None:
        self.top, self.kernel, self.gate = top, kernel, Gate()
        for name, content in FILES.items():
            self.put(name, content)
        for name, target in LINKS.items():
            os.symlink(target.format(top), self.path(name))
        allow = [
            ScopeRule(self.path("w"), Permission.WRITE),
            ScopeRule(self.path("r"), Permission.READ),
            ScopeRule(self.path("n"), Permission.WRITE, recursive=False),
        ]
        deny = [ScopeRule(self.path("w/.git"), Permission.WRITE), ScopeRule(self.path("w/priv"), Permission.READ)]
        self.scope = Scope(allow=allow, deny=deny)
        self.committed = 0
        self.files = self.make()

    def make(self, **more) -> Files:
        given = {"cwd": self.path("w"), "control": [self.path("w/run")], "max_bytes": LIMIT, "kernel": self.kernel}
        given["committed"] = self._commit
        return Files(scope=lambda: self.scope, gate=self.gate, **(given | more))

    async def _commit(self) -> None:
        self.committed += 1

    def path(self, name: str) -> str:
        return f"{self.top}/{name}" if name else self.top

    def put(self, name: str, content: str | bytes = "") -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def get(self, name: str) -> str:
        return Path(self.path(name)).read_text()

    def size(self, name: str) -> int | None:
        """How many bytes a file has; None when there is none."""
        return os.path.getsize(self.path(name)) if os.path.exists(self.path(name)) else None

    def holds(self, name: str, content: bytes) -> bool:
        """Whether a file is there with exactly this content."""
        return self.size(name) == len(content) and Path(self.path(name)).read_bytes() == content

    def seen(self) -> dict[str, str | None]:
        """Everything there is: names, what links say, what files hold."""
        found: dict[str, str | None] = {}
        for at, dirs, files in os.walk(self.top):
            for name in dirs + files:
                path = os.path.join(at, name)
                kind = "link " + os.readlink(path) if os.path.islink(path) else None
                if kind is None and os.path.isfile(path):
                    with open(path, "rb") as file:
                        kind = f"{file.read(100)!r} of {os.path.getsize(path)}"
                found[os.path.relpath(path, self.top)] = kind
        return found


@pytest.fixture
def top():
    directory = os.path.realpath(tempfile.mkdtemp(prefix="pk"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["openat2", "steps"])
def grounds(request, top):
    kernel = request.param == "openat2"
    if kernel and not has_openat2():
        pytest.skip("no openat2 here")
    grounds = Grounds(top, kernel)
    before = set(os.listdir("/proc/self/fd"))
    yield grounds
    assert set(os.listdir("/proc/self/fd")) <= before, "descriptors were left open"
    assert grounds.gate.busy == ()
    assert not [name for name in grounds.seen() if ".podkit-" in name], "a temporary file was left"
