"""What living pods may hand out: through four generations, with the denies of the top, and all of it back at the end."""

import pytest
import trio

import podkit
from podkit.protocol import (
    Permission,
    PodEventMethod,
    PodScopeSubDelegated,
    ScopeRule,
    TextDone,
    TurnStart,
    decode_method,
    encode_method,
)
from podkit.testing import ScriptedWorker, open_world
from podkit.tools import pod_tools

NONE, READ, WRITE = Permission.NONE, Permission.READ, Permission.WRITE
DENIES = (ScopeRule("/w/.git", WRITE), ScopeRule("/w/secret", READ))
HANDED = podkit.Scope(allow=[ScopeRule("/w", WRITE)], deny=DENIES)

pytestmark = pytest.mark.proves("I2", "I3", "F23", "F26")


class Lead(podkit.abc.Worker):
    """Spawns a pod of the generation below with what the run's text names, and says what came of it."""

    pods = None

    def __init__(self, pods, generation):
        self.pods, self.generation = pods, generation

    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        self.pods[self.generation] = run.pod
        scope, grant = self.asked(run.text)
        try:
            launcher = podkit.TaskLauncher(lambda: Lead(self.pods, self.generation + 1))
            await run.pod.spawn(f"g{self.generation + 1}", scope=scope, grant=grant, launcher=launcher)
        except podkit.NotSubsetError as error:
            emit(TextDone(text=f"refused {error.path} {error.held}"))
        else:
            emit(TextDone(text="born"))

    def asked(self, text):
        reading = podkit.Scope(allow=[ScopeRule("/w", READ)], deny=DENIES)
        return {
            "coordinator": (reading, HANDED),
            "all of it": (podkit.Scope.write("/w"), None),
            "grant all of it": (reading, podkit.Scope.write("/w")),
            "the history": (podkit.Scope.write("/w/.git"), None),
            "the secret": (podkit.Scope.read("/w/secret/key"), None),
            "its part": (podkit.Scope.write("/w/part"), None),
        }[text]


async def test_four_generations_hand_out_what_none_of_them_uses_and_never_more_than_the_top_may():
    pods = {}
    with trio.fail_after(20):
        async with open_world() as world:
            reads = podkit.Scope.read("/w")
            async with world.open_pod("g1", Lead(pods, 1), scope=reads, grant=HANDED) as root:
                handles = {1: root}
                for generation in (1, 2, 3):
                    handle = handles[generation]
                    assert (await handle.ask("all of it")).text.startswith("refused /w")
                    assert (await handle.ask("grant all of it")).text.startswith("refused /w")
                    assert (await handle.ask("the history")).text == "refused /w/.git read"
                    assert (await handle.ask("the secret")).text == "refused /w/secret/key no access"
                    assert (await handle.ask("coordinator")).text == "born"
                    handles[generation + 1] = pods[generation].children[f"g{generation + 1}"]
                assert (await handles[4].ask("its part")).text == "born"
                table = await world.registry.table()
                for generation in (1, 2, 3, 4):
                    assert pods[generation].scope.at("/w/part") is READ
                    assert pods[generation].grant.at("/w/.git/x") is READ
                    assert pods[generation].grant.at("/w/secret/x") is NONE
                    assert table[f"g{generation + 1}"].scope <= pods[generation].grant
                    assert table[f"g{generation + 1}"].grant <= pods[generation].grant
                    if generation > 1:
                        assert pods[generation].grant <= pods[generation - 1].grant
                with pytest.raises(podkit.WriteConflictError) as caught:
                    await root.spawn("late", scope=podkit.Scope.write("/w/part/x"), launcher=podkit.TaskLauncher(ScriptedWorker))
                assert caught.value.holder == "g5"
                await handles[2].stop()
                late = await root.spawn("late", scope=podkit.Scope.write("/w/part/x"), launcher=podkit.TaskLauncher(ScriptedWorker))
                assert late.scope.at("/w/part/x") is WRITE


async def test_a_coordinator_has_no_more_after_its_child_than_before():
    with trio.fail_after(10):
        async with open_world() as world:
            async with world.open_pod("lead", ScriptedWorker(), scope=podkit.Scope.read("/w"), grant=HANDED) as lead:
                before = lead.scope
                for _ in range(3):
                    child = await lead.spawn("dev", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(ScriptedWorker))
                    assert lead.scope.at("/w/a") is READ
                    await child.stop()
                    assert lead.scope == before
                    assert lead.scope.layers == ()


async def test_a_pod_may_write_what_it_may_not_lend():
    with trio.fail_after(10):
        async with open_world() as world:
            use, grant = podkit.Scope.write("/w"), podkit.Scope.read("/w")
            async with world.open_pod("root", ScriptedWorker(), scope=use, grant=grant) as root:
                with pytest.raises(podkit.NotSubsetError) as caught:
                    await root.spawn("dev", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(ScriptedWorker))
                assert (caught.value.asked, caught.value.held) == (WRITE, READ)
                assert root.scope.at("/w/a") is WRITE
                reader = await root.spawn("reader", scope=podkit.Scope.read("/w/a"), launcher=podkit.TaskLauncher(ScriptedWorker))
                assert root.scope.at("/w/a") is WRITE
                assert reader.scope == podkit.Scope.read("/w/a")


async def test_what_a_pod_may_hand_out_is_said_when_it_is_not_what_it_uses():
    parent = podkit.TaskLauncher(lambda: ScriptedWorker())
    rules = {"target": "/w/a", "permission": "read"}
    with trio.fail_after(20):
        async with open_world() as world:
            reads = podkit.Scope.read("/w")
            async with world.open_pod("lead", ScriptedWorker(), scope=reads, grant=HANDED, tools=pod_tools(parent)) as lead:
                asked = {"name": "kid", "task": "x", "scope": [rules], "grant": [rules | {"permission": "write"}]}
                assert "kid" in (await lead.call_tool("SpawnPod", asked)).summary
                row = (await world.registry.table())["kid"]
                assert (row.scope, row.grant) == (podkit.Scope.read("/w/a"), podkit.Scope.write("/w/a"))
                async with world.connect(lead.children["kid"].address) as client:
                    greeting = (await client.receive()).greeting
                    assert "Writable" not in greeting.scope_summary
                    assert greeting.grant_summary == "Readable:\n  - /w/a\nWritable:\n  - /w/a"
                nothing = {"name": "leaf", "task": "x", "scope": [rules], "grant": []}
                await lead.call_tool("SpawnPod", nothing)
                assert (await world.registry.table())["leaf"].grant == podkit.Scope.none()
            async with world.open_pod("plain", ScriptedWorker(), scope=reads) as pod, world.connect(pod.address) as client:
                assert (await client.receive()).greeting.grant_summary is None


def test_a_report_of_a_delegation_carries_the_grant_only_when_there_is_one():
    rules = (ScopeRule("/w/a", WRITE),)
    plain = PodEventMethod(PodScopeSubDelegated("kid", "leaf", "memory://leaf", rules))
    assert b"grant" not in encode_method(plain)
    told = PodEventMethod(PodScopeSubDelegated("kid", "leaf", "memory://leaf", rules, grant=rules))
    assert decode_method(encode_method(told)) == told
