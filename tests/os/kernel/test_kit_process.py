"""What a process does to itself: descriptors, capabilities, parents; for real, in processes of their own."""

import errno
import os
import shutil
import signal
import subprocess

import pytest

from podkit._os._kernel import _calls, _process
from podkit._os._kernel._calls import KernelError, machine, open_path, syscall

STATUS = """
import json, os
from _kernel import _process
from _kernel._calls import KernelError

def status():
    with open("/proc/self/status") as file:
        return {line.split(":")[0]: line.split()[1] for line in file if line.startswith(("Cap", "NoNew"))}

def after_exec():
    sys.stdout.flush()
    os.execv("/bin/cat", ["cat", "/proc/self/status"])
"""


def capabilities(text):
    return {line.split()[0].strip(":"): int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")}


@pytest.mark.proves("K47")
def test_no_new_privileges_lasts_over_exec(who):
    done = who.run(STATUS + "_process.no_new_privileges(); after_exec()")
    assert "NoNewPrivs:\t1" in done.stdout


@pytest.mark.proves("K31", "K33")
def test_a_superuser_keeps_what_was_kept_and_regains_nothing_by_exec(ourselves):
    if ourselves.uid != 0:
        pytest.skip("needs the superuser")
    kept = sum(1 << number for number in _process.KEEP_AS_ROOT)
    done = ourselves.run(STATUS + "_process.drop_capabilities(_process.KEEP_AS_ROOT); after_exec()")
    assert capabilities(done.stdout) == {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": kept, "CapAmb": 0}
    for number in (
        2,
        8,
        12,
        13,
        16,
        17,
        18,
        19,
        21,
        25,
        27,
        31,
        38,
        39,
        40,
    ):  # handles, net admin, modules, trace, mounts, devices, ...
        assert not kept >> number & 1


def test_a_superuser_who_keeps_nothing_has_nothing_after_exec(ourselves):
    if ourselves.uid != 0:
        pytest.skip("needs the superuser")
    done = ourselves.run(STATUS + "_process.drop_capabilities(()); after_exec()")
    assert {*capabilities(done.stdout).values()} == {0}
    assert "NoNewPrivs:\t0" in done.stdout  # it is the sets themselves


def test_who_keeps_nothing_is_no_superuser_to_exec_either_and_other_such_bits_stay(ourselves):
    if ourselves.uid != 0:
        pytest.skip("needs the superuser")
    source = STATUS + "_process._prctl('x', 28, 4); _process.drop_capabilities(()); print(json.dumps(_process._prctl('x', 27)))"
    assert ourselves.tells(source) == 0b111


def test_a_superuser_can_still_become_somebody_and_come_back(ourselves):
    if ourselves.uid != 0:
        pytest.skip("needs the superuser")
    source = (
        STATUS
        + """
_process.drop_capabilities(_process.KEEP_AS_ROOT)
os.setegid(65534); os.seteuid(65534)
os.seteuid(0); os.setegid(0)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(json.dumps([os.getuid(), status()["CapPrm"]]))"""
    )
    assert ourselves.tells(source) == [65534, "0" * 16]


def test_who_may_not_cut_the_bounding_set_gains_nothing_by_exec_all_the_same(who):
    source = (
        STATUS
        + """
if os.geteuid() == 0:
    _process._drop_from_bounding = lambda number: True  # it stays what it is
    _process._capabilities, real = lambda: (0, real()[1], 0), _process._capabilities
_process.drop_capabilities((0,))
after_exec()"""
    )
    done = who.run(source)
    assert "NoNewPrivs:\t1" in done.stdout, done.stderr
    assert capabilities(done.stdout)["CapPrm"] == (1 if who.uid == 0 else 0)


def test_everything_but_what_is_kept_is_closed(who):
    source = (
        STATUS
        + """
fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
_process.close_others((0, 1, 2, fds[7], fds[7], fds[100], 100000))
left = [fd for fd in range(300) if os.path.exists(f"/proc/self/fd/{fd}")]
print(json.dumps([left, fds[7], fds[100]]))"""
    )
    left, one, two = who.tells(source)
    assert left == [0, 1, 2, *sorted((one, two))]


@pytest.mark.parametrize("keep", ["()", "(5,)", "(0, 1, 2, 5)", "(4, 6)"])
def test_it_is_closed_where_the_kernel_has_no_call_for_it_too(who, keep):
    source = (
        STATUS
        + f"""
report = os.fdopen(os.dup2(1, 40), "w")
for fd in range(3, 9):
    os.dup2(0, fd)
real, asked = _process.syscall, []

def missing(name, *args):
    asked.append(name)
    raise OSError(38, "no")

_process.syscall = missing
_process.close_others((40, *{keep}))
for fd in range(9):
    try:
        os.fstat(fd)
    except OSError:
        continue
    asked.append(fd)
report.write(json.dumps(asked))
report.close()"""
    )
    assert [fd for fd in who.tells(source) if fd != "close_range"] == sorted(eval(keep))


def test_who_dies_with_the_parent_does(who):
    source = (
        STATUS
        + """
if os.fork() == 0:
    middle = os.getpid()
    reading, writing = os.pipe()
    if os.fork() == 0:
        _process.die_with_parent()
        assert os.getppid() == middle
        os.write(writing, b"x")
        os.read(os.pipe()[0], 1)
    os.read(reading, 1)
    os._exit(0)"""
    )
    assert who.run(source).returncode == 0  # standard output ends only when the grandchild is gone


def test_the_signal_can_be_chosen(who):
    source = (
        STATUS
        + """
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: (os.write(1, b"told"), os._exit(0)))
        _process.die_with_parent(signal.SIGUSR1)
        os.write(writing, b"x")
        while True:
            signal.pause()
    os.read(reading, 1)
    os._exit(0)"""
    )
    assert who.run(source).stdout == "told"


def test_a_subreaper_gets_the_orphans(who):
    source = (
        STATUS
        + """
_process.subreaper()
middle = os.fork()
if middle == 0:
    orphan = os.fork()
    os._exit(7 if orphan == 0 else 0)
os.waitpid(middle, 0)
print(json.dumps(os.waitstatus_to_exitcode(os.wait()[1])))"""
    )
    assert who.tells(source) == 7


def test_who_is_not_dumpable_is_closed_to_the_same_user_and_can_be_asked_to_open(who):
    source = (
        STATUS
        + """
def environment(pid):
    try:
        return len(open(f"/proc/{pid}/environ", "rb").read()) >= 0
    except PermissionError:
        return False

told, said = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    _process.die_with_parent()
    os.read(told[0], 1)
    _process.not_dumpable()
    os.write(said[1], b"x")
    os.read(told[0], 1)
    assert _process.dumpable(True) is False and _process.dumpable(True) is True
    os.write(said[1], b"x")
    os.read(told[0], 1)
seen = [environment(pid)]
for _ in range(2):
    os.write(told[1], b"x")
    os.read(said[0], 1)
    seen.append(environment(pid))
print(json.dumps(seen))"""
    )
    assert who.tells(source) == [True, who.uid == 0, True]


@pytest.mark.parametrize(
    "act",
    [
        lambda: _process.no_new_privileges(),
        lambda: _process.die_with_parent(),
        lambda: _process.subreaper(),
        lambda: _process.drop_capabilities(()),
        lambda: _process._capabilities(),
        lambda: _process._drop_from_bounding(1),
    ],
)
def test_a_refusal_of_the_kernel_is_an_error_that_says_the_step(monkeypatch, act):
    def refuse(*_):
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(_process, "syscall", refuse)
    with pytest.raises(KernelError) as caught:
        act()
    assert caught.value.error == errno.EPERM
    assert caught.value.step in str(caught.value)


def test_descriptors_that_cannot_be_listed_or_closed_are_an_error(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(_process.os, "listdir", refuse)
    with pytest.raises(KernelError, match="close_others"):
        _process._close_listed(0, 10)
    monkeypatch.setattr(_process.os, "listdir", lambda _: ["5"])
    monkeypatch.setattr(_process.os, "close", refuse)
    with pytest.raises(KernelError, match="EACCES"):
        _process._close_listed(0, 10)


def test_the_last_step_of_dropping_is_not_skipped_in_silence(monkeypatch):
    def refuse(name, *_):
        if name == "capset":
            raise OSError(errno.EPERM, "no")
        return 0

    monkeypatch.setattr(_process, "syscall", refuse)
    monkeypatch.setattr(_process, "_capabilities", lambda: (0, 0, 0))
    with pytest.raises(KernelError, match="capabilities"):
        _process.drop_capabilities(())


def test_an_error_says_step_errno_and_path_and_nothing_else():
    assert str(KernelError("pin", errno.ESTALE, "/w")) == "pin: Stale file handle [ESTALE] ('/w')"
    assert str(KernelError("depth", errno.E2BIG)) == "depth: Argument list too long [E2BIG]"
    assert str(KernelError("odd", 9999)) == "odd: Unknown error 9999 [9999]"
    assert not isinstance(KernelError("x", 1), OSError)


def test_the_numbers_are_those_of_the_kernel_headers():
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not os.path.exists("/usr/include/asm-generic/unistd.h"):
        pytest.skip("needs gcc and the kernel headers (packages gcc, linux-libc-dev)")
    headers = {"x86_64": "#include <asm/unistd_64.h>\n", "aarch64": "#include <asm-generic/unistd.h>\n"}
    wanted = ("RENAMEAT", "NEW_STAT", "SET_GET_RLIMIT", "SYS_CLONE3")
    arm = "".join(f"#define __ARCH_WANT_{name}\n" for name in wanted)
    seen = 0
    for architecture, column in _calls.COLUMN.items():
        if architecture == "x86_64" and machine() != "x86_64":
            continue
        names = "".join(f"pk {name} = __NR_{name}\n" for name in _calls.NUMBERS)
        prefix = "#define __BITS_PER_LONG 64\n" + arm if architecture == "aarch64" else ""
        command = [compiler, "-E", "-P", "-"]
        text = subprocess.run(
            command, input=prefix + headers[architecture] + names, capture_output=True, text=True, check=True
        ).stdout
        found = dict(line[3:].split(" = ") for line in text.splitlines() if line.startswith("pk "))
        for name, numbers in _calls.NUMBERS.items():
            if found[name].startswith("__NR_"):  # headers older than the call, or none on this architecture
                assert numbers[column] is None or numbers[column] >= 450, name
            else:
                assert numbers[column] == int(found[name]), (architecture, name)
                seen += 1
    assert seen > 80


def test_an_architecture_nobody_knows_has_no_calls(monkeypatch):
    monkeypatch.setattr(_calls, "_machine", None)
    with pytest.raises(OSError, match="prctl") as caught:
        syscall("prctl", 0)
    assert caught.value.errno == errno.ENOSYS
    monkeypatch.setattr(_calls.os, "uname", lambda: os.uname_result(("Linux", "", "", "", "riscv64")))
    assert machine() is None


def test_big_numbers_and_null_reach_the_kernel_whole():
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says it
        syscall("landlock_create_ruleset", None, 1 << 32, 1)  # cut to 32 bits it would be the question for the version
    assert caught.value.errno == errno.EINVAL


def test_a_path_is_opened_without_following_any_link(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("d")
    for path, dir_fd, error in (
        (f"{tmp_path}/l", -100, errno.ELOOP),
        (f"{tmp_path}/l/", -100, errno.ELOOP),
        ("d", -100, errno.EINVAL),
        (f"{tmp_path}/d\0x", -100, errno.EINVAL),
        (f"{tmp_path}/x", -100, errno.ENOENT),
    ):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says it
            open_path(path, dir_fd=dir_fd)
        assert caught.value.errno == error, path
    fd = open_path(f"{tmp_path}/d")
    try:
        assert not os.get_inheritable(fd)
        inner = open_path(".", dir_fd=fd)
        assert os.path.samestat(os.fstat(inner), os.fstat(fd))
        os.close(inner)
    finally:
        os.close(fd)


@pytest.mark.parametrize("option", ["", "-X dev"])
def test_the_package_needs_nothing_but_the_standard_library(kit, option):
    import sys

    source = (
        f"import sys; sys.path.append({kit!r}); from _kernel import _landlock, _namespaces, _process, _seccomp; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, *option.split(), "-I", "-S", "-c", source], capture_output=True, text=True, check=True)
    slow = {
        "typing",
        "re",
        "json",
        "enum",
        "dataclasses",
        "attr",
        "trio",
        "threading",
        "subprocess",
        "socket",
        "podkit",
        "contextlib",
    }
    assert not slow & {*done.stdout.split()}
    assert signal.SIGKILL == 9  # the default of die_with_parent
