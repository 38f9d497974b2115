"""What a restored pod holds, and the children it had."""

import pytest
import trio

import podkit
import podkit.tools
from podkit._life._plan_manifest import decode_manifest, encode_manifest
from podkit.protocol import AttachOrRestorePod, InspectPod, ListVisiblePods, Permission, Status
from podkit.testing import Fail, Say, ScriptedWorker, Sleep, open_world

HOME, KID, OTHER = podkit.Scope.write("/w"), podkit.Scope.write("/w/kid"), podkit.Scope.write("/w/other")


def writes(pod, path):
    return pod.scope.at(path) is Permission.WRITE


async def gone(child):
    with trio.fail_after(600):
        await child.gone.wait()


@pytest.mark.proves("F22", "H29", "I5")
async def test_a_restored_root_gets_what_its_living_children_do_not_hold(autojump_clock):
    async with open_world() as world:
        launcher = world.launcher(lambda: ScriptedWorker(Say("done")))
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            kid = await root.spawn("kid", scope=KID, launcher=launcher, on_parent_death="keep")
            world.crash(root)
        async with world.restore_pod("root", ScriptedWorker(Say("heard"))) as again:
            assert writes(again, "/w/x")
            assert not writes(again, "/w/kid/x"), "the child writes there"
            met = again.children["kid"]
            assert (met.incarnation, met.address) == (kid.incarnation, kid.address)
            assert (await met.ask("go")).text == "done"
            report = await met.stop()
            assert report.returned == KID
            assert writes(again, "/w/kid/x")
            assert "kid" not in again.children
        assert not await world.registry.table()


@pytest.mark.proves("F9", "F21", "I25")
async def test_children_that_are_gone_are_listed_and_can_be_restored_or_forgotten(autojump_clock):
    async with open_world() as world:
        made = []

        def worker():
            made.append(ScriptedWorker(Say("done")))
            return made[-1]

        launcher = world.launcher(worker)
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            kid = await root.spawn("kid", scope=KID, launcher=launcher, cwd="/w/kid")
            await root.spawn("other", scope=OTHER, launcher=launcher)
            await kid.ask("go")
            before = (await kid.snapshot()).entries
            for name in ("kid", "other", "root"):
                world.crash(name)
        async with world.restore_pod("root", ScriptedWorker()) as again:
            assert sorted(again.children) == ["kid", "other"]
            assert all(child.gone.is_set() for child in again.children.values())
            assert writes(again, "/w/kid/x"), "nobody else writes there"
            with pytest.raises(podkit.PodUnreachableError):
                await again.children["kid"].ask("go")
            assert (await again.children["other"].stop()).how == "gone"
            assert list(again.children) == ["kid"]
            with pytest.raises(podkit.UnknownPodError):
                await again.restore_child("other", launcher=launcher)
            back = await again.restore_child("kid", launcher=launcher)
            assert back is again.children["kid"]
            assert back.incarnation != kid.incarnation
            assert not writes(again, "/w/kid/x")
            assert (await back.snapshot()).entries == before
            assert (await back.ask("more")).text == "done"
            with pytest.raises(podkit.DuplicatePodError):
                await again.restore_child("kid", launcher=launcher)
            await back.stop()
            assert writes(again, "/w/kid/x")
            assert not again.children
            with pytest.raises(podkit.UnknownPodError):
                await again.restore_child("kid", launcher=launcher)


@pytest.mark.proves("F9")
async def test_a_child_that_dies_under_a_living_parent_can_be_restored_by_it(autojump_clock):
    async with open_world() as world:
        launcher = podkit.TaskLauncher(lambda: ScriptedWorker(Say("done")))
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            kid = await root.spawn("kid", scope=KID, launcher=launcher)
            await kid.ask("go")
            before = (await kid.snapshot()).entries
            kid.process.kill()
            await gone(kid)
            assert root.children["kid"] is kid
            back = await root.restore_child("kid", launcher=launcher)
            assert (await back.snapshot()).entries == before
            back.process.kill()
            await gone(back)
            fresh = await root.spawn("kid", scope=OTHER, launcher=launcher)
            assert not [entry for entry in (await fresh.snapshot()).entries if entry["kind"] == "invoke"], "a new session"
            await fresh.stop()
            assert not root.children


@pytest.mark.proves("F9")
async def test_who_looks_at_a_pod_is_told_which_of_its_children_are_gone(autojump_clock):
    async with open_world() as world:
        launcher = podkit.TaskLauncher(lambda: ScriptedWorker(Sleep(3600)))
        tools = podkit.tools.pod_tools(launcher)
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions, tools=tools) as root:
            kid = await root.spawn("kid", scope=KID, launcher=launcher)
            seen = (await root.send(InspectPod("kid"))).pod
            assert (seen["reachable"], seen["status"], seen["address"]) == (True, "idle", kid.address)
            attached = await root.send(AttachOrRestorePod("kid"))
            assert (attached.result["result"], attached.result["address"]) == ("attached", kid.address)
            await kid.run("work")
            assert kid.status is Status.RUNNING
            kid.process.kill()
            await gone(kid)
            assert kid.status is Status.IDLE, "who is gone does nothing"
            assert (await root.call_tool("ListPods", {})).content == "kid [gone] scope=write:/w/kid"
            told = {"pod_name": "kid", "visibility": "spawned_child", "reachable": False, "restorable": True}
            assert (await root.send(ListVisiblePods())).pods[1] == told
            with pytest.raises(podkit.MethodRejectedError, match="gone"):
                await root.send(AttachOrRestorePod("kid"))
            with pytest.raises(podkit.MethodRejectedError, match="visible"):
                await root.send(AttachOrRestorePod("other"))
            world.crash(root)
        async with world.restore_pod("root", ScriptedWorker()) as again:
            assert (await again.send(ListVisiblePods())).pods[1] == told
            with pytest.raises(podkit.PodUnreachableError) as caught:
                await again.children["kid"].ask("go")
            assert str(caught.value) == "pod `kid` is gone"


def told_of_runs(pod):
    return [data["event"]["id"] for data in pod.log.data if data["kind"] == "notice" and "event" in data]


@pytest.mark.proves("H28", "I21")
@pytest.mark.parametrize("end", [Say("done"), Fail(ValueError("no"))])
@pytest.mark.parametrize("moved", [False, True], ids=["same address", "elsewhere"])
async def test_what_a_restored_parent_asks_of_a_child_that_lived_on_is_reported_to_it(autojump_clock, end, moved):
    async with open_world() as world:
        launcher = world.launcher(lambda: ScriptedWorker(Sleep(5), end))
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            kid = await root.spawn("kid", scope=KID, launcher=launcher, on_parent_death="keep", task="go")
            world.crash(root)
        if moved:
            async with await world.sessions.open("root") as session:
                session.save(dict(session.manifest) | {"address": "memory://elsewhere"})
        async with world.restore_pod("root", ScriptedWorker(Say("heard"))) as again:
            assert (again.address != root.address) is moved
            await trio.sleep(30)
            reports = [f"{kid.incarnation}.run.1"]
            assert told_of_runs(again) == reports, "what was asked before the crash"
            run = await again.children["kid"].run("more")
            await trio.sleep(30)
            reports.append(f"{kid.incarnation}.run.{run}")
            assert told_of_runs(again) == reports
            async with world.connect(kid.address) as client:
                await client.wait(await client.run("for somebody else"))
            await trio.sleep(30)
            assert told_of_runs(again) == reports, "what others ask of it is not ours to hear"


@pytest.mark.proves("H28", "I21")
async def test_a_grandchild_that_is_inherited_reports_to_the_restored_root(autojump_clock):
    async with open_world() as world:
        deep = world.launcher(lambda: ScriptedWorker(Say("done")))

        class Breeder(podkit.abc.Worker):
            async def work(self, run, emit):
                scope = podkit.Scope.write("/w/kid/deep")
                await run.pod.spawn("deep", scope=scope, launcher=deep, on_parent_death="keep")

        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            kid = await root.spawn("kid", scope=KID, launcher=world.launcher(Breeder))
            await kid.ask("go")
            for name in ("root", "kid"):
                world.crash(name)
        async with world.restore_pod("root", ScriptedWorker(Say("heard"))) as again:
            child = again.children["deep"]
            run = await child.run("go")
            await trio.sleep(30)
            assert f"{child.incarnation}.run.{run}" in told_of_runs(again)
            assert not (await child.stop()).how.startswith("killed")


async def test_a_child_without_a_store_is_not_restorable(autojump_clock):
    async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
        launcher = podkit.TaskLauncher(ScriptedWorker)
        kid = await root.spawn("kid", scope=KID, launcher=launcher)
        kid.process.kill()
        await gone(kid)
        assert not root.children
        with pytest.raises(podkit.UnknownPodError):
            await root.restore_child("kid", launcher=launcher)


async def test_a_pod_that_ended_in_order_is_restored_with_its_children_to_be_restored(autojump_clock):
    async with open_world() as world:
        launcher = world.launcher(lambda: ScriptedWorker(Sleep(1000)))
        async with world.open_pod("root", ScriptedWorker(Sleep(1000)), scope=HOME, sessions=world.sessions) as root:
            await root.spawn("kid", scope=KID, launcher=launcher)
            run = await root.run("long")
            await root.pause(run=run)
        async with world.restore_pod("root", ScriptedWorker(Say("on"))) as again:
            assert again.status is Status.PAUSED
            assert again.children["kid"].gone.is_set()
            await again.restore_child("kid", launcher=launcher)
            await again.wait(await again.resume())


@pytest.mark.proves("F35")
async def test_a_restored_pod_asks_nothing_but_what_it_kept(autojump_clock, tmp_path, monkeypatch):
    limits = podkit.Limits(notices=7, children=3)
    grant = podkit.Scope.write("/w", "/g")
    async with open_world() as world:
        async with world.open_pod(
            "root", ScriptedWorker(), scope=HOME, grant=grant, sessions=world.sessions, limits=limits, cwd="/w", plain="watch"
        ) as root:
            world.crash(root)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        async with world.restore_pod("root", ScriptedWorker()) as again:
            assert (again.scope, again.grant, again.limits) == (root.authority.row.scope, grant, limits)
            assert (again.setting.cwd, again.address, again.tree) == ("/w", root.address, root.tree)
            assert again.setting.kept.manifest.plain == "watch"


@pytest.mark.proves("F35", "H21", "H24")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("scope"),
        lambda data: data.update(extra=1),
        lambda data: data.update(format=2),
        lambda data: data.update(cwd=""),
        lambda data: data.update(children={}),
        lambda data: data["limits"].pop("depth"),
        lambda data: data["children"].append(5),
        lambda data: data["children"][0].pop("grant"),
        lambda data: data["children"][0].update(on_parent_death="dance"),
        lambda data: data["children"][0].update(name="../x"),
        lambda data: data.update(parent="somebody"),
        lambda data: data.update(name="another"),
    ],
)
async def test_a_manifest_that_is_not_whole_is_refused_and_kept_as_it_is(autojump_clock, spoil):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
            world.crash(root)
        session = await world.sessions.open("root")
        data = dict(session.manifest)
        spoil(data)
        session.save(data)
        await session.aclose()
        for _ in range(2):
            with pytest.raises(podkit.SessionError):
                async with world.restore_pod("root", ScriptedWorker()):
                    pass
        async with await world.sessions.open("root") as session:
            assert dict(session.manifest) == data
        assert sorted(await world.registry.table()) == ["kid", "root"], "nothing was begun"


async def test_what_cannot_be_restored_says_why_and_leaves_nothing(autojump_clock):
    async with open_world() as world:
        with pytest.raises(podkit.UnknownSessionError):
            async with world.restore_pod("root", ScriptedWorker()):
                pass
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            with pytest.raises(podkit.SessionBusyError):
                async with world.restore_pod("root", ScriptedWorker()):
                    pass
            world.crash(root)
        async with world.open_pod("thief", ScriptedWorker(), scope=podkit.Scope.write("/w/x")):
            with pytest.raises(podkit.WriteConflictError):
                async with world.restore_pod("root", ScriptedWorker()):
                    pass
        async with world.restore_pod("root", ScriptedWorker()):
            pass
        assert not await world.registry.table()


async def test_two_trees_with_the_same_names_are_told_that_each_needs_a_store(autojump_clock):
    elsewhere = {"scope": podkit.Scope.write("/v"), "address": "memory://other"}
    async with open_world() as world:
        launcher = world.launcher(lambda: ScriptedWorker(Say("mine")))
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            kid = await root.spawn("kid", scope=KID, launcher=launcher)
            await kid.ask("go")
            with pytest.raises(podkit.SessionBusyError):
                async with world.open_pod("kid", ScriptedWorker(), sessions=world.sessions, **elsewhere):
                    pass
            for name in ("kid", "root"):
                world.crash(name)
        with pytest.raises(podkit.SessionError, match="is of a child of root, which restores it"):
            async with world.restore_pod("kid", ScriptedWorker()):
                pass
        async with world.open_pod("kid", ScriptedWorker(Say("theirs")), sessions=world.sessions, **elsewhere) as other:
            await other.ask("go")
        async with world.restore_pod("root", ScriptedWorker()) as again:
            with pytest.raises(podkit.LaunchFailedError) as caught:
                await again.restore_child("kid", launcher=launcher)
            assert f"is of pod kid of the tree {other.tree}, its root, and not of the tree {root.tree}" in caught.value.stderr_tail
            assert writes(again, "/w/kid"), "nothing is left of the attempt"
        async with world.restore_pod("kid", ScriptedWorker()) as theirs:
            assert "theirs" in str(theirs.log.data), "and theirs is as it was"


@pytest.mark.proves("F31")
async def test_a_log_that_cannot_be_read_is_refused_with_its_line(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(Say("x")), scope=HOME, sessions=world.sessions) as root:
            await root.ask("go")
            world.crash(root)
        segment = next(iter(world.sessions._kept["root"].segments.values()))
        segment[2] = b'{"kind":"user_input"}'
        with pytest.raises(podkit.CorruptLogError) as caught:
            async with world.restore_pod("root", ScriptedWorker()):
                pass
        assert caught.value.line == 3


@pytest.mark.proves("F36")
async def test_a_manifest_comes_back_as_it_was_and_holds_no_secret(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
            manifest = root.setting.kept.manifest
            assert decode_manifest(encode_manifest(manifest), "s") == manifest
            kept = b"".join(kept.manifest for kept in world.sessions._kept.values())
            assert kid._instance.encode() not in kept
            assert b"secret" not in kept


async def test_nothing_of_an_opening_that_fails_for_its_session_is_left(autojump_clock):
    async with open_world() as world:
        world.sessions.opened = lambda program, session: Full(session)
        with pytest.raises(podkit.SessionError):
            async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions):
                pass
        assert not await world.registry.table()
        world.sessions.opened = None
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            world.sessions.opened = lambda program, session: Full(session)
            with pytest.raises(podkit.LaunchFailedError):
                await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
            assert not root.children
            assert writes(root, "/w/kid")


class Full(podkit.abc.Session):
    """A session on a disk that is full."""

    entries, segment, segments, manifest = (), None, (), None

    def __init__(self, inner):
        self.inner, self.name, self.id, self.durability = inner, inner.name, inner.id, inner.durability

    def append(self, entries):
        raise podkit.SessionError("full")

    def rotate(self, segment, entries):
        raise podkit.SessionError("full")

    def save(self, manifest):
        raise podkit.SessionError("full")

    async def sync(self):
        raise podkit.SessionError("full")

    def read(self, segment):
        raise KeyError(segment)

    async def aclose(self):
        await self.inner.aclose()
