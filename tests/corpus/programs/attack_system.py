"""Probes on mounts, sockets, processes, devices and system calls, and on rules the kernel has no words for: see attack.py."""

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import subprocess
import time

from attack_kit import LIBC, at, call, facts, probe, read, write

NEWNS, NEWUSER = 0x20000, 0x10000000


@probe("K30", "mount")
def _():
    call("mount", b"none", at("w/d/sub").encode(), b"tmpfs", 0, None)


@probe("K30", "own_namespace")
def _():
    call("unshare", NEWNS)
    call("mount", b"none", at("w/d/sub").encode(), b"tmpfs", 0, None)


@probe("K30", "own_user")
def _():
    call("unshare", NEWUSER | NEWNS)
    call("mount", at("s").encode(), at("w/d/sub").encode(), None, 0x1000, None)


@probe("K30", "pivot_root")
def _():
    call("pivot_root", at("w").encode(), at("w/d").encode())


@probe("K30", "setns")
def _():
    fd = os.open(f"/proc/{facts['victim']}/ns/mnt", os.O_RDONLY)
    call("setns", fd, 0)
    read(at("s/key"))


@probe("K31", "gain")
def _():
    with contextlib.suppress(OSError):
        call("unshare", NEWUSER)
    call("chroot", at("s").encode())
    read("/key")


@probe("K31", "call")
def _():
    refused = []
    for name, arguments in (("chroot", (b"/",)), ("fsopen", (b"tmpfs", 0)), ("open_tree", (-100, at("r").encode(), 0))):
        try:
            call(name, *arguments)
        except OSError as error:
            refused.append(error)
    if len(refused) == 3:
        raise refused[0]


@probe("K32", "bind_read")
def _():
    read(at("w/d/bm/f"))


@probe("K32", "bind_write")
def _():
    write(at("w/d/bm/new"))


@probe("K33", "handle")
def _():
    kind, data = facts["handle"]
    data = bytes.fromhex(data)
    handle = struct.pack("Ii", len(data), kind) + data
    beside = os.open(at("r"), os.O_RDONLY)
    fd = call("open_by_handle_at", beside, handle, os.O_RDONLY)
    os.read(fd, 1)


# Sockets.


def connect(address, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as end:
        end.settimeout(5)
        end.connect(address)
        if kind == socket.SOCK_DGRAM:
            end.send(b"pwned")


@probe("K34", "stream")
def _():
    connect(at("s/stream.sock"))


@probe("K35", "datagram")
def _():
    connect(at("s/datagram.sock"), socket.SOCK_DGRAM)


@probe("K36", "tmux")
def _():
    command = f"echo pwned > {at('s/pwn')}"
    done = subprocess.run(["tmux", "-S", at("s/tmux.sock"), "run-shell", command], capture_output=True, timeout=5, check=False)
    if done.returncode != 0:
        raise PermissionError(errno.EACCES, done.stderr.decode(errors="replace"))


@probe("K37", "daemon")
def _():
    connect(at("daemon/docker.sock"))


@probe("K38", "abstract")
def _():
    connect("\0" + facts["abstract"])


# Other processes.


@probe("K39", "signal_parent")
def _():
    os.kill(facts["parent"], 0)
    os.kill(facts["parent"], signal.SIGSTOP)


@probe("K39", "signal_other")
def _():
    os.kill(facts["victim"], signal.SIGTERM)


@probe("K39", "trace")
def _():
    call("ptrace", 16, facts["victim"], 0, 0)


@probe("K39", "read_memory")
def _():
    space = ctypes.create_string_buffer(8)
    mine = struct.pack("QQ", ctypes.addressof(space), 8)
    theirs = struct.pack("QQ", facts["address"], 8)
    call("process_vm_readv", facts["victim"], mine, 1, theirs, 1, 0)


@probe("K39", "take_descriptor")
def _():
    call("pidfd_getfd", call("pidfd_open", facts["victim"], 0), 0, 0)


@probe("K40", "signal_own")
def _():
    child = subprocess.Popen(["sleep", "60"])
    child.kill()
    child.wait()


@probe("K41", "environment")
def _():
    if b"SECRET" not in read(f"/proc/{facts['victim']}/environ"):
        raise OSError(errno.EACCES, "not there")


@probe("K41", "maps")
def _():
    if not read(f"/proc/{facts['victim']}/maps"):
        raise OSError(errno.EACCES, "not there")


@probe("K42", "command_line")
def _():
    if not read(f"/proc/{facts['victim']}/cmdline"):
        raise OSError(errno.EACCES, "not there")


@probe("K43", "memory")
def _():
    fd = os.open(f"/proc/{facts['victim']}/mem", os.O_RDWR)
    os.pwrite(fd, b"pwned", facts["address"])


@probe("K43", "settings")
def _():
    path = "/proc/sys/kernel/threads-max"
    write(path, 0, facts["threads_max"].encode())


@probe("K43", "oom")
def _():
    write(f"/proc/{facts['victim']}/oom_score_adj", 0, b"999")


@probe("K44", "priority")
def _():
    call("setpriority", 0, facts["victim"], 19)


@probe("K44", "affinity")
def _():
    os.sched_setaffinity(facts["victim"], os.sched_getaffinity(facts["victim"]))


# Programs, devices, calls.


def run(path):
    subprocess.run([path], check=True, timeout=5)


@probe("K45", "execute")
def _():
    run(at("w/d/tool"))


@probe("K46", "execute")
def _():
    run(at("s/tool"))


DANGEROUS = (
    2,
    12,
    16,
    17,
    18,
    19,
    21,
    22,
    24,
    25,
    27,
    32,
    33,
    38,
    39,
)  # reading all, network, modules, io, roots, tracing, mounts…


@probe("K47", "privileges")
def _():
    if b"NoNewPrivs:\t1\n" in read("/proc/self/status"):
        raise PermissionError(errno.EPERM, "no new privileges")


@probe("K47", "administer")
def _():
    name = os.uname().nodename.encode()
    call("sethostname", name, len(name))


@probe("K47", "capabilities")
def _():
    said = read("/proc/self/status").decode()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        mask = int(said.partition(f"{kind}:")[2].split()[0], 16)
        if any(mask & (1 << number) for number in DANGEROUS) and (kind != "CapBnd" or os.getuid() == 0):
            return  # a bounding set alone is of no use to somebody who is not root and gains no privileges
    raise PermissionError(errno.EPERM, "none of them")


@probe("K48", "tmp")
def _():
    path = f"/tmp/pk-corpus-{facts['name']}"
    write(path)
    os.unlink(path)
    if not os.path.isdir(facts["top"]):
        raise OSError(errno.ENOENT, "a /tmp of its own")


@probe("K48", "shm")
def _():
    path = f"/dev/shm/pk-corpus-{facts['name']}"
    write(path)
    os.unlink(path)


@probe("K48", "tty")
def _():
    os.close(os.open("/dev/tty", os.O_RDWR))


@probe("K48", "disk")
def _():
    for name in ("vda", "sda", "nvme0n1"):
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(f"/dev/{name}", os.O_RDONLY))
            return
    raise OSError(errno.ENOENT, "no disk")


@probe("K48", "private")
def _():
    write(f"{os.environ['TMPDIR']}/scratch")


@probe("K49", "memfd")
def _():
    os.write(os.memfd_create("x"), b"x")


@probe("K49", "io_uring")
def _():
    call("io_uring_setup", 4, ctypes.create_string_buffer(256))


@probe("K50", "userfaultfd")
def _():
    call("userfaultfd", 1)


@probe("K50", "perf")
def _():
    attributes = bytearray(128)
    struct.pack_into("IIQ", attributes, 0, 1, 128, 1)  # software, task clock
    struct.pack_into("Q", attributes, 40, 0b1100000)  # not of the kernel
    call("perf_event_open", bytes(attributes), 0, -1, -1, 0)


@probe("K50", "keys")
def _():
    call("add_key", b"user", b"podkit-corpus", b"x", 1, -1)  # in a ring of this thread only


# The network.


@probe("K51", "bind")
def _():
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        end.listen()


def reach(protocol=0):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as end:
        end.settimeout(5)
        end.connect(("127.0.0.1", facts["port"]))


@probe("K51", "connect")
def _():
    reach()


@probe("K51", "granted")
def _():
    reach()


@probe("K51", "multipath")
def _():
    reach(262)


@probe("K51", "fast_open")
def _():
    with socket.socket() as end:
        end.sendto(b"x", 0x20000000, ("127.0.0.1", facts["port"]))


@probe("K51", "datagram")
def _():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"x", ("127.0.0.1", facts["port"]))


@probe("K51", "netlink")
def _():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as end:
        end.bind((0, 0))


# Rules the kernel's own form cannot say.


@probe("K52", "hook")
def _():
    write(at("w/.git/hook"))


@probe("K52", "private")
def _():
    read(at("w/priv/note"))


@probe("K52", "move_hole")
def _():
    os.rename(at("w/.git"), at("w/d/git"))


@probe("K52", "beside")
def _():
    write(at("w/beside"))


@probe("K53", "below")
def _():
    write(at("n/k/f"), 0)


@probe("K53", "child")
def _():
    write(at("n/f"), 0, b"in n")


@probe("K53", "new")
def _():
    write(at("n/new"))


@probe("K54", "second_layer")
def _():
    rules = call("landlock_create_ruleset", struct.pack("QQQ", 0x7FFF & ~0xD, 0, 0), 8, 0)  # everything that changes files
    LIBC.prctl(38, 1, 0, 0, 0)
    call("landlock_restrict_self", rules, 0)
    write(at("w/d/second"))


@probe("K57", "daemon")
def _():
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        lock = os.open(at("w/d/daemon.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for fd in (0, 1, 2):
            os.dup2(lock, fd)
        os.write(told, b"x")
        for stop in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(stop, signal.SIG_IGN)
        while True:
            time.sleep(60)
    os.read(ready, 1)
