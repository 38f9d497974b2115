"""Known failures of scopes and of the registry, each as a scenario, and each brought back to see the scenario fail."""

from posixpath import dirname

import pytest
import trio
from scenes import KID, READ, ROOT, WRITE, alive, names, play, play_with_the_bug, quiet, when

from podkit import Scope
from podkit.errors import PodkitError, PodUnreachableError, WriteConflictError
from podkit.logic import _table, decide_root
from podkit.protocol import ListVisiblePods, ScopeRule
from podkit.tools import pod_tools

# Who cannot be reached is still a child (F9), and is inherited (F9, F22).


async def children_cannot_be_reached(world):
    launcher = world.launcher(quiet)
    async with world.open_pod("root", quiet(), scope=ROOT, tools=pod_tools(launcher)) as root:
        stopped = await root.spawn("a", scope=Scope.write("/w/a"), launcher=launcher)
        cut_off = await root.spawn("b", scope=Scope.write("/w/b"), launcher=launcher)
        world.freeze(stopped)
        world.partition(root, cut_off)
        for kid in (stopped, cut_off):
            with trio.fail_after(30), pytest.raises(PodUnreachableError):
                await kid.run("anything")
        assert sorted(root.children) == ["a", "b"]
        assert root.scope.at("/w/a") is root.scope.at("/w/b") is READ
        assert await names(world) == ["a", "b", "root"]
        async with world.connect(root.address) as client:
            with trio.fail_after(1):
                visible = await client.send(ListVisiblePods())
        with trio.fail_after(1):
            listed = await root.call_tool("ListPods", {})
        assert listed.summary.startswith("2 ")
        assert sorted(item["pod_name"] for item in visible.pods) == ["a", "b", "root"]
        world.thaw(stopped)
        world.heal()
        for kid in (stopped, cut_off):
            with trio.fail_after(30):
                assert (await kid.ask("are you there?")).text == "done"


def broken_who_cannot_be_reached_is_no_child(monkeypatch):
    from podkit._life._child import Child

    send = Child._send

    async def send_or_forget(self, method, *, run=None):
        try:
            return await send(self, method, run=run)
        except PodUnreachableError:
            self.parent.children.remove(self)
            raise

    monkeypatch.setattr(Child, "_send", send_or_forget)


@pytest.mark.proves("F9", "H23")
def test_children_that_cannot_be_reached_stay_children():
    play(children_cannot_be_reached)


async def a_root_comes_back_from_its_session(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        for name in "ab":
            launcher = world.launcher(quiet)
            await root.spawn(name, scope=Scope.write(f"/w/{name}"), launcher=launcher, on_parent_death="keep")
        session, tree = root.authority.row.born_of, root.tree
        world.crash(root)
    world.freeze("b")
    # Who knows nothing of the session gets nothing that is still held.
    with pytest.raises(WriteConflictError) as caught:
        async with world.open_pod("root", quiet(), scope=ROOT):
            pass
    assert caught.value.holder is not None
    again = world.chance.randbytes(8).hex()
    lease = await world.registry.hold(f"root.{again}")
    table = await world.registry.transact(
        lambda table: decide_root(
            table,
            name="root",
            tree=tree,
            incarnation=again,
            scope=ROOT,
            address="memory://root",
            since=0.0,
            born_of=session,
            takes_back=True,
            live=False,
        )
    )
    assert sorted(row.name for row in table.children(again)) == ["a", "b"]
    mine = table.effective(again)
    assert [mine.at(f"/w/{name}/x") for name in "abc"] == [READ, READ, WRITE]
    for name in "ab":
        assert table.effective(world.program(name).incarnation).at(f"/w/{name}/x") is WRITE
    # The end of one gives back exactly its part.
    world.crash("b")
    await world.registry.sweep()
    assert [(await world.registry.rows()).effective(again).at(f"/w/{name}/x") for name in "abc"] == [READ, WRITE, WRITE]
    lease.release()


def _patched(monkeypatch, name, function):
    for room in ("_decisions", "_fold"):
        monkeypatch.setattr(f"podkit.logic.{room}.{name}", function)


def broken_nobody_is_inherited(monkeypatch):
    _patched(monkeypatch, "heirs", lambda table, **_: ())


def broken_a_root_claims_all_of_its_scope(monkeypatch):
    _patched(monkeypatch, "find_conflict", lambda table, scope, **_: None)


@pytest.mark.proves("F9", "F22", "I1")
def test_a_root_that_comes_back_has_its_living_children_and_its_scope_less_theirs():
    play(a_root_comes_back_from_its_session)


# What was lent comes back, however the loan ends (F20), also when the row is gone already (F21).


async def children_come_and_go(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root, world.connect(root.address, subscribe="none") as client:
        before, row = root.scope, root.authority.row
        async with world.connect(root.address) as watching:
            summary = (await watching.receive()).greeting.scope_summary
        for number in range(12):
            how = world.chance.choice(("stop", "crash", "shutdown", "never born", "on its own"))
            if how == "never born":
                when(world, lambda: alive(world, "kid"), lambda: world.crash("kid"))
            try:
                kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet), task="go" if number % 2 else None)
            except PodkitError:
                assert how == "never born"
            else:
                assert root.scope.at("/w/kid/x") is READ
                match how:
                    case "stop":
                        await kid.stop()
                    case "crash":
                        world.crash(kid)
                    case "shutdown":
                        await kid.shutdown()
                    case _:
                        world.program(kid).scope.cancel()
                with trio.fail_after(10):
                    await kid.gone.wait()
            assert root.scope == before, f"after {how} not all of it is back"
            assert root.scope.at("/w/kid/x") is WRITE
            table = await world.registry.rows()
            assert [found.incarnation for found in table] == [row.incarnation]
            assert table.effective(row.incarnation).at("/w/kid/x") is WRITE
            async with world.connect(root.address) as watching:
                assert (await watching.receive()).greeting.scope_summary == summary
        assert client.name == "root"


def broken_what_was_lent_stays_denied(monkeypatch):
    from podkit._life._authority import Authority

    take = Authority._take

    def shrink(self, table):
        before = getattr(self, "scope", None)
        take(self, table)
        if before is not None:
            self.scope = self.scope & before

    monkeypatch.setattr(Authority, "_take", shrink)


@pytest.mark.proves("F20", "I3")
def test_however_a_child_ends_all_that_was_lent_is_back_everywhere():
    play(children_come_and_go)


async def somebody_else_takes_the_row_away(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet))
        await trio.sleep(world.chance.choice((0, 1)))  # with 0 the parent did not begin to watch it yet
        world.freeze(root)
        world.crash(kid)
        async with world.open_pod("other", quiet(), scope=Scope.write("/v")):
            assert await names(world) == ["other", "root"]
        assert root.scope.at("/w/kid") is READ
        world.thaw(root)
        with trio.fail_after(10):
            await kid.stop()
        assert root.scope.at("/w/kid") is WRITE
        assert not root.children


def broken_it_comes_back_only_with_the_row(monkeypatch):
    from podkit._life import _deaths
    from podkit._life._authority import Authority

    take, back = Authority._take, _deaths.take_back
    broken_what_was_lent_stays_denied(monkeypatch)

    async def take_back(pod, row):
        there = row.incarnation in await pod.authority.registry.rows()
        await back(pod, row)
        if there:
            take(pod.authority, pod.authority.table)

    monkeypatch.setattr(_deaths, "take_back", take_back)


@pytest.mark.proves("F21", "I3")
def test_what_was_lent_is_back_though_somebody_else_took_the_row_away():
    play(somebody_else_takes_the_row_away)
    play(children_come_and_go)


# One file of a tree (F28).


async def one_file_is_lent(world):
    todo = Scope(allow=[ScopeRule("/w/TODO.md", WRITE, recursive=False)])
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        kid = await root.spawn("kid", scope=todo, launcher=world.launcher(quiet))
        other = await root.spawn("other", scope=Scope.write("/w/notes.md"), launcher=world.launcher(quiet))
        paths = ("/w/TODO.md", "/w/notes.md", "/w/x", "/w")
        assert [root.scope.at(path) for path in paths] == [READ, READ, WRITE, WRITE]
        assert [world.program(kid).pod.scope.at(path) is WRITE for path in paths] == [True, False, False, False]
        with pytest.raises(WriteConflictError):
            await root.spawn("third", scope=todo, launcher=world.launcher(quiet))
        await kid.stop()
        assert [root.scope.at(path) for path in paths] == [WRITE, READ, WRITE, WRITE]
        await other.stop()
        assert [root.scope.at(path) for path in paths] == [WRITE] * 4


def broken_a_file_is_lent_with_its_directory(monkeypatch):
    lend_all = _table.lend_all

    def coarse(scope, loans):
        return lend_all(scope, [(_directories(lent), to) for lent, to in loans])

    monkeypatch.setattr(_table, "lend_all", coarse)


def _directories(scope):
    return Scope(allow=[ScopeRule(dirname(rule.target), rule.permission) for rule in scope.allow])


@pytest.mark.proves("F28")
def test_one_file_can_be_lent_and_comes_back_and_what_is_beside_it_stays():
    play(one_file_is_lent)


@pytest.mark.parametrize(
    ("plant", "scenario", "says"),
    [
        pytest.param(broken_who_cannot_be_reached_is_no_child, children_cannot_be_reached, "scenario", id="F9"),
        pytest.param(broken_nobody_is_inherited, a_root_comes_back_from_its_session, "WriteConflict", id="F9 heirs"),
        pytest.param(broken_a_root_claims_all_of_its_scope, a_root_comes_back_from_its_session, "I1|DID NOT RAISE", id="F22"),
        pytest.param(broken_what_was_lent_stays_denied, children_come_and_go, "is back", id="F20"),
        pytest.param(broken_it_comes_back_only_with_the_row, somebody_else_takes_the_row_away, "scenario", id="F21"),
        pytest.param(broken_a_file_is_lent_with_its_directory, one_file_is_lent, "scenario", id="F28"),
    ],
)
def test_with_the_bug_back_a_seed_turns_red(monkeypatch, plant, scenario, says):
    play_with_the_bug(monkeypatch, plant, scenario, says)
