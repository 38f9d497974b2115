"""The waiting line for the lock: in the order of coming, and never stopped by who stands still, dies or is cancelled."""

import os
import signal
import subprocess
import sys
import time

import pytest
import trio

from podkit._os import _disk
from podkit._os._disk import Disk
from podkit._store import FileRegistry, _turns
from podkit.errors import RegistryBusyError

LONG = "PODKIT_LONG" in os.environ
PROCESSES, ROUNDS = (64, 50) if LONG else (64, 12)

CROWD = """
import json, os, sys, time
import portalocker, trio
from podkit._store import FileRegistry

directory, processes, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

async def work(me, go):
    log = FileRegistry(directory, lock_timeout=60)._log
    await log.read(0)
    os.read(go, 1)
    seen, stale, waits, sequence = 0, 0, [], 0
    while seen < rounds:
        begun = time.monotonic()
        turn = await log.take_turn()
        while True:
            sequence += len(await log.read(sequence))
            if await log.append(sequence, [b"%d-%d" % (me, seen)]):
                break
            stale += 1
        log.leave_turn(turn)
        seen += 1
        waits.append(time.monotonic() - begun)
    return stale, waits

trio.run(FileRegistry(directory)._log.read, 0)
read, write = os.pipe()
told = []
for me in range(processes):
    out, back = os.pipe()
    if os.fork() == 0:
        try:
            os.write(back, json.dumps(trio.run(work, me, read)).encode())
        finally:
            os._exit(0)
    os.close(back)
    told.append(out)
os.write(write, b"x" * processes)
stale, waits = 0, []
for out in told:
    with os.fdopen(out) as file:
        text = file.read()
    result = json.loads(text)
    stale += result[0]
    waits += result[1]
for _ in range(processes):
    os.wait()
waits.sort()
print(json.dumps({"stale": stale, "p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100], "max": waits[-1]}))
"""


def distances(lines):
    """How many changes of others there were between two of the same program."""
    last, found = {}, []
    for at, line in enumerate(lines):
        me = line.partition(b"-")[0]
        if me in last:
            found.append(at - last[me] - 1)
        last[me] = at
    return sorted(found)


@pytest.mark.proves("I11")
async def test_in_a_crowd_nobody_is_starved_and_nothing_is_lost(directory, record_property):
    process = await trio.run_process(
        [sys.executable, "-P", "-c", CROWD, directory, str(PROCESSES), str(ROUNDS)], capture_stdout=True, check=True
    )
    lines = await FileRegistry(directory).read(0)
    assert len(set(lines)) == len(lines) == PROCESSES * ROUNDS
    far = distances(lines)
    figures = process.stdout.decode().strip()
    record_property("crowd", figures)
    print(figures, "changes of others between two of one: median", far[len(far) // 2], "most", far[-1])
    assert far[len(far) * 99 // 100] <= 3 * PROCESSES
    assert far[-1] <= 6 * PROCESSES


def lock_file(directory):
    return os.path.join(directory, ".registry", "lock")


class Ticket:
    """Somebody else's place in the line."""

    def __init__(self, directory, at=None):
        self.disk, self.at = Disk(), time.monotonic_ns() if at is None else at
        self.fd = os.open(lock_file(directory), os.O_RDWR)
        assert self.disk.claim(self.fd, self.at)

    def leave(self):
        os.close(self.fd)


async def test_who_came_earlier_goes_first(directory, monkeypatch, nursery):
    monkeypatch.setattr(_turns, "_PATIENCE", 60)
    registry = FileRegistry(directory)
    await registry.rows()
    first, second = Ticket(directory), Ticket(directory)
    done = trio.Event()

    async def change():
        await registry.append(0, [b"x"])
        done.set()

    nursery.start_soon(change)
    await trio.sleep(0.03)  # far longer than it takes to append
    second.leave()
    await trio.sleep(0.03)
    assert not done.is_set()
    Ticket(directory)  # who comes later is not waited for
    first.leave()
    with trio.fail_after(10):
        await done.wait()


async def test_who_stands_still_in_line_is_passed_by_and_not_waited_for_again(directory, monkeypatch):
    registry = FileRegistry(directory)
    await registry.rows()
    Ticket(directory)
    with trio.fail_after(10):
        assert await registry.append(0, [b"x"])
    monkeypatch.setattr(_turns, "_PATIENCE", 60)
    with trio.fail_after(10):
        assert await registry.append(1, [b"y"])


async def test_who_waits_too_long_in_line_says_so(directory, monkeypatch):
    monkeypatch.setattr(_turns, "_PATIENCE", 60)
    registry = FileRegistry(directory, lock_timeout=0.05)
    await registry.rows()
    ticket = Ticket(directory)
    with pytest.raises(RegistryBusyError, match="came earlier"):
        await registry.append(0, [b"x"])
    ticket.leave()
    assert await registry.append(0, [b"x"])


@pytest.mark.proves("I11")
async def test_a_cancelled_waiter_leaves_the_line(directory, monkeypatch):
    monkeypatch.setattr(_turns, "_PATIENCE", 60)
    registry = FileRegistry(directory)
    await registry.rows()
    ticket = Ticket(directory)
    with trio.move_on_after(0.02) as scope:
        await registry.append(0, [b"x"])
    assert scope.cancelled_caught
    fd = os.open(lock_file(directory), os.O_RDWR)
    assert Disk().first_claim(fd, 0, 2**62) == ticket.at
    assert Disk().first_claim(fd, ticket.at + 1, 2**62) is None
    ticket.leave()
    assert Disk().first_claim(fd, 0, 2**62) is None
    os.close(fd)


async def test_tasks_of_one_program_take_turns_too(directory):
    registry = FileRegistry(directory)
    order = []

    async def change(n):
        turn = await registry._log.take_turn()
        order.append(n)
        await trio.sleep(0.001)
        assert await registry.append(len(await registry.read(0)), [b"x"])
        registry._log.leave_turn(turn)

    await registry.rows()
    with trio.fail_after(10):
        turn = await registry._log.take_turn()
        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(change, n)
            await trio.testing.wait_all_tasks_blocked()
            assert order == []
            nursery.cancel_scope.cancel()
        registry._log.leave_turn(turn)
        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(change, n)
    assert sorted(order) == [0, 1, 2, 3, 4]


async def test_a_task_that_never_ends_its_turn_does_not_block_others_for_ever(directory):
    registry = FileRegistry(directory, lock_timeout=0.05)
    await registry.rows()
    turn = await registry._log.take_turn()
    async with trio.open_nursery() as nursery:

        async def other():
            with pytest.raises(RegistryBusyError, match="this program itself"):
                await registry.append(0, [b"x"])

        nursery.start_soon(other)
    registry._log.leave_turn(turn)


async def test_two_who_come_at_the_same_moment_get_different_tickets(directory, monkeypatch):
    registry = FileRegistry(directory)
    await registry.rows()
    ticket = Ticket(directory)
    monkeypatch.setattr(time, "monotonic_ns", lambda: ticket.at)
    monkeypatch.setattr(_turns, "_PATIENCE", 0.01)
    with trio.fail_after(10):
        assert await registry.append(0, [b"x"])
    ticket.leave()


async def test_a_line_that_the_system_cannot_keep_is_done_without(directory, monkeypatch):
    monkeypatch.setattr(_disk, "_HAS_CLAIMS", False)
    registry = FileRegistry(directory)
    assert await registry.append(0, [b"x"])
    assert Disk().first_claim(-1, 0, 9) is None


async def test_a_ticket_that_cannot_be_given_back_goes_with_the_file(directory, monkeypatch):
    registry = FileRegistry(directory)

    class Broken(Disk):
        def disclaim(self, fd, at):
            raise OSError(5, "broken")

    registry = FileRegistry(directory, _disk=Broken())
    assert await registry.append(0, [b"x"])
    registry._log.close()
    fd = os.open(lock_file(directory), os.O_RDWR)
    assert Disk().first_claim(fd, 0, 2**62) is None
    os.close(fd)


STOPPED = """
import os, sys, trio
from podkit._store import FileRegistry
async def main():
    registry = FileRegistry(sys.argv[1])
    await registry.rows()
    await registry._log.take_turn()
    if sys.argv[2] == "lock":
        await registry._log._lock.acquire()
    print("in", flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


def start(directory, what):
    return subprocess.Popen([sys.executable, "-P", "-c", STOPPED, directory, what], stdout=subprocess.PIPE)


@pytest.mark.proves("I11")
@pytest.mark.parametrize("what", ["turn", "lock"])
async def test_a_stopped_program_delays_others_only_while_it_has_the_lock_itself(directory, what):
    process = start(directory, what)
    try:
        assert process.stdout.readline() == b"in\n"
        process.send_signal(signal.SIGSTOP)
        registry = FileRegistry(directory, lock_timeout=0.3)
        with trio.fail_after(20):
            if what == "turn":
                assert await registry.append(0, [b"x"])
            else:
                with pytest.raises(RegistryBusyError) as caught:
                    await registry.append(0, [b"x"])
                assert f"process {process.pid}" in caught.value.holder
                process.kill()
                while not await registry.append(0, [b"x"]):
                    pass
    finally:
        process.kill()
        process.communicate()
