"""Spawn a child process over Unix sockets with delegated scope."""

import os, shutil, sys, tempfile

import trio

import podkit
from podkit.protocol import TextDone, TurnStart
from podkit_transports import UnixTransport


class Echo(podkit.abc.Worker):
    async def work(self, run, emit):
        emit(TurnStart(turn=1)); emit(TextDone(text=f"you said {run.text}"))


SCRIBE = """
import podkit, trio
from podkit.protocol import TextDone, TurnStart
from podkit_transports import UnixTransport

class Scribe(podkit.abc.Worker):
    async def work(self, run, emit):
        emit(TurnStart(turn=1)); emit(TextDone(text="noted"))

async def main():
    await podkit.adopt_pod(Scribe(), transport=UnixTransport())

trio.run(main)
"""

home = os.path.realpath(tempfile.mkdtemp(prefix="pk"))
os.environ["XDG_RUNTIME_DIR"] = home                       # so that FileRegistry() is this example's own
os.chdir(home)
open("scribe.py", "w").write(SCRIBE)
notes = "/srv/app/notes"
made = [path for path in ("/srv", "/srv/app", notes) if not os.path.isdir(path)]
os.makedirs(notes, exist_ok=True)


async def main():
    # --- as in the page ---
    async with podkit.open_pod("root", Echo(), scope=podkit.Scope.write("/srv/app"),
                               transport=UnixTransport(), registry=podkit.FileRegistry()) as root:
        scribe = await root.spawn("scribe", task="take notes", scope=podkit.Scope.write("/srv/app/notes"),
                                  launcher=podkit.ProcessLauncher([sys.executable, "-P", "scribe.py"]))
        # root now only reads /srv/app/notes; scribe.py calls: await podkit.adopt_pod(Scribe(), transport=UnixTransport())
        report = await scribe.stop()                           # returns when every process of scribe is gone and the scope is back
    # --- until here ---
        assert report.how in ("asked", "terminated"), report
        assert root.scope.at(notes) is podkit.Permission.WRITE


try:
    trio.run(main)
finally:
    shutil.rmtree(home)
    for path in reversed(made):
        os.rmdir(path)
