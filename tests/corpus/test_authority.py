"""Lending, returning and dying over real files: the rows of the tables that are more than one request."""

import ast
import os
import time
from pathlib import Path

import pytest
import trio

import podkit
import podkit.errors
from podkit.errors import (
    AccessDeniedError,
    DuplicatePodError,
    InvalidArgumentError,
    InvalidNameError,
    InvalidRuleError,
    RegistryError,
    ScopeError,
    WriteConflictError,
)
from podkit.logic import Scope, Table, decide_adopt, decide_birth, decide_free, decide_root, fold_all
from podkit.protocol import Permission, ScopeRule
from podkit.testing import ScriptedWorker, open_world
from podkit.tools import pod_tools

PODKIT = Path(podkit.__file__).parent


class Idle(podkit.abc.Worker):
    """A worker that does nothing and lets the test have its pod."""

    def __init__(self, pods):
        self.pods = pods

    async def work(self, run, emit):
        self.pods[run.pod.name] = run.pod


def opened(world, ground, **more):
    options = {"scope": ground.scope, "cwd": ground.path("w"), "tools": pod_tools(podkit.TaskLauncher(ScriptedWorker))}
    return world.open_pod("root", ScriptedWorker(), **(options | more))


async def child_of(pod, name, scope, **more):
    """A child, and the pod that it is itself."""
    pods = {}
    child = await pod.spawn(name, scope=scope, launcher=podkit.TaskLauncher(lambda: Idle(pods)), **more)
    await child.ask("who are you?")
    return child, pods[name]


def denies(ground):
    return [ScopeRule(ground.path("w/.git"), Permission.WRITE), ScopeRule(ground.path("w/priv"), Permission.READ)]


@pytest.mark.proves("I1", "I2")
async def test_s087_target_becomes_link(ground):
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            _, kid = await child_of(root, "kid", Scope.write(ground.path("w/later")))
            await kid.files.write_text(ground.path("w/later/x"), "mine")
            os.rename(ground.path("w/later"), ground.path("w/aside"))
            os.symlink(ground.path("s"), ground.path("w/later"))
            for call in (kid.files.write_text(ground.path("w/later/key"), "x"), kid.files.read_text(ground.path("w/later/key"))):
                with pytest.raises(ScopeError):
                    await call
            os.unlink(ground.path("w/later"))
            os.rename(ground.path("w/aside"), ground.path("w/later"))
    assert ground.get("s/key") == "secret"
    assert sorted(os.listdir(ground.path("s"))) == ["dir", "key"]


async def test_s107_lent_is_read_only(ground):
    ground.put("w/a/x", "before")
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            _, kid = await child_of(root, "kid", Scope.write(ground.path("w/a")))
            assert await root.files.read_text("a/x") == "before"
            for call in (root.files.write_text("a/x", "mine"), root.files.remove("a/x"), root.files.rename("a", "b")):
                with pytest.raises(AccessDeniedError) as caught:
                    await call
                assert "kid" in str(caught.value)
            assert ground.get("w/a/x") == "before"
            await kid.files.write_text(ground.path("w/a/x"), "theirs")
            assert await root.files.read_text("a/x") == "theirs"


async def test_s108_returned_on_stop(ground):
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            child, kid = await child_of(root, "kid", Scope.write(ground.path("w/a")))
            await kid.files.write_text(ground.path("w/a/x"), "theirs")
            await child.stop()
            await root.files.write_text("a/x", "mine")
            with pytest.raises(AccessDeniedError):
                await root.files.write_text(".git/x", "mine")
            with pytest.raises(ScopeError):
                await kid.files.write_text(ground.path("w/a/x"), "late")
    assert ground.get("w/a/x") == "mine"


def family(ground, *, root_scope=None):
    """Root with a child c1 on w/a, which has a child g on w/a/b; no processes."""
    table = Table()
    more = {"address": "memory://x", "since": 1.0}
    scope = root_scope or ground.scope
    table = fold_all(
        table, decide_root(table, name="root", tree="t-1", incarnation="i-root", scope=scope, grant=ground.scope, **more)
    )
    for name, parent, path in (("c1", "i-root", "w/a"), ("g", "i-c1", "w/a/b")):
        asked = {"name": name, "parent": parent, "incarnation": f"i-{name}", "scope": Scope.write(ground.path(path))}
        table = fold_all(table, decide_birth(table, **asked, **more))
        table = fold_all(table, decide_adopt(table, name=name, incarnation=f"i-{name}"))
    assert table.refused == 0
    return table


def ask_as_other(table, scope):
    return decide_root(table, name="t", tree="t-2", incarnation="i-t", scope=scope, address="memory://t", since=2.0)


def test_s109_middle_dies(ground):
    table = family(ground)
    table = fold_all(table, decide_free(table, incarnation="i-c1", author="i-root"))
    assert table.effective("i-g").at(ground.path("w/a/b/x")) is Permission.WRITE
    assert table.effective("i-root").at(ground.path("w/a/b/x")) is Permission.READ
    assert table.effective("i-root").at(ground.path("w/a/y")) is Permission.WRITE


def test_s110_other_tree(ground):
    table = family(ground)
    for path in ("w/a/b", "w"):
        with pytest.raises(WriteConflictError):
            ask_as_other(table, Scope.write(ground.path(path)))
    assert ask_as_other(table, Scope.read(ground.path("w")))


def test_s111_denied_parent_living_child(ground):
    without = Scope(allow=ground.scope.allow, deny=[*ground.scope.deny, ScopeRule(ground.path("w/a"), Permission.WRITE)])
    table = family(ground, root_scope=without)
    table = fold_all(table, decide_free(table, incarnation="i-c1", author="i-root"))
    with pytest.raises(WriteConflictError):
        ask_as_other(table, Scope.write(ground.path("w/a/b")))


async def test_s116_many_rules(ground):
    began = time.thread_time()
    rules = [ScopeRule(ground.path(f"w/{number}"), Permission.WRITE) for number in range(10_001)]
    assert Scope(allow=rules[:-1]).at(ground.path("w/9999/x")) is Permission.WRITE
    assert Scope(allow=rules[:-1]) <= ground.scope
    with pytest.raises(InvalidRuleError):
        Scope(allow=rules)
    with pytest.raises(InvalidRuleError):
        Scope.from_data({"allow": [{"target": rule.target, "permission": "write"} for rule in rules]})
    assert time.thread_time() - began < 1
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            asked = [{"target": rule.target, "permission": "write"} for rule in rules]
            with pytest.raises(InvalidArgumentError):
                await root.call_tool("SpawnPod", {"name": "kid", "task": "x", "scope": asked})


async def test_s117_file_target(ground):
    ground.scope = Scope.write(ground.path("w/f"))
    ground.pins = ()
    before = ground.seen()
    await ground.files.write_text("f", "mine")
    assert ground.get("w/f") == "mine"
    for name in ("f/x", "f2", "d/f"):
        with pytest.raises(ScopeError):
            await ground.files.write_text(name, "mine")
    assert {name for name, what in ground.seen().items() if what != before.get(name)} == {"w/f"}


def test_s118_deny_wins(ground):
    allow = [ScopeRule(ground.path("w"), Permission.WRITE), ScopeRule(ground.path("w/f"), Permission.WRITE)]
    for permission, left in ((Permission.WRITE, Permission.READ), (Permission.READ, Permission.NONE)):
        for rules in (allow, allow[::-1]):
            scope = Scope(allow=rules, deny=[ScopeRule(ground.path("w"), permission)])
            assert scope.at(ground.path("w")) is scope.at(ground.path("w/f")) is scope.at(ground.path("w/d/f")) is left


@pytest.mark.proves("I1")
async def test_s119_control_plane(ground):
    own = ground.path("w/run")
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground, run_dir=own) as root:
            for target in (own, f"{own}/root", f"{own}/.registry", f"{own}/kid"):
                with pytest.raises((ScopeError, RegistryError)):
                    await root.spawn("kid", scope=Scope.write(target), launcher=podkit.TaskLauncher(ScriptedWorker))
                with pytest.raises(ScopeError):
                    await root.files.write_text(f"{target}/x", "mine")
                with pytest.raises(ScopeError):
                    await root.files.listdir(target)
            for call in (root.files.remove_tree(own), root.files.rename(own, "elsewhere"), root.files.rename("d", own)):
                with pytest.raises(ScopeError):
                    await call
            whole, own_too = [ScopeRule(ground.path("w"), Permission.WRITE)], ScopeRule(own, Permission.READ)
            with pytest.raises(ScopeError):
                await root.spawn("kid", scope=Scope(allow=whole, deny=denies(ground)), launcher=podkit.TaskLauncher(ScriptedWorker))
            _, kid = await child_of(root, "kid", Scope(allow=whole, deny=[*denies(ground), own_too]))
            for name in ("registry", "root/key", "kid/sock", ".leases/x"):
                with pytest.raises(ScopeError):
                    await kid.files.write_text(f"{own}/{name}", "mine")


async def test_s120_child_cwd(ground):
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            with pytest.raises((ScopeError, podkit.errors.SpawnError)) as caught:
                await root.spawn(
                    "kid",
                    scope=Scope.write(ground.path("w/a")),
                    cwd=ground.path("s"),
                    launcher=podkit.TaskLauncher(ScriptedWorker),
                )
            assert ground.path("s") in str(caught.value)
            assert set(await world.registry.table()) == {"root"}


async def test_s121_cwd_grants_nothing(ground):
    scope = [{"target": ground.path("w/a"), "permission": "write"}]
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            for cwd in (ground.path("s"), "../s", "~", ""):
                with pytest.raises(InvalidArgumentError):
                    await root.call_tool("SpawnPod", {"name": "kid", "task": "x", "scope": scope, "cwd": cwd})
            assert set(await world.registry.table()) == {"root"}
            assert root.scope == ground.scope
            with pytest.raises(AccessDeniedError):
                await root.files.read_text("../s/key")


async def test_s122_family_names(ground):
    launcher = podkit.TaskLauncher(ScriptedWorker)
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            _, middle = await child_of(root, "middle", Scope.write(ground.path("w/a")))
            for pod, name in ((root, "root"), (middle, "middle"), (middle, "root")):
                with pytest.raises((InvalidNameError, DuplicatePodError)):
                    await pod.spawn(name, scope=Scope.read(ground.path("w/a")), launcher=launcher)
            assert set(await world.registry.table()) == {"root", "middle"}


async def test_s123_request_twice(ground):
    refused = []
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:

            async def ask():
                try:
                    await root.spawn("kid", scope=Scope.write(ground.path("w/a")), launcher=podkit.TaskLauncher(ScriptedWorker))
                except RegistryError as error:
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask)
            assert len(refused) == 2
            assert set(await world.registry.table()) == {"root", "kid"}
            await root.children["kid"].stop()
            assert root.scope == ground.scope


@pytest.mark.proves("I1", "I2")
async def test_s124_write_across_revocation(ground):
    """A write that began before the path is lent is over before it is; one that begins meanwhile sees that it is lent."""
    content = 8 * 2**20 * b"x"
    late = []

    async def write(name, size):
        try:
            await ground.files.write_bytes(name, content[:size])
        except AccessDeniedError as error:
            late.append(error)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, "a/first", len(content))
            while not ground.gate.busy:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(write, "a/second", 1)
            async with ground.gate.alone():
                assert os.path.getsize(ground.path("w/a/first")) == len(content)
                ground.scope = ground.scope.lend(Scope.write(ground.path("w/a")), to="kid")
                after = ground.seen("w/a")
            nursery.start_soon(write, "a/third", 1)
    assert [error.holder for error in late] == ["kid"] * len(late)
    assert len(late) >= 1
    assert ground.seen("w/a") == after


async def test_s132_git_elsewhere_and_k59_git_status():
    """podkit itself runs no git, and nothing else that would read a repository's settings: it starts nothing by name."""
    found = []
    for path in PODKIT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            first = node.elts[0] if isinstance(node, ast.List | ast.Tuple) and node.elts else None
            if isinstance(first, ast.Constant) and first.value in ("git", "hg", "svn", "sh", "bash", "/bin/sh"):
                found.append((path.name, node.lineno))
    assert found == []


async def test_s136_link_becomes_git(ground):
    os.makedirs(ground.path("w/repo"))
    ground.put("w/tmpdir/hooks/pre-commit", "#!/bin/sh")
    os.symlink("tmpdir", ground.path("w/ready"))
    before = ground.seen()
    for source in ("ready", "tmpdir", "tmpdir/hooks"):
        for target in ("repo/.git", "repo/.GIT"):
            with pytest.raises(AccessDeniedError):
                await ground.files.rename(source, target)
    assert ground.seen() == before


async def test_s137_archive(ground):
    """What an unpacker would ask for, entry by entry: nothing lands outside, whatever order it comes in."""
    outside = {name: what for name, what in ground.seen().items() if name.split("/")[0] != "w"}
    files, out = ground.files, ground.path("w/out")
    await files.make_directory(out)
    os.symlink(ground.path("s"), f"{out}/link")
    os.symlink("../../s/key", f"{out}/key")
    os.link(f"{out}/key", f"{out}/again", follow_symlinks=False)
    entries = ("../../s/x", "../../../x", f"{ground.top}/s/z", "link/x", "key", "again", "n" * 256, "a/../../../s/y")
    for entry in entries:
        with trio.fail_after(1), pytest.raises((ScopeError, FileNotFoundError)):
            await files.write_bytes(entry if entry.startswith("/") else f"{out}/{entry}", b"mine")
    assert {name: what for name, what in ground.seen().items() if name.split("/")[0] != "w"} == outside
