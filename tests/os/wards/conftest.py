"""Real wards of a real nanny, with namespaces and without, and the small programs that try to outlive them."""

import os
import sys
import sysconfig
from pathlib import Path

import attrs
import pytest
import trio

from podkit._os._wards import Order, Wards

PROGRAMS = Path(__file__).parent / "programs"
_PLACES = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"])}
_SYSTEM = [
    path for path in ("/usr", "/etc", "/proc", "/bin", "/lib", "/lib64") if os.path.exists(path) and not os.path.islink(path)
]
RULES = tuple((path, "read", None) for path in _SYSTEM)
RULES += (*((path, "read", None) for path in sorted(_PLACES)), ("/dev/null", "edit", None), (str(PROGRAMS), "read", None))


@attrs.frozen
class Yard:
    """Where wards are opened: `wards` with or without `namespaces`, in the directory `top`."""

    wards: Wards
    namespaces: bool
    top: Path

    def order(self, *argv, level="advisory", rules=(), env=(), **rest) -> Order:
        rest = {"cwd": str(self.top), "namespaces": self.namespaces, **rest}
        rules = () if level == "advisory" else (*RULES, (str(self.top), "write", None), *rules)
        return Order(argv=argv, env={"PATH": os.environ["PATH"], **dict(env)}, level=level, rules=rules, **rest)

    def python(self, name, *arguments, **rest) -> Order:
        """An order for one of the programs beside this file."""
        return self.order(sys.executable, "-I", "-S", str(PROGRAMS / name), *map(str, arguments), **rest)

    async def run(self, order, **rest):
        """Run it to its end: (status, stdout, stderr, who is left)."""
        async with await self.wards.open(order, **rest) as ward:
            return await self.finish(ward)

    async def finish(self, ward):
        """Read a ward to its end."""
        said = {}

        async def keep(name):
            said[name] = b"".join([bytes(chunk) async for chunk in getattr(ward, name)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, "stdout")
            nursery.start_soon(keep, "stderr")
            status = await ward.wait()
            left = await ward.ended()
        return status, said["stdout"], said["stderr"], left

    async def leave(self, how, **rest) -> set[int]:
        """Run a program that leaves a daemon behind; answer who is left of it once its tree is said to have ended."""
        mark, file = f"{self.top}/{how}", self.top / f"{how}.pids"
        status, _, trouble, left = await self.run(self.python("daemon.py", mark, how, file, **rest))
        assert (status, trouble, left) == (0, b"", ())
        assert file.read_text().strip()
        return with_argument(mark)


def with_argument(mark: str) -> set[int]:
    """Every process that has `mark` among its arguments and has not ended."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                arguments = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")  # empty for who has ended
            except OSError:
                continue
            if mark.encode() in arguments:
                found.add(int(name))
    return found


@pytest.fixture
def processes():
    return with_argument


@pytest.fixture
def until():
    """Look until it is so."""

    async def look(condition):
        with trio.fail_after(15):
            while not condition():  # noqa: ASYNC110 - nothing tells of what other processes do
                await trio.sleep(0.005)

    return look


@pytest.fixture(params=["namespaces", "no namespaces"])
async def yard(request, short_dir):
    namespaces = request.param == "namespaces"
    trouble = short_dir / "nanny.log"
    top = short_dir / "top"
    top.mkdir()
    with trio.fail_after(30):
        wards = Wards(stderr=str(trouble))
        facts = await wards.facts()
        if namespaces and not facts.namespaces:
            pytest.skip("no namespaces for this user here")
        yield Yard(wards, namespaces, top)
        await wards.aclose()
    assert not os.path.exists(f"/proc/{facts.pid}")
    assert not trouble.exists() or trouble.read_text() == ""
