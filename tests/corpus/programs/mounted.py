"""`mounted.py D`: mounts D/s inside D/w, and says what `Files` makes of it that may, or may not, go to another mount."""

import json
import os
import subprocess
import sys

import trio

from podkit.confinement import Files, Gate
from podkit.confinement._targets import settle_targets
from podkit.errors import ScopeError
from podkit.logic import Scope


async def tried(files, top):
    said = {}
    for name, call in (("read", files.read_text(f"{top}/w/bm/key")), ("write", files.write_text(f"{top}/w/bm/new", "x"))):
        try:
            await call
            said[name] = "ALLOW"
        except ScopeError as error:
            said[name] = f"DENY {type(error).__name__}"
    return said


def main():
    top = sys.argv[1]
    os.mkdir(f"{top}/w/bm")
    subprocess.run(["mount", "--bind", f"{top}/s", f"{top}/w/bm"], check=True)
    said, scope = {}, Scope.write(f"{top}/w")
    pins = settle_targets(scope, make=None).pins
    for cross in (False, True):
        files = Files(scope=lambda: scope, gate=Gate(), cwd=f"{top}/w", pins=lambda: pins, cross_mounts=cross)
        said[str(cross)] = trio.run(tried, files, top)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
