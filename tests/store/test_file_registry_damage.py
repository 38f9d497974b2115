"""Damage to the registry's files: found, named, kept as it is, and nothing is granted on it."""

import errno
import os
import shutil
import signal

import pytest
import trio

from podkit._store import FileRegistry, _file_registry
from podkit._store._anchor import SIZE
from podkit._store._journal_record import Mark, encode_record
from podkit.errors import CorruptRegistryError, RegistryError
from podkit.logic import Adopted, Scope, decide_free, decide_root, encode_fact


def snapshot(directory):
    found = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = file.read()
    return found


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def get(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture
def log(files):
    return files(".registry", "log.1")


@pytest.fixture
def lock(files):
    return files(".registry", "lock")


async def refused(directory, *, file=None, match=None):
    """A fresh opening is refused, twice, and touches no file."""
    where = os.path.join(directory, ".registry")
    before = snapshot(where)
    registry = FileRegistry(directory)
    for call in (registry.rows, registry.rows, lambda: registry.append(0, [b"x"]), registry.sweep, lambda: registry.hold("a.1")):
        with pytest.raises(CorruptRegistryError, match=match) as caught:
            await call()
    after = snapshot(where)
    for name, data in before.items():
        assert after[name][:512].rstrip(b"\0") == data[:512].rstrip(b"\0")  # behind the anchor it says who had the lock
        assert name == "lock" or after[name] == data
    if file is not None:
        assert caught.value.file == file
    return caught.value


async def names(directory):
    return [row.name for row in await FileRegistry(directory).rows()]


async def test_a_log_cut_at_any_byte_is_refused_when_it_is_shorter_than_its_anchor(directory, open_root, log):
    registry = FileRegistry(directory)
    await open_root(registry)
    await open_root(registry, "b", "/v")
    whole = get(log)
    for cut in [*range(0, len(whole), 37), len(whole) - 1]:
        put(log, whole[:cut])
        error = await refused(directory, file=log)
        assert error.offset is not None
    put(log, whole)
    assert await names(directory) == ["root", "b"]


async def test_an_open_registry_sees_that_its_log_was_cut(directory, open_root, log, monkeypatch):
    registry = FileRegistry(directory)
    await open_root(registry)
    one = get(log)
    anchor = get(os.path.join(directory, ".registry", "lock"))
    await open_root(registry, "b", "/v")
    put(log, one)
    with pytest.raises(CorruptRegistryError):
        await registry.rows()
    put(os.path.join(directory, ".registry", "lock"), anchor)  # the anchor was put back too: only who read more can tell
    with pytest.raises(CorruptRegistryError, match="read from it before"):
        await registry.rows()
    assert await names(directory) == ["root"]


async def test_a_flipped_bit_inside_is_refused_with_its_place(directory, open_root, log):
    registry = FileRegistry(directory)
    await open_root(registry)
    await open_root(registry, "b", "/v")
    whole = get(log)
    second = whole.index(b"\n") + 1
    for at in (second + 3, second + 60, len(whole) - 30):
        put(log, whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        error = await refused(directory, file=log)
        assert error.line == (2 if at < whole.index(b"\n", second) else 3)


async def test_a_damaged_header_is_refused(directory, open_root, log):
    await open_root(FileRegistry(directory))
    whole = get(log)
    put(log, b"x" + whole[1:])
    assert (await refused(directory, file=log)).line == 1
    put(log, b"")
    await refused(directory, file=log)


async def test_a_log_of_another_registry_is_refused(directory, open_root, log, tmp_path):
    os.chmod(tmp_path, 0o700)
    other = FileRegistry(tmp_path)
    await open_root(other)
    await open_root(FileRegistry(directory))
    shutil.copy(tmp_path / ".registry" / "log.1", log)
    await refused(directory, file=log, match="header")


async def test_a_log_of_a_newer_podkit_is_refused(directory, open_root, log, monkeypatch):
    from podkit._store import _log_state

    with monkeypatch.context() as patch:
        patch.setattr(_log_state, "_FORMAT", 2)
        lease = await open_root(FileRegistry(directory))
    await refused(directory, file=log, match="newer podkit")
    lease.release()
    await refused(directory, file=log, match="newer podkit")


async def test_a_missing_log_is_refused(directory, open_root, log):
    await open_root(FileRegistry(directory))
    os.unlink(log)
    await refused(directory, file=log, match="missing")


async def test_a_missing_lock_file_is_refused(directory, open_root, lock):
    await open_root(FileRegistry(directory))
    os.unlink(lock)
    await refused(directory, file=lock, match="missing")
    assert not os.path.lexists(lock)


@pytest.mark.parametrize("data", [b"", b"\0" * 512, b"short", b"x" * 600])
async def test_a_lock_file_without_its_anchor_is_refused(directory, open_root, lock, data):
    await open_root(FileRegistry(directory))
    put(lock, data)
    await refused(directory)


async def test_a_lock_file_that_is_no_file_is_refused(directory, open_root, lock):
    await open_root(FileRegistry(directory))
    os.unlink(lock)
    os.mkfifo(lock)
    with pytest.raises(CorruptRegistryError, match="regular file"):
        await FileRegistry(directory).rows()
    os.unlink(lock)
    os.symlink("/etc/passwd", lock)
    with pytest.raises(RegistryError):
        await FileRegistry(directory).rows()


async def test_a_lock_file_that_is_removed_or_replaced_in_use_is_noticed(directory, open_root, lock):
    registry = FileRegistry(directory)
    await open_root(registry)
    whole = get(lock)
    os.unlink(lock)
    for _ in range(2):
        with pytest.raises(CorruptRegistryError, match="removed or replaced"):
            await open_root(registry, "b", "/v", incarnation="b")
        os.unlink(os.path.join(directory, ".leases", "b.b"))
        put(lock, whole)


async def test_a_registry_that_began_anew_behind_our_back_is_noticed(directory, open_root, files, lock):
    registry = FileRegistry(directory)
    (await open_root(registry)).release()
    put(lock, b"")
    os.unlink(files(".registry", "log.1"))
    await open_root(FileRegistry(directory), "other", incarnation="other")
    with pytest.raises(CorruptRegistryError, match="removed or replaced"):
        await registry.rows()


async def test_nothing_begins_anew_while_pods_hold_leases(directory, open_root, files):
    lease = await open_root(FileRegistry(directory))
    shutil.rmtree(files(".registry"))
    registry = FileRegistry(directory)
    with pytest.raises(CorruptRegistryError, match="hold leases"):
        await registry.rows()
    lease.release()
    assert len(await registry.rows()) == 0


async def test_an_empty_directory_is_a_new_registry(directory):
    assert await names(directory) == []
    assert await names(directory) == []


async def test_a_record_that_the_anchor_does_not_know_yet_counts(directory, open_root, lock, log):
    registry = FileRegistry(directory)
    await open_root(registry)
    anchor = get(lock)
    await open_root(registry, "b", "/v")
    put(lock, anchor)  # its writer died between the two writes
    assert await names(directory) == ["root", "b"]
    await open_root(FileRegistry(directory), "c", "/u")
    assert await names(directory) == ["root", "b", "c"]


async def test_an_anchor_may_be_behind_by_any_number_of_records(directory, open_root, lock):
    registry = FileRegistry(directory)
    await open_root(registry)
    anchor = get(lock)
    await open_root(registry, "b", "/v")
    await open_root(registry, "c", "/u")
    put(lock, anchor)  # as after a loss of power: the log is synced at every change, the anchor is not
    assert await names(directory) == ["root", "b", "c"]
    assert await FileRegistry(directory).append(6, [b"x"])


async def test_a_record_that_is_not_the_anchors_is_damage(directory, open_root, lock, log):
    await open_root(FileRegistry(directory))
    whole = get(log)
    header, record = whole.splitlines(keepends=True)
    mark = Mark(len(header), 1, 0, header[:32])
    facts = record.rstrip(b"\n").split(b"\t")[1:]
    put(log, header + encode_record(mark, [facts[0], encode_fact(Adopted(author="i-root", incarnation="i-root", pid=1))])[0])
    with pytest.raises(CorruptRegistryError, match="anchor"):
        await FileRegistry(directory).append(2, [b"x"])


async def test_half_a_record_of_a_dead_writer_is_cut_off(directory, open_root, log):
    await open_root(FileRegistry(directory))
    whole = get(log)
    for cut in range(1, 60, 7):
        put(log, whole + b"0123456789abcdef0123456789abcdef 3\t{and so on and on and on}"[:cut])
        assert await names(directory) == ["root"]
    registry = FileRegistry(directory)
    await open_root(registry, "b", "/v")
    assert await names(directory) == ["root", "b"]


async def test_a_beginning_that_died_half_way_is_begun_again(directory, files, lock):
    registry = FileRegistry(directory)
    assert await registry.read(0) == []
    put(lock, b"")  # the log was made, the anchor not
    put(files(".registry", "log.2.new"), b"half")
    assert await names(directory) == []


async def test_after_a_restart_of_the_machine_nobody_holds_anything(directory, open_root, files, monkeypatch, log):
    registry = FileRegistry(directory)
    lease = await open_root(registry)
    whole = get(log)
    old = _file_registry.boot_id()
    for n in range(1, 8):
        monkeypatch.setattr(_file_registry, "boot_id", lambda n=n: f"boot-{n}")
        registry = FileRegistry(directory)
        with pytest.raises(CorruptRegistryError, match="yet leases are held"):
            await registry.rows()
        lease.release()
        assert len(await registry.rows()) == 0
        if n == 1:
            assert get(f"{log}.{old}") == whole
        lease = await open_root(registry, "again", incarnation=f"i{n}")
        assert await names(directory) == ["again"]
    kept = sorted(os.listdir(files(".registry")))
    assert len(kept) == 6  # the lock, the log, and the last four of earlier boots
    assert {"lock", "log.8"} <= set(kept)


async def test_a_damaged_log_of_an_earlier_boot_is_kept_and_harms_nobody(directory, open_root, log, monkeypatch):
    lease = await open_root(FileRegistry(directory))
    put(log, b"nonsense")
    await refused(directory)
    lease.release()
    monkeypatch.setattr(_file_registry, "boot_id", lambda: "later")
    assert await names(directory) == []
    monkeypatch.setattr(_file_registry, "boot_id", lambda: "later still")
    os.unlink(os.path.join(directory, ".registry", "log.2"))
    assert await names(directory) == []


async def test_a_change_of_generation_that_dies_half_way_loses_nothing(directory, open_root, files, monkeypatch):
    registry = FileRegistry(directory)
    await open_root(registry)
    log = registry._log._state
    sequence = (await registry.rows()).sequence

    def fail(_journal, **_more):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(log, "_vouch", fail)
        with pytest.raises(RegistryError, match="no space"):
            await registry.compact(sequence, [b"x"])
    assert sorted(os.listdir(files(".registry"))) == ["lock", "log.1", "log.2"]
    assert await names(directory) == ["root"]
    assert sorted(os.listdir(files(".registry"))) == ["lock", "log.1"]  # who opened it tidied up
    await open_root(registry, "b", "/v")
    assert await names(directory) == ["root", "b"]
    facts = await FileRegistry(directory).read(0)
    other = FileRegistry(directory)
    await other.rows()
    assert await registry.compact(4, facts)
    assert sorted(os.listdir(files(".registry"))) == ["lock", "log.2"]
    assert await other.read(4) == facts


async def test_an_old_log_that_cannot_be_removed_is_no_harm(directory, open_root, files, monkeypatch):
    registry = FileRegistry(directory)
    await registry.append(0, [b"x"])

    def refuse(*_args, **_more):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert await registry.compact(1, [b"y"])
    assert await FileRegistry(directory).read(0) == [b"y"]


async def test_a_full_disk_refuses_a_change_and_keeps_the_rest(directory, open_root, monkeypatch):
    registry = FileRegistry(directory)
    await open_root(registry)
    real = os.write

    def full(fd, data):
        if len(data) > 100:
            real(fd, data[:50])
            raise OSError(errno.ENOSPC, "no space")
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RegistryError, match="no space"):
            await open_root(registry, "b", "/v")
    assert await names(directory) == ["root"]
    await open_root(registry, "b", "/v", incarnation="second")
    assert await names(directory) == ["root", "b"]


async def test_an_anchor_that_cannot_be_written_does_not_undo_the_change(directory, open_root, monkeypatch):
    registry = FileRegistry(directory)
    await open_root(registry)
    real = os.pwrite

    def full(fd, data, at):
        if at < 2 * SIZE:
            raise OSError(errno.ENOSPC, "no space")
        return real(fd, data, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        await open_root(registry, "b", "/v")
        with pytest.raises(RegistryError, match="no space"):
            await open_root(registry, "c", "/u")
        patch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:9], at) if at < 2 * SIZE else real(fd, data, at))
        with pytest.raises(RegistryError, match="could not be written"):
            await open_root(registry, "c", "/u", incarnation="c2")
    assert [row.name for row in await registry.rows()] == ["root", "b"]
    assert await names(directory) == ["root", "b"]
    await open_root(registry, "c", "/u", incarnation="c3")


async def test_files_that_cannot_be_opened_are_an_error_of_the_registry(directory, open_root, monkeypatch):
    registry = FileRegistry(directory)
    await open_root(registry)
    fresh = FileRegistry(directory)

    def refuse(*_args, **_more):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(RegistryError, match="too many"):
            await fresh.rows()
        with pytest.raises(RegistryError, match="too many"):
            await registry.hold("a.1")
    assert len(await fresh.rows()) == 1


@pytest.mark.proves("I11")
async def test_a_forked_copy_has_none_of_the_files_and_opens_its_own(directory, open_root):
    registry = FileRegistry(directory)
    await open_root(registry)
    await registry._log._lock.acquire()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = [fd for fd in os.listdir("/proc/self/fd") if directory in os.path.realpath(f"/proc/self/fd/{fd}")]
        os.write(tell, repr((held, registry._log._lock.fd)).encode())
        signal.pause()
    try:
        assert os.read(told, 99) == b"([], -1)"
        registry._log.close()  # as if we died: the copy lives on, and has no part in the lock
        await open_root(FileRegistry(directory, lock_timeout=0.5), "b", "/v")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it was just killed
        os.close(told)
        os.close(tell)


async def test_a_lock_file_that_is_gone_when_it_is_opened_again_is_noticed(directory, open_root, lock):
    registry = FileRegistry(directory)
    (await open_root(registry)).release()
    registry._log.close()
    os.unlink(lock)
    with pytest.raises(CorruptRegistryError, match="missing"):
        await registry.append(2, [b"x"])
    assert not os.path.lexists(lock)


async def test_what_a_forked_copy_does_first_is_to_close_everything(directory, open_root):
    from podkit._os import _lease
    from podkit._store import _registry_log

    registry = FileRegistry(directory)
    lease = await open_root(registry)
    _registry_log._close_after_fork()  # a copy runs these; here they are run in the original, so that they can be measured
    _lease._let_go_after_fork()
    assert (registry._log._lock.fd, lease.fd) == (-1, None)
    assert [row.name for row in await registry.rows()] == ["root"]


async def test_a_closed_log_opens_again(directory, open_root):
    registry = FileRegistry(directory)
    await open_root(registry)
    registry._log.close()
    registry._log.close()
    table = await registry.transact(lambda table: decide_free(table, incarnation="i-root", author="x"))
    assert len(table) == 0


async def test_a_reader_that_falls_between_two_writers_looks_again_under_the_lock(directory, open_root, monkeypatch, lock):
    registry = FileRegistry(directory)
    await open_root(registry)
    reader = FileRegistry(directory)
    real, calls = os.pread, []

    def torn(fd, size, at):
        data = real(fd, size, at)
        calls.append(at)
        return data[:100] + b"?" * (len(data) - 100) if len(calls) == 1 else data

    monkeypatch.setattr(os, "pread", torn)
    with trio.fail_after(5):
        assert len(await reader.rows()) == 1
    assert len(calls) > 2


async def test_decisions_are_run_on_what_others_appended(directory, open_root):
    one, two = FileRegistry(directory), FileRegistry(directory)
    await open_root(one)
    seen = []

    def decide(table):
        seen.append(len(table))
        if len(seen) == 1:  # somebody is quicker, between our look and our append
            table_two = two._folded
            facts = decide_root(table_two, name="q", tree="q", incarnation="q", scope=Scope.write("/q"), address="a", since=1.0)
            two._log._state.add(two._log._state.settle(), [encode_fact(fact) for fact in facts])
        return decide_root(table, name="s", tree="s", incarnation="s", scope=Scope.write("/s"), address="a", since=1.0)

    await two.rows()
    table = await one.transact(decide)
    assert seen == [1, 2]
    assert [row.name for row in table] == ["root", "q", "s"]
