"""Two programs and one registry: whatever the first one is at, the second looks, and neither may notice anything odd.

Before and after every call that the first makes on the disk, and in the middle of every write, the second reads the registry
and tries to open a tree of its own. What it sees is what was there before the change or after it; what the first was told
stays true.
"""

import tempfile
import threading

import trio

from podkit._os._disk import Disk
from podkit._store import FileRegistry
from podkit.errors import RegistryBusyError
from podkit.logic import Scope, decide_adopt, decide_birth, decide_free, decide_root


class Watched(Disk):
    """A disk on which somebody looks around at every call. A write is not one moment: it is looked at when half of it is there."""

    look = None

    def _seen(self):
        look, self.look = self.look, None
        if look is not None:
            look()
            self.look = look

    def write(self, fd, data):
        half = len(data) // 2
        written = super().write(fd, data[:half])
        self._seen()
        return written + super().write(fd, data[half:])


def _looked_at(name):
    real = getattr(Disk, name)

    def call(self, *args, **more):
        self._seen()
        try:
            return real(self, *args, **more)
        finally:
            self._seen()

    return call


for _name in ("pread", "pwrite", "truncate", "rename", "unlink", "mkfifo", "lock", "unlock"):
    setattr(Watched, _name, _looked_at(_name))


class Second:
    """The other program, which has a thread of its own each time it looks."""

    def __init__(self, directory):
        self.directory = directory
        self.registry = FileRegistry(directory, lock_timeout=0.005)
        self.patient = FileRegistry(directory, lock_timeout=0.08)  # long enough to pass by whoever stands still in the line
        self.states, self.trouble, self.number = [], None, 0

    def look(self):
        thread = threading.Thread(target=self._run)
        thread.start()
        thread.join()
        if self.trouble is not None:
            raise self.trouble

    def _run(self):
        try:
            trio.run(self._look)
        except BaseException as error:  # noqa: BLE001 - raised again by the first program
            self.trouble = error

    async def _look(self):
        for registry in (self.registry, self.patient):
            registry._log._turns.reset()  # each look is another run of trio
        try:
            self.number += 1
            seen = firsts(await self.registry.rows())
            assert seen in self.states, f"the second program sees {seen}, and there was never more than {self.states}"
            if self.number % 5 == 0:
                await self.patient.transact(self._open)
        except RegistryBusyError:
            pass

    def _open(self, table):
        name = f"second{self.number}"
        scope = Scope.write(f"/{name}")
        return decide_root(table, name=name, tree=name, incarnation=name, scope=scope, address="memory://x", since=1.0)


def firsts(table):
    """The pods of the first program."""
    return {row.name for row in table if not row.name.startswith("second")}


async def _changes(registry, second):
    async def change(after, decide):
        second.states = [second.states[-1], after]
        table = await registry.transact(decide)
        assert firsts(table) == after
        second.states = [after]
        assert firsts(await registry.rows()) == after

    lease = await registry.hold("root.1")
    scope = Scope.write("/w")
    more = {"address": "memory://x", "since": 1.0}
    await change({"root"}, lambda table: decide_root(table, name="root", tree="t", incarnation="1", scope=scope, **more))
    for name in ("a", "b"):
        child = Scope.write(f"/w/{name}")
        held = await registry.hold(f"{name}.{name}1")
        await change(
            second.states[-1] | {name},
            lambda table, name=name, child=child: decide_birth(
                table, parent="1", name=name, incarnation=f"{name}1", scope=child, **more
            ),
        )
        await change(second.states[-1], lambda table, name=name: decide_adopt(table, name=name, incarnation=f"{name}1"))
        held.release()
    await change({"root", "b"}, lambda table: decide_free(table, incarnation="a1", author="1"))
    lease.release()


def readers(_seeds):
    """Whether the two get in each other's way."""
    with tempfile.TemporaryDirectory(prefix="pk") as directory:
        disk = Watched()
        first = FileRegistry(directory, _disk=disk, lock_timeout=1.0)
        second = Second(directory)
        second.states = [set()]
        trio.run(first.rows)
        disk.look = second.look
        try:
            trio.run(_changes, first, second)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            print(f"{type(error).__name__}: {error}")
            return True
    return False
