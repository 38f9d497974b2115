"""The pages on writing one's own parts: what stands on them, taken literally, keeps the contract it is about."""

import importlib.util
import itertools
import re
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

import podkit
from podkit.testing import check_launcher, check_registry, check_transport
from podkit_transports import UnixTransport

PAGES = Path(__file__).parent.parent.parent / "docs" / "how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_numbers = itertools.count()


@pytest.fixture
def built(tmp_path):
    """A module made of all the Python that stands on a page, in the order of the page."""
    made = []

    def build(page):
        file = tmp_path / "page.py"
        file.write_text("\n".join(BLOCK.findall((PAGES / page).read_text())))
        name = f"page_{next(_numbers)}"
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        made.append(name)
        spec.loader.exec_module(module)
        return module

    yield build
    for name in made:
        del sys.modules[name]


def subclass(module, kind):
    """The one class of that kind that the page defines."""
    (found,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__
    ]
    return found


def in_virtual_time(check):
    trio.run(check, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_transport_of_the_page_keeps_the_contract(built):
    kind = subclass(built("write-a-transport.md"), podkit.abc.Transport)
    in_virtual_time(lambda: check_transport(lambda: kind(podkit.MemoryTransport())))


def test_the_registry_of_the_page_keeps_the_contract(built):
    module = built("write-a-registry.md")
    kind = subclass(module, podkit.abc.Registry)
    in_virtual_time(lambda: check_registry(lambda: kind(module.Shelf()), make_second=module.another))


async def test_pods_live_by_the_registry_of_the_page(built):
    module = built("write-a-registry.md")
    shelf, transport = module.Shelf(), podkit.MemoryTransport()

    class Quiet(podkit.abc.Worker):
        async def work(self, run, emit):
            pass

    def opened(name, target):
        return podkit.open_pod(
            name,
            Quiet(),
            scope=podkit.Scope.write(target),
            transport=transport,
            registry=module.ShelfRegistry(shelf),
            confinement="advisory",
        )

    with trio.fail_after(20):
        async with opened("one", "/w/a") as one:
            child = await one.spawn("kid", scope=podkit.Scope.write("/w/a/b"), launcher=podkit.TaskLauncher(Quiet))
            with pytest.raises(podkit.WriteConflictError):
                async with opened("two", "/w/a/b/c"):
                    pass
            await child.stop()
        async with opened("two", "/w/a/b/c"):
            pass
    assert not await module.ShelfRegistry(shelf).table()


async def test_the_launcher_of_the_page_keeps_the_contract(built):
    kind = subclass(built("write-a-launcher.md"), podkit.abc.Launcher)
    with trio.fail_after(90):
        await check_launcher(lambda child: kind(child.argv), transport=UnixTransport, registry=podkit.FileRegistry)


def test_a_page_that_broke_its_contract_would_be_noticed(built, monkeypatch):
    module = built("write-a-registry.md")

    async def held(self, key):
        await trio.lowlevel.checkpoint()
        return key in self.shelf.leases

    monkeypatch.setattr(module.ShelfRegistry, "held", held)
    with pytest.raises(AssertionError, match=r"^R\d+: "):
        in_virtual_time(lambda: check_registry(lambda: module.ShelfRegistry(module.Shelf()), make_second=module.another))
