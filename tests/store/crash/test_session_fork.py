"""Every call of a fork fails, or is the last one: the source is as it was, and the fork is there or says that it is not."""

import os
import tempfile

import pytest
import trio

import podkit
from podkit._store._session_look import read_session
from podkit.errors import SessionError, UnknownSessionError
from podkit.testing import Say, ScriptedWorker

LONG = "PODKIT_LONG" in os.environ
KINDS = ("kill-before", "kill-after", "enospc", "eio", "short-1", "short-all-but-1")
HOME, OTHER = podkit.Scope.write("/w"), podkit.Scope.write("/v")


async def setting(directory, durability, *, earlier):
    """Two turns of a root; and what the new name had before."""
    store = podkit.FileSessionStore(os.path.join(directory, "s"), durability=durability)
    ground = {"transport": podkit.MemoryTransport(), "registry": podkit.MemoryRegistry()}
    for name in ("root", *(["twin"] if earlier else [])):
        worker = ScriptedWorker(Say("one"), Say("two"))
        async with podkit.open_pod(name, worker, scope=HOME, sessions=store, confinement="advisory", **ground) as pod:
            await pod.ask("go")
    return store, ground


async def fork(directory, durability, disk):
    store = podkit.FileSessionStore(os.path.join(directory, "s"), durability=durability, _disk=disk)
    return await podkit.fork_session(store, "root", "twin", scope=OTHER)


async def struck(crash, durability, fault, *, earlier):
    """Which calls there were, and whether the fault came; after it everything is as it must be."""
    with tempfile.TemporaryDirectory(prefix="pk", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        store, ground = await setting(directory, durability, earlier=earlier)
        source = await store.read("root")
        before = await store.read("twin") if earlier else None
        disk, made, failed = crash.Disk(fault), None, None
        try:
            made = await fork(directory, durability, disk)
        except (crash.Killed, SessionError) as error:
            failed = error
        calls = tuple(disk.trace)
        disk.bury()
        assert await store.read("root") == source
        try:
            found = await store.read("twin")
        except UnknownSessionError:
            found = None
        if made is not None:
            assert (found.id, found.segment) == (made.session, found.segments[-1])
        if found is not None and found != before:
            if found.manifest is None:  # it was not finished, and says so
                assert failed is not None
                with pytest.raises(SessionError, match="never finished"):
                    async with podkit.restore_pod("twin", ScriptedWorker(), sessions=store, **ground):
                        pass
            else:
                async with podkit.restore_pod("twin", ScriptedWorker(), sessions=store, **ground) as twin:
                    assert len(twin.log.data[0]["history"]) == 3
                    assert twin.scope == OTHER
        else:
            assert found == before
        again = await podkit.fork_session(store, "root", "twin", scope=OTHER)
        assert (await store.verify("twin")).id == again.session
        assert await store.read("root") == source
        return calls, disk.fired


@pytest.mark.proves("I28", "I31", "F38")
@pytest.mark.parametrize(("durability", "earlier"), [("process", True), ("power", False)], ids=["put-aside", "new-power"])
async def test_a_fork_that_meets_a_fault_at_any_call_is_whole_or_says_that_it_is_not(crash, durability, earlier):
    with trio.fail_after(300):
        calls, _ = await struck(crash, durability, None, earlier=earlier)
        for kind in KINDS:
            places = [at for at, call in enumerate(calls, 1) if not kind.startswith("short") or call in ("write", "pwrite")]
            for at in places if LONG or len(places) < 20 or kind == "kill-before" else places[::6]:
                try:
                    _, came = await struck(crash, durability, crash.Fault(kind, at), earlier=earlier)
                except BaseException as error:
                    error.add_note(f"{kind} at call {at}: {calls[at - 1]}")
                    raise
                assert came, (kind, at)
            assert len(places) >= 6, kind


async def test_a_fork_reads_on_beside_a_writer_and_sees_whole_entries(crash):
    """The writer is stopped inside of its write: what it has not finished is not there."""
    with tempfile.TemporaryDirectory(prefix="pk") as directory, trio.fail_after(30):
        store, _ = await setting(directory, "process", earlier=False)
        writer = crash.Disk()
        async with await podkit.FileSessionStore(store.directory, _disk=writer).open("root") as session:
            before = await store.read("root")
            writer.fault = crash.Fault("short-all-but-1", writer.calls + 1)
            truncate, seen = writer.truncate, []

            def cut(fd, size):
                seen.append((os.path.getsize(session._journal.path) > size, store._looked("root", read_session, "read")))
                truncate(fd, size)

            writer.truncate = cut
            with pytest.raises(SessionError):
                session.append([b'{"kind":"paused_turn_abandoned","ts":1}'])
            assert seen == [(True, before)]
