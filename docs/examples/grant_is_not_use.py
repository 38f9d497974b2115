import os
import tempfile

import trio

import podkit
from podkit.protocol import Permission
from podkit.testing import ScriptedWorker


async def main(app: str) -> None:
    everything, parts = podkit.Scope.write(app), podkit.Scope.write(f"{app}/api", f"{app}/ui")
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    developer = podkit.TaskLauncher(ScriptedWorker)
    async with podkit.open_pod(
        "lead", ScriptedWorker(), scope=podkit.Scope.read(app), grant=everything, transport=net, registry=registry
    ) as lead:
        try:
            await lead.files.write_text(f"{app}/api/x.py", "by the lead")
        except podkit.AccessDeniedError as error:
            print("refused:", error)  # it reads everything and writes nothing
        else:
            raise AssertionError("who may hand out write does not write")

        api = await lead.spawn("api", scope=podkit.Scope.write(f"{app}/api"), launcher=developer)
        assert api.scope.at(f"{app}/api/x.py") is Permission.WRITE  # nobody was asked
        try:
            await lead.spawn("both", scope=parts, launcher=developer)
        except podkit.WriteConflictError as error:
            print("refused:", error)  # only use is exclusive: the first birth has the path
        await api.stop()
        both = await lead.spawn("both", scope=parts, launcher=developer)
        assert both.scope == parts


with tempfile.TemporaryDirectory() as home:
    trio.run(main, os.path.realpath(home))
