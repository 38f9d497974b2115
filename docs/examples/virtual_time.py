import trio
import trio.testing

from podkit import Scope
from podkit.testing import Say, ScriptedWorker, Sleep, open_world


async def main() -> None:
    worker = ScriptedWorker(Sleep(8 * 3600), Say("good morning"))
    async with open_world() as world, world.open_pod("night", worker, scope=Scope.write("/app")) as pod:
        said = (await pod.ask("sleep")).text
        print(said, "after", trio.current_time(), "seconds")
        assert trio.current_time() >= 8 * 3600


trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
