"""Mounts of one's own: holes that hold against everything a confined or unconfined process tries, and a root of one's own."""

import errno
import json
import os
import re
import shutil

import pytest

from podkit._os._kernel import _mounts, _namespaces, _root
from podkit._os._kernel._calls import KernelError

START = "from mounting import *\n"
E = errno


@pytest.fixture(autouse=True)
def _needs_namespaces(request):
    if "who" in request.fixturenames and "available_where" not in request.node.name:
        request.getfixturevalue("namespaces")


def test_in_new_namespaces_we_are_who_we_were_and_nobody_else(who):
    source = (
        START
        + """
before = os.geteuid(), os.getegid()
enter(user=USER)
groups, mapped = (open(f"/proc/self/{name}").read() for name in ("setgroups", "uid_map"))
tell(before == (os.geteuid(), os.getegid()), groups.strip(), mapped.split())"""
    )
    same, groups, mapped = who.tells(source)
    assert same
    assert (groups, mapped) == (("allow", ["0", "0", "4294967295"]) if who.uid == 0 else ("deny", [str(who.uid)] * 2 + ["1"]))


def test_who_is_not_dumpable_enters_all_the_same_and_stays_so(who):
    source = (
        START
        + """
_process.not_dumpable()
enter(user=USER)
tell(_process.dumpable(False))"""
    )
    assert who.tells(source) == [False]


def test_only_what_was_asked_for_is_new(who):
    source = (
        START
        + """
names = ("user", "pid_for_children", "mnt", "net")
def where():
    return [os.readlink(f"/proc/self/ns/{name}") for name in names]
before = where()
enter(user=USER, pid=False, mount=True, network=True)
tell([one != two for one, two in zip(before, where())])"""
    )
    assert who.tells(source) == [[who.uid != 0, False, True, True]]


def test_without_the_right_to_namespaces_the_step_is_named(who):
    source = START + "tell(refusal(lambda: enter(user=False)))"
    assert who.tells(source) == [None if who.uid == 0 else ["namespaces", E.EPERM, ""]]


def test_the_first_process_takes_the_others_along(who):
    source = (
        START
        + """
enter(user=USER)
reading, writing = os.pipe()
if os.fork() == 0:
    assert os.getpid() == 1
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.read(reading, 1)
            os._exit(0)
    os._exit(0)
os.close(writing)
os.wait()
tell("gone")"""
    )
    assert who.tells(source) == ["gone"]  # and standard output has nobody left


def test_what_we_mount_nobody_else_sees(who, yard):
    source = (
        START
        + """
mounts_before = open("/proc/1/mountinfo").read() if os.access("/proc/1/mountinfo", os.R_OK) else ""
enter(user=USER)
mounts(("w", "ro"), ("r", "hidden"))
tell(outcome(lambda: write(f"{top}/w/a")), len(os.listdir(f"{top}/r")))"""
    )
    assert who.tells(source, yard) == [E.EROFS, 0]
    with open("/proc/self/mountinfo") as file:
        assert yard not in file.read()


@pytest.mark.proves("K52")
def test_a_hole_is_read_only_and_stays_where_it_is_while_all_beside_it_works(who, yard):
    source = (
        START
        + """
enter(user=USER)
mounts(("w", "rw"), ("w/deep", "rw"), ("w/deep/er", "ro"))
drop()
d = f"{top}/w/deep"
tell(
    outcome(lambda: write(f"{d}/er/f")),
    outcome(lambda: write(f"{d}/er/new")),
    outcome(lambda: os.chmod(f"{d}/er/f", 0o600)),
    outcome(lambda: os.utime(f"{d}/er/f")),
    outcome(lambda: os.unlink(f"{d}/er/f")),
    outcome(lambda: os.rename(f"{d}/er", f"{d}/away")),
    outcome(lambda: os.rename(d, f"{top}/w/away")),
    outcome(lambda: os.rename(f"{top}/w", f"{top}/away")),
    outcome(lambda: os.rmdir(f"{d}/er")),
    outcome(lambda: os.link(f"{d}/er/f", f"{d}/h")),
    outcome(lambda: call("umount2", f"{d}/er".encode(), 2)),
    outcome(lambda: in_child(lambda: (call("unshare", 0x10020000), call("umount2", f"{d}/er".encode(), 2)))),
)
tell(
    outcome(lambda: read(f"{d}/er/f")),
    outcome(lambda: write(f"{d}/new")),
    outcome(lambda: os.rename(f"{d}/new", f"{d}/newer")),
    outcome(lambda: os.mkdir(f"{d}/dir")),
    outcome(lambda: write(f"{top}/w/a")),
)"""
    )
    done = who.run(source, yard)
    assert done.returncode == 0, done.stderr
    denied, allowed = map(json.loads, done.stdout.splitlines())
    assert denied[:9] == [E.EROFS] * 5 + [E.EBUSY] * 4
    assert denied[9:] == [E.EXDEV, E.EPERM, E.EINVAL]
    assert allowed == ["content", *["ok"] * 4]


def test_a_deeper_entry_is_what_it_was_before_the_ones_above_it(who, yard):
    source = (
        START
        + """
enter(user=USER)
mounts(("w/deep/er", "rw"), ("w", "ro"))
tell(*(outcome(lambda: write(f"{top}/w/{name}")) for name in ("a", "deep/new", "deep/er/f")))"""
    )
    assert who.tells(source, yard) == [E.EROFS, E.EROFS, "ok"]


def test_three_looks_inside_each_other(who, yard):
    source = (
        START
        + """
enter(user=USER)
mounts(("w", "ro"), ("w/deep", "rw"), ("w/deep/er", "ro"), ("w/deep/er/f", "rw"))
tell(*(outcome(lambda: write(f"{top}/w/{name}")) for name in ("a", "deep/n", "deep/er/n", "deep/er/f")))"""
    )
    assert who.tells(source, yard) == [E.EROFS, "ok", E.EROFS, "ok"]


def test_what_is_mounted_below_a_read_only_path_is_read_only_and_a_read_only_mount_never_becomes_writable(who, yard):
    source = (
        START
        + """
enter(user=USER)
for name, flags in (("w/sub", 0), ("w/deep/er", 1)):
    call("mount", b"x", f"{top}/{name}".encode(), b"tmpfs", flags, None)
if sys.argv[2] == "ro":
    mounts(("w", "ro"))
else:
    mounts(("w", "ro"), ("w/deep", "rw"), ("w/sub", "rw"))
tell(*(outcome(lambda: write(f"{top}/w/{name}")) for name in ("sub/n", "deep/n", "deep/er/n")))"""
    )
    assert who.tells(source, yard, "ro") == [E.EROFS] * 3
    assert who.tells(source, yard, "rw") == ["ok", "ok", E.EROFS]


def test_what_is_hidden_is_empty_and_cannot_be_changed(who, yard):
    source = (
        START
        + """
enter(user=USER)
mounts(("w/sub", "hidden"), ("w/x", "hidden"), ("s", "hidden"))
drop()
modes = [stat.S_IMODE(os.stat(f"{top}/{name}").st_mode) for name in ("w/sub", "w/x")]
tell(
    modes,
    outcome(lambda: os.listdir(f"{top}/w/sub")) if not USER else "ok",
    outcome(lambda: os.stat(f"{top}/w/sub/b")),
    outcome(lambda: read(f"{top}/w/x")) if not USER else "ok",
    outcome(lambda: write(f"{top}/w/x")),
    outcome(lambda: write(f"{top}/w/sub/new")),
    outcome(lambda: os.chmod(f"{top}/w/x", 0o777)),
    outcome(lambda: os.unlink(f"{top}/w/x")),
    outcome(lambda: os.rename(f"{top}/w/sub", f"{top}/w/b")),
    outcome(lambda: os.stat(f"{top}/s/key")),
)"""
    )
    modes, listed, inside, content, *writes, secret = who.tells(source, yard)
    nothing = E.ENOENT if who.uid == 0 else E.EACCES
    assert (modes, listed, inside, content, secret) == ([0, 0], "ok", nothing, "ok", nothing)
    assert {*writes[:2]} <= {E.EROFS, E.EACCES}
    assert writes[2:] == [E.EROFS, E.EBUSY, E.EBUSY]


def test_the_way_through_what_is_hidden_leads_to_deeper_entries_only(who, yard):
    source = (
        START
        + """
os.umask(0o077)
enter(user=USER)
mounts(("w", "hidden"), ("w/deep/er", "rw"), ("w/x", "ro"), ("w/deep/er/f", "hidden"))
drop()
tell(
    outcome(lambda: write(f"{top}/w/deep/er/new")),
    outcome(lambda: read(f"{top}/w/x")),
    outcome(lambda: write(f"{top}/w/x")),
    outcome(lambda: os.stat(f"{top}/w/a")),
    outcome(lambda: write(f"{top}/w/deep/new")),
    os.stat(f"{top}/w/deep/er/f").st_size,
    os.umask(0),
)"""
    )
    told = who.tells(source, yard)
    assert told.pop(4) in (E.EROFS, E.EACCES)
    assert told == ["ok", "content", E.EROFS, E.ENOENT, 0, 0o077]


def test_a_new_empty_directory_is_ours_alone_and_leaves_with_us(who, yard):
    source = (
        START
        + """
enter(user=USER)
mounts(("w", "rw"), ("w/sub", "empty"))
drop()
write(f"{top}/w/sub/new")
sub = f"{top}/w/sub"
tell(os.listdir(sub), outcome(lambda: os.rename(sub, f"{top}/w/b")), os.stat(sub).st_mode & 0o7777)"""
    )
    assert who.tells(source, yard) == [["new"], E.EBUSY, 0o1777]
    assert os.listdir(f"{yard}/w/sub") == ["b"]


def test_the_whole_machine_can_be_read_only_but_for_one_place(who, yard):
    source = (
        START
        + """
enter(user=USER)
call("mount", b"x", f"{top}/r/sub".encode(), b"tmpfs", 0, None)
mount_all([Mount("/", "ro"), Mount(f"{top}/w", "rw")])
tell(*(outcome(lambda: write(path)) for path in (f"{top}/r/a", f"{top}/r/sub/new", f"{top}/w/a", "/dev/null")))"""
    )
    assert who.tells(source, yard) == [E.EROFS, E.EROFS, "ok", "ok"]


def test_more_holes_than_descriptors_are_no_trouble_and_the_limit_is_as_before(who, yard):
    source = (
        START
        + """
import resource
limits = 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
for number in range(300):
    os.mkdir(f"{top}/w/sub/{number}")
enter(user=USER)
mounts(("w", "rw"), *((f"w/sub/{number}", "ro") for number in range(300)))
tell(outcome(lambda: write(f"{top}/w/sub/299/n")), resource.getrlimit(resource.RLIMIT_NOFILE) == limits)"""
    )
    assert who.tells(source, yard) == [E.EROFS, True]


def test_mounts_that_others_share_with_us_are_shared_no_more(who, yard):
    source = (
        START
        + """
enter(user=USER, pid=False)
call("mount", None, b"/", None, 0x4000 | 1 << 20, None)  # from here on, what is mounted here is mounted for our children too
before = open("/proc/self/mountinfo").read()
if os.fork() == 0:
    enter(user=False, pid=False)
    mounts(("w", "ro"))
    write(f"{top}/r/a")
    os._exit(0)
os.wait()
tell(before == open("/proc/self/mountinfo").read(), outcome(lambda: write(f"{top}/w/a")))"""
    )
    assert who.tells(source, yard) == [True, "ok"]


def test_it_is_available_where_the_system_s_own_program_can_do_it(who):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (package util-linux)")
    options = ["unshare", "-m", "-p", "-f", *(["-r"] if who.uid else []), "mount", "--bind", "/dev/null", "/dev/null"]
    command = f"""
import json, os, subprocess
from _kernel import _namespaces
theirs = subprocess.run({options}).returncode == 0
print(json.dumps([theirs, _namespaces.available(user={who.uid != 0})]))"""
    theirs, ours = who.tells(command)
    assert theirs == ours


@pytest.mark.parametrize(
    ("entries", "error", "path"),
    [
        ([["w/missing", "ro"]], E.ENOENT, "w/missing"),
        ([["w", "ro"], ["w/l", "ro"]], E.ELOOP, "w/l"),
        ([["w/ld/dir", "rw"]], E.ELOOP, "w/ld/dir"),
        ([["w/../s", "ro"]], E.EINVAL, "w/../s"),
        ([["w//sub", "ro"]], E.EINVAL, "w//sub"),
        ([["w", "rx"]], E.EINVAL, "w"),
        ([["w/a", "empty"]], E.EINVAL, "w/a"),
        ([["w", "ro"], ["w", "rw"]], E.EINVAL, "w"),
        ([["w/a/b", "ro"]], E.ENOTDIR, "w/a/b"),
        ([["w/a\0b", "ro"]], E.EINVAL, "w/a\0b"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused_and_nothing_is_mounted(who, yard, entries, error, path):
    source = (
        START
        + """
enter(user=USER)
before = open("/proc/self/mountinfo").read()
told = refusal(mounts, *json.loads(sys.argv[2]))
tell(told, open("/proc/self/mountinfo").read() == before, len(os.listdir("/proc/self/fd")))"""
    )
    assert who.tells(source, yard, json.dumps(entries)) == [["mount", error, f"{yard}/{path}"], True, 4]


@pytest.mark.parametrize(("path", "how"), [("/", "rw"), ("/", "hidden"), ("w", "ro"), ("", "ro")])
def test_paths_are_absolute_and_the_root_can_be_read_only_at_most(who, path, how):
    source = START + "enter(user=USER); tell(refusal(mount_all, [Mount(*sys.argv[1:3])]))"
    assert who.tells(source, path, how) == [["mount", E.EINVAL, path]]


def test_without_namespaces_nobody_mounts(who, yard):
    source = START + "tell(refusal(mounts, ('w', 'ro')), refusal(mounts, ('w', 'hidden')), refusal(private_root, [(top, True)]))"
    if who.uid == 0:
        pytest.skip("the superuser may, on the machine itself")
    assert who.tells(source, yard) == [["mount", E.EPERM, f"{yard}/w"]] * 2 + [["root", E.EPERM, yard]]


def test_a_path_that_was_exchanged_meanwhile_is_not_mounted_on(monkeypatch, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.setattr(_mounts, "attach", lambda *_: pytest.fail("mounted"))
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says it
        _mounts.put(0, str(tmp_path / "two"), (tmp_path / "one").stat())
    assert caught.value.errno == E.ESTALE


def test_a_limit_that_is_refused_leaves_no_descriptor_open(monkeypatch):
    def refuse(*_, **__):
        raise OSError(E.EPERM, "no")

    before = os.listdir("/proc/self/fd")
    for module, action in (
        (_namespaces, lambda: _namespaces.mount_all([_namespaces.Mount("/usr", "ro")])),
        (_root, lambda: _root.private_root([("/usr", False)])),
    ):
        monkeypatch.setattr(module, "limit", refuse)
        monkeypatch.setattr(module, "take", lambda path: (os.open(path, os.O_PATH), os.stat(path)))
        with pytest.raises(KernelError) as caught:
            action()
        assert (caught.value.error, caught.value.path) == (E.EPERM, "/usr")
    assert os.listdir("/proc/self/fd") == before


def test_process_one_has_a_proc_of_its_own(who):
    source = (
        START
        + """
enter(user=USER)
if os.fork() == 0:
    told = mount_proc()
    if os.fork() == 0:
        tell(told, sorted(int(name) for name in os.listdir("/proc") if name.isdigit()), os.readlink("/proc/self"))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()"""
    )
    assert who.tells(source) == [True, [1, 2], "2"]


def test_a_kernel_that_hides_parts_of_proc_refuses_a_new_one_and_that_is_told(who):
    source = (
        START
        + """
enter(user=USER)
mounts_over = Mount("/proc/sys", "hidden")
mount_all([mounts_over])
if os.fork() == 0:
    enter(user=True)
    if os.fork() == 0:
        tell(mount_proc())
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()"""
    )
    assert who.tells(source) == [False]


def test_any_other_trouble_with_proc_is_an_error(monkeypatch):
    def refuse(*_):
        raise OSError(E.ENODEV, "no")

    monkeypatch.setattr(_namespaces, "file_system", refuse)
    with pytest.raises(KernelError, match=re.escape("proc: No such device [ENODEV] ('/proc')")):
        _namespaces.mount_proc()


def test_where_namespaces_are_not_to_be_had_the_answer_is_no(who):
    source = (
        START
        + """
answers = [_namespaces.available(user=USER)]
_namespaces.enter = lambda **_: (_ for _ in ()).throw(KernelError("namespaces", 1))
tell(*answers, _namespaces.available(user=USER), _namespaces.available(user=not USER))"""
    )
    assert who.tells(source) == [True, False, False]
