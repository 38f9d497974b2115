from collections.abc import Callable

from team import Lead
from test_team import writer

from podkit import Scope
from podkit.testing import Faults, World


async def an_application_is_written(world: World) -> None:
    async with world.open_pod("lead", Lead(world.launcher(writer)), scope=Scope.write("/app")) as lead:
        await lead.ask("api ui")
        assert lead.scope == Scope.write("/app")


def test_whoever_stands_still_or_is_cut_off_the_scope_comes_back(podkit_simulate: Callable[..., object]) -> None:
    faults = Faults.only("freeze", "partition", "cut", "event_lost", "event_late", rate=2)
    podkit_simulate(an_application_is_written, faults=faults)
