"""What a confined process tries with everything but files: other processes, sockets, mounts, and the rest of the kernel.

A probe returns when it got what it wanted, and raises OSError when it was refused.
"""

import ctypes
import os
import signal
import socket
import struct

from _kernel import _calls
from tries import PLACE, bind, call, connect, foreign_getpid, in_child, in_clone, in_terminal, pair_connect, pair_send, read


def enter_namespace(yard):
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    call("setns", fd, 0)


def open_by_handle(yard):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 120, 0) + bytes(120))
    mount_id = ctypes.c_int()
    number = {"x86_64": 303, "aarch64": 264}[_calls.machine()]
    call(number, yard.outside.directory, ctypes.c_char_p(b"key"), handle, ctypes.byref(mount_id), 0)
    call("open_by_handle_at", yard.outside.directory, handle, 0)


def send_path(yard):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", f"{yard.s}/dgram")


def stream_pair(yard):
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        one, two = socket.socketpair(socket.AF_UNIX, kind)
        one.send(b"x")
        assert two.recv(1) == b"x"


def fast_open_sendmmsg(yard):
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", yard.outside.port, b"\x7f\0\0\1")
    name, data = ctypes.create_string_buffer(address, 16), ctypes.create_string_buffer(b"x", 1)
    vector = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(data), 1))
    message = struct.pack("PIxxxxPNPNixxxxIxxxx", ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)
    tcp(yard, 0, lambda sock: call("sendmmsg", sock.fileno(), ctypes.create_string_buffer(message), 1, 0x20000000))


def fast_open_option(yard):
    def go(sock):
        sock.setsockopt(socket.IPPROTO_TCP, 30, 1)
        sock.connect(("127.0.0.1", yard.outside.port))
        sock.send(b"x")

    tcp(yard, 0, go)


def tcp(yard, protocol, action):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as sock:
        action(sock)


def read_other_memory(yard):
    buffer = ctypes.create_string_buffer(8)
    ours = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(buffer), 8))
    theirs = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(PLACE), 8))
    call("process_vm_readv", yard.outside.pid, ours, 1, theirs, 1, 0)


def take_other_descriptor(yard):
    fd = os.pidfd_open(yard.outside.pid)
    call("pidfd_getfd", fd, 0, 0)


def oneself(yard):
    os.setpriority(os.PRIO_PROCESS, 0, 1)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    call("ioprio_set", 1, 0, 0)
    call("prlimit64", 0, 7, None, None)


PROBES = {
    # Mounts and namespaces.
    "mount": lambda yard: call("mount", b"x", yard.w.encode(), b"tmpfs", 0, None),
    "bind": lambda yard: call("mount", yard.w.encode(), yard.r.encode(), None, 4096, None),
    "umount": lambda yard: call("umount2", b"/proc", 2),
    "mount_in_namespaces": lambda yard: in_child(
        lambda: (call("unshare", 0x10020000), call("mount", b"x", yard.w.encode(), b"tmpfs", 0, None))
    ),
    "new_user_namespace": lambda yard: in_child(lambda: call("unshare", 0x10000000)),
    "clone_namespace": lambda yard: in_clone(0x10000000),
    "pivot": lambda yard: call("pivot_root", yard.w.encode(), yard.w.encode()),
    "enter_namespace": enter_namespace,
    "chroot": lambda yard: in_child(lambda: os.chroot(yard.w)),
    "fsopen": lambda yard: call("fsopen", b"tmpfs", 1),
    "open_tree": lambda yard: call("open_tree", -100, yard.w.encode(), 1),
    "clone3": lambda yard: call("clone3", ctypes.create_string_buffer(64), 7),
    "open_by_handle": open_by_handle,
    # Sockets.
    "connect_path": lambda yard: connect(socket.SOCK_STREAM, f"{yard.s}/sock"),
    "connect_abstract": lambda yard: connect(socket.SOCK_STREAM, yard.outside.abstract),
    "send_path": send_path,
    "send_path_from_pair": lambda yard: pair_send(socket.SOCK_DGRAM, f"{yard.s}/dgram"),
    "send_path_from_raw_pair": lambda yard: pair_send(socket.SOCK_RAW, f"{yard.s}/dgram"),
    "send_path_from_stream_pair": lambda yard: pair_send(socket.SOCK_STREAM, f"{yard.s}/dgram"),
    "send_path_from_packet_pair": lambda yard: pair_send(socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC, f"{yard.s}/dgram"),
    "connect_path_from_pair": lambda yard: pair_connect(socket.SOCK_STREAM, f"{yard.s}/sock"),
    "connect_path_from_packet_pair": lambda yard: pair_connect(socket.SOCK_SEQPACKET, f"{yard.s}/sock"),
    "stream_pair": stream_pair,
    "bind_path_in_write": lambda yard: bind(f"{yard.w}/sock"),
    "bind_path_in_secret": lambda yard: bind(f"{yard.s}/sock2"),
    "vsock": lambda yard: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close(),
    "netlink": lambda yard: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
    "packet": lambda yard: socket.socket(17, socket.SOCK_RAW, 0).close(),
    "crypto": lambda yard: socket.socket(38, socket.SOCK_SEQPACKET, 0).close(),
    "udp": lambda yard: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "tcp_connect": lambda yard: tcp(yard, 0, lambda sock: sock.connect(("127.0.0.1", yard.outside.port))),
    "tcp_bind": lambda yard: tcp(yard, 0, lambda sock: sock.bind(("127.0.0.1", 0))),
    "multipath_connect": lambda yard: tcp(yard, 262, lambda sock: sock.connect(("127.0.0.1", yard.outside.port))),
    "fast_open_sendto": lambda yard: tcp(yard, 0, lambda sock: sock.sendto(b"x", 0x20000000, ("127.0.0.1", yard.outside.port))),
    "fast_open_sendmsg": lambda yard: tcp(
        yard, 0, lambda sock: sock.sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", yard.outside.port))
    ),
    "fast_open_sendmmsg": fast_open_sendmmsg,
    "fast_open_option": fast_open_option,
    # Other processes.
    "signal_other": lambda yard: os.kill(yard.outside.pid, signal.SIGCONT),
    "trace_other": lambda yard: call("ptrace", 16, yard.outside.pid, 0, 0),
    "trace_oneself": lambda yard: in_child(lambda: call("ptrace", 0, 0, 0, 0)),
    "read_other_memory": read_other_memory,
    "read_other_environment": lambda yard: read(f"/proc/{yard.outside.pid}/environ"),
    "take_other_descriptor": take_other_descriptor,
    "priority_of_other": lambda yard: os.setpriority(os.PRIO_PROCESS, yard.outside.pid, 1),
    "priority_of_group": lambda yard: in_child(lambda: os.setpriority(os.PRIO_PGRP, 0, 1)),
    "affinity_of_other": lambda yard: os.sched_setaffinity(yard.outside.pid, os.sched_getaffinity(yard.outside.pid)),
    "limit_of_other": lambda yard: call("prlimit64", yard.outside.pid, 7, None, None),
    "io_priority_of_other": lambda yard: call("ioprio_set", 1, yard.outside.pid, 0),
    "oneself": oneself,
    # Other ways into the kernel.
    "memory_file": lambda yard: os.close(os.memfd_create("x")),
    "ring": lambda yard: call("io_uring_setup", 1, ctypes.create_string_buffer(120)),
    "ring_enter": lambda yard: call("io_uring_enter", -1, 0, 0, 0, None, 0),
    "user_fault": lambda yard: call("userfaultfd", 1),
    "perf_event": lambda yard: call(
        "perf_event_open", ctypes.create_string_buffer(struct.pack("III", 1, 112, 0) + bytes(100)), 0, -1, -1, 0
    ),
    "key": lambda yard: call("add_key", b"user", b"pk", b"x", 1, -2),
    "load_bpf": lambda yard: call("bpf", 0, None, 0),
    "other_kind_of_call": lambda yard: call(0x40000000 + 39),
    "other_architecture": lambda yard: foreign_getpid(),
    "type_into_terminal": lambda yard: in_terminal(0x5412),
    "type_into_terminal_wide": lambda yard: in_terminal(0x5412 | 1 << 32),
    "window_size": lambda yard: in_terminal(0x5413),
}
