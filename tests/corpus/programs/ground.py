"""What programs of the corpus are let loose on: a private directory with victims around it. Standard library only.

Everything here belongs to the program that makes it: processes, sockets and mounts end with it.
"""

import ctypes
import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

FILES = {
    "w/f": "in w",
    "w/.git/config": "git",
    "w/priv/note": "private",
    "w/d/f": "deep",
    "w/d/sub/f": "deeper",
    "w/e/f": "deep",
    "r/f": "in r",
    "r/a": "in r",
    "r/attr": "r",
    "n/f": "in n",
    "n/k/f": "below n",
    "s/key": "secret",
    "s/attr": "s",
    "s/leak": "open",
    "s/dir/x": "x",
    "w-evil/f": "evil",
    "w2/f": "two",
    "W/f": "big",
    "mounted/f": "elsewhere",
}
LINKS = {"w/ld": "{}/s", "w/l": "{}/s/key", "w/dang": "{}/s/new", "s/link": "key"}
TOOLS = ("w/d/tool", "s/tool")
FREE = ("w/d", "w/e", "w/beside", "n/new", "mounted")
VICTIM = """
import ctypes, sys
space = ctypes.create_string_buffer(b"untouched")
print(ctypes.addressof(space), flush=True)
sys.stdin.read()
print(space.value.decode(), flush=True)
"""


class Ground:
    """The directory `top` and the victims. Use it in `with`."""

    def __init__(self):
        self.top = os.path.realpath(tempfile.mkdtemp(prefix="pk", dir="/tmp"))
        self.name = os.path.basename(self.top)
        self.touched = []
        self._ends = []

    def __enter__(self):
        self.seed()
        self.victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", VICTIM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"SECRET": "yes"},
            start_new_session=True,
        )
        self.address = int(self.victim.stdout.readline())
        os.mkdir(self.path("daemon"), 0o700)
        self.serve("stream", self.path("s/stream.sock"))
        self.serve("daemon", self.path("daemon/docker.sock"))
        self.serve("abstract", f"\0{self.name}")
        self.serve("datagram", self.path("s/datagram.sock"), kind=socket.SOCK_DGRAM)
        self.leaked = [os.open(self.path("s/leak"), os.O_RDWR), os.open(self.path("s"), os.O_RDONLY | os.O_DIRECTORY)]
        for fd in self.leaked:
            os.set_inheritable(fd, True)
        self.serve("passed", self.path("w/d/passed.sock"), give=self.leaked)
        self.port = self.serve("tcp", ("127.0.0.1", 0), family=socket.AF_INET).getsockname()[1]
        self.tmux = self.start_tmux()
        self.mounted = self.mount()
        return self

    def __exit__(self, *_):
        if self.mounted:
            for name in ("w/d/bm", "w/d/sub"):
                subprocess.run(["umount", "-l", self.path(name)], check=False, capture_output=True)
        if self.tmux:
            os.kill(self.tmux, signal.SIGKILL)
        for end in self._ends:
            end.close()
        for fd in self.leaked:
            os.close(fd)
        self.victim.kill()
        self.victim.communicate()
        shutil.rmtree(self.top, ignore_errors=True)

    def path(self, name):
        return f"{self.top}/{name}"

    def seed(self):
        """Put everything where it belongs, again."""
        for name, content in FILES.items():
            path = Path(self.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name, target in LINKS.items():
            if not os.path.islink(self.path(name)):
                os.symlink(target.format(self.top), self.path(name))
        for name in TOOLS:
            path = Path(self.path(name))
            path.write_text("#!/bin/sh\nexit 0\n")
            path.chmod(0o755)
        os.makedirs(self.path("s/empty"), exist_ok=True)
        if not os.path.exists(self.path("w/d/earlier")):
            os.link(self.path("s/dir/x"), self.path("w/d/earlier"))
        for name in ("attack.py", "attack_kit.py", "attack_files.py", "attack_system.py"):
            shutil.copy(Path(__file__).with_name(name), self.path(f"r/{name}"))

    def scope(self):
        """The scope of the corpus, as data."""
        write, read = {"permission": "write"}, {"permission": "read"}
        return {
            "allow": [
                {"target": self.path("w"), **write},
                {"target": self.path("r"), **read},
                {"target": self.path("n"), "recursive": False, **write},
            ],
            "deny": [{"target": self.path("w/.git"), **write}, {"target": self.path("w/priv"), **read}],
        }

    def facts(self):
        """What an attacker is told."""
        return {
            "name": self.name,
            "victim": self.victim.pid,
            "address": self.address,
            "abstract": self.name,
            "port": self.port,
            "handle": handle(self.path("s/key")),
            "threads_max": Path("/proc/sys/kernel/threads-max").read_text().strip(),
        }

    def serve(self, name, address, *, family=socket.AF_UNIX, kind=socket.SOCK_STREAM, give=None):
        """A socket that notes whoever comes."""
        end = socket.socket(family, kind)
        end.bind(address)
        if kind == socket.SOCK_STREAM:
            end.listen(64)
        self._ends.append(end)
        threading.Thread(target=self._note, args=(end, name, kind, give), daemon=True).start()
        return end

    def _note(self, end, name, kind, give):
        while True:
            try:
                if kind == socket.SOCK_DGRAM:
                    end.recv(100)
                else:
                    caller, _ = end.accept()
                    if give is not None:
                        socket.send_fds(caller, [b"x"], give)
                    caller.close()
            except OSError:
                return
            self.touched.append(name)

    def start_tmux(self):
        """A tmux server outside; its pid, or None without tmux."""
        if shutil.which("tmux") is None:
            return None
        clean = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}
        clean["SHELL"] = "/bin/sh"  # else tmux takes the user's own, and that of `nobody` refuses to run anything
        tmux = ["tmux", "-S", self.path("s/tmux.sock"), "-f", "/dev/null"]
        subprocess.run([*tmux, "new-session", "-d", "-s", "victim", "cat"], check=True, env=clean, timeout=20, close_fds=True)
        shown = subprocess.run([*tmux, "display-message", "-p", "#{pid}"], check=True, env=clean, timeout=20, capture_output=True)
        return int(shown.stdout)

    def mount(self):
        """A directory from elsewhere inside what may be written: only for who may mount and has mounts of their own."""
        if os.environ.get("PODKIT_CORPUS_MOUNTS") != "own":
            return False
        os.mkdir(self.path("w/d/bm"))
        subprocess.run(["mount", "--bind", self.path("mounted"), self.path("w/d/bm")], check=True)
        return True

    def seen(self):
        """Everything that no probe may change: kind, mode, times, owner, content, by name."""
        found = {}
        for at, dirs, files in os.walk(self.top):
            dirs[:] = [name for name in dirs if os.path.relpath(f"{at}/{name}", self.top) not in FREE]
            for name in dirs + files:
                path = f"{at}/{name}"
                short = os.path.relpath(path, self.top)
                if short in FREE:
                    continue
                info = os.lstat(path)
                what = [info.st_mode, info.st_nlink, info.st_uid]
                if stat.S_ISREG(info.st_mode):
                    what += [Path(path).read_bytes(), os.listxattr(path)]
                    what += [info.st_mtime_ns] if short != "n/f" else []
                found[short] = what
        return found

    def victim_lives(self):
        """Whether the other process is as it was: alive, not stopped, its memory as it was. Ends it."""
        if self.victim.poll() is not None:
            return False
        state = Path(f"/proc/{self.victim.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state not in "SR" or Path(f"/proc/{self.victim.pid}/oom_score_adj").read_text().strip() == "999":
            return False
        try:
            said, _ = self.victim.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            return False
        return said.strip() == b"untouched"


def handle(path):
    """What `open_by_handle_at` takes: type and bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    space = ctypes.create_string_buffer(136)
    ctypes.c_uint.from_buffer(space, 0).value = 128
    mount = ctypes.c_int()
    number = 264 if platform.machine() == "aarch64" else 303
    if libc.syscall(ctypes.c_long(number), ctypes.c_long(-100), path.encode(), space, ctypes.byref(mount), ctypes.c_long(0)) != 0:
        return [0, "00"]
    size = ctypes.c_uint.from_buffer(space, 0).value
    return [ctypes.c_int.from_buffer(space, 4).value, bytes(space)[8 : 8 + size].hex()]
