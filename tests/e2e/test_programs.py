"""Programs of a pod, for real: confined to what the pod may do right now, ended with their call, and counted when scope is lent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

import podkit
from podkit.confinement import Level, available
from podkit.errors import AccessDeniedError, ConfinementError, InvalidArgumentError, NeverReadyError, PathRefusedError
from podkit.testing import ScriptedWorker

ROOT = Path(__file__).parent / "programs" / "runner.py"
confined = pytest.mark.skipif(
    available() is Level.ADVISORY, reason="this kernel has no Landlock (ABI 6), so there is nothing to confine with"
)


def sh(text):
    return ["/bin/sh", "-c", text]


def until(name):
    """A program that waits for a file in its directory."""
    return sh(f"until [ -e {name} ]; do sleep 0.01; done")


async def test_a_program_is_run_to_its_end_and_what_it_said_is_kept(place):
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            done = await root.run_process(sh("cat; pwd; echo oops >&2; exit 3"), input="fed\n")
            assert (done.status, done.text, done.stderr) == (3, f"fed\n{place.work}\n", b"oops\n")
            assert not done.ok
            assert not done.timed_out
            assert (await root.run_process(["/bin/true"])).ok
            killed = await root.run_process(sh("kill -TERM $$"))
            assert killed.status == -signal.SIGTERM


async def test_a_long_output_is_kept_at_both_ends_and_counted(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            done = await root.run_process(sh("echo first; head -c 20000000 /dev/zero; echo last"))
            assert done.stdout.startswith(b"first\n")
            assert done.stdout.endswith(b"last\n")
            assert len(done.stdout) + done.dropped == 20_000_000 + len("first\nlast\n")
            assert len(done.stdout) <= 8 * 2**20


@confined
@pytest.mark.proves("I39")
async def test_a_program_cannot_reach_what_the_scope_does_not_allow(place):
    outside = Path(place.root, "outside")
    outside.write_text("secret")
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            assert root.confinement in ("kernel", "strict")
            done = await root.run_process(sh(f"echo in > {place.work}/f; cat {outside}; echo out > {outside}; ls {place.root}"))
            assert Path(place.work, "f").read_text() == "in\n"
            assert outside.read_text() == "secret"
            assert done.text == ""
            assert done.level == "kernel"


@confined
@pytest.mark.proves("I3", "I7")
async def test_what_is_lent_is_read_only_for_programs_until_it_comes_back(place):
    lent = place.part("lent")
    Path(place.work, "lent", "old").write_text("old")
    script = "cat lent/old; echo x > lent/new; echo y > lent/old; mv lent gone; mkdir -p beside && echo z > beside/f && echo fine"
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=lent, launcher=place.launcher())
            done = await root.run_process(sh(script))
            assert done.text.startswith("old")
            assert sorted(os.listdir(Path(place.work, "lent"))) == ["old"]
            assert Path(place.work, "lent", "old").read_text() == "old"
            if done.tree == "namespace":
                assert done.text == "oldfine\n"
                assert done.shortfalls == ()
            else:
                assert done.shortfalls
            await child.stop()
            assert (await root.run_process(sh("echo y > lent/old"))).ok
            assert Path(place.work, "lent", "old").read_text() == "y\n"


@pytest.mark.proves("F27", "I3")
async def test_a_birth_waits_for_programs_that_began_under_the_old_scope(place):
    part = place.part("a")
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root, trio.open_nursery() as nursery:
            ended = trio.Event()

            async def work():
                await root.run_process(sh("touch began; until [ -e go ]; do sleep 0.02; done; echo late > a/late"))
                ended.set()

            nursery.start_soon(work)
            await root.run_process(until("began"))
            with pytest.raises(NeverReadyError) as caught:
                await root.spawn("kid", scope=part, launcher=place.launcher(), ready_timeout=0.3)
            assert "/bin/sh" in caught.value.blocked_by
            assert root.scope.at(os.path.join(place.work, "a", "x")) is podkit.Permission.WRITE
            Path(place.work, "go").touch()
            child = await root.spawn("kid", scope=part, launcher=place.launcher())
            assert ended.is_set()
            assert Path(place.work, "a", "late").exists()
            await child.stop()


async def test_a_job_goes_on_and_a_birth_that_it_blocks_names_it(place):
    part = place.part("a")
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            begun = await root.run_process(sh("echo up; touch began; exec sleep 1000"), job="server")
            assert begun.status is None
            assert set(root.jobs) == {"server"}
            job = root.jobs["server"]
            with pytest.raises(NeverReadyError) as caught:
                await root.spawn("kid", scope=part, launcher=place.launcher(), ready_timeout=0.2)
            assert caught.value.blocked_by == "job `server`"
            with pytest.raises(InvalidArgumentError, match="a job `server` already"):
                await root.run_process(["/bin/true"], job="server")
            await root.run_process(until("began"))
            done = await job.stop()
            assert job.output() == b"up\n"
            assert done.status == -signal.SIGKILL
            assert done.text == "up\n"
            assert not root.jobs
            assert (await (await root.spawn("kid", scope=part, launcher=place.launcher())).stop()).how == "asked"


async def test_a_job_ends_with_its_pod(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            await root.run_process(sh("echo $$ > pid; exec sleep 1000"), job="server")
            job = root.jobs["server"]
        assert not job.running
        assert place.left() == []


@pytest.mark.proves("K57", "I4", "H30")
async def test_what_a_program_leaves_behind_ends_with_the_call(place):
    script = "(setsid sh -c 'while :; do date > beat; sleep 0.02; done' &) ; until [ -e beat ]; do sleep 0.01; done"
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            assert (await root.run_process(sh(script))).ok
            beat = Path(place.work, "beat")
            beat.unlink()
            assert (await root.run_process(["/bin/sleep", "0.2"])).ok
            assert not beat.exists()


async def test_when_its_time_is_up_a_program_is_ended_with_everything_it_started(place):
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            done = await root.run_process(sh("echo begun; sleep 1000 & sleep 1000"), timeout=0.3)
            assert done.timed_out
            assert done.status == -signal.SIGKILL
            assert done.text == "begun\n"


async def test_a_cancelled_call_has_ended_its_program(place):
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            with trio.move_on_after(0.3) as limit:
                await root.run_process(sh("sleep 1000; touch survived"))
            assert limit.cancelled_caught
            assert root.authority.gate.busy == ()
            assert not Path(place.work, "survived").exists()


@pytest.mark.proves("I4", "I10")
async def test_when_the_hosting_program_is_killed_its_programs_end_before_its_scope_is_free(place):
    with trio.fail_after(30):
        host = await trio.lowlevel.open_process(
            [sys.executable, "-P", str(ROOT), place.dir, place.work], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = b""
        while b"running" not in said:
            more = await host.stdout.receive_some()
            assert more, said
            said += more
        pulse = Path(place.work, "pulse")
        host.kill()
        await host.wait()
        (row,) = (await place.registry.table()).values()
        await place.registry.gone(row.key)  # its programs hold it until they have ended
        async with place.open_root(ScriptedWorker()) as root:
            pulse.unlink()
            assert (await root.run_process(["/bin/sleep", "0.2"])).ok
            assert not pulse.exists()
        assert place.left() == []


@pytest.mark.proves("I36")
async def test_a_program_gets_a_clean_environment_and_a_home_of_its_own(place, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-12345")
    monkeypatch.setenv("PODKIT_BIRTH", "77")
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            done = await root.run_process(sh("env; echo a > $HOME/a && echo b > $TMPDIR/b && ls /proc/self/fd"), env={"EXTRA": "1"})
            said = dict(line.split("=", 1) for line in done.text.splitlines() if "=" in line)
            assert "sk-12345" not in done.text
            assert "PODKIT_BIRTH" not in said
            assert said["EXTRA"] == "1"
            assert os.path.isdir(said["HOME"])
            assert Path(said["HOME"], "a").read_text() == "a\n"
            assert said["HOME"] != os.environ.get("HOME")
            assert [line for line in done.text.splitlines() if line.isdigit()] in (["0", "1", "2", "3"], ["0", "1", "2"])
        assert not os.path.exists(said["HOME"])


@pytest.mark.proves("S120", "S121")
async def test_a_program_starts_where_it_may_read(place):
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            os.mkdir(Path(place.work, "sub"))
            assert (await root.run_process(["/bin/pwd"], cwd="sub")).text == f"{place.work}/sub\n"
            for cwd in (place.root, "/", "../r"):
                with pytest.raises(AccessDeniedError):
                    await root.run_process(["/bin/pwd"], cwd=cwd)
            with pytest.raises((FileNotFoundError, PathRefusedError)):
                await root.run_process(["/bin/pwd"], cwd="missing")


async def test_a_program_that_cannot_be_started_is_a_typed_error(place):
    Path(place.work, "text").write_text("not a program")
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            with pytest.raises(FileNotFoundError):
                await root.run_process(["/no/such/program"])
            with pytest.raises(PermissionError):
                await root.run_process([f"{place.work}/text"])
            for argv in ([], "ls", ["a\0b"], [""], [7], ["x", "y" * 200_000]):
                with pytest.raises(InvalidArgumentError):
                    await root.run_process(argv)
            assert root.authority.gate.busy == ()


@confined
@pytest.mark.proves("K34", "K36")
async def test_unix_sockets_are_only_for_who_says_so_and_the_level_tells(place):
    script = "import socket; socket.socket(socket.AF_UNIX); print('made')"
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            python = [sys.executable, "-I", "-S", "-c", script]
            denied = await root.run_process(python)
            assert b"PermissionError" in denied.stderr
            allowed = await root.run_process(python, unix_sockets=True)
            assert allowed.text == "made\n", allowed.stderr
            assert (denied.level, allowed.level) == ("kernel", "kernel+sockets")


@confined
@pytest.mark.proves("K37", "I7")
async def test_who_may_make_unix_sockets_does_not_find_those_of_podkit(place):
    script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            path = root.address.removeprefix("unix://")
            done = await root.run_process([sys.executable, "-I", "-S", "-c", script, path], unix_sockets=True)
            assert b"FileNotFoundError" in done.stderr or done.tree != "namespace"


@confined
@pytest.mark.proves("K51")
async def test_without_network_no_program_connects(place):
    script = "import socket; socket.create_connection(('127.0.0.1', {}), 2); print('through')"
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            python = [sys.executable, "-I", "-S", "-c", script.format(port)]
            assert (await root.run_process(python)).text == "through\n"
            assert (await root.run_process(python, network=False)).text == ""
    await listener[0].aclose()


@confined
async def test_strict_takes_modes_and_times_elsewhere_too(place):
    outside = Path(place.root, "outside")
    outside.write_text("x")
    outside.chmod(0o600)
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker(), confinement="strict", require="strict") as root:
            done = await root.run_process(sh(f"echo in > f; chmod 777 {outside}; touch -d 2001-01-01 {outside}; cat f"))
            assert done.text == "in\n"
            assert done.level == root.confinement == "strict"
            assert outside.stat().st_mode & 0o777 == 0o600


async def test_require_fails_closed_where_the_kernel_has_less(place, monkeypatch):
    monkeypatch.setattr("podkit.confinement._level.available", lambda: Level.ADVISORY)
    with pytest.raises(ConfinementError):
        async with place.open_root(ScriptedWorker(), require="kernel"):
            raise AssertionError("it opened")
    async with place.open_root(ScriptedWorker()) as root:
        assert root.confinement == "advisory"


@pytest.mark.proves("S066", "S067")
async def test_a_target_that_was_replaced_is_refused_before_a_program_runs(place):
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            assert (await root.run_process(["/bin/true"])).ok
            os.rename(place.work, place.work + ".old")
            os.mkdir(place.work)
            with pytest.raises(PathRefusedError, match="replaced"):
                await root.run_process(["/bin/true"])
            with pytest.raises(PathRefusedError, match="replaced"):
                await root.files.write_text("f", "x")


@confined
async def test_what_the_kernel_cannot_be_told_is_said(place):
    rules = [podkit.ScopeRule(place.work, podkit.Permission.WRITE, recursive=False)]
    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            assert await root.shortfalls() == ()
        Path(place.work, "f").write_text("old")
        async with place.open_root(ScriptedWorker(), scope=podkit.Scope(allow=rules)) as root:
            (said,) = await root.shortfalls()
            assert place.work in said
            assert "not recursive" in said
            done = await root.run_process(sh(f"echo new > {place.work}/f; echo x > {place.work}/g"))
            assert done.shortfalls == (said,)
            assert Path(place.work, "f").read_text() == "new\n"
            assert not Path(place.work, "g").exists()


@pytest.mark.proves("I1")
async def test_a_pod_that_is_gone_runs_nothing_and_writes_nothing(place):
    part = place.part("a")
    kept = []

    class Keeper(podkit.abc.Worker):
        async def work(self, run, emit):
            kept.append(run.pod)

    with trio.fail_after(20):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=part, launcher=podkit.TaskLauncher(Keeper))
            await child.ask("remember")
            assert (await kept[0].run_process(["/bin/true"], cwd=f"{place.work}/a")).ok
            await child.stop()
            with pytest.raises(podkit.StaleIncarnationError):
                await kept[0].run_process(["/bin/true"])
            with pytest.raises(AccessDeniedError):
                await kept[0].files.write_text(f"{place.work}/a/f", "x")


async def test_a_child_runs_programs_within_its_own_part(place):
    part = place.part("a")
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=part, launcher=place.launcher())
            outcome = await child.ask(f"sh echo in > {place.work}/a/f; echo out > {place.work}/b; cat {place.work}/a/f")
            assert "in" in outcome.text
            assert not Path(place.work, "b").exists() or root.confinement == "advisory"
            await child.stop()
        assert place.left() == []


@pytest.mark.proves("I34")
async def test_a_child_that_is_killed_leaves_nothing_of_its_programs_homes(place):
    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root:
            child = await root.spawn("kid", scope=place.part("a"), launcher=place.launcher())
            assert "left" in (await child.ask("sh echo a > $HOME/a; ls $HOME; echo left")).text
            os.kill(child.process.pid, signal.SIGKILL)
            await child.gone.wait()
            assert not [name for name in place.left() if "scratch" in name]


@pytest.mark.proves("I3", "K60")
async def test_who_cannot_be_ended_keeps_its_place_before_a_birth_that_waits(place, monkeypatch):
    import podkit._life._programs as room

    over = trio.Event()
    monkeypatch.setattr("podkit._os._ward.Ward.gone", lambda ward: over.wait())

    async def never(ward):
        return False

    with trio.fail_after(30):
        async with place.open_root(ScriptedWorker()) as root, trio.open_nursery() as nursery:
            with monkeypatch.context() as patch:
                patch.setattr(room, "is_over", never)
                nursery.start_soon(root.run_process, sh("touch began; until [ -e go ]; do sleep 0.01; done"))
                await root.run_process(["/bin/sleep", "0.01"])
            born = trio.Event()

            async def bear():
                await root.spawn("kid", scope=place.part("a"), launcher=place.launcher())
                born.set()

            nursery.start_soon(bear)
            Path(place.work, "go").touch()
            await trio.testing.wait_all_tasks_blocked(0.3)
            assert not born.is_set()
            assert any("what is left of" in what for what in root.authority.gate.busy)
            over.set()
            await born.wait()
