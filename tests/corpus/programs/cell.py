"""One cell of the matrix: `cell.py` reads {"level", "namespaces", "wards": {name: [[row, probe], ...]}} and prints what came of it.

It makes its own ground, so that it can be run as any user, and runs each ward's probes in one confined program.
"""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import trio
from confined import Confined
from ground import Ground

from podkit.logic import Scope

SECONDS = 60
SPOILING = (("K21", "readable_in"), ("K21", "outside_in"), ("K22", "exchange"), ("K25", "unlink"), ("K39", "signal_other"))
SPOILING += (("K43", "memory"), ("K52", "move_hole"), ("K24", "rename_target"))


def arguments(ground, probes):
    given = {"top": ground.top, "probes": probes, "facts": ground.facts()}
    return [sys.executable, "-B", "-I", "-S", ground.path("r/attack.py"), json.dumps(given)]


def outcomes(said):
    return [json.loads(line) for line in said.decode().splitlines()]


def daemon_is_gone(ground):
    """Whether nobody holds the lock that the daemon took. It did take it: without its file the probe never ran."""
    with open(ground.path("w/d/daemon.lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def confined(ground, given):
    """Run every ward's probes."""
    scope = Scope.from_data(ground.scope())
    results, notes = [], {}
    options = {"scope": scope, "cwd": ground.path("w/d"), "level": given["level"], "namespaces": given["namespaces"]}
    options["tmp"] = ground.path("w/d")
    async with Confined() as wards:
        for name, probes in given["wards"].items():
            with trio.fail_after(SECONDS):
                status, out, err = await wards.run(arguments(ground, probes), network=name != "no_network", **options)
            notes[name] = {"status": status, "stderr": err.decode(errors="replace")[-2000:]}
            found = outcomes(out)
            results += [one for one in found if "id" in one]
            notes[name]["leaked"] = [fd for one in found if "leaked" in one for fd in one["leaked"]]
            if name == "daemon":
                notes[name]["gone"] = daemon_is_gone(ground)
        notes["namespaces"] = (await wards.facts()).namespaces
    return results, notes


def loose(ground, given):
    """The same without any confinement: an attack that fails even so proves nothing. What spoils the ground comes last."""
    probes = [tuple(one) for ward in given["wards"].values() for one in ward]
    results = []
    for batch in ([one for one in probes if one not in SPOILING], *([one] for one in SPOILING if one in probes)):
        done = subprocess.run(
            arguments(ground, batch),
            pass_fds=ground.leaked,
            stdout=subprocess.PIPE,
            cwd=ground.path("w/d"),
            env={**os.environ, "TMPDIR": ground.path("w/d")},
            timeout=SECONDS,
            check=False,
        )
        results += [found for found in outcomes(done.stdout) if "id" in found]
        ground.seed()
    return results, {}


def main():
    given = json.loads(sys.stdin.read())
    with Ground() as ground:
        before = ground.seen()
        if given["level"] == "none":
            results, notes = loose(ground, given)
        else:
            results, notes = trio.run(confined, ground, given)
        after = ground.seen()
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        touched = [name for name in ground.touched if name != "tcp"]
        said = {"results": results, "notes": notes, "changed": changed, "touched": touched, "tmux": bool(ground.tmux)}
        said["mounted"] = ground.mounted
        said["victim"] = ground.victim_lives()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
