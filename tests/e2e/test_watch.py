"""The example front end: in a terminal, in a pipe, and over the death and return of what it watches."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest

WATCH = Path(__file__).parents[2] / "docs" / "examples" / "watch.py"
PROGRAM = Path(__file__).parent / "programs" / "watched.py"
SECONDS = 30.0
WIDTH, HEIGHT = 110, 30
CONTROL = re.compile(
    r"\x1b\[(?P<row>\d+);(?P<column>\d+)H|(?P<rest>\x1b\[K)|(?P<clear>\x1b\[2J)|\x1b\[H|\x1b\[\d*m|\x1b\[\?(?P<mode>\d+)(?P<set>[hl])"
)
TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
# Without the size of somebody else's terminal, which pytest hands to its workers.
ENV = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
ENV |= {"PYTHONUNBUFFERED": "1", "TERM": "xterm"}


class Pods:
    """A root in a program of its own, which can be killed and started again at the same place."""

    def __init__(self, home):
        self.registry, self.work = f"{home}/r", f"{home}/w"
        os.mkdir(self.work)

    def start(self):
        argv = [sys.executable, str(PROGRAM), self.registry, self.work]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "ready\n"

    @property
    def address(self):
        return Path(self.registry, "address").read_text()

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=SECONDS)


@pytest.fixture
def pods():
    home = tempfile.mkdtemp(prefix="pk", dir="/tmp")
    pods = Pods(home)
    try:
        pods.start()
        yield pods
    finally:
        pods.kill()
        shutil.rmtree(home, ignore_errors=True)


class Terminal:
    """watch.py in a terminal of its own, and what that shows. Whatever is no drawing of ours fails at once."""

    def __init__(self, *arguments):
        self.end, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        self.inner = inner
        self.before = termios.tcgetattr(inner)
        self.rows, self.at, self.modes, self.waiting = [""] * HEIGHT, [0, 0], {}, ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE, sys.executable, "-W", "error", str(WATCH), *arguments],
            stdin=inner,
            stdout=inner,
            stderr=subprocess.PIPE,
            env={name: value for name, value in ENV.items() if name not in ("COLUMNS", "LINES")},
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()
        os.close(self.end)
        os.close(self.inner)

    def type(self, text):
        os.write(self.end, text.encode())

    @property
    def screen(self):
        return "\n".join(row.rstrip() for row in self.rows)

    def until(self, *texts, gone=()):
        """Read until the screen shows all of these and none of those."""
        deadline = time.monotonic() + SECONDS
        while not all(text in self.screen for text in texts) or any(text in self.screen for text in gone):
            self.read(deadline, texts)

    def until_mode(self, mode, value):
        deadline = time.monotonic() + SECONDS
        while self.modes.get(mode) != value:
            self.read(deadline, (mode, value))

    def read(self, deadline, wanted):
        ready, _, _ = select.select([self.end], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted} is not on the screen:\n{self.screen}"
        self.take(os.read(self.end, 65536))

    def take(self, data):
        text = self.waiting + data.decode(errors="replace")
        cut = text.rfind("\x1b", max(0, len(text) - 16))
        text, self.waiting = (text[:cut], text[cut:]) if cut >= 0 and not CONTROL.match(text, cut) else (text, "")
        while text:
            if found := CONTROL.match(text):
                self.control(found)
                text = text[found.end() :]
            else:
                assert text[0].isprintable() or text[0] == "\ufffd", f"a terminal would act on {text[:20]!r}"
                row, column = self.at
                self.rows[row] = self.rows[row][:column].ljust(column) + text[0]
                self.at[1], text = column + 1, text[1:]

    def control(self, found):
        if found["row"]:
            self.at = [int(found["row"]) - 1, int(found["column"]) - 1]
        elif found["rest"]:
            self.rows[self.at[0]] = self.rows[self.at[0]][: self.at[1]]
        elif found["clear"]:
            self.rows = [""] * HEIGHT
        elif found["mode"]:
            self.modes[found["mode"]] = found["set"] == "h"

    def check_left_as_found(self):
        """It ended well, and the terminal is as it was."""
        while select.select([self.end], [], [], 0)[0]:
            self.take(os.read(self.end, 65536))
        assert self.process.stderr.read() == b""
        assert termios.tcgetattr(self.inner) == self.before
        assert self.modes == {"1049": False, "25": True}


def test_every_command_once_in_a_terminal(pods):
    with Terminal("--registry", pods.registry) as watch:
        watch.until(">root", "idle", f"writes {pods.work}")
        watch.type("run root stream\r")
        watch.until("running", "you: stream", "half a sentence▏", "run root: run 1 has begun")
        watch.type("pause root\r")
        watch.until("paused", "pause root: paused", gone=["▏"])
        watch.type("resume root\r")
        watch.until("run 2 (user_send)", "resume root: run 2 has begun", "running")
        watch.type("notify root psst\r")
        watch.until("notify root: it will be told")
        watch.type("cancel root\r")
        watch.until("cancel root: is being cancelled", "1 held")
        watch.type("run root spawn\r")
        watch.until("└─ kid", f"writes {pods.work}/kid", f"lends {pods.work}/kid (kid)", "kid is there")
        watch.type("show kid\r")
        watch.until(">└─ kid", "── kid")
        watch.type("run kid tell me\t\x7f\x7fyou\r")
        watch.until("heard tell you")
        watch.type("stop kid\r")
        watch.until("stop kid: is ending", "kid is gone", gone=["└─ kid"])
        watch.type("run nobody x\r")
        watch.until("no pod is called nobody; there are: root")
        watch.type("help\r")
        watch.until("show NAME")
        watch.type("quit\r")
        assert watch.process.wait(SECONDS) == 0
        watch.check_left_as_found()


@pytest.mark.proves("I37", "I20")
def test_nothing_that_a_pod_says_reaches_the_terminal_as_a_control_character(pods):
    with Terminal("--registry", pods.registry) as watch:
        watch.until(">root", "idle")
        watch.type("run root shout\r")
        watch.until("1 alert", "]0;owned", "alert (warn)", "finished")
        assert "\u202e" not in watch.screen


@pytest.mark.parametrize("where", ["registry", "address"])
def test_a_pod_that_is_killed_and_started_again_is_seen_in_its_next_life(pods, where):
    arguments = ["--registry", pods.registry] if where == "registry" else [pods.address]
    with Terminal(*arguments) as watch:
        watch.until(">root", "idle")
        watch.type("run root first\r")
        watch.until("heard first")
        pods.kill()
        watch.until("dead" if where == "registry" else "unreachable")
        pods.start()
        watch.until("[life 2]", "idle", "root is there again", gone=["dead     ", "unreachable  "])
        watch.type("run root second\r")
        watch.until("heard second", gone=["heard first"])


@pytest.mark.parametrize(("how", "status"), [("\x03", 0), ("\x04", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_however_it_is_ended_the_terminal_is_as_it_was(pods, how, status):
    with Terminal("--registry", pods.registry) as watch:
        watch.until(">root", "idle")
        watch.type("run root str")
        watch.until("> run root str")
        watch.type("\x15")
        watch.until("\n>", gone=["> run"])
        watch.type(how) if isinstance(how, str) else watch.process.send_signal(how)
        assert watch.process.wait(SECONDS) == status
        watch.check_left_as_found()


def test_while_it_is_suspended_the_terminal_is_as_it_was(pods):
    with Terminal("--registry", pods.registry) as watch:
        watch.until(">root", "idle")
        watch.type("\x1a")
        watch.until_mode("1049", value=False)
        assert os.waitpid(watch.process.pid, os.WUNTRACED)[1] & 0xFF == 0x7F
        assert termios.tcgetattr(watch.inner) == watch.before
        watch.process.send_signal(signal.SIGCONT)
        watch.until_mode("1049", value=True)
        watch.type("run root back\r")
        watch.until("heard back")


def test_a_resized_terminal_is_drawn_anew(pods):
    with Terminal("--registry", pods.registry) as watch:
        watch.until(">root", "idle")
        fcntl.ioctl(watch.inner, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
        watch.process.send_signal(signal.SIGWINCH)
        deadline = time.monotonic() + SECONDS
        while watch.at[0] != 11:
            watch.read(deadline, "a prompt in line 12")
        assert max(len(row.rstrip()) for row in watch.rows) <= 60


# Without a terminal.


def piped(*arguments, given=""):
    argv = [sys.executable, "-W", "error", str(WATCH), *arguments]
    done = subprocess.run(argv, input=given.encode(), capture_output=True, env=ENV, timeout=SECONDS, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_in_a_pipe_it_prints_lines_and_takes_commands_in_their_order(pods):
    status, out, errors = piped(
        "--registry", pods.registry, given="run root shout\nrun root hello\nnonsense\nquit\nrun root never\n"
    )
    assert (status, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "root is there"
    assert f"writes {pods.work}" in out
    assert "run root: run 1 has begun" in lines
    assert out.index("run 1 has begun") < out.index("run root: run 2" if "run root: run 2" in out else "already_running")
    assert "there is no command nonsense" in out
    assert "never" not in out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)


def test_once_it_prints_the_tree_and_ends(pods):
    assert piped("--registry", pods.registry, given="run root spawn\n")[0] == 0
    for where in (["--registry", pods.registry], [pods.address.removeprefix("unix://")]):
        with_kid = None
        for _ in range(20):  # the run goes on after it was accepted
            status, out, errors = piped("--once", *where)
            assert (status, errors) == (0, "")
            with_kid = "└─ kid" in out and f"lends {pods.work}/kid (kid)" in out
            if with_kid and "attaching" not in out:
                break
        assert with_kid, out


def test_where_nobody_is_it_says_so(pods, short_dir):
    assert piped("--once", "--registry", f"{short_dir}/none") == (0, "no pods\n", "")
    status, out, errors = piped("--once", f"{short_dir}/none.sock")
    assert (status, errors) == (0, "")
    assert "unreachable" in out


def test_a_registry_that_cannot_be_one_is_said_in_a_sentence(pods, short_dir):
    os.chmod(short_dir, 0o755)
    status, out, errors = piped("--registry", str(short_dir))
    assert (status, out) == (2, "")
    assert re.fullmatch(r"watch\.py: no registry can be kept in .*\n", errors)
