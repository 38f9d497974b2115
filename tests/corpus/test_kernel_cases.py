"""Confinement over time: layers, kernels that offer less, what programs leave behind, and what was lent while they run."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import trio

import podkit
import podkit._os
from podkit.confinement import Level, _level, choose
from podkit.errors import ConfinementError, NeverReadyError, PathRefusedError, ScopeError
from podkit.logic import Scope
from podkit.testing import ScriptedWorker, open_world

LAYERS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from _kernel import _landlock, _process
from _kernel._calls import KernelError
_process.no_new_privileges()
for layer in range(1, 20):
    try:
        _landlock.restrict([_landlock.Rule("/usr", "read", None)], network=True)
    except KernelError as error:
        print(layer, error.step)
        break
try:
    os.listdir(sys.argv[1])
    print("free")
except PermissionError:
    print("confined")
"""
LEAVE = "ln -s {D}/s/key left; mkfifo pipe; truncate -s 1T huge; ls"


ONE_WALK = pytest.mark.parametrize("ground", ["openat2"], indirect=True)


@pytest.fixture(params=[True, False], ids=["namespaces", "no namespaces"])
def namespaces(request):
    return request.param


def test_k55_seventeenth_layer():
    argv = [sys.executable, "-I", "-S", "-c", LAYERS, os.path.dirname(podkit._os.__file__)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.split() == ["17", "depth", "confined"], done.stderr
    assert _level.check_depth({}) == 1
    assert _level.check_depth({_level.LAYERS: "11"}) == 12
    with pytest.raises(ConfinementError):
        _level.check_depth({_level.LAYERS: "12"})


@pytest.mark.parametrize("offered", [(0, True), (5, True), (7, False)])
def test_k56_no_landlock(monkeypatch, offered):
    monkeypatch.setattr(_level, "kernel_offers", lambda: offered)
    assert choose() is choose("kernel") is choose("strict") is Level.ADVISORY
    for require in ("kernel", "strict"):
        with pytest.raises(ConfinementError) as caught:
            choose(require=require)
        assert require in str(caught.value)


@pytest.mark.proves("K58")
@ONE_WALK
async def test_k58_left_behind(ground, run_confined, namespaces):
    """Making them is allowed; whoever looks later, through podkit's own operations, is neither led out nor kept waiting."""
    script = LEAVE.replace("{D}", ground.top)
    with trio.fail_after(20):
        options = {"scope": ground.scope, "cwd": ground.path("w/d"), "level": "kernel", "namespaces": namespaces}
        status, out, err = await run_confined(["sh", "-c", script], **options)
    assert (status, sorted(out.split())) == (0, [b"f", b"huge", b"left", b"pipe"]), err
    for name in ("left", "pipe", "huge"):
        with trio.fail_after(1), pytest.raises(ScopeError) as caught:
            await ground.files.read_bytes(f"d/{name}")
        assert name == "left" or isinstance(caught.value, PathRefusedError)


@pytest.mark.proves("I1")
@ONE_WALK
async def test_s137_archive_unpacked_by_a_program(ground, run_confined, namespaces):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, target in (
            ("../x", None),
            (ground.path("s/x"), None),
            ("out", ground.path("s")),
            ("out/x", None),
            ("../../s/y", None),
        ):
            entry = tarfile.TarInfo(name)
            if target is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
            else:
                entry.size = 4
                archive.addfile(entry, io.BytesIO(b"mine"))
        entry = tarfile.TarInfo("again")
        entry.type, entry.linkname = tarfile.LNKTYPE, ground.path("s/key")
        archive.addfile(entry)
    ground.put("w/d/a.tar", packed.getvalue())
    before = {name: what for name, what in ground.seen().items() if name.split("/")[0] != "w"}
    argv = ["tar", "--absolute-names", "--keep-directory-symlink", "-xf", "a.tar"]
    with trio.fail_after(20):
        options = {"scope": ground.scope, "cwd": ground.path("w/d"), "level": "kernel", "namespaces": namespaces}
        status, _out, _err = await run_confined(argv, **options)
    assert status != 0
    assert {name: what for name, what in ground.seen().items() if name.split("/")[0] != "w"} == before


@pytest.mark.proves("I1", "I2", "F27")
@ONE_WALK
async def test_k60_revoked_while_running(ground):
    """What a program may write is not lent while it runs: the birth waits, says for whom, and finds the path free afterwards."""
    ground.put("w/a/f")
    os.mkfifo(ground.path("w/d/ready"))
    script = "echo x > d/ready; while :; do echo x >> a/f; sleep 0.01; done"
    with trio.fail_after(30):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=ground.scope, cwd=ground.path("w"), require="kernel") as root:
                asked = {"scope": Scope.write(ground.path("w/a")), "launcher": podkit.TaskLauncher(ScriptedWorker)}
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(root.run_process, ["sh", "-c", script])
                    await trio.to_thread.run_sync(Path(ground.path("w/d/ready")).read_text)
                    with pytest.raises(NeverReadyError) as caught:
                        await root.spawn("kid", ready_timeout=1, **asked)
                    assert caught.value.blocked_by
                    assert set(await world.registry.table()) == {"root"}
                    nursery.cancel_scope.cancel()
                await root.spawn("kid", **asked)
                lent = ground.seen("w/a")
                refused = await root.run_process(["sh", "-c", "echo x >> a/f"])
                assert refused.status != 0
                assert ground.seen("w/a") == lent


@ONE_WALK
async def test_a_program_sees_what_is_lent_as_read_only_at_once(ground):
    with trio.fail_after(30):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=ground.scope, cwd=ground.path("w"), require="kernel") as root:
                assert (await root.run_process(["sh", "-c", "echo x > d/f"])).status == 0
                child = await root.spawn("kid", scope=Scope.write(ground.path("w/d")), launcher=podkit.TaskLauncher(ScriptedWorker))
                before = ground.seen("w/d")
                assert (await root.run_process(["sh", "-c", "echo y > d/f"])).status != 0
                assert (await root.run_process(["cat", "d/f"])).stdout == b"x\n"
                assert ground.seen("w/d") == before
                await child.stop()
                assert (await root.run_process(["sh", "-c", "echo y > d/f"])).status == 0


@ONE_WALK
async def test_s121_a_program_does_not_start_where_its_pod_may_not_read(ground):
    with trio.fail_after(30):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=ground.scope, cwd=ground.path("w"), require="kernel") as root:
                for cwd in (ground.path("s"), "../s", ground.path("w/ld"), ground.path("w/priv")):
                    with pytest.raises((ScopeError, ConfinementError)):
                        await root.run_process(["true"], cwd=cwd)
