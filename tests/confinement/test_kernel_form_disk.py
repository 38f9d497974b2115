"""The kernel form on a real disk, and told to the real kernel: what a confined process can do there is what the scope says."""

import json
import os
import random
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import podkit
from podkit._os import Root
from podkit.confinement import Level, _look, available
from podkit.confinement._environment import device_set, read_set
from podkit.confinement._form import MAX_ENTRIES, Entry, KernelRule
from podkit.confinement._kernel_form import kernel_form
from podkit.confinement._look import DiskLook
from podkit.errors import InvalidRuleError
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

NONE, READ, WRITE = Permission.NONE, Permission.READ, Permission.WRITE
OS = str(Path(podkit.__file__).parent / "_os")

# Confines itself to a form and tries: to read and to write at each path, and to rename what is there.
PROBE = """
import json, os, stat, sys
order = json.load(sys.stdin)
sys.path.append(order["os"])
from _kernel import _landlock, _namespaces, _process
if order["namespaces"]:
    _namespaces.enter(user=os.geteuid() != 0, pid=False)
    _namespaces.mount_all([_namespaces.Mount(*mount) for mount in order["mounts"]])
if order["binds"]:
    _namespaces.private_root(order["binds"])
_process.drop_capabilities(_process.KEEP_AS_ROOT if os.geteuid() == 0 else ())
_process.no_new_privileges()
_landlock.restrict([_landlock.Rule(path, access, pin and tuple(pin)) for path, access, pin in order["rules"]], network=True)

def can(act, *args):
    try:
        act(*args)
    except OSError:
        return False
    return True

def read(path):
    if os.path.isdir(path):
        os.listdir(path)
    else:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(fd).st_mode) and not os.read(fd, 1):
            raise OSError("covered by an empty file, which the superuser can open")

def write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

def make(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)

def move(path):
    os.rename(path, path + "+")
    os.rename(path + "+", path)

found = {}
for path in order["paths"]:
    directory = os.path.isdir(path)
    there = os.path.lexists(path)
    found[path] = {
        "read": there and can(read, path),
        "names": os.listdir(path) if directory and can(read, path) else [],
        "write": not directory and can(write if there else make, path),
        "move": there and can(move, path),
    }
json.dump(found, sys.stdout)
"""

needs_kernel = pytest.mark.skipif(available() is Level.ADVISORY, reason="needs Landlock 6 and seccomp")


def confined(form, paths, *, namespaces=True):
    """What a process that is confined to `form` can do at each path."""
    order = {
        "os": OS,
        "namespaces": namespaces,
        "rules": [(rule.path, rule.access, rule.pin) for rule in form.rules],
        "mounts": [(mount.path, mount.how) for mount in form.mounts],
        "binds": form.binds,
        "paths": paths,
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROBE], input=json.dumps(order), capture_output=True, text=True, check=False, timeout=60
    )
    if "step='namespaces'" in done.stderr or "namespaces:" in done.stderr:
        pytest.skip("needs namespaces of its own (kernel.unprivileged_userns_clone=1)")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def disk(top):
    """Makes files, directories (`/`), links (`@`) and pipes (`|`) by name below `top`."""

    def make(*names):
        for name in names:
            path = Path(top, name.rstrip("/@|"))
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            elif name.endswith("@"):
                path.symlink_to(f"{top}/elsewhere")
            elif name.endswith("|"):
                os.mkfifo(path)
            else:
                path.write_text(name)
        return top

    return make


# Looking.


@pytest.fixture(params=[True, False], ids=["openat2", "steps"])
def root(request):
    with Root(kernel=request.param) as root:
        yield root


def test_what_is_there_is_told_without_following_links(root, disk):
    top = disk("d/f", "d/p|", "d/l@", "elsewhere/x", "w/")
    look = DiskLook(root, settled=frozenset([f"{top}/{name}" for name in ("w", "none", "d/l")]))
    kinds = {name: look.kind(f"{top}/{name}") for name in ("d", "d/f", "d/p", "d/l", "d/l/x", "d/f/x", "no", "no/x", "w", "none")}
    there = {"d": "dir", "d/f": "file", "d/p": "other", "d/l": "link", "w": "dir"}
    assert kinds.pop("d/l/x") in ("link", None)
    assert kinds == there | dict.fromkeys(["d/f/x", "no", "no/x", "none"])
    assert look.kind("/") == look.kind("") == "dir"
    assert look.kind("/" + "x" * 300) is None
    assert look.entries(f"{top}/d") == [Entry("f", "file"), Entry("l", "link"), Entry("p", "other")]
    assert look.entries(top)[0] == Entry("d", "dir")
    assert look.entries(f"{top}/d/f") == look.entries(f"{top}/d/l") == look.entries(f"{top}/no") == []


def test_a_large_directory_is_listed_up_to_the_bound(root, top, monkeypatch):
    monkeypatch.setattr(_look, "MAX_ENTRIES", 3)
    for name in "abcdef":
        Path(top, name).touch()
    assert len(DiskLook(root).entries(top)) == 4
    assert MAX_ENTRIES == 4096


def test_a_directory_that_fails_while_it_is_listed_is_empty(root, top, monkeypatch):
    def fail(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", fail)
    assert DiskLook(root).entries(top) == []


# The form.


def test_what_every_program_needs_is_added_and_pins_go_with_their_rules(disk):
    top = disk("w/", "r/", "tmp/")
    scope = Scope.write(f"{top}/w") | Scope.read(f"{top}/gone")
    pins = {f"{top}/w": (8, 15), f"{top}/else": (8, 16)}
    form = kernel_form(scope, namespaces=True, pins=pins, read=["/usr", f"{top}/r"], write=[f"{top}/tmp", "/dev/null"])
    assert set(form.rules) == {
        KernelRule(f"{top}/w", "write", (8, 15)),
        KernelRule(f"{top}/r", "read"),
        KernelRule("/usr", "read"),
        KernelRule(f"{top}/tmp", "write"),
        KernelRule("/dev/null", "edit"),
    }
    assert [lost.path for lost in form.shortfalls] == [f"{top}/gone"]
    assert (form.mounts, form.binds) == ((), ())


def test_a_scope_alone_is_a_form_too(disk):
    top = disk("w/")
    assert kernel_form(Scope.write(f"{top}/w"), namespaces=False).rules == (KernelRule(f"{top}/w", "write"),)


def test_the_read_set_does_not_give_what_a_rule_denies_or_what_is_hidden(disk):
    top = disk("lib/a", "lib/secret/x", "lib/key", "w/", "lib/lent/")
    scope = Scope(allow=Scope.write(f"{top}/w").allow, deny=[ScopeRule(f"{top}/lib/secret", READ), ScopeRule(f"{top}/lib", WRITE)])
    given = {"read": [f"{top}/lib", f"{top}/gone"], "hide": [f"{top}/lib/key"]}
    form = kernel_form(scope, namespaces=True, **given)
    assert [(mount.path, mount.how) for mount in form.mounts] == [(f"{top}/lib/key", "hidden"), (f"{top}/lib/secret", "hidden")]
    assert form.shortfalls == ()
    form = kernel_form(scope.lend(Scope.write(f"{top}/w"), to="kid"), namespaces=False, **given)
    assert {rule.path for rule in form.rules} == {f"{top}/lib/a", f"{top}/lib/key", f"{top}/lib/lent", f"{top}/w"}
    assert kernel_form(scope & Scope.write("/"), namespaces=True, read=[f"{top}/lib"]).mounts == ()  # no rules of its own
    form = kernel_form(scope | Scope.read(f"{top}/lib/key"), namespaces=True, **given)
    assert [mount.path for mount in form.mounts] == []


def test_shortfalls_are_told_of_the_scope_alone(disk):
    top = disk("lib/own/", "lib/x", "w/lent/")
    scope = Scope.write(f"{top}/w").lend(Scope.write(f"{top}/w/lent"))
    form = kernel_form(scope, namespaces=False, read=[f"{top}/lib"], control=[f"{top}/lib/own"])
    assert [lost.path for lost in form.shortfalls] == [f"{top}/w"]


@pytest.mark.proves("I7")
@pytest.mark.parametrize("target", ["w", ""])
def test_scratch_inside_of_podkits_own_directories_is_all_that_is_seen_of_them(disk, target):
    top = disk("run/key", "run/tmp/x/", "w/")
    scope = Scope.write(f"{top}/{target}".rstrip("/"))
    form = kernel_form(scope, namespaces=True, control=[f"{top}/run"], write=[f"{top}/run/tmp/x"])
    mounts = [(mount.path, mount.how) for mount in form.mounts]
    assert mounts == [(f"{top}/run", "hidden"), (f"{top}/run/tmp/x", "rw")]
    assert f"{top}/run/tmp/x" in [rule.path for rule in form.rules] or target == ""
    without = kernel_form(scope, namespaces=False, control=[f"{top}/run"], write=[f"{top}/run/tmp/x"])
    assert f"{top}/run/tmp/x" in [rule.path for rule in without.rules]
    assert not {f"{top}", f"{top}/run", f"{top}/run/key"} & {rule.path for rule in without.rules}
    private = kernel_form(scope, namespaces=True, control=[f"{top}/run"], write=[f"{top}/run/tmp/x"], private_root=True)
    assert (f"{top}/run/tmp/x", True) in private.binds or target == ""
    assert [mount.path for mount in private.mounts if mount.how == "hidden"] == ([] if target else [f"{top}/run"])


def test_paths_are_absolute_and_normal(disk):
    top = disk("w/")
    assert kernel_form(Scope.none(), namespaces=True, control=[f"{top}/run"], write=[f"{top}/w"]).rules[0].path == f"{top}/w"
    with pytest.raises(InvalidRuleError):
        kernel_form(Scope.write(f"{top}/w"), namespaces=True, read=["usr"])


def test_a_private_root_holds_what_is_granted_and_nothing_twice(disk):
    top = disk("w/", "r/in/w/", "r/x", "f")
    scope = Scope.write(f"{top}/w", f"{top}/r/in/w", f"{top}/f") | Scope.read(f"{top}/r", f"{top}/r/in")
    form = kernel_form(scope, namespaces=True, read=["/usr", "/proc"], write=["/dev/null"], private_root=True)
    binds = [("/usr", False), (f"{top}/f", True), (f"{top}/r", False), (f"{top}/r/in/w", True), (f"{top}/w", True)]
    assert form.binds == tuple(sorted(binds))
    scope = Scope(allow=[ScopeRule(top, READ, recursive=False), ScopeRule(f"{top}/r", READ)])
    form = kernel_form(scope, namespaces=True, private_root=True)
    assert form.binds == ((f"{top}/f", False), (f"{top}/r", False))
    assert kernel_form(Scope.write("/"), namespaces=True, private_root=True, read=["/usr"]).binds == (("/", True),)


# The kernel.


def letters(can):
    return "".join(act[0] for act in ("read", "write", "move") if can[act])


def judge(scope, top, found, form, *, namespaces):
    """The law, with what a confined process found."""
    lost = form.shortfalls
    for path, can in found.items():
        at, there = scope.at(path), os.path.lexists(path)
        kind = os.lstat(path).st_mode if there else 0
        if stat.S_ISLNK(kind) or not os.path.isdir(os.path.dirname(path)):
            continue
        fifo = stat.S_ISFIFO(kind)
        # What is covered is an empty directory, or holds the way to what is allowed further down; the superuser can list it.
        way = stat.S_ISDIR(kind) and namespaces and all(scope._table.span(f"{path}/{name}")[1] > NONE for name in can["names"])
        assert at >= READ or way or not can["read"], (path, form)
        assert at >= WRITE or not can["write"] or (fifo and at is READ), (path, form)  # below a read-only mount: documented
        assert not can["move"] or (scope.whole(path) is WRITE and scope.whole(path + "+") is WRITE), (path, form)
        if not namespaces or any(path.startswith(one.path) for one in lost):
            continue
        assert can["read"] or not there or at < READ, (path, form)
        assert can["write"] or stat.S_ISDIR(kind) or at < WRITE, (path, form)


def random_disk(pick):
    names = sorted({f"{a}{b}{c}" for a in ("a", "b") for b in ("", "/a", "/b") for c in ("", "/a", "/c")})
    return [name + pick.choice(["/", "/", "/", "", "", "@", "|"]) for name in pick.sample(names, pick.randint(3, 9))]


def random_scope(pick, top):
    names = ["", "/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/c", "/a/b/a", "/b/a/a"]

    def rules(size, recursive):
        return [
            ScopeRule(top + pick.choice(names), pick.choice([READ, WRITE]), recursive=pick.random() < recursive)
            for _ in range(size)
        ]

    scope = Scope(allow=rules(pick.randint(1, 3), 0.8), deny=rules(pick.randint(0, 2), 0.9))
    for _ in range(pick.randint(0, 2)):
        scope -= Scope(allow=rules(1, 1))
    return scope


@pytest.mark.proves("I2", "I39", "K02", "K52", "K53")
@needs_kernel
@pytest.mark.parametrize("namespaces", [True, False], ids=["mounts", "rules"])
@pytest.mark.parametrize("seed", range(200 if os.environ.get("PODKIT_LONG") else 12))
def test_a_confined_process_can_do_what_the_scope_says_and_no_more(disk, seed, namespaces):
    pick = random.Random(seed)
    top = disk()
    for name in random_disk(pick):
        try:
            disk(name)
        except OSError:
            continue  # something else is in its way
    scope = random_scope(pick, top)
    form = kernel_form(scope, namespaces=namespaces)
    paths = [f"{at}/{name}" for at, dirs, files in os.walk(top) for name in [*dirs, *files, "new"]]
    before = sorted(paths)
    judge(scope, top, confined(form, paths, namespaces=namespaces), form, namespaces=namespaces)
    assert before == sorted(f"{at}/{name}" for at, dirs, files in os.walk(top) for name in [*dirs, *files, "new"])


@pytest.mark.proves("K52", "I3", "I7")
@needs_kernel
def test_holes_are_exact_and_new_files_beside_them_work(disk):
    top = disk("w/x", "w/.git/config", "w/a/lent/f", "w/a/y", "w/priv/f", "w/run/sock", "w/gap/z")
    w = f"{top}/w"
    deny = [ScopeRule(f"{w}/.git", WRITE), ScopeRule(f"{w}/priv", READ), ScopeRule(f"{w}/gap/none", READ)]
    scope = Scope(allow=Scope.write(w).allow, deny=deny).lend(Scope.write(f"{w}/a/lent"), to="kid")
    names = ["x", "new", ".git/config", ".git/new", ".git", "a", "a/new", "a/lent", "a/lent/f", "priv/f", "priv", "run/sock", "run"]
    names += ["gap", "gap/z", "gap/new", "gap/none"]
    form = kernel_form(scope, namespaces=True, control=[f"{w}/run"])
    found = confined(form, [f"{w}/{name}" for name in names])
    does = {name: letters(found[f"{w}/{name}"]) for name in names}
    assert does == {
        "x": "rwm",
        "new": "w",
        ".git/config": "r",
        ".git/new": "",
        ".git": "r",
        "a": "r",
        "a/new": "w",
        "a/lent": "r",
        "a/lent/f": "r",
        "priv/f": "",
        "priv": does["priv"],  # an empty directory to those who may list it
        "run/sock": "",
        "run": does["run"],
        "gap": does["gap"],
        "gap/z": "rw",
        "gap/new": "",
        "gap/none": "",
    }


@pytest.mark.proves("K16", "K17", "I39")
@needs_kernel
def test_a_private_root_shows_nothing_else_and_programs_run_in_it(disk):
    top = disk("w/x", "s/key", "w/lent/f")
    scope = Scope.write(f"{top}/w").lend(Scope.write(f"{top}/w/lent"))
    form = kernel_form(scope, namespaces=True, read=read_set(), write=device_set(), private_root=True)
    names = {name: f"{top}/{name}" for name in ("w/x", "w/lent/f", "s/key", "s")} | {"usr": "/usr", "null": "/dev/null"}
    found = confined(form, list(names.values()))
    does = {name: letters(found[path]) for name, path in names.items()}
    assert does == {"w/x": "rwm", "w/lent/f": "r", "s/key": "", "s": "", "usr": "r", "null": "rw"}


@needs_kernel
def test_a_socket_in_a_control_directory_is_covered_also_where_nothing_is_granted(disk):
    top = disk("w/", "run/")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{top}/run/sock")
        form = kernel_form(Scope.write(f"{top}/w"), namespaces=True, control=[f"{top}/run"])
    assert [(mount.path, mount.how) for mount in form.mounts] == [(f"{top}/run", "hidden")]
    assert kernel_form(Scope.write(f"{top}/w"), namespaces=False, control=[f"{top}/run"]).mounts == ()


@pytest.mark.proves("I7")
def test_podkits_own_directories_are_covered_for_who_may_make_sockets_and_anyway_where_something_is_granted(disk):
    top = disk("run/sock", "w/run/")
    given = {"namespaces": True, "control": [f"{top}/run", f"{top}/w/run"]}
    form = kernel_form(Scope.write(f"{top}/w"), **given)
    assert [(mount.path, mount.how) for mount in form.mounts] == [(f"{top}/run", "hidden"), (f"{top}/w/run", "hidden")]
    form = kernel_form(Scope.write(f"{top}/w"), cover=False, **given)
    assert [(mount.path, mount.how) for mount in form.mounts] == [(f"{top}/w/run", "hidden")]


def test_a_directory_of_its_own_is_one_only_where_there_are_namespaces(disk):
    top = disk("w/", "shm/", "file")
    given = {"empty": [f"{top}/shm", f"{top}/file", f"{top}/missing"]}
    form = kernel_form(Scope.write(f"{top}/w"), namespaces=True, **given)
    assert [(mount.path, mount.how) for mount in form.mounts] == [(f"{top}/shm", "empty")]
    assert {rule.path: rule.access for rule in form.rules} == {f"{top}/w": "write", f"{top}/shm": "write"}
    form = kernel_form(Scope.write(f"{top}/w"), namespaces=False, **given)
    assert [rule.path for rule in form.rules] == [f"{top}/w"]
    assert form.mounts == form.shortfalls == ()
    form = kernel_form(Scope.write(f"{top}/w"), namespaces=True, control=[f"{top}/shm"], **given)
    assert [(mount.path, mount.how) for mount in form.mounts] == [(f"{top}/shm", "empty")]
