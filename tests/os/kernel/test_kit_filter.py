"""The filter's program, run by a small machine of our own: so that the other architecture's is judged as well."""

import errno
import itertools
import struct

import pytest

from podkit._os._kernel import _seccomp
from podkit._os._kernel._calls import COLUMN, NUMBERS, KernelError, machine

NATIVE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FLAGS = ("unix_sockets", "network", "strict", "attributes")
HARDLY = dict.fromkeys(FLAGS, False) | {"unix_sockets": True, "network": True}


def judge(code, architecture, number, *args):
    """What the kernel would do: None to let the call through, or the errno to answer with."""
    args = (*args, *[0] * (6 - len(args)))
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *(arg & 0xFFFFFFFFFFFFFFFF for arg in args))
    steps = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
    at = accumulator = 0
    while True:
        what, true, false, operand = steps[at]
        at += 1
        match what:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += true if accumulator == operand else false
            case 0x35:
                at += true if accumulator >= operand else false
            case 0x45:
                at += true if accumulator & operand else false
            case 0x06:
                return None if operand == 0x7FFF0000 else operand - 0x50000
            case _:
                raise AssertionError(hex(what))


@pytest.fixture(params=list(NATIVE))
def ask(request):
    """ask(call, *args, **flags) -> what the filter of that architecture with these flags says."""

    def ask(call, *args, **flags):
        code = _seccomp.program(request.param, **{**HARDLY, **flags})
        number = NUMBERS[call][COLUMN[request.param]] if isinstance(call, str) else call
        return None if number is None else judge(code, NATIVE[request.param], number, *args)

    ask.architecture = request.param
    return ask


@pytest.mark.parametrize("architecture", list(NATIVE))
@pytest.mark.parametrize("flags", list(itertools.product((False, True), repeat=4)))
def test_every_program_is_one_the_kernel_would_take(architecture, flags):
    code = _seccomp.program(architecture, **dict(zip(FLAGS, flags, strict=True)))
    steps = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
    assert len(steps) < 4096
    for at, (what, true, false, _) in enumerate(steps):
        if what & 7 == 5:
            assert at + 1 + max(true, false) < len(steps)
    assert steps[-1][0] == 0x06
    for number in [*range(500), 0x3FFFFFFF, 0x40000000, 0xFFFFFFFF]:
        judge(code, NATIVE[architecture], number)  # ends, and with an answer


@pytest.mark.proves("K49")
@pytest.mark.parametrize("flags", list(itertools.product((False, True), repeat=4)))
def test_calls_of_other_kinds_and_rings_are_refused_whatever_is_granted(ask, flags):
    flags = dict(zip(FLAGS, flags, strict=True))
    code = _seccomp.program(ask.architecture, **flags)
    for other in (0x40000003, 0x40000028, 0xC00000B7, 0xC000003E, 0):
        if other != NATIVE[ask.architecture]:
            assert judge(code, other, 0) == errno.ENOSYS
    assert ask(0x40000000 + 41, 1, **flags) == ask(0xFFFFFFFF, **flags) == errno.ENOSYS
    for ring in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
        assert ask(ring, **flags) == errno.EPERM
    for request in (0x5412, 0x541C, 0x5412 | 5 << 32):
        assert ask("ioctl", 0, request, **flags) == errno.EPERM
    assert ask("ioctl", 0, 0x5413, **flags) is None


UNIX, INET, INET6, NETLINK, PACKET, VSOCK = 1, 2, 10, 16, 17, 40


@pytest.mark.proves("K34", "K35")
def test_families_of_sockets(ask):
    def families(**flags):
        return [
            family for family in (UNIX, INET, INET6, NETLINK, PACKET, VSOCK) if ask("socket", family | 9 << 32, 2, **flags) is None
        ]

    assert families() == [UNIX, INET, INET6, NETLINK, PACKET, VSOCK]
    assert families(unix_sockets=False) == [INET, INET6, NETLINK, PACKET]
    assert families(network=False) == [UNIX]
    assert families(unix_sockets=False, network=False) == []
    assert families(strict=True) == [UNIX, INET, INET6, NETLINK, VSOCK]
    assert families(strict=True, unix_sockets=False) == [INET, INET6, NETLINK]
    assert families(strict=True, unix_sockets=False, network=False) == []
    assert ask("socket", UNIX, 1, unix_sockets=False) == errno.EACCES


def test_families_and_kinds_of_pairs(ask):
    def pairs(family, **flags):
        return [kind for kind in (1, 2, 3, 5) if ask("socketpair", family, kind | 0o2000000 | 0o4000, 0, **flags) is None]

    for strict in (False, True):
        assert pairs(UNIX, strict=strict) == [1, 2, 3, 5]
        assert pairs(UNIX, strict=strict, unix_sockets=False) == [1, 5]
        assert pairs(UNIX, strict=strict, unix_sockets=False, network=False) == [1, 5]
        assert pairs(INET, strict=strict, unix_sockets=False) == [1, 2, 3, 5]  # the kernel has none anyway
        assert pairs(INET, strict=strict, network=False) == pairs(INET, network=False, unix_sockets=False) == []


@pytest.mark.proves("K51")
def test_strict_knows_no_protocol_and_no_flag_that_goes_past_landlock(ask):
    for protocol, answer in ((0, None), (6, None), (262, errno.EPROTONOSUPPORT), (256, errno.EPROTONOSUPPORT)):
        assert ask("socket", INET, 1, protocol | 7 << 32, strict=True) == ask("socket", INET6, 1, protocol, strict=True) == answer
        assert ask("socket", INET, 1, protocol) is None
    assert ask("socket", NETLINK, 3, 262, strict=True) is None  # a number of another meaning
    for call, args in (("sendto", (3, 0, 1)), ("sendmsg", (3, 0)), ("sendmmsg", (3, 0, 1))):
        assert ask(call, *args, 0x20000000 | 0x4000, strict=True) == errno.EOPNOTSUPP
        assert ask(call, *args, 0x4000, strict=True) is ask(call, *args, 0x20000000) is None


@pytest.mark.proves("K30", "K44", "K50")
def test_strict_refuses_namespaces_and_what_is_about_others(ask):
    def strict(*call):
        return ask(*call, strict=True)

    threads, forks = 0x3D0F00, 0x1200011
    assert strict("clone", threads) is strict("clone", forks) is strict("clone", 0x80) is strict("unshare", 0x400) is None
    assert strict("clone3") == errno.ENOSYS
    for new in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert strict("clone", new | 17) == strict("unshare", new) == errno.EPERM
        assert ask("clone", new | 17) is ask("unshare", new) is None
    assert strict("unshare", 0x80) == errno.EPERM
    for call in ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr"):
        assert (strict(call, 0), strict(call, 1), strict(call, 1 << 32), ask(call, 1)) == (None, errno.EPERM, None, None)
    for call, process in (("setpriority", 0), ("ioprio_set", 1)):
        assert [strict(call, process, 0), strict(call, process, 7)] == [None, errno.EPERM]
        assert [strict(call, process + 1, 0), strict(call, process + 2, 0)] == [errno.EPERM] * 2
        assert ask(call, process, 7) is None
    listed = "mount umount2 move_mount mount_setattr setns open_by_handle_at ptrace pidfd_getfd bpf keyctl kexec_load reboot"
    for call in listed.split():
        assert (strict(call), ask(call)) == (errno.EPERM, None)


@pytest.mark.proves("K18", "K19")
def test_attributes_are_refused_only_when_asked_for(ask):
    for call in ("chmod", "fchmod", "fchmodat2", "fchownat", "utimensat", "utime", "setxattr", "fremovexattr", "setxattrat"):
        absent = NUMBERS[call][COLUMN[ask.architecture]] is None
        assert ask(call, attributes=True) == (None if absent else errno.EPERM)
        assert ask(call, strict=True) is ask(call) is None
    for request in (0x40086602, 0x401C5820, 0x40087602, 0x40806685):
        assert (ask("ioctl", 3, request, attributes=True), ask("ioctl", 3, request, strict=True)) == (errno.EPERM, None)


def test_a_machine_nobody_knows_gets_no_filter_and_an_error(monkeypatch):
    monkeypatch.setattr(_seccomp, "machine", lambda: None)
    assert not _seccomp.supported()
    with pytest.raises(KernelError, match="seccomp: Function not implemented"):
        _seccomp.install(unix_sockets=False, network=False, strict=False, attributes=False)


def test_a_kernel_without_filters_is_not_supported_and_says_so(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "no")

    if machine() is None:
        pytest.skip("needs x86-64 or 64-bit ARM")
    assert _seccomp.supported()
    monkeypatch.setattr(_seccomp, "syscall", refuse)
    assert not _seccomp.supported()
    with pytest.raises(KernelError) as caught:
        _seccomp.install(unix_sockets=False, network=False, strict=False, attributes=False)
    assert (caught.value.step, caught.value.error) == ("seccomp", errno.EINVAL)


def test_without_no_new_privileges_only_a_superuser_can_filter_himself(who):
    source = """
from _kernel import _seccomp, _calls
try:
    _seccomp.install(unix_sockets=False, network=False, strict=True, attributes=True)
    print('["ok", 0]')
except _calls.KernelError as error:
    print(f'["{error.step}", {error.error}]')"""
    assert who.tells(source) == (["ok", 0] if who.uid == 0 else ["seccomp", errno.EACCES])
