"""Every rule of the tables asked for as a child's scope: planned, born in memory, and asked for by a model."""

import json

import pytest
import trio

import podkit
import podkit.errors
from podkit.errors import InvalidArgumentError, LimitExceededError
from podkit.logic import BirthRequest, Limits, plan_birth
from podkit.testing import ScriptedWorker, open_world
from podkit.tools import pod_tools

IN_THE_REGISTRY = {"WriteConflictError"}


def launcher():
    return podkit.TaskLauncher(ScriptedWorker)


def asked(ground, row):
    """The scope a row asks for; raises what is wrong with its rules."""
    return podkit.Scope(allow=ground.rules(row["give"]), deny=ground.rules(row.get("deny", ())))


def opened(world, ground):
    options = {"scope": ground.scope, "cwd": ground.path("w"), "tools": pod_tools(launcher())}
    return world.open_pod("root", ScriptedWorker(), registry=podkit.MemoryRegistry(), **options)  # the disk is a real one


async def hold(root, ground, row):
    for name, rules in row.get("held", {}).items():
        await root.spawn(name, scope=podkit.Scope(allow=ground.rules(rules)), launcher=launcher())


def check_scopes(ground, row, root, child):
    for whose, scope in (("child", child.scope), ("parent", root.scope)):
        for path, permission in row[whose].items():
            assert str(scope.at(ground.say(path))) == permission, (whose, path)


def planned(ground, row):
    scope = asked(ground, row)
    plan_birth(BirthRequest("kid", scope), own_name="root", ancestors=(), family=(), grant=ground.scope, depth=1, limits=Limits())


@pytest.mark.proves("I1", "I2")
def test_a_plan_refuses_what_may_not_be_handed_out(ground, delegate_row):
    if delegate_row["required"]["all"] == "ALLOW" or delegate_row["error"] in IN_THE_REGISTRY or delegate_row.get("disk"):
        planned(ground, delegate_row)
    else:
        with pytest.raises(getattr(podkit.errors, delegate_row["error"])) as caught:
            planned(ground, delegate_row)
        assert str(caught.value)


@pytest.mark.proves("I1", "I2")
async def test_a_birth_gives_exactly_that_or_nothing(ground, delegate_row):
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            await hold(root, ground, delegate_row)
            table, before, seen = await root.authority.registry.table(), root.scope, ground.seen()
            if delegate_row["required"]["all"] == "ALLOW":
                child = await root.spawn("kid", scope=asked(ground, delegate_row), launcher=launcher())
                check_scopes(ground, delegate_row, root, child)
                await child.stop()
            else:
                with trio.fail_after(1), pytest.raises(getattr(podkit.errors, delegate_row["error"])):
                    await root.spawn("kid", scope=asked(ground, delegate_row), launcher=launcher())
                assert ground.seen() == seen
            assert set(await root.authority.registry.table()) == set(table)
            assert root.scope == before


@pytest.mark.proves("I1", "I2")
async def test_a_model_that_asks_gets_the_same(ground, delegate_row):
    if delegate_row.get("deny"):
        return  # a model has no denies to hand on: what its pod may not do is denied to the child anyway
    rules = [dict(rule, target=ground.say(rule["target"])) for rule in delegate_row["give"]]
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            await hold(root, ground, delegate_row)
            table, before, seen = await root.authority.registry.table(), root.scope, ground.seen()
            arguments = {"name": "kid", "task": "wait", "scope": rules}
            if delegate_row["required"]["all"] == "ALLOW":
                await root.call_tool("SpawnPod", arguments)
                check_scopes(ground, delegate_row, root, root.children["kid"])
                return
            with trio.fail_after(1), pytest.raises(InvalidArgumentError):
                await root.call_tool("SpawnPod", arguments)
            assert ground.seen() == seen
            assert set(await root.authority.registry.table()) == set(table)
            assert root.scope == before


async def test_a_model_that_mistypes_a_rule_gets_nothing(ground, rule_row):
    if rule_row.get("data") == "ALLOW":
        return
    with trio.fail_after(10):
        async with open_world() as world, opened(world, ground) as root:
            rule = json.loads(ground.say(rule_row["given"]))
            with pytest.raises(InvalidArgumentError):
                await root.call_tool("SpawnPod", {"name": "kid", "task": "wait", "scope": [rule]})
            assert set(await root.authority.registry.table()) == {"root"}


async def test_one_child_too_many_is_a_limit_and_not_a_conflict(ground):
    with trio.fail_after(10):
        async with open_world() as world:
            options = {"scope": ground.scope, "cwd": ground.path("w"), "limits": Limits(children=1)}
            async with world.open_pod("root", ScriptedWorker(), **options) as root:
                await root.spawn("one", scope=podkit.Scope.read(ground.path("r")), launcher=launcher())
                with pytest.raises(LimitExceededError):
                    await root.spawn("two", scope=podkit.Scope.read(ground.path("r")), launcher=launcher())
