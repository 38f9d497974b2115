"""Programs that are killed, and their pods restored from files by another one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import podkit
from podkit.logic import replay
from podkit.protocol import entry_from_data

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from keeper import Clerk, Ledger

KEEPER = Path(__file__).parent / "programs" / "keeper.py"


async def keeper(place, *arguments, lines):
    """Run it until it said so many lines or died; answer the process and what it said."""
    argv = [sys.executable, "-P", str(KEEPER), place.dir, place.root + "/s", place.work, *map(str, arguments)]
    process = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
    said = b""
    while said.count(b"\n") < lines and (more := await process.stdout.receive_some()):
        said += more
    return process, said.decode().split()


def restored(place, **options):
    store = podkit.FileSessionStore(place.root + "/s")
    return podkit.restore_pod(
        "root", Clerk(), sessions=store, transport=place.transport, registry=place.registry, tools=[Ledger()], **options
    )


@pytest.mark.proves("I24", "I25", "I27", "I31", "F31", "F33")
@pytest.mark.parametrize("durability", ["process", "power"])
async def test_a_program_killed_at_any_commit_is_restored_without_a_line_written_twice(place, durability):
    ledger = Path(place.work, "ledger")
    with trio.fail_after(120):
        for at in range(3, 60, 2 if durability == "process" else 5):
            ledger.unlink(missing_ok=True)
            process, said = await keeper(place, at, "before" if at // 2 % 2 else "after", durability, lines=2)
            if "done" in said:
                await process.wait()
                break
            assert await process.wait() == -signal.SIGKILL
            written = ledger.read_text().split() if ledger.exists() else []
            async with restored(place) as root:
                entries = [entry_from_data(data) for data in root.log.data]
                state = replay(entries)
                assert not state.orphans
                assert state.under_way is None
                calls = [entry for entry in root.log.data if entry.get("item", {}).get("kind") == "tool_call"]
                results = [entry["item"]["call_id"] for entry in root.log.data if entry["kind"] == "tool_result"]
                assert results == [call["item"]["call_id"] for call in calls]
                assert (ledger.read_text().split() if ledger.exists() else []) == written, "a tool ran again"
                assert [notice.body for notice in state.notices] == (
                    [] if any(e.kind == "system_item" for e in entries) else ["news"]
                )[: len([e for e in entries if e.kind == "notice"])]
                await root.ask("more")
                lines = ledger.read_text().split()
                assert len(set(lines)) == len(lines)
                assert not replay([entry_from_data(data) for data in root.log.data]).notices
        else:
            pytest.fail("the program was killed at every commit, and never came to its end")
        assert at > 12
    assert place.left() == []


@pytest.mark.proves("F9", "F22", "H29")
async def test_a_killed_program_and_its_child_program_are_restored(place):
    with trio.fail_after(60):
        process, said = await keeper(place, 0, "stay", lines=3)
        assert said[-1] == "ready"
        kid = (await place.registry.table())["kid"]
        os.kill(kid.pid, signal.SIGSTOP)  # it will not hear that its parent died, and end in order
        process.kill()
        await process.wait()
        os.kill(kid.pid, signal.SIGKILL)
        await place.registry.gone(kid.key)
        async with restored(place) as root:
            assert root.children["kid"].gone.is_set()
            path = f"{place.work}/a/x"
            await root.files.write_text(path, "ours")
            back = await root.restore_child("kid", launcher=place.launcher())
            said = [entry["segments"][0]["content"] for entry in (await back.snapshot()).entries if entry["kind"] == "user_input"]
            assert said == ["hello"]
            with pytest.raises(podkit.AccessDeniedError):
                await root.files.write_text(path, "still ours?")
            with pytest.raises(podkit.AccessDeniedError):
                await root.files.read_text(f"{place.root}/s/root")
            assert (await back.ask(f"write {path}")).text == f"wrote {path}"
            await back.stop()
        assert place.left() == []


async def reported(pod, child, run):
    """Wait until the pod's log says that the child reported the end of that run."""
    async with pod.hub.open_view(pod.desk) as view:
        while f"{child.incarnation}.run.{run}" not in str(pod.log.data):
            await view.receive()


@pytest.mark.proves("F22", "H8", "H9", "H28", "I1", "I3", "I21")
@pytest.mark.parametrize("where", ["a/deep", "else"])
async def test_a_killed_program_is_restored_while_its_child_and_grandchild_live_on_and_write(place, where):
    with trio.fail_after(60):
        process, said = await keeper(place, 0, "leave", lines=3)
        assert said[-1] == "ready"
        process.kill()
        await process.wait()
        kid = (await place.registry.table())["kid"]
        async with podkit.connect(kid.address, transport=place.transport) as client:
            assert (await client.ask(f"keep {place.work}/{where}")).text == "spawned leaf"
        path = f"{place.work}/{where}/x"
        async with restored(place) as root:
            leaf = (await place.registry.table())["leaf"]
            with pytest.raises(podkit.AccessDeniedError) as caught:
                await root.files.write_text(path, "ours?")
            assert caught.value.holder in ("kid", "leaf")
            async with podkit.connect(leaf.address, transport=place.transport) as client:
                assert (await client.ask(f"write {path}")).text == f"wrote {path}"
            child = root.children["kid"]
            await reported(root, child, await child.run("hello"))
            os.kill(leaf.pid, signal.SIGKILL)
            if where == "else":
                with trio.fail_after(20):
                    while root.authority.table.beyond(root.incarnation):
                        await place.registry.changed(root.authority.table.sequence)
                        await trio.lowlevel.checkpoint()
            await child.stop()
            await root.files.write_text(path, "ours")
        assert place.left() == []
