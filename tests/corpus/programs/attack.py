"""What a hostile program tries, one probe at a time: `attack.py '{"top": D, "probes": [["K02", "write"], ...], "facts": {...}}'`.

Prints one JSON object a line: id, probe, allowed, errno, detail. A probe returns when it got what it wanted and raises when it did
not; each runs in a process of its own, so that one that is killed does not end the others. Standard library only: this runs
inside the confinement, under `python -I -S`.
"""

import contextlib
import errno
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import attack_files  # noqa: F401 - registers its probes
import attack_system  # noqa: F401 - registers its probes
from attack_kit import PROBES, facts

SECONDS = 10


def attempt(row, name):
    """The outcome of one probe, tried in a child."""
    ours, childs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        signal.alarm(SECONDS)
        try:
            PROBES[row, name]()
            outcome = {"allowed": True, "errno": "", "detail": ""}
        except OSError as error:
            outcome = {"allowed": False, "errno": errno.errorcode.get(error.errno, ""), "detail": str(error)[:300]}
        except BaseException as error:  # noqa: BLE001 - a probe that is itself wrong must be told from one that was stopped
            outcome = {"allowed": False, "errno": "BROKEN", "detail": repr(error)[:300]}
        os.write(childs, json.dumps(outcome).encode() + b"\n")
        os._exit(0)
    os.close(childs)
    said = b""
    while not said.endswith(b"\n") and (chunk := os.read(ours, 4096)):  # a daemon that is left keeps its end open
        said += chunk
    os.close(ours)
    status = os.waitpid(child, 0)[1]
    if not said:
        return {"allowed": False, "errno": "BROKEN", "detail": f"ended with {status} and said nothing"}
    return json.loads(said)


def main():
    given = json.loads(sys.argv[1])
    facts.update(given["facts"], top=given["top"])
    facts["parent"] = os.getppid()
    facts["leaked"] = []
    for fd in range(3, 256):
        with contextlib.suppress(OSError):
            os.fstat(fd)
            facts["leaked"].append(fd)
    for row, name in given["probes"]:
        print(json.dumps({"id": row, "probe": name, "pid": os.getpid(), **attempt(row, name)}), flush=True)
    print(json.dumps({"leaked": facts["leaked"]}), flush=True)


if __name__ == "__main__":
    main()
