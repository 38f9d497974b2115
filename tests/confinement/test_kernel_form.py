"""The kernel form of a scope, planned on trees that are only imagined: never more than the scope, and nothing less unsaid."""

import itertools

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.confinement import _plan_kernel_form as room
from podkit.confinement._form import Entry
from podkit.confinement._plan_kernel_form import plan_kernel_form
from podkit.errors import InvalidRuleError
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

NONE, READ, WRITE = Permission.NONE, Permission.READ, Permission.WRITE
GRANTS = {"read": READ, "write": WRITE, "edit": WRITE}
LEAVES = {"rw": WRITE, "ro": READ, "hidden": NONE}


@attrs.frozen
class Tree:
    """A disk: what is at each path. Directories above what is named are there."""

    kinds: dict[str, str]

    @staticmethod
    def of(*paths: str, **more: str) -> "Tree":
        """Paths with a trailing slash are directories, with `@` links, with `|` something else, other ones files."""
        kinds = {"/": "dir"}
        for path in sorted(paths):
            kind = {"/": "dir", "@": "link", "|": "other"}.get(path[-1], "file")
            bare = path.rstrip("/@|")
            for up in ups(bare):
                if kinds.get(up, "dir") != "dir":
                    break
                kinds[up] = "dir"
            else:
                kinds.setdefault(bare, kind)
        return Tree(kinds)

    def kind(self, path: str) -> str | None:
        for up in ups(path or "/"):
            if self.kinds.get(up) == "link":
                return "link"
        return self.kinds.get(path or "/")

    def entries(self, path: str) -> list[Entry]:
        start = path.rstrip("/") + "/"
        return [
            Entry(p[len(start) :], k) for p, k in self.kinds.items() if p.startswith(start) and "/" not in p[len(start) :] != ""
        ]


def ups(path):
    """The directories above a path, the root first."""
    parts = path.split("/")[1:]
    return ["/"] + ["/" + "/".join(parts[:n]) for n in range(1, len(parts))] if path != "/" else []


def is_in(path, directory):
    return path == directory or directory == "/" or path.startswith(directory + "/")


def granted(form, tree, path):
    """What the kernel lets a process do at a path that is confined to `form`: rules add up, the nearest mount limits."""
    land = NONE
    for rule in form.rules:
        if rule.path == path or (tree.kind(rule.path) == "dir" and is_in(path, rule.path)):
            land = max(land, GRANTS[rule.access])
    if any(tree.kind(mount.path) != "dir" and is_in(path, mount.path) and path != mount.path for mount in form.mounts):
        return NONE  # a file that is mounted cannot be exchanged for a directory
    near = max((mount for mount in form.mounts if is_in(path, mount.path)), key=lambda mount: len(mount.path), default=None)
    return min(land, LEAVES[near.how]) if near else land


def excused(form, tree, path):
    """Whether a shortfall speaks of a path."""
    for lost in form.shortfalls:
        if lost.whole and is_in(path, lost.path):
            return True
        if path == lost.path or (is_in(path, lost.path) and path not in ("/", lost.path)):
            below = path[len(lost.path.rstrip("/")) :]
            if below.count("/") <= 1 or tree.kind(lost.path.rstrip("/") + "/" + below.split("/")[1]) is None:
                return True
    return False


def possible(tree, path):
    """Whether something could be at a path as the tree is: nothing that is no directory is on the way."""
    return all(tree.kind(up) in ("dir", None) for up in ups(path))


def check(scope, tree, form, paths, *, namespaces, control=(), sensitive=()):
    """The law."""
    kinds = [tree.kind(rule.path) for rule in form.rules]
    assert not {None, "link"} & set(kinds), "the kernel would refuse such a rule"
    assert all(
        rule.access == "edit" or kind == "dir" or rule.access == "read" for rule, kind in zip(form.rules, kinds, strict=True)
    )
    assert len({rule.path for rule in form.rules}) == len(form.rules)
    assert len({mount.path for mount in form.mounts}) == len(form.mounts)
    assert list(form.mounts) == sorted(form.mounts, key=lambda mount: mount.path)
    assert all(tree.kind(mount.path) not in (None, "link") for mount in form.mounts)
    assert namespaces or not form.mounts
    for path in paths:
        allowed = scope.at(path)
        if any(is_in(path, own) for own in control):
            allowed = NONE
        elif namespaces and any(is_in(path, own) for own in sensitive):
            allowed = min(allowed, READ)
        got = granted(form, tree, path)
        assert got <= allowed, f"over-granted {got} at {path}: {form}"
        if namespaces and got < allowed and possible(tree, path) and tree.kind(path) != "link":
            assert excused(form, tree, path), f"{path} lacks {allowed} in silence: {form}"
    pinned = {mount.path for mount in form.mounts}
    for mount in form.mounts:
        # What is mounted must not be moved: no directory on the way may be one that could be renamed.
        for up in ups(mount.path)[1:]:
            parent = ups(up)[-1]
            assert up in pinned or granted(form, tree, parent) < WRITE, f"{up} can be moved from under {mount}: {form}"


NAMES = ("a", "b", "c")
PATHS = ["/"] + ["/" + "/".join(parts) for size in (1, 2, 3, 4) for parts in itertools.product(NAMES, repeat=size)]
SOME = ["/" + "/".join(parts) for size in (1, 2, 3) for parts in itertools.product(NAMES[:2], repeat=size)]

rules = st.builds(
    ScopeRule, st.sampled_from(["/", *SOME]), st.sampled_from([READ, WRITE]), recursive=st.sampled_from([True, True, False])
)
declared = st.builds(
    lambda allow, deny: Scope(allow=allow, deny=deny), st.lists(rules, min_size=1, max_size=4), st.lists(rules, max_size=3)
)
scopes = st.recursive(
    declared,
    lambda inner: st.builds(
        lambda a, b, how: how(a, b), inner, inner, st.sampled_from([Scope.__sub__, Scope.__and__, Scope.__or__])
    ),
    max_leaves=3,
)
trees = st.builds(
    lambda paths: Tree.of(*paths),
    st.lists(
        st.builds(lambda path, end: path + end, st.sampled_from(SOME), st.sampled_from(["/", "/", "/", "", "@", "|"])), max_size=12
    ),
)


@pytest.mark.proves("I39", "K52", "K53")
@given(scopes, trees, st.booleans(), st.lists(st.sampled_from(SOME), max_size=2), st.lists(st.sampled_from(SOME), max_size=2))
def test_no_path_has_more_than_the_scope_says_and_none_less_in_silence(scope, tree, namespaces, control, sensitive):
    form = plan_kernel_form(scope, tree, namespaces=namespaces, control=control, sensitive=sensitive)
    check(scope, tree, form, PATHS, namespaces=namespaces, control=control, sensitive=sensitive)


def planned(scope, *paths, namespaces=True, **more):
    """What is planned on a tree, in short: rules, mounts, and shortfalls as text. The law is checked on the way."""
    tree = Tree.of(*paths)
    form = plan_kernel_form(scope, tree, namespaces=namespaces, **more)
    check(scope, tree, form, around(tree), namespaces=namespaces, **more)
    rules = {rule.path: rule.access for rule in form.rules}
    return rules, {mount.path: mount.how for mount in form.mounts}, [str(lost) for lost in form.shortfalls]


def around(tree):
    """Every path of a tree, and names beside and below each."""
    tails = ("", "/new", "/new/x")
    return ["/", *sorted({path.rstrip("/") + tail for path in tree.kinds for tail in tails} - {""})]


W = Scope.write("/w")


def less(scope, *taken):
    for target in taken:
        scope -= Scope.write(target)
    return scope


def denied(*targets, permission=READ, scope=None):
    return Scope(allow=(scope or W).allow, deny=[ScopeRule(target, permission) for target in targets])


def test_a_target_is_one_rule_by_what_it_is():
    scope = Scope.write("/w", "/f") | Scope.read("/r", "/g")
    rules, mounts, lost = planned(scope, "/w/x/", "/r/", "/f", "/g", "/other")
    assert (rules, mounts, lost) == ({"/w": "write", "/f": "edit", "/r": "read", "/g": "read"}, {}, [])


def test_more_inside_less_is_one_more_rule():
    rules, mounts, lost = planned(Scope.read("/r") | Scope.write("/r/w"), "/r/w/")
    assert (rules, mounts, lost) == ({"/r": "read", "/r/w": "write"}, {}, [])


@pytest.mark.proves("I3", "K52")
def test_what_is_lent_is_mounted_read_only_and_cannot_be_moved_away():
    rules, mounts, lost = planned(less(W, "/w/a/b/lent"), "/w/a/b/lent/x", "/w/a/y")
    assert rules == {"/w": "write"}
    assert mounts == {"/w/a": "rw", "/w/a/b": "rw", "/w/a/b/lent": "ro"}
    assert lost == []


def test_what_is_denied_is_covered_directory_or_file():
    rules, mounts, lost = planned(denied("/w/priv", "/w/note"), "/w/priv/x", "/w/note")
    assert (rules, mounts, lost) == ({"/w": "write"}, {"/w/note": "hidden", "/w/priv": "hidden"}, [])


def test_more_inside_a_hole_is_mounted_as_it_is():
    scope = less(W, "/w/a") | Scope.write("/w/a/b/c")
    assert planned(scope, "/w/a/b/c/") == ({"/w": "write"}, {"/w/a": "ro", "/w/a/b/c": "rw"}, [])
    scope = denied("/w/a") | Scope.read("/w/a/r") | Scope.write("/w/a/w")
    assert planned(scope, "/w/a/r/", "/w/a/w/", "/w/a/z") == (
        {"/w": "write"},
        {"/w/a": "hidden", "/w/a/r": "ro", "/w/a/w": "rw"},
        [],
    )


def test_without_mounts_what_is_beside_a_hole_is_granted_one_by_one_and_the_rest_is_said():
    rules, mounts, lost = planned(less(W, "/w/a/lent"), "/w/a/lent/", "/w/a/x", "/w/b/", "/w/l@", namespaces=False)
    assert rules == {"/w": "read", "/w/a/x": "edit", "/w/b": "write"}
    assert mounts == {}
    assert lost == [
        "no write directly in /w: /w/a/lent has less, so what is there now is granted one by one",
        "no write directly in /w/a: /w/a/lent has less, so what is there now is granted one by one",
    ]


def test_without_mounts_a_directory_with_a_hole_that_has_no_access_cannot_be_listed():
    rules, _, lost = planned(denied("/w/priv"), "/w/priv/", "/w/f", namespaces=False)
    assert rules == {"/w/f": "edit"}
    assert lost == ["no write directly in /w: /w/priv has less, so what is there now is granted one by one"]


def test_without_mounts_the_hole_is_named_not_what_has_more():
    scope = Scope.write("/r/a") | Scope(allow=Scope.read("/r").allow, deny=[ScopeRule("/r/b", READ)])
    rules, _, lost = planned(scope, "/r/a/", "/r/b/", "/r/x", namespaces=False)
    assert rules == {"/r/a": "write", "/r/x": "read"}
    assert lost == ["no read directly in /r: /r/b has less, so what is there now is granted one by one"]


@pytest.mark.proves("I7", "K52")
def test_where_a_hole_would_appear_nothing_new_may_and_everything_else_goes_on():
    rules, mounts, lost = planned(denied("/w/a/.git", permission=WRITE), "/w/a/x", "/w/a/d/", "/w/a/l@", "/w/b")
    assert rules == {"/w": "write"}
    assert mounts == {"/w/a": "ro", "/w/a/d": "rw", "/w/a/x": "rw"}
    assert lost == ["no write directly in /w/a: /w/a/.git has less and does not exist: make it, and this is lifted"]
    rules, mounts, lost = planned(denied("/w/a/p/q"), "/w/a/x", "/w/b")
    assert (rules, mounts) == ({"/w": "write"}, {"/w/a": "hidden", "/w/a/x": "rw"})
    assert lost == ["no write directly in /w/a: /w/a/p has less and does not exist: make it, and this is lifted"]


def test_where_a_hole_would_appear_in_the_target_itself_rules_are_enough():
    rules, mounts, lost = planned(denied("/w/.git", permission=WRITE), "/w/x", "/w/d/")
    assert (rules, mounts) == ({"/w": "read", "/w/x": "edit", "/w/d": "write"}, {})
    assert lost == ["no write directly in /w: /w/.git has less and does not exist: make it, and this is lifted"]


def test_a_link_in_the_place_of_a_hole_stays():
    rules, mounts, lost = planned(denied("/w/a/hole", permission=WRITE), "/w/a/hole@", "/w/a/x")
    assert (rules, mounts) == ({"/w": "write"}, {"/w/a": "ro", "/w/a/x": "rw"})
    assert lost == ["no write directly in /w/a: /w/a/hole has less and is a link"]


def test_a_file_in_the_way_of_a_hole_has_to_stay_a_file():
    assert planned(denied("/w/f/hole"), "/w/f") == ({"/w": "write"}, {"/w/f": "rw"}, [])
    scope = Scope.read("/r") | Scope(allow=[ScopeRule("/r/d/f", WRITE, recursive=False)], deny=[ScopeRule("/r/d/f/x", READ)])
    kept = Scope(allow=[ScopeRule("/", WRITE)], deny=[ScopeRule("/r/d/f/x", READ)])
    assert planned(scope & kept, "/r/d/f") == ({"/r": "read", "/r/d/f": "edit"}, {"/r/d/f": "rw"}, [])
    assert planned(denied("/w/p/hole"), "/w/p|") == ({"/w": "write"}, {"/w/p": "rw"}, [])


def test_a_pipe_in_the_place_of_a_hole_is_covered_because_it_could_be_written_to():
    rules, mounts, lost = planned(less(W, "/w/p"), "/w/p|")
    assert (rules, mounts) == ({"/w": "write"}, {"/w/p": "hidden"})
    assert lost == ["no read at /w/p: a pipe or device is written to through a read-only mount, so it can only be covered"]
    assert planned(Scope.read("/p"), "/p|") == ({"/p": "read"}, {}, [])


@pytest.mark.proves("K53")
@pytest.mark.parametrize("namespaces", [True, False])
def test_a_rule_that_is_not_recursive_is_the_files_that_are_there(namespaces):
    scope = Scope(allow=[ScopeRule("/n", WRITE, recursive=False), ScopeRule("/r", READ, recursive=False)])
    rules, mounts, lost = planned(scope, "/n/f", "/n/k/f", "/n/l@", "/n/p|", "/r/g", namespaces=namespaces)
    assert (rules, mounts) == ({"/n/f": "edit", "/n/p": "edit", "/r/g": "read"}, {})
    assert lost == [
        f"no {p} directly in {d}: a rule that is not recursive covers it, so only its files are granted, in place"
        for d, p in (("/r", "read"), ("/n", "write"))
    ]


def test_a_directory_that_a_rule_only_just_reaches_is_not_opened():
    scope = Scope(allow=[ScopeRule("/n", WRITE, recursive=False), ScopeRule("/n/k/a/b", WRITE)])
    rules, _, lost = planned(scope, "/n/k/a/b/", "/n/k/f")
    assert rules == {"/n/k/a/b": "write"}
    why = "a rule that is not recursive covers it, so only its files are granted, in place"
    assert lost == [f"no write directly in {path}: {why}" for path in ("/n", "/n/k")]


def test_what_is_not_there_or_is_a_link_gets_no_rule_and_is_said():
    rules, mounts, lost = planned(Scope.write("/gone", "/l", "/l/in", "/f/in"), "/l@", "/f")
    assert (rules, mounts) == ({}, {})
    assert sorted(lost) == [
        "no write at /f: it is no directory, so nothing can be below it",
        "no write at /gone: it does not exist: make it, and this is lifted",
        "no write at /l: it is a link, or reached through one",
    ]


@pytest.mark.proves("I7", "S119")
def test_control_directories_have_no_access_anywhere_there_or_not():
    scope = Scope.write("/w") | Scope.read("/r")
    control = ["/w/run", "/r/a/run", "/else/run", "/w/new/run"]
    rules, mounts, lost = planned(scope, "/w/run/x", "/r/a/run/", "/else/run/", "/w/x", "/w/d/", control=control)
    assert rules == {"/r": "read", "/w/d": "write", "/w/x": "edit"}
    assert mounts == {"/else/run": "hidden", "/r/a/run": "hidden", "/w/run": "hidden"}
    assert lost == ["no write directly in /w: /w/new has less and does not exist: make it, and this is lifted"]


def test_control_directories_that_are_covered_are_covered_once():
    control = ["/x/run/a", "/x/run", "/w/p/run", "/w/p", "/gone"]
    rules, mounts, lost = planned(W, "/w/p/run/", "/x/run/a/", control=control)
    assert (rules, mounts, lost) == ({"/w": "write"}, {"/w/p": "hidden", "/x/run": "hidden"}, [])
    assert planned(W, "/w/", control=["/"]) == ({}, {}, [])


def test_sensitive_paths_stay_as_they_are_where_there_are_mounts():
    names = ["/w/.git/hooks", "/w/.git/config", "/r/.git/config"]
    tree = ["/w/.git/hooks/x", "/w/.git/config", "/w/.git/HEAD", "/r/.git/config"]
    scope = Scope.write("/w") | Scope.read("/r")
    rules, mounts, lost = planned(scope, *tree, sensitive=names)
    assert rules == {"/w": "write", "/r": "read"}
    assert mounts == {"/w/.git": "rw", "/w/.git/config": "ro", "/w/.git/hooks": "ro"}
    assert lost == [f"no write at {path}: podkit keeps it as it is, because programs of others obey it" for path in names[:2]]
    assert planned(scope, *tree, sensitive=names, namespaces=False) == ({"/w": "write", "/r": "read"}, {}, [])


def test_the_whole_disk_can_be_a_scope():
    assert planned(Scope.write("/"), "/a/") == ({"/": "write"}, {}, [])
    assert planned(less(Scope.write("/"), "/a/b"), "/a/b/") == ({"/": "write"}, {"/a": "rw", "/a/b": "ro"}, [])
    rules, mounts, _ = planned(denied("/gone", scope=Scope.write("/")), "/a/", "/b")
    assert (rules, mounts) == ({"/a": "write", "/b": "edit"}, {})


def test_no_scope_is_nothing():
    assert planned(Scope.none(), "/a/") == ({}, {}, [])


def test_a_directory_with_too_many_entries_is_not_granted_one_by_one(monkeypatch):
    monkeypatch.setattr(room, "MAX_ENTRIES", 3)
    many = [f"/w/{name}" for name in "abcd"]
    rules, _, lost = planned(less(W, "/w/x"), "/w/x/", *many, namespaces=False)
    assert rules == {"/w": "read"}
    assert lost[1:] == ["no write at /w: more than 3 entries, which would have to be granted one by one"]
    rules, mounts, _ = planned(denied("/w/gone", "/w/x", permission=WRITE), "/w/x/", *many)
    assert (rules, mounts) == ({"/w": "read"}, {})


def test_rules_are_bounded_and_the_rest_is_not_granted(monkeypatch):
    monkeypatch.setattr(room, "MAX_RULES", 2)
    rules, _, lost = planned(Scope.write("/a", "/b", "/c", "/d"), "/a/", "/b/", "/c/", "/d/")
    assert len(rules) == 2
    assert lost == ["no write at /: more than 2 rules would be needed, and the rest is not granted"]
    rules, _, lost = planned(less(W, "/w/x"), "/w/x/", "/w/a", "/w/b", "/w/c/", namespaces=False)
    assert len(rules) == 2
    monkeypatch.setattr(room, "MAX_RULES", 0)
    rules, _, lost = planned(Scope.read("/r") | Scope.write("/r/w"), "/r/w/", "/r/x", namespaces=False)
    assert rules == {}
    assert "no read directly in /r: there are too many rules" in lost
    assert planned(less(W, "/w/x/y"), "/w/x/y/", "/w/a", namespaces=False)[0] == {}


def test_beyond_many_mounts_there_are_none(monkeypatch):
    monkeypatch.setattr(room, "MAX_MOUNTS", 2)
    scope, tree = less(W, "/w/a", "/w/b", "/w/c"), Tree.of("/w/a/", "/w/b/", "/w/c/", "/w/x")
    assert plan_kernel_form(scope, tree, namespaces=True) == plan_kernel_form(scope, tree, namespaces=False)


def test_names_that_cannot_be_said_are_not_granted():
    scope = Scope(allow=[ScopeRule("/n", WRITE, recursive=False)])
    for name, shown in (("/n/\udcff", "/n/\\xff"), ("/n/" + "y" * 4100, None)):
        rules, _, lost = planned_raw(scope, {"/": "dir", "/n": "dir", name: "file", "/n/f": "file"})
        assert rules == {"/n/f": "edit"}
        assert any("its name is too long or is not text" in text for text in lost)
        assert shown is None or any(shown in text for text in lost)


def planned_raw(scope, kinds):
    form = plan_kernel_form(scope, Tree(kinds), namespaces=False)
    return {rule.path: rule.access for rule in form.rules}, form.mounts, [str(lost) for lost in form.shortfalls]


def test_paths_that_are_none_are_refused():
    for more in ({"control": ["run"]}, {"sensitive": ["/a/../b"]}):
        with pytest.raises(InvalidRuleError):
            plan_kernel_form(W, Tree.of("/w/"), namespaces=True, **more)


def test_a_scope_as_deep_as_a_path_can_be_is_planned():
    deep = "".join(f"/{n % 10}" for n in range(1500))
    targets = [deep[: 2 * n] for n in range(1, 1500)]
    scope = Scope(allow=[ScopeRule(target, READ if n % 2 else WRITE) for n, target in enumerate(targets)], deny=[])
    scope = less(Scope.write("/0"), *targets[1::2]) | Scope.read(*targets[2::2])
    form = plan_kernel_form(scope, Tree(dict.fromkeys(["/", *targets], "dir")), namespaces=True)
    assert form.rules[0].path == "/0"
    assert form.mounts[0].how == "ro"
