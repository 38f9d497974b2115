"""The disk of a world does what a real one does; it fails when it is told to, and loses what was not synced."""

import contextlib
import itertools
import os
import random
import stat

import pytest
import trio

from podkit import Scope
from podkit._os import Disk
from podkit.errors import PodkitError
from podkit.logic import Freed, Table, decide_root, encode_fact
from podkit.testing import Faults, ScriptedWorker, Sleep, random_scenario, simulate
from podkit.testing._sim_disk import SimDisk
from podkit.testing._sim_files import SimFiles
from podkit.testing._sim_journal import JournalLog

NAMES = ["a", "b", "d", "d/x", "none/x"]
FLAGS = [
    os.O_RDWR,
    os.O_RDWR | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_APPEND,
    os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_CREAT | os.O_EXCL,
    os.O_RDONLY | os.O_DIRECTORY,
]


class Session:
    """The same calls on one disk, in one directory; what each of them answered, without what may differ."""

    def __init__(self, disk, top):
        self.disk, self.top, self.fds, self.said = disk, top, [], []

    def call(self, name, *args, keep=lambda answer: answer):
        try:
            self.said.append((name, keep(getattr(self.disk, name)(*args))))
        except OSError as error:
            self.said.append((name, error.errno))

    def open(self, path, flags):
        with contextlib.suppress(OSError):
            self.fds.append(self.disk.open(path, flags))
            self.said.append("opened")
            return
        self.said.append("not opened")

    def step(self, chance):
        path, other = (f"{self.top}/{chance.choice(NAMES)}" for _ in range(2))
        files = [fd for fd in self.fds if stat.S_ISREG(self.disk.fstat(fd).st_mode)]
        draw, flags, number, data = chance.randrange(14), chance.choice(FLAGS), chance.randrange(20), chance.randbytes(9)
        which = chance.random()
        fd = files[int(which * len(files))] if files else None
        if draw < 3 and not (path.endswith("d") and flags & os.O_CREAT):
            self.open(path, flags)
        elif draw == 3:
            self.call("lstat", path, keep=lambda info: (stat.S_IFMT(info.st_mode), stat.S_ISREG(info.st_mode) and info.st_size))
        elif draw == 4:
            self.call("listdir", self.top, keep=sorted)
        elif draw == 5 and path != other and not path.endswith("d") and not other.endswith("d"):
            self.call("rename", path, other)
        elif draw == 6 and not path.endswith("d"):
            self.call("unlink", path)
        elif draw == 7:
            self.call("mkdir" if which < 0.5 else "rmdir", f"{self.top}/d")
        elif fd is not None:
            self.on_file(draw, fd, files, number, data)

    def on_file(self, draw, fd, files, number, data):
        match draw:
            case 8:
                self.call("pread", fd, number, number)
            case 9:
                self.call("pwrite", fd, data, number)
            case 10:
                self.call("truncate", fd, number)
            case 11:
                self.call("lock", fd)
            case 12:
                self.call("unlock", fd)
                self.call("claim", fd, number)
            case 13:
                self.call("first_claim", fd, 0, 20)
                if number < 5:
                    self.call("close", fd)
                    self.fds.remove(fd)


@pytest.mark.parametrize("seed", range(40))
def test_a_simulated_disk_answers_like_a_real_one(tmp_path, seed):
    files = SimFiles()
    SimDisk(files).mkdir("/top")
    real, simulated = Session(Disk(), str(tmp_path)), Session(SimDisk(files), "/top")
    for session in (real, simulated):
        chance = random.Random(seed)
        for _ in range(200):
            session.step(chance)
    assert simulated.said == real.said
    for fd in real.fds:
        os.close(fd)


def test_appending_goes_to_the_end_and_a_path_may_be_a_name_in_an_open_directory(tmp_path):
    files = SimFiles()
    SimDisk(files).mkdir("/top")
    for disk, top in ((Disk(), str(tmp_path)), (SimDisk(files), "/top")):
        at = disk.open(top, os.O_RDONLY | os.O_DIRECTORY)
        fd = disk.open("f", os.O_RDWR | os.O_CREAT | os.O_APPEND, dir_fd=at)
        assert (disk.write(fd, b"one"), disk.write(fd, b"two")) == (3, 3)
        assert disk.pread(fd, 99, 0) == b"onetwo"
        disk.chmod(fd, 0o640)
        assert stat.S_IMODE(disk.fstat(fd).st_mode) == 0o640
        assert disk.lstat("f", dir_fd=at).st_nlink == 1
        disk.mkfifo(f"{top}/p")
        disk.mkdir(f"{top}/d")
        disk.rmdir("d", dir_fd=at)
        disk.unlink("f", dir_fd=at)
        assert disk.fstat(fd).st_nlink == 0
        assert disk.listdir(top) == ["p"]
        disk.close(fd)
        disk.close(at)


def powered(ops, seed=0):
    files = SimFiles()
    disk = SimDisk(files)
    disk.mkdir("/top")
    disk.sync_dir("/")
    fd = disk.open("/top/f", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    ops(disk, fd)
    lost = files.lose_power(random.Random(seed))
    return files, lost


def test_what_was_synced_survives_a_loss_of_power():
    def ops(disk, fd):
        disk.write(fd, b"kept")
        disk.sync(fd)
        disk.sync_dir("/top")

    for seed in range(20):
        files, lost = powered(ops, seed)
        assert (files.read("/top/f"), lost) == (b"kept", 0)


def test_what_was_not_synced_is_there_or_half_or_not():
    def ops(disk, fd):
        disk.sync_dir("/top")
        disk.write(fd, b"maybe.")

    assert {powered(ops, seed)[0].read("/top/f") for seed in range(60)} == {b"", b"may", b"maybe."}


def test_a_name_that_was_not_synced_may_be_gone_or_be_the_old_one():
    def ops(disk, fd):
        disk.sync_dir("/top")
        disk.rename("/top/f", "/top/g")

    assert {tuple(sorted(powered(ops, seed)[0].names)) for seed in range(60)} == {("/", "/top", "/top/f"), ("/", "/top", "/top/g")}


def test_a_program_that_died_has_no_files_and_holds_no_lock():
    files = SimFiles()
    one, two = SimDisk(files), SimDisk(files)
    first, second = (disk.open("/lock", os.O_RDWR | os.O_CREAT) for disk in (one, two))
    assert one.lock(first)
    assert one.claim(first, 3)
    assert not two.lock(second)
    assert two.first_claim(second, 0, 9) == 3
    one.die()
    assert two.lock(second)
    assert two.first_claim(second, 0, 9) is None
    for call in (lambda: one.open("/lock", os.O_RDWR), lambda: one.write(first, b"x"), lambda: one.close(first)):
        with pytest.raises(OSError, match="nput/output"):
            call()


def test_a_write_is_short_or_refused_or_its_program_is_killed_before_it():
    files = SimFiles()
    disk = SimDisk(files)
    fd = disk.open("/f", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    disk.trouble = lambda _, call: "short" if call == "write" else None
    assert disk.write(fd, b"1234") == 2
    disk.trouble = lambda _, call: "full"
    with pytest.raises(OSError, match="No space"):
        disk.write(fd, b"1234")
    disk.trouble = lambda _, call: "killed"
    with pytest.raises(OSError, match="nput/output"):
        disk.write(fd, b"56")
    assert disk.dead
    assert files.read("/f") == b"12"


def run(faults, seeds, operations=40):
    fired = dict.fromkeys(faults.rates, 0)
    for seed in seeds:
        for kind, count in simulate(
            lambda world: random_scenario(world, operations=operations), seed=seed, faults=faults
        ).faults.items():
            fired[kind] += count
    return fired


DISK = dict.fromkeys(("disk_full", "disk_error", "disk_interrupted", "disk_short", "disk_sync", "disk_killed"), 0.8)


@pytest.mark.proves("I1", "I4", "I8", "I9", "I27", "I31")
def test_a_registry_on_a_disk_that_fails_breaks_no_promise():
    fired = run(Faults(DISK), range(60))
    assert all(fired.values()), fired


@pytest.mark.proves("I8", "I9", "I31")
def test_a_registry_whose_disk_loses_power_begins_anew():
    fired = run(Faults({**DISK, "reboot": 1.0}), range(60))
    assert fired["reboot"] >= 20, fired


@pytest.mark.proves("I8")
def test_whoever_ended_before_the_power_was_lost_is_in_nobodys_way_after_it():
    """Of a log some lines are lost and others are there: that it is of another boot can be told all the same."""

    async def lose(seed):
        log = JournalLog(random.Random(seed), durable=False)
        await log.read(0)
        more = {"scope": Scope.write("/y"), "address": "memory://y", "since": 1.0}
        opened = decide_root(Table(), name="y", tree="y", incarnation="1", **more)
        for after, fact in enumerate((*opened, Freed(author="1", incarnation="1"))):
            assert await log.append(after, [encode_fact(fact)])
        log.reboot()  # and the lease of y was forgotten when it ended
        assert await log.read(0) == []

    for seed in range(200):
        trio.run(lose, seed)


class Killable:
    """As much of a program as a disk needs."""

    dead = False

    def __init__(self):
        self.disks = []

    def kill(self):
        self.dead = True
        for disk in self.disks:
            disk.die()


@pytest.mark.proves("I8")
def test_the_log_of_an_earlier_boot_says_nothing_new_to_who_watches_until_somebody_writes_to_it():
    """Who comes first after a restart may die before the new log is there: then the old one is still in its place."""

    async def lose(step):
        log, told, calls = JournalLog(random.Random(0), durable=True), [], itertools.count(1)
        log.appended = lambda _by, facts: told.append(len(facts))
        more = {"scope": Scope.write("/y"), "address": "memory://y", "since": 1.0}
        opened = decide_root(Table(), name="y", tree="y", incarnation="1", **more)
        assert await log.append(0, [encode_fact(fact) for fact in opened])
        log.reboot()
        log.trouble_on_disk = lambda _program, _call: "killed" if next(calls) == step else None
        first = Killable()
        with contextlib.suppress(PodkitError, OSError):
            await log.read(0, by=first)
        assert told == [2]
        assert await log.read(0) == []
        assert await log.append(0, [encode_fact(opened[0])])
        assert told == [2, 1]
        return first.dead

    assert sum(itertools.takewhile(bool, (trio.run(lose, step) for step in itertools.count(1)))) > 10


def test_a_log_drops_its_past_under_faults():
    """How much is written differs by seed: some run long enough that their log is compacted."""
    dropped = []

    async def scenario(world):
        await random_scenario(world, operations=300)
        dropped.append(world.registry._base)

    for seed in range(30):
        simulate(scenario, seed=seed, faults=Faults({kind: rate / 3 for kind, rate in DISK.items()}, most=20))
        if sum(map(bool, dropped)) == 2:
            return
    pytest.fail(f"of 30 logs {sum(map(bool, dropped))} dropped their past")


def test_without_faults_a_disk_changes_nothing_that_anybody_sees():
    """Durable or not: what is kept is what was asked for."""
    kept = []

    async def scenario(world):
        async with world.open_pod("root", ScriptedWorker(), scope=Scope.write("/w")) as root:
            child = await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(lambda: ScriptedWorker(Sleep(1))))
            assert [row.name for row in await world.registry.rows()] == ["root", "a"]
            await child.stop()
        assert isinstance(world.registry, JournalLog)
        kept.append(world.registry.durable)

    for seed in range(8):
        simulate(scenario, seed=seed, faults=Faults.none(disk=True))
    assert set(kept) == {True, False}
