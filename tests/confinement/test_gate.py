"""The gate: many together or one alone, in the order they came, and nobody is stuck whatever is cancelled."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from podkit.confinement import Gate
from podkit.errors import ScopeError


class House:
    """Tasks in front of a gate, and what is seen of them."""

    def __init__(self, nursery):
        self.gate, self.nursery = Gate(), nursery
        self.inside, self.leave, self.scopes, self.order = set(), {}, {}, []

    async def enter(self, name, *, alone=False):
        self.leave[name], self.scopes[name] = trio.Event(), trio.CancelScope()

        async def visit():
            with self.scopes[name]:
                async with self.gate.alone(name) if alone else self.gate.shared(name):
                    self.inside.add(name)
                    self.order.append(name)
                    try:
                        await self.leave[name].wait()
                    finally:
                        self.inside.remove(name)

        self.nursery.start_soon(visit)
        await wait_all_tasks_blocked()

    async def go(self, name):
        self.leave[name].set()
        await wait_all_tasks_blocked()

    async def cancel(self, name):
        self.scopes[name].cancel()
        await wait_all_tasks_blocked()


@pytest.fixture
async def house():
    async with trio.open_nursery() as nursery:
        yield House(nursery)
        nursery.cancel_scope.cancel()


async def test_many_are_inside_together_and_are_named(house):
    for name in "abc":
        await house.enter(name)
    assert house.gate.busy == ("a", "b", "c")
    await house.go("b")
    assert house.gate.busy == ("a", "c")


async def test_one_alone_waits_for_all_and_keeps_later_ones_out(house):
    await house.enter("a")
    await house.enter("b")
    await house.enter("X", alone=True)
    await house.enter("c")
    assert house.inside == {"a", "b"}
    assert house.gate.busy == ("a", "b")
    assert repr(house.gate) == "<Gate 2 inside, 2 waiting>"
    await house.go("a")
    assert house.inside == {"b"}
    await house.go("b")
    assert house.inside == {"X"}
    await house.go("X")
    assert house.inside == {"c"}


async def test_two_who_want_to_be_alone_take_turns_in_order(house):
    await house.enter("X", alone=True)
    await house.enter("a")
    await house.enter("Y", alone=True)
    await house.enter("b")
    for _ in range(4):
        await house.go(next(iter(house.inside)))
    assert house.order == ["X", "a", "Y", "b"]


async def test_who_gives_up_waiting_lets_the_others_in(house):
    await house.enter("a")
    await house.enter("X", alone=True)
    await house.enter("b")
    await house.cancel("X")
    assert house.inside == {"a", "b"}


async def test_who_is_cancelled_inside_leaves(house):
    await house.enter("a")
    await house.enter("X", alone=True)
    await house.cancel("a")
    assert house.inside == {"X"}
    await house.cancel("X")
    assert house.gate.busy == ()


async def test_who_is_let_in_and_cancelled_at_once_does_not_stay_inside(house):
    await house.enter("a")
    await house.enter("X", alone=True)
    house.leave["a"].set()
    house.scopes["X"].cancel()
    await wait_all_tasks_blocked()
    assert house.gate.busy == ()
    await house.enter("b")
    assert house.inside == {"b"}


async def test_who_is_cancelled_before_does_not_enter():
    gate = Gate()
    for enter in (lambda: gate.shared("x"), gate.alone):
        with trio.CancelScope() as scope:
            scope.cancel()
            async with enter():
                pytest.fail("inside")
        assert gate.busy == ()


async def test_an_error_inside_opens_the_gate_again():
    gate = Gate()
    for enter in (lambda: gate.shared("x"), gate.alone):
        with pytest.raises(KeyError):
            async with enter():
                raise KeyError
        assert gate.busy == ()


async def test_what_is_inside_may_enter_again_while_somebody_waits_to_be_alone(house):
    gate = house.gate
    with trio.fail_after(5):
        async with gate.shared("outer"):
            await house.enter("X", alone=True)
            async with gate.shared("inner"), trio.open_nursery() as nursery:

                async def task():
                    async with gate.shared("task"):
                        assert gate.busy == ("outer", "inner", "task")

                nursery.start_soon(task)
            assert house.inside == set()
        await wait_all_tasks_blocked()
        assert house.inside == {"X"}


async def test_one_alone_may_share_with_itself():
    gate = Gate()
    with trio.fail_after(5):
        async with gate.alone(), gate.shared("work"):
            assert gate.busy == ("a revocation", "work")


async def test_one_who_is_inside_cannot_be_alone():
    gate = Gate()
    async with gate.shared("x"):
        with pytest.raises(ScopeError, match="in the middle"):
            async with gate.alone():
                pytest.fail("alone")
    async with gate.alone():
        pass


async def test_being_inside_does_not_outlast_the_visit():
    """A task that was started inside has to queue like anybody once the visit is over."""
    gate, went, go = Gate(), [], trio.Event()

    async def late():
        await go.wait()
        async with gate.shared("late"):
            went.append(1)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            async with gate.shared("x"):
                nursery.start_soon(late)
                await wait_all_tasks_blocked()
            async with gate.alone():
                go.set()
                await wait_all_tasks_blocked()
                assert went == []
    assert went == [1]


async def test_what_is_started_inside_but_belongs_elsewhere_is_not_inside(house):
    async with house.gate.shared("x"):
        await house.enter("X", alone=True)
        await house.enter("y")
        assert house.inside == set()
    await wait_all_tasks_blocked()
    assert house.inside == {"X"}


async def test_being_inside_is_not_inherited_from_a_parent_that_entered_later():
    gate, order = Gate(), []

    async def alone():
        async with gate.alone():
            order.append("alone")

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alone)
            async with gate.shared("x"):
                await wait_all_tasks_blocked()
                order.append("shared")
    assert sorted(order) == ["alone", "shared"]


async def test_who_stays_is_inside_after_the_visit_and_before_one_who_waits_to_be_alone(house):
    async with house.gate.shared("the call"):
        await house.enter("alone", alone=True)
        leave = house.gate.stay("what outlives it")
    await wait_all_tasks_blocked()
    assert (house.order, house.gate.busy) == ([], ("what outlives it",))

    leave()
    await wait_all_tasks_blocked()
    assert house.order == ["alone"]

    leave()  # once more takes nobody else's place
    assert house.gate.busy == ("alone",)
    await house.go("alone")


async def test_two_gates_know_nothing_of_each_other():
    one, other = Gate(), Gate()
    async with one.shared("x"), other.alone():
        assert (one.busy, other.busy) == (("x",), ("a revocation",))


STEPS = st.lists(st.tuples(st.sampled_from(["share", "alone", "go", "cancel"]), st.integers(0, 7)), max_size=25)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_whatever_happens_the_law_of_the_gate_holds(steps):
    """Against a model: a queue in order of arrival, from which the first are let in as long as the law allows."""

    async def main():
        async with trio.open_nursery() as nursery:
            house = House(nursery)
            queue, inside, count = [], [], 0

            def admit():
                while queue and (not inside or not (queue[0][1] or inside[0][1])):
                    inside.append(queue.pop(0))

            for step, number in steps:
                if step in ("share", "alone"):
                    name, count = f"t{count}", count + 1
                    queue.append((name, step == "alone"))
                    admit()
                    await house.enter(name, alone=step == "alone")
                elif step == "go" and inside:
                    name = inside.pop(number % len(inside))[0]
                    admit()
                    await house.go(name)
                elif step == "cancel" and queue + inside:
                    one = (queue + inside)[number % len(queue + inside)]
                    (queue if one in queue else inside).remove(one)
                    admit()
                    await house.cancel(one[0])
                assert house.inside == {name for name, _ in inside} == set(house.gate.busy)
            for event in house.leave.values():
                event.set()
            with trio.fail_after(5):
                while house.gate.busy:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)
