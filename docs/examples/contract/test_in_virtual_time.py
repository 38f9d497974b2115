"""Test orchestration in virtual time: an hour passes in no time. (`simulate`, under a seed and with faults, comes with a later release.)"""

import pytest, trio, trio.testing

import podkit, podkit.protocol
from podkit import Scope
from podkit.testing import Say, ScriptedWorker, Sleep, open_world

# --- as in the page ---
async def test_a_busy_pod_refuses_a_second_run(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(Sleep(3600), Say("done")), scope=Scope.write("/w")) as pod:
            async with world.connect(pod.address) as client:
                await client.run("long job")
                with pytest.raises(podkit.MethodRejectedError) as caught: await client.run("another")
                assert caught.value.code is podkit.protocol.ErrorCode.ALREADY_RUNNING
# --- until here ---

if __name__ == "__main__":                                 # pytest-trio gives the clock; without pytest it is given here
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(test_a_busy_pod_refuses_a_second_run, clock, clock=clock)
