"""The ordinary commands in one cell: reads {"level", "namespaces"} and prints how each ended and what was not as it should be."""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import trio
from confined import Confined

from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

SECONDS = 60
AT_ONCE = 3
GIT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def missing(command):
    """What the command needs and this machine lacks."""
    for name in command.get("needs", ()):
        if shutil.which(name) is None:
            return name
    for name in command.get("modules", ()):
        if importlib.util.find_spec(name) is None:
            return name
    return None


def prepare(place, command):
    for name, content in command.get("files", {}).items():
        path = Path(place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    os.makedirs(f"{place}/.tmp", exist_ok=True)


def wrong(place, command, said):
    """What is not as it should be after a command that ended well."""
    if command.get("says", "") not in said:
        return f"it said {said[-500:]!r}"
    for name, content in command.get("makes", {}).items():
        if not os.path.isfile(f"{place}/{name}"):
            return f"there is no {name}"
        if content and Path(place, name).read_text() != content:
            return f"{name} has other content"
    return None


async def run(wards, top, number, command, given):
    lacking = missing(command)
    if lacking is not None:
        return {"name": command["name"], "missing": lacking}
    place = f"{top}/w/{number}"
    prepare(place, command)
    scope = Scope(allow=[ScopeRule(f"{top}/w", Permission.WRITE)], deny=[ScopeRule(f"{top}/w/kept", Permission.WRITE)])
    argv = ["sh", "-c", command["run"].replace("{python}", sys.executable)]
    options = {"level": given["level"], "namespaces": given["namespaces"], "tmp": f"{place}/.tmp", "env": GIT}
    began = trio.current_time()
    with trio.move_on_after(SECONDS) as scope_of_time:
        status, out, err = await wards.run(argv, scope=scope, cwd=place, **options)
    if scope_of_time.cancelled_caught:
        return {"name": command["name"], "status": None, "wrong": "it took too long", "stderr": ""}
    problem = wrong(place, command, out.decode(errors="replace")) if status == 0 else "it failed"
    error = err.decode(errors="replace")[-1500:]
    return {"name": command["name"], "status": status, "wrong": problem, "stderr": error, "seconds": trio.current_time() - began}


async def all_of_them(top, commands, given):
    results = []
    limit = trio.CapacityLimiter(AT_ONCE)
    async with Confined() as wards:
        facts = await wards.facts()
        async with trio.open_nursery() as nursery:

            async def one(number, command):
                async with limit:
                    results.append(await run(wards, top, number, command, given))

            for number, command in enumerate(commands):
                nursery.start_soon(one, number, command)
    return {"namespaces": facts.namespaces, "results": results}


def main():
    given = json.loads(sys.stdin.read())
    commands = tomllib.loads(Path(__file__).with_name("commands.toml").read_text())["command"]
    top = os.path.realpath(tempfile.mkdtemp(prefix="pk", dir="/tmp"))
    os.makedirs(f"{top}/w/kept")
    for number in range(len(commands)):
        os.mkdir(f"{top}/w/{number}")
    try:
        print(json.dumps(trio.run(all_of_them, top, commands, given)))
    finally:
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
