"""The same order for a process that somebody else forked."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import trio

import podkit._os

WRAP = str(Path(podkit._os.__file__).parent / "_wrap.py")


@pytest.fixture
def wrap(yard):
    async def run(order, *, path=None, mode=0o600, fds=(), stdin=b""):
        path = path or yard.top.parent / "order"
        if order is not None:
            data = order if isinstance(order, bytes) else order.to_bytes()
            Path(path).write_bytes(data)
            os.chmod(path, mode)
        argv = [sys.executable, "-P", "-I", "-S", WRAP, str(fds[0] if fds else path)]
        with trio.fail_after(30):
            return await trio.run_process(argv, capture_stdout=True, capture_stderr=True, stdin=stdin, check=False, pass_fds=fds)

    return run


async def test_a_program_runs_as_ordered_and_the_order_is_gone(wrap, yard):
    order = yard.order("sh", "-c", "pwd; echo $A; cat; echo no > ../x; exit 3", env={"A": "b"}, level="kernel")
    done = await wrap(order, stdin=b"said")
    assert (done.returncode, done.stdout.decode()) == (3, f"{yard.top}\nb\nsaid")
    assert b"denied" in done.stderr
    assert not (yard.top.parent / "order").exists()


async def test_an_order_may_come_by_a_descriptor(wrap, yard):
    read, write = os.pipe()
    os.write(write, yard.order("sh", "-c", "ls /proc/self/fd").to_bytes())
    os.close(write)
    done = await wrap(None, fds=(read,))
    os.close(read)
    assert done.stdout.split() == [b"0", b"1", b"2", b"3"]


async def test_mounts_come_with_a_namespace_of_their_own(wrap, yard):
    lent = yard.top / "lent"
    lent.mkdir()
    order = yard.order("sh", "-c", "echo x > lent/f; mv lent l2; echo on", level="kernel", mounts=[(str(lent), "ro")])
    done = await wrap(order)
    if yard.namespaces:
        assert done.stdout == b"on\n", done.stderr
        assert b"Read-only" in done.stderr
        assert lent.exists()
        assert not (lent / "f").exists()
    else:
        assert (done.returncode, done.stdout) == (126, b"")


async def test_what_cannot_be_carried_out_is_said_and_nothing_runs(wrap, yard):
    ran = yard.top / "ran"
    touch = ("touch", str(ran))
    cases = {
        126: [
            yard.order(*touch, level="kernel", rules=[("/nowhere", "read", None)]),
            yard.order(*touch, cwd="/nowhere"),
            yard.order("/etc/passwd"),
            b"nonsense",
            json.dumps({"argv": ["touch", str(ran)]}).encode(),
        ],
        127: [yard.order("nowhere")],
    }
    for status, orders in cases.items():
        for order in orders:
            done = await wrap(order)
            assert (done.returncode, done.stdout) == (status, b""), done
            assert done.stderr.startswith(b"podkit: ")
            assert done.stderr.count(b"\n") == 1
    assert not ran.exists()


async def test_an_order_that_others_could_read_or_write_is_not_carried_out(wrap, yard):
    ran = yard.top / "ran"
    order = yard.order("touch", str(ran))
    for mode in (0o644, 0o660, 0o602):
        assert (await wrap(order, mode=mode)).returncode == 126
    real = yard.top / "real"
    real.write_bytes(order.to_bytes())
    real.chmod(0o600)
    (yard.top / "link").symlink_to(real)
    assert (await wrap(None, path=yard.top / "link")).returncode == 126
    assert (await wrap(None, path=yard.top / "nowhere")).returncode == 126
    assert (await wrap(None, path=yard.top)).returncode == 126
    if os.geteuid() == 0:
        os.chown(real, 65534, 65534)
        assert (await wrap(None, path=real)).returncode == 126
    assert not ran.exists()


async def test_there_is_nothing_to_do_without_an_order():
    argv = [sys.executable, "-I", "-S", WRAP]
    done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
    assert (done.returncode, done.stdout) == (126, b"")


async def test_a_program_of_tmux_is_confined(yard, short_dir, until):
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux (package tmux)")
    order = yard.order("sh", "-c", "echo in > inside; echo out > ../outside; echo done > end", level="kernel")
    (short_dir / "order").write_bytes(order.to_bytes())
    (short_dir / "order").chmod(0o600)
    tmux = ["tmux", "-f", "/dev/null", "-S", str(short_dir / "t")]
    try:
        await trio.run_process([*tmux, "new-session", "-d", f"{sys.executable} -P -I -S {WRAP} {short_dir}/order"])
        await until(lambda: (yard.top / "end").exists())
    finally:
        await trio.run_process([*tmux, "kill-server"], check=False, capture_stderr=True)
    assert (yard.top / "inside").read_text() == "in\n"
    assert not (short_dir / "outside").exists()
