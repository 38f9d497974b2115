"""What every registry does, whichever driver keeps its facts."""

import pytest
import trio

from podkit._store import FileRegistry, inspect
from podkit.abc import Registry
from podkit.errors import (
    AdoptionRefusedError,
    CorruptRegistryError,
    DuplicatePodError,
    InvalidNameError,
    LimitExceededError,
    LocalProtocolError,
    RegistryBusyError,
    RegistryError,
    WriteConflictError,
)
from podkit.logic import (
    Adopted,
    Freed,
    Pin,
    Reserved,
    Restart,
    Scope,
    decide_adopt,
    decide_birth,
    decide_free,
    decide_root,
    encode_fact,
    secret_digest,
)


def names(table):
    return [row.name for row in table]


async def test_facts_are_kept_in_order_and_numbered(registry):
    assert await registry.read(0) == []
    assert await registry.append(0, [b"a", b"b"])
    assert await registry.append(2, [b"c"])
    assert await registry.read(0) == [b"a", b"b", b"c"]
    assert await registry.read(2) == [b"c"]
    assert await registry.read(3) == []


async def test_an_append_on_an_older_state_changes_nothing(registry):
    assert await registry.append(0, [b"a"])
    assert not await registry.append(0, [b"b"])
    assert not await registry.append(2, [b"b"])
    assert await registry.read(0) == [b"a"]


async def test_a_compacted_log_goes_on_counting(registry):
    await registry.append(0, [b"a", b"b", b"c"])
    assert not await registry.compact(2, [b"x"])
    assert await registry.compact(3, [b"x", b"y"])
    assert await registry.read(0) == await registry.read(3) == [b"x", b"y"]
    assert await registry.read(4) == [b"y"]
    assert await registry.append(5, [b"z"])
    assert await registry.read(0) == [b"x", b"y", b"z"]


async def test_a_change_is_decided_on_the_present_table(registry, open_root, bear):
    await open_root(registry)
    await bear(registry, "a", "i-root", "/w/a")
    table = await registry.rows()
    assert names(table) == ["root", "a"]
    assert (await registry.table())["a"] == table["i-a"]
    assert (await registry.table())["root-1/a"].parent_name == "root"


async def test_a_decision_without_facts_changes_nothing(registry, open_root):
    await open_root(registry)
    before = await registry.rows()
    after = await registry.transact(lambda table: ())
    assert after.sequence == before.sequence


async def test_a_refusal_comes_out_and_nothing_is_kept(registry, open_root):
    await open_root(registry)
    before = (await registry.rows()).sequence
    with pytest.raises(DuplicatePodError):
        await open_root(registry, incarnation="i-else", target="/v")
    with pytest.raises(ZeroDivisionError):
        await registry.transact(lambda table: 1 / 0)
    assert (await registry.rows()).sequence == before


async def test_twenty_tasks_change_one_registry_and_nothing_is_lost(registry, open_root):
    async def one(n):
        await open_root(registry, f"p{n}", f"/w/{n}")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(one, n)
    assert sorted(names(await registry.rows())) == sorted(f"p{n}" for n in range(20))


async def test_of_tasks_that_want_one_path_one_gets_it(registry, open_root):
    results = []

    async def one(n):
        try:
            await open_root(registry, f"p{n}", "/w")
            results.append(n)
        except WriteConflictError as error:
            results.append(error.holder)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(one, n)
    (winner,) = [n for n in results if isinstance(n, int)]
    assert results.count(f"p{winner}-1/p{winner}") == 9


async def test_a_dead_pod_in_the_way_is_taken_back(registry, open_root):
    (await open_root(registry)).release()
    calls = []

    def decide(table):
        calls.append(table.sequence)
        return decide_root(
            table, name="next", tree="next-1", incarnation="i-next", scope=Scope.write("/w/x"), address="a", since=2.0
        )

    table = await registry.transact(decide, author="i-next")
    assert names(table) == ["next"]
    assert len(calls) == 2
    assert await registry.held("root.i-root")  # forgotten: nobody knows any more


async def test_a_dead_pods_name_is_free_again(registry, open_root):
    (await open_root(registry)).release()
    await open_root(registry, incarnation="i-second")
    assert [row.incarnation for row in await registry.rows()] == ["i-second"]


async def test_a_living_pod_in_the_way_stays(registry, open_root):
    lease = await open_root(registry)
    with pytest.raises(WriteConflictError) as caught:
        await open_root(registry, "second", "/w/x")
    assert caught.value.incarnation == "i-root"
    assert names(await registry.rows()) == ["root"]
    assert await registry.held(lease.key)


async def test_a_row_without_a_lease_counts_as_alive(registry):
    def decide(table, name="root"):
        return decide_root(table, name=name, tree=name, incarnation=name, scope=Scope.write("/w"), address="a", since=2.0)

    await registry.transact(decide)
    with pytest.raises(WriteConflictError):
        await registry.transact(lambda table: decide(table, "second"))
    assert await registry.sweep() == ()


async def test_several_dead_pods_in_the_way_are_taken_back_one_by_one(registry, open_root):
    for n in range(4):
        (await open_root(registry, f"p{n}", f"/w/{n}")).release()
    await open_root(registry, "all", "/w")
    assert names(await registry.rows()) == ["all"]


async def test_a_dead_parents_child_is_in_the_way_itself(registry, open_root, bear):
    root = await open_root(registry)
    child = await bear(registry, "a", "i-root", "/w/a")
    root.release()
    with pytest.raises(WriteConflictError) as caught:
        await open_root(registry, "second", "/w")
    assert caught.value.holder == "root-1/a"
    assert (await registry.rows())["i-a"].parent is None
    child.release()
    await open_root(registry, "second", "/w", incarnation="i-third")


async def test_a_full_registry_makes_room_by_sweeping(registry, open_root):
    (await open_root(registry)).release()
    asked = {"name": "next", "tree": "t", "incarnation": "n", "scope": Scope.write("/v"), "address": "a", "since": 2.0}
    table = await registry.transact(lambda table: decide_root(table, **asked, max_rows=1))
    assert names(table) == ["next"]
    with pytest.raises(LimitExceededError):
        await registry.transact(lambda table: decide_root(table, **asked | {"name": "x", "incarnation": "x"}, max_rows=1))


async def test_other_limits_do_not_sweep(registry, open_root):
    await open_root(registry)
    dead = await open_root(registry, "dead", "/v")
    dead.release()
    with pytest.raises(LimitExceededError, match="generations"):
        await registry.transact(
            lambda table: decide_birth(
                table, parent="i-root", name="a", incarnation="a", scope=Scope.write("/w"), address="a", since=1.0, max_depth=1
            )
        )
    assert names(await registry.rows()) == ["root", "dead"]


async def test_a_sweep_frees_the_dead_children_first(registry, open_root, bear):
    root = await open_root(registry)
    middle = await bear(registry, "a", "i-root", "/w/a")
    leaf = await bear(registry, "b", "i-a", "/w/a/b")
    other = await open_root(registry, "other", "/v")
    for lease in (middle, leaf, root):
        lease.release()
    freed = await registry.sweep("i-other")
    assert [row.name for row in freed] == ["b", "a", "root"]
    assert names(await registry.rows()) == ["other"]
    assert await registry.sweep("i-other") == ()
    other.release()


async def test_a_sweep_leaves_out_what_somebody_else_freed_first(registry, open_root, monkeypatch):
    lease = await open_root(registry)
    lease.release()
    real = registry.held

    async def held(key):
        await registry.transact(lambda table: decide_free(table, incarnation="i-root", author="quicker"))
        return await real(key)

    monkeypatch.setattr(registry, "held", held)
    assert await registry.sweep() == ()


async def test_a_lease_is_taken_once(registry):
    lease = await registry.hold("a.1")
    assert await registry.held("a.1")
    with pytest.raises(RegistryError, match="before"):
        await registry.hold("a.1")
    lease.release()
    assert not await registry.held("a.1")
    with pytest.raises(RegistryError, match="before"):
        await registry.hold("a.1")
    assert "a.1" in repr(lease)


async def test_an_unknown_lease_counts_as_held(registry):
    assert await registry.held("a.1")


async def test_a_held_lease_is_not_forgotten(registry):
    lease = await registry.hold("a.1")
    await registry.forget("a.1")
    lease.release()
    assert not await registry.held("a.1")
    await registry.forget("a.1")
    await registry.forget("a.1")
    assert await registry.held("a.1")


@pytest.mark.parametrize("key", ["../x.1", "a", "a/b.1", ""])
async def test_a_lease_has_a_key_of_the_right_form(registry, key):
    for call in (registry.hold, registry.held, registry.gone, registry.forget):
        with pytest.raises(InvalidNameError):
            await call(key)


async def test_waiting_for_a_lease_ends_with_its_holder(registry, open_root):
    lease = await open_root(registry)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.gone, lease.key)
            nursery.start_soon(registry.gone, lease.key)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 2
            lease.release()
        await registry.gone(lease.key)


async def test_a_forgotten_lease_is_gone_when_its_row_is(registry, open_root):
    lease = await open_root(registry)
    lease.release()
    await registry.forget(lease.key)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.gone, lease.key)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            await open_root(registry, "unrelated", "/v")
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            await registry.transact(lambda table: decide_free(table, incarnation="i-root", author="i-root"))
    with trio.fail_after(5):
        await registry.gone(lease.key)


async def test_following_yields_facts_as_they_come(registry, open_root, bear):
    await open_root(registry)
    async with registry.follow() as facts:
        with trio.fail_after(5):
            await bear(registry, "a", "i-root", "/w/a")
            reserved, adopted = await facts.receive(), await facts.receive()
            assert isinstance(reserved, Reserved)
            assert isinstance(adopted, Adopted)
            assert reserved.incarnation == adopted.incarnation == "i-a"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registry.transact, lambda table: decide_free(table, incarnation="i-a", author="x"))
                assert await facts.receive() == Freed(author="x", incarnation="i-a")
    assert names(facts.table) == ["root"]


async def test_following_leaves_out_what_was_not_lawful(registry, open_root):
    facts = registry.follow()
    bad, good = Freed(author="x", incarnation="none"), Freed(author="x", incarnation="i-root")
    await open_root(registry)
    await registry.append((await registry.rows()).sequence, [encode_fact(bad), encode_fact(good)])
    with trio.fail_after(5):
        assert [type(await facts.receive()) for _ in range(3)] == [Reserved, Adopted, Freed]


async def test_following_from_a_table_begins_after_it(registry, open_root):
    await open_root(registry)
    table = await registry.rows()
    await open_root(registry, "b", "/v")
    facts = registry.follow(table)
    with trio.fail_after(5):
        assert (await facts.receive()).name == "b"


async def test_who_follows_learns_what_a_dropped_past_said(registry, open_root, bear):
    from podkit.logic import snapshot

    await open_root(registry)
    await bear(registry, "a", "i-root", "/w/a")
    facts = registry.follow()
    await registry.transact(lambda table: decide_free(table, incarnation="i-a", author="x"))
    await bear(registry, "b", "i-root", "/w/b")
    table = await registry.rows()
    assert await registry.compact(table.sequence, [encode_fact(fact) for fact in snapshot(table, author="w")])
    with trio.fail_after(5):
        assert await facts.receive() == Freed(author="witness", incarnation="i-a")
        assert (await facts.receive()).incarnation == "i-b"
        assert isinstance(await facts.receive(), Adopted)
    assert list(facts.table) == list(await registry.rows())


async def test_a_follower_is_closed_by_another_task(registry):
    facts = registry.follow()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def receive():
                with pytest.raises(trio.ClosedResourceError):
                    await facts.receive()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await facts.receive()
            await facts.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await facts.receive()


async def test_a_cancelled_follower_goes_on_later(registry, open_root):
    facts = registry.follow()
    with trio.move_on_after(0.01):
        await facts.receive()
    await open_root(registry)
    with trio.fail_after(5):
        assert (await facts.receive()).name == "root"


async def test_a_log_drops_its_past_when_it_is_mostly_past(registry, open_root):
    root = await open_root(registry)
    dropped = 0
    size = registry.droppable()
    for n in range(260):
        lease = await open_root(registry, "short", "/v", incarnation=f"i{n}")
        await registry.transact(lambda table, n=n: decide_free(table, incarnation=f"i{n}", author="x"))
        lease.release()
        await registry.forget(lease.key)
        dropped += registry.droppable() < size
        size = registry.droppable()
    assert dropped >= 1
    assert size < 70_000
    table = await registry.rows()
    assert names(table) == ["root"]
    assert table.refused == 0
    root.release()


async def test_a_log_of_living_rows_is_not_dropped_again_and_again(registry, monkeypatch):
    from podkit.abc import _registry

    monkeypatch.setattr(_registry, "_SMALL", 2000)
    calls, real = [], registry.compact

    async def compact(after, facts):
        calls.append(after)
        return await real(after, facts)

    monkeypatch.setattr(registry, "compact", compact)
    for n in range(60):
        await registry.transact(
            lambda table, n=n: decide_root(
                table, name="a", tree=f"t{n}", incarnation=f"i{n}", scope=Scope.write(f"/{n}"), address="a", since=1.0
            )
        )
    assert calls == []


async def test_a_compaction_that_fails_does_not_fail_the_change(registry, open_root, monkeypatch):
    from podkit.abc import _registry

    monkeypatch.setattr(_registry, "_SMALL", 10)
    monkeypatch.setattr(_registry, "_BULKY", 0)

    async def busy(after, facts):
        raise RegistryBusyError(1.0, "x")

    await open_root(registry)
    monkeypatch.setattr(registry, "compact", busy)
    await open_root(registry, "b", "/v")

    async def late(after, facts):
        return False

    monkeypatch.setattr(registry, "compact", late)
    registry._look_again = 0
    await open_root(registry, "c", "/u")
    assert names(await registry.rows()) == ["root", "b", "c"]


async def test_what_is_no_fact_stops_everything(registry, open_root):
    await open_root(registry)
    await registry.append((await registry.rows()).sequence, [b'{"fact":"freed","format":1}'])
    with pytest.raises(CorruptRegistryError, match="a fact"):
        await registry.rows()
    with pytest.raises(CorruptRegistryError):
        await open_root(registry, "b", "/v")


async def test_a_newer_fact_stops_every_grant(registry, open_root):
    lease = await open_root(registry)
    await registry.append((await registry.rows()).sequence, [b'{"fact":"shared","format":7}'])
    with pytest.raises(CorruptRegistryError, match="newer"):
        await open_root(registry, "b", "/v")
    table = await registry.transact(lambda table: decide_free(table, incarnation="i-root", author="i-root"))
    assert names(table) == []
    lease.release()


async def test_whoever_is_never_quick_enough_hears_of_it(registry, open_root, monkeypatch):
    (await open_root(registry)).release()

    def decide_root_again(table):
        return decide_root(table, name="b", tree="b", incarnation="b", scope=Scope.read("/"), address="a", since=1.0)

    async def slow(after, facts):
        return False

    monkeypatch.setattr(registry, "append", slow)
    calls = []
    with trio.fail_after(30):
        with pytest.raises(RegistryBusyError, match="quicker 1000 times"):
            await registry.transact(lambda table: calls.append(1) or decide_root_again(table))
        assert len(calls) == 1000
        with pytest.raises(RegistryBusyError):
            await registry.transact(lambda table: decide_free(table, incarnation="i-root", author="x"))
        with pytest.raises(RegistryBusyError):
            await registry.sweep()


async def test_a_cancelled_change_is_done_or_not_done(registry, open_root):
    with trio.CancelScope() as scope:
        scope.cancel()
        await open_root(registry)
    assert scope.cancelled_caught
    assert len(await registry.rows()) == 0
    await open_root(registry)
    assert len(await registry.rows()) == 1


@pytest.mark.proves("I9")
async def test_a_change_that_is_cancelled_anywhere_is_done_or_not_done_and_may_be_asked_again(
    registry, open_root, bear, monkeypatch
):
    driver = {name: getattr(registry, name) for name in ("read", "append", "held", "forget", "compact")}
    calls, when, scope = 0, 0, trio.CancelScope()

    def counted(name):
        async def call(*args):
            nonlocal calls
            calls += 1
            if calls == when:
                scope.cancel()
            return await driver[name](*args)

        return call

    for name in driver:
        monkeypatch.setattr(registry, name, counted(name))
    cancelled = 0
    while True:
        (await open_root(registry, "dead", "/w/dead", incarnation=f"dead{when}")).release()
        (await open_root(registry, "dying", "/w/dying", incarnation=f"dying{when}")).release()
        asked = {"name": "next", "tree": "t", "incarnation": f"n{when}", "scope": Scope.write("/w"), "address": "a", "since": 1.0}
        calls, when, scope, returned = 0, when + 1, trio.CancelScope(), False
        with trio.fail_after(10), scope:
            await registry.transact(lambda table, asked=asked: decide_root(table, **asked))
            returned = True
        when_cancelled, when = when, 0
        there = names(await registry.rows())
        assert returned == ("next" in there)
        assert set(there) <= {"dead", "dying"} or there == ["next"]
        if returned:
            assert not scope.cancelled_caught
            await registry.transact(lambda table, asked=asked: decide_free(table, incarnation=asked["incarnation"], author="x"))
            if not scope.cancel_called:
                break
        else:
            await registry.sweep()
        cancelled += not returned
        when = when_cancelled
    assert cancelled >= 8


@pytest.mark.proves("I10", "H12")
async def test_what_a_dead_pod_held_is_granted_by_the_very_next_change(registry, open_root, bear):
    leases = [await open_root(registry), await bear(registry, "a", "i-root", "/w/a"), await bear(registry, "b", "i-a", "/w/a/b")]
    for lease in leases:
        lease.release()
    with trio.fail_after(2):
        await open_root(registry, "next", "/w/a/b/x")
        assert "b" not in names(await registry.rows())
        await open_root(registry, "all", "/w/a/c")
        with pytest.raises(WriteConflictError) as caught:
            await open_root(registry, "third", "/w")
    assert caught.value.holder in ("next-1/next", "all-1/all")


@pytest.mark.proves("I4")
async def test_only_rows_in_the_way_are_asked_whether_they_live(registry, open_root, monkeypatch):
    leases = [await open_root(registry, f"p{n}", f"/w/{n}") for n in range(6)]
    asked, real = [], registry.held

    async def held(key):
        asked.append(key)
        return await real(key)

    monkeypatch.setattr(registry, "held", held)
    leases[3].release()
    leases[4].release()
    await open_root(registry, "next", "/w/3/x")
    assert asked == ["p3.i-p3"]
    with pytest.raises(WriteConflictError):
        await open_root(registry, "late", "/w/5")
    assert asked == ["p3.i-p3", "p5.i-p5"]
    assert "p4" in names(await registry.rows())


@pytest.mark.proves("I6", "H7", "F29")
async def test_of_many_that_would_adopt_one_row_one_does(registry, open_root):
    await open_root(registry)
    await registry.transact(
        lambda table: decide_birth(
            table,
            parent="i-root",
            name="a",
            incarnation="a",
            scope=Scope.write("/w/a"),
            address="x",
            since=1.0,
            secret_sha256=secret_digest("s"),
        )
    )
    done = []

    async def one(n):
        try:
            await registry.transact(
                lambda table: decide_adopt(table, name="a", incarnation="a", secret="s" if n % 2 else "no", pid=n)
            )
            done.append(n)
        except AdoptionRefusedError:
            pass

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for n in range(12):
                nursery.start_soon(one, n)
    (pid,) = done
    assert pid % 2
    assert (await registry.rows())["a"].pid == pid


@pytest.mark.proves("F29", "I5")
async def test_of_fifty_births_of_one_name_one_happens(registry, open_root):
    await open_root(registry)
    done = []

    async def one(n):
        try:
            await registry.transact(
                lambda table: decide_birth(
                    table, parent="i-root", name="a", incarnation=f"a{n}", scope=Scope.read("/w"), address="x", since=1.0
                )
            )
            done.append(f"a{n}")
        except DuplicatePodError:
            pass

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(one, n)
    assert [row.incarnation for row in await registry.rows()] == ["i-root", *done]
    assert len(done) == 1


@pytest.mark.proves("I4")
@pytest.mark.parametrize(
    "facts",
    [
        (Restart(author="w", sequence=3),),
        (Freed(author="w", incarnation="none"),),
        (Freed(author="w", incarnation="i-root"), Freed(author="w", incarnation="i-root")),
        (Reserved(author="x", name="x", tree="x", incarnation="x", scope=Scope.write("/w"), grant=Scope.write("/w"), address="a"),),
        (Freed(author="../x", incarnation="i-root"),),
    ],
)
async def test_a_decision_that_breaks_a_law_is_not_kept(registry, open_root, facts):
    await open_root(registry)
    before = await registry.read(0)
    with pytest.raises(LocalProtocolError):
        await registry.transact(lambda table: facts)
    assert await registry.read(0) == before
    assert names(await registry.rows()) == ["root"]


@pytest.mark.proves("F22", "H9")
async def test_a_restored_root_gets_its_living_children_and_what_the_dead_ones_held(registry, bear):
    async def open_session(incarnation, **more):
        lease = await registry.hold(f"root.{incarnation}")
        table = await registry.transact(
            lambda table: decide_root(
                table,
                name="root",
                tree="t",
                incarnation=incarnation,
                scope=Scope.write("/w"),
                address="a",
                since=1.0,
                born_of="s",
                where=Scope.write("/8:1/w"),
                pins=(Pin("/w", 1, 2),),
                **more,
            )
        )
        return lease, table

    lease, _ = await open_session("one")
    living, dying = await bear(registry, "living", "one", "/w/a"), await bear(registry, "dying", "one", "/w/b")
    with pytest.raises(DuplicatePodError):
        await open_session("early", takes_back=True)
    lease.release()
    dying.release()
    _, table = await open_session("two", takes_back=True)
    assert [row.name for row in table.children("two")] == ["living", "dying"]
    assert [row.name for row in await registry.sweep()] == ["dying"]
    table = await registry.rows()
    assert [row.name for row in table.children("two")] == ["living"]
    assert str(table.effective("two").at("/w/b")) == "write"
    assert str(table.effective("two").at("/w/a")) == "read"
    assert table["two"].pins == (Pin("/w", 1, 2),)
    living.release()


async def test_a_registry_can_be_inspected(registry, open_root, bear):
    assert "nobody" in str(await inspect(registry))
    await open_root(registry)
    child = await bear(registry, "a", "i-root", "/w/a")
    child.release()
    seen = await inspect(registry)
    assert [(h.row.name, h.alive, h.depth) for h in seen] == [("root", True, 0), ("a", False, 1)]
    assert len(seen) == 2
    text = str(seen)
    assert (registry.locator or "this program") in text
    assert "  root-1/a live dead since 1970-01-01 00:00:01 UTC, writes /w/a, at memory://x" in text
    many = Scope.write(*(f"/m{n}" for n in range(6)))
    await registry.transact(
        lambda table: decide_root(table, name="m", tree="m-1", incarnation="m", scope=many, address="\x1b[2J", since=1.0)
    )
    await registry.transact(
        lambda table: decide_root(
            table, name="r", tree="r-1", incarnation="r", scope=Scope.read("/x"), address="a", since=1.0, live=False
        )
    )
    text = str(await inspect(registry))
    assert "and 2 more" in text
    assert "reads /x" in text
    assert "\x1b" not in text


class Bare(Registry):
    """A driver that writes only what it must."""

    def __init__(self, inner):
        self.inner = inner

    async def read(self, after):
        return await self.inner.read(after)

    async def append(self, after, facts):
        return await self.inner.append(after, facts)

    async def hold(self, key):
        return await self.inner.hold(key)

    async def held(self, key):
        return await self.inner.held(key)

    async def gone(self, key):
        await self.inner.gone(key)


async def test_a_driver_needs_no_more_than_the_six_calls(registry, open_root, monkeypatch):
    bare = Bare(registry)
    assert bare.locator is bare.directory is None
    facts = bare.follow()
    lease = await open_root(bare)
    with trio.fail_after(5):
        assert (await facts.receive()).name == "root"
        await facts.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(facts.receive)
            await trio.testing.wait_all_tasks_blocked()
            await open_root(registry, "b", "/v")
    lease.release()
    assert [row.name for row in await bare.sweep()] == ["root"]
    assert not await bare.compact(0, [])
    assert bare.droppable() == 0
    with pytest.raises(RegistryError, match="no descriptors"):
        bare.lease_from_fd("a.1", 0)


async def test_two_openings_of_one_directory_are_one_registry(directory, open_root):
    one, two = FileRegistry(directory), FileRegistry(directory)
    lease = await open_root(one)
    with pytest.raises(WriteConflictError):
        await open_root(two, "b", "/w/x")
    lease.release()
    await open_root(two, "b", "/w/x", incarnation="again")
    assert names(await one.rows()) == names(await two.rows()) == ["b"]


async def test_adoption_works_through_a_second_opening(directory, open_root):
    one, two = FileRegistry(directory), FileRegistry(directory)
    await open_root(one)
    await one.transact(
        lambda table: decide_birth(
            table, parent="i-root", name="a", incarnation="a", scope=Scope.write("/w/a"), address="x", since=1.0
        )
    )
    table = await two.transact(lambda table: decide_adopt(table, name="a", incarnation="a"))
    assert (await one.rows())["a"] == table["a"]
