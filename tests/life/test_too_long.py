"""What is longer than a pod takes, or than its log keeps, is refused with the reason, and nothing is left of it."""

import pytest
import trio

import podkit
from podkit.protocol import ErrorCode, Run, Status
from podkit.testing import Say, ScriptedWorker, open_world

HOME = podkit.Scope.write("/w")
MEBI = 2**20


def worker():
    return ScriptedWorker(Say("done"))


async def refused(asked):
    with pytest.raises(podkit.MethodRejectedError) as caught:
        await asked
    return caught.value


@pytest.mark.proves("I13", "I35")
async def test_a_pod_refuses_the_same_methods_from_its_own_program_and_over_a_transport(autojump_clock):
    with trio.fail_after(60):
        async with (
            open_world() as world,
            world.open_pod("root", worker(), scope=HOME, limits=podkit.Limits(method_bytes=500)) as pod,
            world.connect(pod.address) as client,
        ):
            for side in (pod, client):
                error = await refused(side.run("x" * 500))
                assert (error.code, "500" in error.message) == (ErrorCode.TOO_LARGE, True)
            assert pod.log.data == []
            assert (await pod.ask("x" * 100)).text == "done"


@pytest.mark.proves("I35", "I13")
async def test_an_input_that_no_entry_can_hold_is_too_large_and_not_a_full_disk(autojump_clock, tmp_path):
    with trio.fail_after(60):
        async with open_world() as world:
            options = {"sessions": world.sessions, "limits": podkit.Limits(method_bytes=32 * MEBI)}
            async with world.open_pod("root", worker(), scope=HOME, **options) as pod:
                before = list(pod.log.data)
                error = await refused(pod.send(Run("x" * 17 * MEBI)))
                assert error.code is ErrorCode.TOO_LARGE
                assert "16 MiB" in error.message
                assert (pod.log.data, pod.status) == (before, Status.IDLE)
                assert (await pod.ask("something shorter")).text == "done"


@pytest.mark.proves("I35", "I26")
async def test_a_notice_that_could_never_be_seen_is_not_accepted(autojump_clock):
    with trio.fail_after(60):
        async with open_world() as world:
            options = {"sessions": world.sessions, "limits": podkit.Limits(method_bytes=32 * MEBI)}
            async with world.open_pod("root", worker(), scope=HOME, **options) as pod:
                error = await refused(pod.notify("x" * (MEBI + 1)))
                assert error.code is ErrorCode.TOO_LARGE
                await pod.notify("\x01" * MEBI, wake=False)
                assert (await pod.ask("go on")).text == "done"
                assert not pod.notices, "the longest one that is taken can be seen, whatever it is written as"
