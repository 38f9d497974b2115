"""What a program leaves behind, and what it does to those who watch it."""

import contextlib
import os
import signal
import sys

import pytest
import trio

from podkit._os import LeaseState, hold_lease, lease_state, process_state
from podkit._os._kernel import _cgroup
from podkit._os._wards import Wards
from podkit.errors import ConfinementError


@pytest.mark.proves("K57", "I4", "I33")
@pytest.mark.parametrize("how", ["plain", "quiet", "undumpable"])
@pytest.mark.parametrize("level", ["advisory", "kernel"])
async def test_a_daemon_is_dead_when_its_tree_has_ended(yard, how, level):
    assert await yard.leave(how, level=level) == set()


@pytest.mark.proves("K57", "H30")
async def test_a_crowd_that_forks_and_leaves_is_dead_when_its_tree_has_ended(yard):
    assert await yard.leave("chain") == set()


@pytest.mark.proves("K57", "H30")
@pytest.mark.parametrize("how", ["plain", "chain"])
async def test_who_slips_out_of_the_control_group_is_caught_all_the_same(yard, how, processes):
    if yard.namespaces or not (await yard.wards.facts()).cgroup:
        pytest.skip("about wards with a control group")
    with open("/proc/self/mountinfo") as file:
        mount = next(line.split()[4] for line in file if " - cgroup2 " in line)
    mark, file = f"{yard.top}/{how}", yard.top / "pids"
    slip = f"own=$(sed -n s/^0:://p /proc/self/cgroup); echo $$ > {mount}/${{own%/*}}/cgroup.procs; cat /proc/self/cgroup; exec "
    daemon = yard.python("daemon.py", mark, how, file)
    status, said, _, left = await yard.run(yard.order("sh", "-c", slip + " ".join(daemon.argv)))
    assert (status, left) == (0, ())
    assert b"podkit-" not in said
    assert file.read_text().strip()
    assert processes(mark) == set()


@pytest.mark.proves("I4", "K60")
async def test_a_lease_is_held_while_its_tree_lives_and_free_when_it_has_ended(yard):
    path = str(yard.top / "lease")
    lease = hold_lease("lease", path)
    await yard.wards.hold("lease", lease.fd)
    await yard.wards.hold("lease", lease.fd)
    async with await yard.wards.open(yard.order("cat"), stdin=True, keys=["lease"]) as ward:
        lease.release()
        assert lease_state(path) is LeaseState.HELD
        dropped = trio.Event()

        async def drop():
            await yard.wards.drop("lease")
            dropped.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drop)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await yard.run(yard.order("true"))  # the nanny has answered other things meanwhile
            assert not dropped.is_set()
            assert lease_state(path) is LeaseState.HELD
            with pytest.raises((ConfinementError, ValueError)):
                await yard.wards.open(yard.order("true"), keys=["lease"])
            ward.end()
            await ward.ended()
        assert lease_state(path) is LeaseState.FREE
    await yard.wards.drop("lease")


async def test_a_lease_is_free_when_its_ward_says_so_whatever_the_nanny_does(yard):
    path = str(yard.top / "lease")
    lease = hold_lease("lease", path)
    await yard.wards.hold("lease", lease.fd)
    for _ in range(5):
        async with await yard.wards.open(yard.order("true"), keys=["lease"]) as ward:
            await ward.ended()
    await yard.wards.drop("lease")
    lease.release()
    assert lease_state(path) is LeaseState.FREE


async def test_a_lease_that_was_dropped_is_free_however_many_wards_are_being_born(yard):
    for number in range(40):
        path = f"{yard.top}/lease{number}"
        lease = hold_lease("lease", path)
        await yard.wards.hold("lease", lease.fd)
        lease.release()
        async with await yard.wards.open(yard.order("true", level=("advisory", "kernel")[number % 2])):
            await yard.wards.drop("lease")
            assert lease_state(path) is LeaseState.FREE


async def test_a_lease_given_before_there_is_a_nanny_is_held_from_then_on(yard):
    wards = Wards()
    path = str(yard.top / "lease")
    for started in (False, True):
        path = f"{yard.top}/lease{started}"
        lease = hold_lease("lease", path)
        await wards.hold("lease", lease.fd)
        lease.release()
        if started:
            await wards.facts()
        assert lease_state(path) is LeaseState.HELD
        await wards.drop("lease")
        assert lease_state(path) is LeaseState.FREE
    await wards.aclose()


async def test_a_key_that_is_not_held_opens_nothing(yard):
    with pytest.raises(ValueError, match="holds"):
        await yard.wards.open(yard.order("true"), keys=["nobody's"])


@pytest.mark.proves("K39")
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("level", ["kernel", "strict"])
async def test_a_confined_program_cannot_signal_ward_or_nanny(yard, sig, level):
    facts = await yard.wards.facts()
    victims = [facts.pid, *(child(facts.pid))]
    script = f"for p in {' '.join(map(str, victims))} $PPID; do kill -{sig.value} $p; done; echo end"
    assert (await yard.run(yard.order("sh", "-c", script, level=level)))[:2] == (0, b"end\n")
    assert (await yard.wards.facts()).pid == facts.pid
    assert all(process_state(pid)[0] not in "TZ" for pid in victims[:1])
    assert (await yard.run(yard.order("true")))[0] == 0


def child(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(number) for number in file.read().split()]


async def test_in_its_namespace_a_program_cannot_even_name_the_nanny(yard):
    if not yard.namespaces:
        pytest.skip("about wards with namespaces")
    facts = await yard.wards.facts()
    script = f"kill -9 {facts.pid}; ls /proc | grep -c '^[0-9]'; kill -9 1; echo on"
    status, said, _, _ = await yard.run(yard.order("sh", "-c", script))
    assert (status, said.split()[-1]) == (0, b"on")
    assert int(said.split()[0]) < 6


@pytest.mark.proves("I4", "K57")
async def test_who_kills_its_ward_keeps_the_scope_until_all_is_gone(yard, processes, until):
    """By a superuser's hand from outside, or without namespaces by the program itself."""
    path, mark = str(yard.top / "lease"), f"{yard.top}/mark"
    lease = hold_lease("lease", path)
    await yard.wards.hold("lease", lease.fd)
    lease.release()
    script = "sleep 1000 & setsid sleep 1000 & read x; kill -9 $PPID; sleep 1000"
    ward = await yard.wards.open(yard.order("sh", "-c", script, mark), keys=["lease"], stdin=True)
    await ward.stdin.send_all(b"\n")
    if yard.namespaces:
        os.kill(ward._said["ward"], signal.SIGKILL)
    assert await ward.ended() == ()
    assert processes(mark) == set()
    with pytest.raises(ConfinementError):
        await ward.wait()
    await yard.wards.drop("lease")
    assert lease_state(path) is LeaseState.FREE
    await ward.aclose()
    assert (await yard.run(yard.order("true")))[0] == 0


async def test_a_ward_that_was_stopped_is_woken_to_end_its_tree(yard, processes):
    mark = f"{yard.top}/mark"
    ward = await yard.wards.open(yard.order("sh", "-c", "echo; sleep 1000", mark))
    await ward.stdout.receive_some()
    os.kill(ward._said["ward"], signal.SIGSTOP)
    await ward.aclose()
    assert processes(mark) == set()
    assert await ward.ended() == ()


async def test_a_nanny_that_was_stopped_is_woken_for_the_next_call(yard):
    facts = await yard.wards.facts()
    os.kill(facts.pid, signal.SIGSTOP)
    assert (await yard.run(yard.order("true")))[0] == 0
    assert process_state(facts.pid)[0] != "T"


async def test_a_ward_that_was_killed_while_it_waited_is_not_missed(yard, until):
    facts = await yard.wards.facts()
    await yard.run(yard.order("true"))
    await until(lambda: child(facts.pid))
    waiting = child(facts.pid)
    for pid in waiting:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in waiting))
    assert (await yard.run(yard.order("true")))[0] == 0


class TestANannyThatDied:
    @pytest.fixture
    async def orphan(self, yard):
        """A ward whose nanny was killed, and the nanny's side of the program."""
        wards = Wards()
        yard = type(yard)(wards, yard.namespaces, yard.top)
        facts = await wards.facts()
        path = str(yard.top / "lease")
        lease = hold_lease("lease", path)
        await wards.hold("lease", lease.fd)
        lease.release()
        ward = await wards.open(yard.order("sh", "-c", "setsid sleep 1000 & cat", f"{yard.top}/mark"), stdin=True, keys=["lease"])
        os.kill(facts.pid, signal.SIGKILL)
        await wards.lost()
        yield yard, ward, path
        await ward.aclose()
        await wards.aclose()

    async def test_opens_no_more_wards(self, orphan):
        yard, _, _ = orphan
        assert yard.wards.dead
        for attempt in (lambda: yard.wards.open(yard.order("true")), yard.wards.facts):
            with pytest.raises(ConfinementError):
                await attempt()
        await yard.wards.drop("lease")

    async def test_leaves_the_open_wards_to_go_on_and_to_end(self, orphan, processes):
        yard, ward, path = orphan
        await ward.stdin.send_all(b"hello")
        assert await ward.stdout.receive_some() == b"hello"
        assert lease_state(path) is LeaseState.HELD
        await ward.stdin.aclose()
        assert (await ward.wait(), await ward.ended()) == (0, ())
        assert processes(f"{yard.top}/mark") == set()
        assert lease_state(path) is LeaseState.FREE

    async def test_is_made_up_for_by_the_control_group_when_the_ward_is_killed_as_well(self, orphan, processes):
        yard, ward, _ = orphan
        if not ward._said["group"]:
            pytest.skip("about wards with a control group")
        os.kill(ward._said["ward"], signal.SIGKILL)
        assert await ward.ended() == ()
        assert processes(f"{yard.top}/mark") == set()
        assert not os.path.exists(ward._said["group"])

    async def test_is_named_when_the_ward_is_killed_as_well(self, orphan, processes, until):
        yard, ward, _ = orphan
        group, ward._said["group"] = ward._said["group"], None
        if group is None and not yard.namespaces:
            pytest.skip("nobody would end what is left")
        os.kill(ward._said["ward"], signal.SIGKILL)
        for question in (ward.ended, ward.gone):
            with pytest.raises(ConfinementError, match="may still run"):
                await question()
        await until(lambda: group is None or not _cgroup.kill(group) or _cgroup.remove(group))


async def test_a_mount_made_meanwhile_is_seen_by_the_next_call(yard):
    if os.geteuid() != 0:
        pytest.skip("only the superuser mounts")
    place = yard.top / "m"
    place.mkdir()
    await yard.run(yard.order("true"))
    await trio.run_process(["mount", "-t", "tmpfs", "none", str(place)])
    try:
        (place / "f").write_text("new")
        assert (await yard.run(yard.order("cat", "m/f")))[1] == b"new"
    finally:
        await trio.run_process(["umount", str(place)])
    assert (await yard.run(yard.order("ls", "m")))[1] == b""


async def test_orphans_are_reaped_while_the_program_runs(yard, until):
    script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0 &) ; done; echo; cat"
    async with await yard.wards.open(yard.order("sh", "-c", script), stdin=True) as ward:
        await ward.stdout.receive_some()
        above = process_parent(ward.pid)
        await until(lambda: child(above) == [ward.pid])


def process_parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


async def test_the_interpreter_of_a_program_is_found_by_its_first_line(yard):
    script = yard.top / "script"
    script.write_text(f"#!{sys.executable} -IS\nprint('it ran')\n")
    script.chmod(0o755)
    assert (await yard.run(yard.order("./script", level="kernel")))[:2] == (0, b"it ran\n")
