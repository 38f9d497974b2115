import trio
from team import Lead

from podkit import Permission, Scope
from podkit.testing import Say, ScriptedWorker, Sleep, World


def writer() -> ScriptedWorker:
    return ScriptedWorker(Sleep(3600), Say("written"))  # what a model would do, in an hour


async def test_each_part_is_lent_while_it_is_written_and_comes_back(podkit_world: World) -> None:
    async with podkit_world.open_pod("lead", Lead(podkit_world.launcher(writer)), scope=Scope.write("/app")) as lead:
        run = await lead.run("api ui")
        await trio.sleep(1800)
        assert lead.children["api"].scope.at("/app/api") is Permission.WRITE
        assert lead.scope.at("/app/api") is lead.scope.at("/app/ui") is Permission.READ
        await lead.wait(run)
        assert lead.scope.at("/app/api") is lead.scope.at("/app/ui") is Permission.WRITE
        assert trio.current_time() < 3700


async def test_a_writer_that_dies_costs_its_part_and_nothing_else(podkit_world: World) -> None:
    async def crash_after_half_an_hour() -> None:
        await trio.sleep(1800)
        podkit_world.crash("api")

    async with podkit_world.open_pod("lead", Lead(podkit_world.launcher(writer)), scope=Scope.write("/app")) as lead:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_after_half_an_hour)
            said = (await lead.ask("api ui")).text
        assert said.split("\n\n") == ["api: PodUnreachableError (gone)", "ui: written (asked)"]
        assert lead.scope == Scope.write("/app")
