"""The main example, whole and interrupted: whatever happens to it, nothing of it is left."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MARK = "PODKIT_TEST_RUN"


class Run:
    """One run of codemap.py in a registry of its own."""

    def __init__(self, *options):
        self.root = tempfile.mkdtemp(prefix="pk", dir="/tmp")
        self.registry = os.path.join(self.root, "r")
        self.said = ""
        argv = [sys.executable, str(EXAMPLES / "codemap.py"), "--registry", self.registry, *options]
        env = os.environ | {MARK: self.root, "PYTHONUNBUFFERED": "1", "TMPDIR": self.root}
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def read_until(self, text):
        """Read what it says until a line holds `text`."""
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        raise AssertionError(f"it ended before it said {text!r}:\n{self.said}")

    def end(self):
        self.said += self.process.communicate(timeout=60)[0]
        return self.process.returncode

    def pids(self):
        """The processes of this run, by what is in their environment."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    environ = Path("/proc", entry, "environ").read_bytes()
                except OSError:
                    continue
                if f"{MARK}={self.root}".encode() in environ.split(b"\0"):
                    found.append(int(entry))
        return found

    def child(self, name):
        """The process id of a pod, from its parent's registry."""
        import podkit

        rows = trio.run(podkit.FileRegistry(self.registry).table)
        return rows[name].pid if name in rows else None

    def left(self):
        """What is left in its registry's directory, but the journal."""
        kept = {".registry", ".leases"}
        leases = os.path.join(self.registry, ".leases")
        names = [name for name in os.listdir(self.registry) if name not in kept]
        return names + (os.listdir(leases) if os.path.isdir(leases) else [])


def check_nothing_left(run):
    assert run.pids() == [], run.said
    assert run.left() == [], run.said
    assert "left over: no process, lease, socket or allocation" in run.said


def test_it_maps_refuses_merges_and_leaves_nothing():
    with Run() as run:
        assert run.end() == 0, run.said
        check_nothing_left(run)
        assert "2 refusals" in run.said
        assert "\x1b" not in run.said
        assert "held by pod `top`" in run.said


@pytest.mark.parametrize("moment", ["mapping", "starting", "top-sub", "  mime", "--- CODEMAP"])
def test_interrupted_at_any_moment_it_leaves_nothing(moment):
    with Run("--delay", "0.02") as run:
        run.read_until(moment)
        run.process.send_signal(signal.SIGINT)
        status = run.end()
        assert status in ((0, 130) if moment == "--- CODEMAP" else (130,)), run.said
        if os.path.isdir(run.registry):
            assert run.pids() == [], run.said
            assert run.left() == [], run.said


@pytest.mark.parametrize(("moment", "victim"), [("top-sub", "top"), ("top-sub", "top-sub"), ("top-2", "top-2"), ("  mime", "top")])
def test_with_a_child_killed_in_the_middle_it_says_so_and_leaves_nothing(moment, victim):
    with Run("--delay", "0.2") as run:
        run.read_until(moment)
        pid = run.child(victim)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        assert run.end() in (0, 1), run.said
        check_nothing_left(run)
