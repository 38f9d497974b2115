"""A small tree with everything in it that leads elsewhere, and a judge that knows one directory."""

import os
import shutil
import tempfile
from pathlib import Path

import attrs
import pytest

from podkit._os import Place, Root, has_openat2
from podkit.errors import AccessDeniedError
from podkit.protocol import Permission


@attrs.define
class Yard:
    """`w` may be changed, `r` may be read, everything else is out of bounds."""

    top: str
    root: Root
    asked: list = attrs.field(factory=list)

    def path(self, name: str) -> str:
        return f"{self.top}/{name}"

    def put(self, name: str, content: str = "") -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return str(path)

    def get(self, name: str) -> str:
        return Path(self.path(name)).read_text()

    def judge(self, place: Place, asked: Permission, /, *, whole: bool = False) -> None:
        self.asked.append((place.path, asked, whole))
        path = place.path + "/"
        held = Permission.NONE
        if path.startswith(self.path("r/")):
            held = Permission.READ
        if path.startswith(self.path("w/")):
            held = Permission.WRITE
        if held < asked:
            raise AccessDeniedError(place.path, asked)

    def only(self, name: str):
        """A judge that allows one path and nothing beside it."""

        def judge(place: Place, asked: Permission, /, *, whole: bool = False) -> None:
            if place.path != self.path(name):
                raise AccessDeniedError(place.path, asked)

        return judge

    def names(self) -> set[str]:
        return {os.path.relpath(os.path.join(at, name), self.top) for at, dirs, files in os.walk(self.top) for name in dirs + files}


@pytest.fixture
def top():
    directory = os.path.realpath(tempfile.mkdtemp(prefix="pk"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["openat2", "steps"])
def yard(request, top):
    kernel = request.param == "openat2"
    if kernel and not has_openat2():
        pytest.skip("no openat2 here")
    with Root(kernel=kernel) as root:
        yard = Yard(top, root)
        for name, content in {"w/f": "file", "w/d/f": "deep", "r/f": "read", "s/key": "secret", "s/dir/x": "x"}.items():
            yard.put(name, content)
        links = {
            "w/in": "f",
            "w/ind": "d",
            "w/l": yard.path("s/key"),
            "w/ld": yard.path("s"),
            "w/rl": "../s/key",
            "w/dang": "../s/new",
            "w/fresh": "born",
            "w/loop": "loop",
            "w/abs": "/etc/passwd",
            "r/up": "../w",
            "w/slash": "f/",
        }
        for name, target in links.items():
            os.symlink(target, yard.path(name))
        before = set(os.listdir("/proc/self/fd"))
        yield yard
        assert set(os.listdir("/proc/self/fd")) <= before, "descriptors were left open"
