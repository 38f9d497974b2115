"""What a word may become: files that may be read, pods, tools; bounded, and never more than the scope shows."""

import os

import pytest
import trio

import podkit
from podkit._life import _completions
from podkit.protocol import Completion, CompletionKind, CompletionsEvent, ErrorCode, ListCompletions
from podkit.testing import ScriptedWorker, open_world
from podkit.tools import pod_tools

IDLE = podkit.TaskLauncher(ScriptedWorker)


@pytest.fixture
def home(tmp_path):
    for directory in ("src/main", "secret", "empty"):
        (tmp_path / directory).mkdir(parents=True)
    for file in ("src/map.py", "src/.hidden", "secret/key", "setup.py", "space in it"):
        (tmp_path / file).write_text("x")
    os.symlink(tmp_path / "secret", tmp_path / "src" / "mirror")
    return str(tmp_path)


def open_home(world, home, **options):
    scope = podkit.Scope(
        allow=[podkit.ScopeRule(home, podkit.Permission.WRITE)],
        deny=[podkit.ScopeRule(f"{home}/secret", podkit.Permission.READ)],
    )
    return world.open_pod("root", ScriptedWorker(), scope=scope, cwd=home, **options)


async def completed(pod, prefix, kind=CompletionKind.FILE):
    reply = await pod.send(ListCompletions(kind, prefix))
    assert isinstance(reply, CompletionsEvent)
    assert reply.kind is kind
    return reply.entries


def names(entries):
    return [entry.value for entry in entries]


async def test_files_below_the_pods_directory_are_offered_and_directories_are_marked(home):
    with trio.fail_after(10):
        async with open_world() as world, open_home(world, home) as pod:
            assert await completed(pod, "src/ma") == (Completion("src/main", is_dir=True), Completion("src/map.py"))
            assert names(await completed(pod, "")) == ["empty", "setup.py", "space in it", "src"]
            assert names(await completed(pod, "src/.")) == ["src/.hidden"]
            assert names(await completed(pod, f"{home}/se")) == [f"{home}/setup.py"]
            assert names(await completed(pod, "empty/")) == []
            assert names(await completed(pod, "src/../se")) == ["src/../setup.py"]


@pytest.mark.parametrize(
    "prefix",
    [
        "secret/",
        "secret/k",
        "src/mirror/",
        "../",
        "/",
        "/etc/pass",
        "no/such/",
        "setup.py/",
        "~/",
        "a\0b/",
        "x" * 5000,
        "s" + "/" * 4090,
    ],
)
async def test_what_may_not_be_read_is_as_if_it_were_not_there(home, prefix):
    with trio.fail_after(10):
        async with open_world() as world, open_home(world, home) as pod:
            assert await completed(pod, prefix) == ()


async def test_what_became_unreadable_or_went_away_meanwhile_is_left_out(home):
    with trio.fail_after(10):
        async with open_world() as world, open_home(world, home) as pod:
            assert names(await completed(pod, "src/m")) == ["src/main", "src/map.py"]  # the link leads to what is denied


async def test_there_are_at_most_a_hundred(home):
    for number in range(_completions.MOST + 50):
        open(f"{home}/f{number:04}", "w").close()
    with trio.fail_after(10):
        async with open_world() as world, open_home(world, home) as pod:
            found = names(await completed(pod, "f"))
            assert found == [f"f{number:04}" for number in range(_completions.MOST)]


async def test_pods_and_tools_are_offered_by_name_and_unknown_kinds_have_none():
    with trio.fail_after(10):
        async with open_world() as world:
            scope = podkit.Scope.write("/w")
            async with world.open_pod("root", ScriptedWorker(), scope=scope, tools=pod_tools(IDLE)) as pod:
                await pod.spawn("reader", scope=podkit.Scope.read("/w"), launcher=IDLE)
                assert names(await completed(pod, "r", CompletionKind.POD)) == ["reader", "root"]
                assert names(await completed(pod, "S", CompletionKind.TOOL)) == ["SendToPod", "SpawnPod", "StopPod"]
                assert await completed(pod, "", CompletionKind.KNOWLEDGE) == ()
                assert await completed(pod, "", CompletionKind.WORKFLOW) == ()


class SlowFiles:
    async def listdir(self, path):
        await trio.sleep_forever()


class BrokenFiles:
    async def listdir(self, path):
        raise RuntimeError("a bug")


async def test_a_directory_that_takes_too_long_is_answered_in_time(autojump_clock, monkeypatch):
    with trio.fail_after(100):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=podkit.Scope.write("/w")) as pod:
            monkeypatch.setattr(pod, "_files", SlowFiles())
            async with trio.open_nursery() as nursery:
                for _ in range(10):  # more than are looked at together

                    async def ask():
                        with pytest.raises(podkit.MethodRejectedError) as caught:
                            await pod.send(ListCompletions(CompletionKind.FILE, "x"))
                        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED

                    nursery.start_soon(ask)
            assert trio.current_time() < 10


async def test_who_asks_while_the_pod_leaves_is_told_so(autojump_clock, monkeypatch):
    with trio.fail_after(100):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=podkit.Scope.write("/w")) as pod:
            monkeypatch.setattr(pod, "_files", SlowFiles())
            async with trio.open_nursery() as nursery:

                async def ask():
                    with pytest.raises(podkit.MethodRejectedError) as caught:
                        await pod.send(ListCompletions(CompletionKind.FILE, "x"))
                    assert caught.value.code is ErrorCode.STOPPING

                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                await pod.shutdown()


async def test_a_mistake_of_ours_is_answered_and_ends_no_pod(monkeypatch):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=podkit.Scope.write("/w")) as pod:
            monkeypatch.setattr(pod, "_files", BrokenFiles())
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.send(ListCompletions(CompletionKind.FILE, "x"))
            assert caught.value.code is ErrorCode.INTERNAL
            assert (await pod.ask("alive?")).result.value == "finished"
