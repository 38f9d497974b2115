"""A root directory of one's own: what is not granted does not exist, and what is granted is what it was."""

import errno
import json
import os

import pytest

START = "from mounting import *\n"
E = errno


@pytest.fixture(autouse=True)
def _needs_namespaces(namespaces):
    pass


ROOT = (
    START
    + """
def system():
    return [(path, False) for path in ("/usr", "/etc") if os.path.isdir(path)]

def inside(binds, action, proc=True):
    enter(user=USER)
    if os.fork() == 0:
        private_root([*system(), *binds])
        if proc:
            mount_proc()
        if os.fork() == 0:
            drop()
            action()
            sys.stdout.flush()
            os._exit(0)
        os.wait()
        os._exit(0)
    os.wait()
"""
)


@pytest.mark.proves("K16", "K17", "K18", "K19")
def test_in_a_root_of_ones_own_what_is_not_granted_does_not_exist(who, yard):
    source = (
        ROOT
        + """
def action():
    tell(
        sorted(os.listdir("/")),
        sorted(os.listdir("/dev")),
        os.listdir(top),
        outcome(lambda: os.stat(f"{top}/s/key").st_size),
        outcome(lambda: os.stat(f"{top}/s/nokey").st_size),
        outcome(lambda: os.chmod(f"{top}/r/a", 0o600)),
        outcome(lambda: os.chmod("/usr", 0o755)),
        outcome(lambda: os.chmod("/dev/null", 0o666)),
        outcome(lambda: os.chmod(f"{top}/w/a", 0o600)),
        outcome(lambda: write(f"{top}/w/a")),
        outcome(lambda: write(f"{top}/new")),
        outcome(lambda: write("/new")),
        outcome(lambda: os.mkdir("/usr/pk")),
        outcome(lambda: write("/dev/null")),
        len(open("/dev/urandom", "rb").read(3)),
        os.readlink("/proc/self/ns/pid") != sys.argv[2],
        os.readlink("/proc/self"),
        os.getcwd(),
        sorted({line.split()[4] for line in open("/proc/self/mountinfo")} - {"/", "/usr", "/etc", "/proc", f"{top}/w", f"{top}/r"}),
    )
inside([(f"{top}/w", True), (f"{top}/r", False)], action)"""
    )
    told = who.tells(source, yard, os.readlink("/proc/self/ns/pid"))
    root, devices, listed, *outcomes, mounted = told
    links = {name for name in os.listdir("/") if os.path.islink(f"/{name}") and os.path.realpath(f"/{name}").startswith("/usr")}
    assert {*root} == links | {"usr", "etc", "dev", "proc", yard.split("/")[1]}
    assert {"null", "zero", "full", "random", "urandom", "tty", "shm", "fd", "stdin", "stdout", "stderr"} == {*devices}
    assert sorted(listed) == ["r", "w"]
    assert outcomes[:5] == [E.ENOENT, E.ENOENT, E.EROFS, E.EROFS, E.EROFS]
    assert outcomes[5:10] == ["ok", "ok", E.EROFS, E.EROFS, E.EROFS]
    assert outcomes[10:] == ["ok", 3, True, "2", "/"]
    assert all(path.startswith(("/dev/", "/usr/", "/etc/", "/proc/")) for path in mounted)


def test_no_link_leads_to_what_was_not_granted(who, yard):
    source = ROOT + "system = lambda: []; inside([(f'{top}/w', True)], lambda: tell(*sorted(os.listdir('/'))))"
    assert who.tells(source, yard) == sorted(["dev", "proc", yard.split("/")[1]])


def test_a_program_runs_in_a_root_of_its_own(who, yard):
    source = (
        ROOT
        + """
inside([(f"{top}/w", True)], lambda: os.execv("/bin/sh", ["sh", "-c", f"echo $$; cd {top}/w && ls /dev/fd/0 && pwd && cat < a"]))"""
    )
    done = who.run(source, yard)
    assert done.stdout.split() == ["2", "/dev/fd/0", f"{yard}/w", "content"], done.stderr


def test_grants_inside_each_other_keep_their_own_look(who, yard):
    source = (
        ROOT
        + """
os.umask(0o077)
def action():
    tell(
        outcome(lambda: write(f"{top}/w/a")),
        outcome(lambda: write(f"{top}/w/deep/new")),
        outcome(lambda: write(f"{top}/w/deep/er/f")),
        outcome(lambda: write(f"{top}/w/x")),
        stat.S_IMODE(os.stat(top).st_mode),
        os.umask(0),
    )
inside([(f"{top}/w", False), (f"{top}/w/deep", True), (f"{top}/w/deep/er", False), (f"{top}/w/x", True)], action)"""
    )
    assert who.tells(source, yard) == [E.EROFS, "ok", E.EROFS, "ok", 0o755, 0o077]


def test_a_device_or_all_of_them_can_be_granted_like_anything_else(who, yard):
    source = (
        ROOT
        + """
def action():
    tell(sorted(os.listdir("/dev")), outcome(lambda: write("/dev/null")))
inside(json.loads(sys.argv[2]), action)"""
    )
    devices, writes = who.tells(source, yard, json.dumps([["/dev/null", True]]))
    assert (writes, "urandom" in devices) == ("ok", True)
    devices, writes = who.tells(source, yard, json.dumps([["/dev", False]]))
    assert (writes, "shm" in devices) == ("ok", "shm" in os.listdir("/dev"))


def test_holes_can_be_made_in_a_root_of_ones_own(who, yard):
    source = (
        ROOT
        + """
def action():
    tell(*(outcome(lambda: write(f"{top}/w/{name}")) for name in ("deep/f", "a", "sub/n")))
real = private_root
def private_root(binds):
    real(binds)
    mounts(("w", "rw"), ("w/deep", "ro"), ("w/sub", "hidden"))
inside([(f"{top}/w", True)], action)"""
    )
    assert who.tells(source, yard) == [E.EROFS, "ok", E.EROFS if who.uid == 0 else E.EACCES]


@pytest.mark.parametrize(
    ("bind", "error"),
    [("w/missing", E.ENOENT), ("w/l", E.ELOOP), ("w/../s", E.EINVAL), ("w/", E.EINVAL), ("w/./a", E.EINVAL), ("w\0", E.EINVAL)],
)
def test_a_grant_that_cannot_be_meant_leaves_the_old_root_and_says_so(who, yard, bind, error):
    source = (
        START
        + """
enter(user=USER)
before = open("/proc/self/mountinfo").read()
told = refusal(private_root, [("/usr", False), (top + "/" + json.loads(sys.argv[2]), True)])
tell(told, open("/proc/self/mountinfo").read() == before, len(os.listdir("/proc/self/fd")))"""
    )
    assert who.tells(source, yard, json.dumps(bind)) == [["root", error, f"{yard}/{bind}"], True, 4]


@pytest.mark.parametrize("binds", [[["/", True]], [["usr", True]], [["", False]], [["/usr", True], ["/usr", False]]])
def test_a_root_is_not_made_of_the_root_or_of_contradictions(who, binds):
    source = START + "enter(user=USER); tell(refusal(private_root, json.loads(sys.argv[1])))"
    assert who.tells(source, json.dumps(binds)) == [["root", E.EINVAL, binds[-1][0]]]
