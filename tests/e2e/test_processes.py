"""Pods as processes over Unix sockets: real births, real work, real deaths."""

import os
import signal
import subprocess
import sys

import pytest
import trio

import podkit
from podkit.protocol import Permission, RunResult
from podkit.testing import ScriptedWorker
from podkit_transports import TcpTransport


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append((int(entry), fields[0]))
    return found


async def test_a_child_process_works_in_its_scope_and_gives_it_back(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("scribe", scope=place.part("notes"), launcher=place.launcher())
            target = os.path.join(place.work, "notes", "a.txt")
            assert (await child.ask(f"write {target}")).text == f"wrote {target}"
            assert (await root.files.read_text(target)) == "written by the child\n"
            with pytest.raises(podkit.AccessDeniedError) as caught:
                await root.files.write_text(target, "mine")
            assert caught.value.holder == "scribe"
            assert "scribe" in str(caught.value)
            outside = os.path.join(place.work, "other.txt")
            assert "AccessDeniedError" in (await child.ask(f"try {outside}")).text
            assert not os.path.exists(outside)
            report = await child.stop()
            assert report.how == "asked"
            await root.files.write_text(target, "mine again")
        assert place.left() == []
        assert children_of(os.getpid()) == []
        assert not await place.registry.table()


@pytest.mark.proves("I36")
async def test_the_birth_is_on_no_command_line_and_in_no_environment(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("scribe", scope=place.part("notes"), launcher=place.launcher())
            text = (await child.ask("environment")).text
            assert text.startswith("None ['")
            with open(f"/proc/{child.process.pid}/environ", "rb") as file:
                environ = file.read()
            row = (await place.registry.table())["scribe"]
            assert row.secret_sha256.encode() not in environ
            births = [item for item in environ.split(b"\0") if item.startswith(b"PODKIT_BIRTH=")]
            assert len(births) == 1
            assert births[0].removeprefix(b"PODKIT_BIRTH=").isdigit()


async def test_a_child_that_exits_at_once_fails_the_birth_at_once_with_what_it_said(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            began = trio.current_time()
            with pytest.raises(podkit.LaunchFailedError) as caught:
                await root.spawn("kid", scope=place.part("a"), launcher=place.launcher("exit"))
            assert trio.current_time() - began < 8
            assert "flux capacitor" in caught.value.stderr_tail
            assert caught.value.status == 7
            assert root.scope.at(os.path.join(place.work, "a")) is Permission.WRITE
            assert set(await place.registry.table()) == {"root"}
        assert place.left() == []


async def test_a_program_that_is_not_there_fails_the_birth(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            with pytest.raises(podkit.LaunchFailedError):
                await root.spawn("kid", scope=place.part("a"), launcher=podkit.ProcessLauncher(["/no/such/program"]))
            assert set(await place.registry.table()) == {"root"}
        assert place.left() == []


@pytest.mark.parametrize("kind", ["silent", "stubborn"])
@pytest.mark.proves("I32")
async def test_a_child_that_is_never_ready_is_ended_and_nothing_is_left(place, kind):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            with pytest.raises(podkit.NeverReadyError):
                await root.spawn("kid", scope=place.part("a"), launcher=place.launcher(kind), ready_timeout=1)
            assert set(await place.registry.table()) == {"root"}
            assert children_of(os.getpid()) == []
        assert place.left() == []


@pytest.mark.proves("I4", "I10")
async def test_killing_a_child_returns_its_scope(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=place.part("a"), launcher=place.launcher())
            await child.run("sleep")
            os.kill(child.process.pid, signal.SIGKILL)
            await child.gone.wait()
            assert root.scope.at(os.path.join(place.work, "a")) is Permission.WRITE
            assert set(await place.registry.table()) == {"root"}
            again = await root.spawn("kid", scope=place.part("a"), launcher=place.launcher())
            assert (await again.ask("hello")).text == "you said hello"
        assert place.left() == []
        assert children_of(os.getpid()) == []


@pytest.mark.proves("I33")
async def test_stopping_the_middle_ends_the_grandchild_too(place):
    with trio.fail_after(60):
        async with place.open_root(ScriptedWorker()) as root:
            place.part("a/b")
            child = await root.spawn("middle", scope=place.part("a"), launcher=place.launcher())
            assert (await child.ask(f"spawn {os.path.join(place.work, 'a', 'b')}")).text == "spawned leaf"
            assert set(await place.registry.table()) == {"root", "middle", "leaf"}
            leaf = (await place.registry.table())["leaf"]
            await child.stop()
            assert set(await place.registry.table()) == {"root"}
            assert not podkit._os.alive(leaf.pid, leaf.started)
        assert place.left() == []


async def test_killing_the_middle_ends_the_grandchild_and_returns_everything(place):
    with trio.fail_after(60):
        async with place.open_root(ScriptedWorker()) as root:
            place.part("a/b")
            child = await root.spawn("middle", scope=place.part("a"), launcher=place.launcher())
            assert (await child.ask(f"spawn {os.path.join(place.work, 'a', 'b')}")).text == "spawned leaf"
            os.kill(child.process.pid, signal.SIGKILL)
            report = await child.stop()
            assert report.how in ("gone", "asked", "terminated")
            assert set(await place.registry.table()) == {"root"}
            assert root.scope.at(os.path.join(place.work, "a", "b", "c")) is Permission.WRITE
        assert place.left() == []


async def test_a_stopped_process_is_killed_when_it_does_not_end(place):
    with trio.fail_after(60):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=place.part("a"), launcher=place.launcher())
            os.kill(child.process.pid, signal.SIGSTOP)
            report = await child.stop(grace=0.5)
            assert report.how in ("terminated", "killed")
            assert children_of(os.getpid()) == []
        assert place.left() == []


async def test_a_run_of_a_child_ends_cancelled_when_it_is_stopped(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=place.part("a"), launcher=place.launcher())
            run = await child.run("sleep")
            ends = []

            async def wait():
                ends.append(await child.wait(run))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await child.cancel(run=run)
            assert ends[0].result is RunResult.CANCELLED


async def test_a_grandchild_that_is_kept_belongs_to_whoever_is_left_and_ends_with_the_tree(place):
    with trio.fail_after(60):
        async with place.open_root(ScriptedWorker()) as root:
            place.part("a/b")
            inner = os.path.join(place.work, "a", "b")
            middle = await root.spawn("middle", scope=place.part("a"), launcher=place.launcher())
            assert (await middle.ask(f"keep {inner}")).text == "spawned leaf"
            os.kill(middle.process.pid, signal.SIGKILL)
            await middle.gone.wait()
            leaf = (await place.registry.table())["leaf"]
            assert leaf.parent == root.incarnation
            assert podkit._os.alive(leaf.pid, leaf.started)
            assert root.scope.at(os.path.join(place.work, "a", "x")) is Permission.WRITE
            assert root.scope.at(inner) is Permission.READ
            with pytest.raises(podkit.AccessDeniedError, match="leaf"):
                await root.files.write_text(os.path.join(inner, "x"), "mine")
            async with podkit.connect(leaf.address, transport=place.transport) as client:
                assert (await client.ask(f"write {inner}/y")).text == f"wrote {inner}/y"
            began = trio.current_time()
        assert trio.current_time() - began < 4
        assert not podkit._os.alive(leaf.pid, leaf.started)
        assert place.left() == []
        assert not await place.registry.table()


@pytest.mark.proves("H27")
async def test_a_child_that_is_told_to_terminate_ends_in_order(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=place.part("a"), launcher=place.launcher(), task="sleep")
            os.kill(child.process.pid, signal.SIGTERM)
            await child.gone.wait()
            assert await child.process.wait() == 0
            assert set(await place.registry.table()) == {"root"}
            assert (await child.stop()).how == "gone"
        assert place.left() == []


async def test_a_root_that_is_killed_takes_its_children_along_and_the_next_one_finds_everything_free(place):
    program = os.path.join(os.path.dirname(__file__), "programs", "root.py")
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([sys.executable, program, place.dir, place.work], stdout=subprocess.PIPE)
        said = b""
        while not said.endswith(b"\n"):
            said += await process.stdout.receive_some(100)
        assert said == b"ready\n"
        table = await place.registry.table()
        assert set(table) == {"root", "kid"}
        process.kill()
        await process.wait()
        await process.stdout.aclose()
        await place.registry.gone(table["kid"].key)
        with pytest.raises(podkit.PodUnreachableError):
            async with podkit.connect(table["root"].address, transport=place.transport):
                pass
        async with place.open_root(ScriptedWorker()) as root:
            assert set(await place.registry.table()) == {"root"}
            assert root.scope.at(place.work) is Permission.WRITE
        assert place.left() == []


async def test_children_are_reached_over_tcp_as_well(place):
    key = "0123456789abcdef0123456789abcdef"
    place.transport = TcpTransport(key=key)
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=place.part("a"), launcher=place.launcher("tcp", key))
            assert child.address.startswith("tcp://127.0.0.1:")
            assert (await place.registry.table())["kid"].address == child.address
            target = os.path.join(place.work, "a", "x")
            assert (await child.ask(f"write {target}")).text == f"wrote {target}"
            assert (await child.stop()).how == "asked"
        assert place.left() == []
