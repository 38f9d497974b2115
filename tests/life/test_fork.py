"""A session that is forked off is a pod of its own with the history of another one."""

import os
import tempfile
from functools import partial

import attrs
import pytest
import trio

import podkit
from podkit._life import _fork
from podkit.errors import CorruptLogError, InvalidNameError, SessionBusyError, SessionError, UnknownSessionError, UnknownTurnError
from podkit.protocol import ToolCallDone, TurnStart, entry_from_data
from podkit.testing import Say, ScriptedWorker, open_world
from podkit.testing._check_cancel import cancel_at

HOME, OTHER = podkit.Scope.write("/w"), podkit.Scope.write("/v")


@pytest.fixture(params=["memory", "file"])
def store(request):
    with tempfile.TemporaryDirectory(prefix="pk") as where:
        yield podkit.MemorySessionStore() if request.param == "memory" else podkit.FileSessionStore(os.path.join(where, "s"))


@pytest.fixture
def ground():
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    return {"transport": net, "registry": registry}


class Echo(podkit.abc.Worker):
    """Says what it heard; of "hang", it calls a tool that never answers."""

    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        emit(podkit.protocol.TextDone(text=f"re {run.text}"))
        if run.text == "hang":
            emit(ToolCallDone(id="c-1", name="wait", arguments="{}"))
            await trio.sleep_forever()


def texts(pod):
    start = entry_from_data(pod.log.data[0])
    return [item.content[0].text for item in start.history if hasattr(item, "content") and not hasattr(item, "call_id")]


async def kept(store, name):
    found = await store.read(name)
    return found.id, found.segments, found.entries, found.manifest


def opened(store, ground, name="root", scope=HOME, **more):
    return podkit.open_pod(name, Echo(), scope=scope, sessions=store, confinement="advisory", **ground, **more)


async def test_a_fork_of_a_living_pod_opens_with_its_history_beside_it(store, ground):
    with trio.fail_after(30):
        async with opened(store, ground, limits=podkit.Limits(pods=7)) as root:
            for word in ("a", "b"):
                await root.ask(word)
            before = await kept(store, "root")
            fork = await podkit.fork_session(store, "root", "twin", scope=OTHER)
            assert await kept(store, "root") == before
            assert (fork.name, fork.origin, fork.turn, fork.history) == ("twin", root.log.segment, 2, 4)
            async with podkit.restore_pod("twin", Echo(), sessions=store, **ground) as twin:
                assert texts(twin) == ["a", "re a", "b", "re b"]
                assert (twin.scope, root.scope) == (OTHER, HOME)
                assert twin.log.id == fork.session != root.log.id
                assert twin.setting.limits == podkit.Limits(pods=7)
                origin = entry_from_data(twin.log.data[0]).forked_from
                assert (origin.segment_id, origin.at_turn_index) == (root.log.segment, 2)
                assert await twin.run("c") == 1
                assert (await root.ask("d")).text == "re d"
                assert (await kept(store, "root"))[2][: len(before[2])] == before[2]


@pytest.mark.parametrize(("at", "said"), [(0, []), (1, ["a", "re a"])])
async def test_a_fork_at_a_turn_knows_nothing_of_what_came_after(store, ground, at, said):
    with trio.fail_after(30):
        async with opened(store, ground) as root:
            for word in ("a", "b"):
                await root.ask(word)
        await podkit.fork_session(store, "root", "twin", scope=HOME, at=at)
        async with podkit.restore_pod("twin", Echo(), sessions=store, **ground) as twin:
            assert texts(twin) == said


async def test_an_unknown_turn_is_refused_before_anything_is_made(store, ground):
    async with opened(store, ground) as root:
        await root.ask("a")
    for at in (2, -1):
        with pytest.raises(UnknownTurnError) as caught:
            await podkit.fork_session(store, "root", "twin", scope=HOME, at=at)
        assert (caught.value.session, caught.value.turn, caught.value.turns) == (root.log.id, at, 1)
    assert await store.names() == ("root",)


@pytest.mark.proves("F34")
async def test_a_call_under_way_has_an_answer_in_the_fork_and_goes_on_in_the_source(store, ground):
    with trio.fail_after(30):
        async with opened(store, ground) as root:
            run = await root.run("hang")
            await trio.testing.wait_all_tasks_blocked()
            await podkit.fork_session(store, "root", "twin", scope=OTHER)
            async with podkit.restore_pod("twin", Echo(), sessions=store, **ground) as twin:
                assert twin.status == "idle"
                assert twin.log.data[0]["history"][-1]["is_error"]
                assert "forked off" in twin.log.data[0]["history"][-1]["summary"]
                assert [data["kind"] for data in twin.log.data] == ["segment_start"]
            assert root.status == "running"
            await root.cancel(run=run)


@pytest.mark.proves("I1", "I3")
async def test_authority_is_declared_for_the_fork_and_asked_for_when_it_opens(store, ground):
    with trio.fail_after(30):
        async with opened(store, ground) as root:
            await root.ask("a")
            await podkit.fork_session(store, "root", "twin", scope=HOME, grant=podkit.Scope.read("/w"))
            assert await ground["registry"].table() == await ground["registry"].table()
            assert len(await ground["registry"].table()) == 1
            with pytest.raises(podkit.WriteConflictError):
                async with podkit.restore_pod("twin", Echo(), sessions=store, **ground):
                    pass
        async with podkit.restore_pod("twin", Echo(), sessions=store, **ground) as twin:
            assert (twin.scope, twin.grant) == (HOME, podkit.Scope.read("/w"))


async def test_a_child_can_be_forked_to_a_root_and_its_parent_keeps_the_child(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(Say("hi")), scope=HOME, sessions=world.sessions) as root:
            launcher = world.launcher(lambda: ScriptedWorker(Say("done")))
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=launcher)
            await child.ask("work")
            await podkit.fork_session(world.sessions, "kid", "twin", scope=OTHER)
            async with world.restore_pod("twin", ScriptedWorker(Say("more"))) as twin:
                assert texts(twin) == ["work", "done"]
                assert (list(twin.children), twin.scope, child.scope.at("/w/a")) == ([], OTHER, podkit.Permission.WRITE)
            await child.stop()


async def test_an_earlier_session_of_the_new_name_is_put_aside_and_one_that_lives_is_left_alone(store, ground):
    with trio.fail_after(30):
        async with opened(store, ground) as root:
            await root.ask("a")
        async with opened(store, ground, "twin", OTHER) as twin:
            await twin.ask("mine")
            before = await kept(store, "twin")
            with pytest.raises(SessionBusyError):
                await podkit.fork_session(store, "root", "twin", scope=HOME)
            assert await kept(store, "twin") == before
        fork = await podkit.fork_session(store, "root", "twin", scope=HOME)
        assert (await store.read("twin")).id == fork.session != before[0]
        with pytest.raises(ValueError, match="another name"):
            await podkit.fork_session(store, "twin", "twin", scope=HOME)
        assert (await store.read("twin")).id == fork.session, "nothing was put aside"


async def test_what_is_no_session_of_a_pod_cannot_be_forked(store):
    for call, kind in (
        (("nobody", "twin"), UnknownSessionError),
        (("../x", "twin"), InvalidNameError),
        (("root", "../x"), InvalidNameError),
    ):
        with pytest.raises(kind):
            await podkit.fork_session(store, *call, scope=HOME)
    async with await store.open("root", create="s-1") as session:
        with pytest.raises(SessionError, match="manifest"):
            await podkit.fork_session(store, "root", "twin", scope=HOME)
        session.rotate("a", [b'{"kind":"nonsense"}'])
    assert await store.names() == ("root",)


async def test_a_log_that_cannot_be_read_is_refused_and_so_is_one_that_never_began(store, ground):
    async with opened(store, ground) as root:
        await root.ask("a")
    manifest = (await store.read("root")).manifest
    async with await store.open("root", create="s-1") as session:
        session.save(manifest)
        with pytest.raises(SessionError, match="no segment"):
            await podkit.fork_session(store, "root", "twin", scope=HOME)
        session.rotate("a", [b'{"kind":"invoke"}'])
        with pytest.raises(CorruptLogError, match="not a log entry") as caught:
            await podkit.fork_session(store, "root", "twin", scope=HOME)
        assert caught.value.line == 1
    assert await store.names() == ("root",)


async def test_a_history_that_no_session_can_begin_with_is_refused_before_anything_is_made(store, ground, monkeypatch):
    async with opened(store, ground) as root:
        await root.ask("a")
    with monkeypatch.context() as patch:
        patch.setattr(_fork, "LONGEST", 100)
        with pytest.raises(SessionError, match="16 MiB"):
            await podkit.fork_session(store, "root", "twin", scope=HOME)
    plan = _fork.plan_fork

    def deep(*args, **more):
        made, nested = plan(*args, **more), []
        for _ in range(100):
            nested = [nested]
        return attrs.evolve(made, entries=(podkit.protocol.ExtensionEntry(1, "x", nested),))

    monkeypatch.setattr(_fork, "plan_fork", deep)
    with pytest.raises(SessionError, match="nested"):
        await podkit.fork_session(store, "root", "twin", scope=HOME)
    assert await store.names() == ("root",)


async def test_a_fork_that_is_cancelled_at_any_step_made_a_whole_session_or_none(ground):
    store = podkit.MemorySessionStore()
    async with opened(store, ground) as root:
        await root.ask("a")
    made = []
    for step in range(20):
        name = f"twin{step}"
        cut = await cancel_at(step, partial(podkit.fork_session, store, "root", name, scope=OTHER))
        made.append(name in await store.names())
        assert made[-1] == cut.returned, step
        if cut.returned:
            async with podkit.restore_pod(name, Echo(), sessions=store, **ground) as twin:
                assert texts(twin) == ["a", "re a"]
        if not cut.reached:
            break
    assert not cut.reached
    assert made[0] is False
