"""Scopes in the coordinates of file systems: two names of one place meet, and two places never do."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit.errors import InvalidRuleError, ScopeError
from podkit.logic import Scope
from podkit.logic import _mounts as room
from podkit.logic._mounts import Mount, parse_mountinfo, second_name, shown, where
from podkit.protocol import Permission, ScopeRule

WRITE, READ = Permission.WRITE, Permission.READ
ROOT = Mount("8:1", "/", "/")

# A real table: a bind mount, a file system below it, one moved over an older one, odd names.
TABLE = """\
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 27 0:21 / /proc rw,nosuid shared:5 - proc proc rw
31 27 8:1 /srv/data /mnt/with\\040space\\011and\\134more ro - ext4 /dev/vda rw
33 27 0:40 / /w/m rw - tmpfs none rw
34 27 8:1 /gone//deleted /d rw - ext4 /dev/vda rw
35 27 0:4 net:[4026531840] /run/netns/x rw - nsfs nsfs rw
36 27 0:38 /../.. /cg rw - cgroup2 cgroup rw
37 27 0:41 / (unreachable)/x rw - tmpfs none rw
"""


class TestParsing:
    def test_a_table_is_read(self):
        found = set(parse_mountinfo(TABLE))
        assert Mount("8:1", "/srv/data", "/mnt/with space\tand\\more") in found
        assert {Mount("8:1", "/gone (deleted)", "/d"), Mount("0:4", "/net:[4026531840]", "/run/netns/x")} <= found
        assert Mount("0:38", "/(above)/(above)", "/cg") in found
        assert len(found) == 7

    def test_nothing_is_no_mounts(self):
        assert parse_mountinfo("") == ()

    @pytest.mark.parametrize(
        "line",
        [
            "garbage",
            "1 2 3",
            "x 1 8:1 / / rw - a b c",
            "1 x 8:1 / / rw - a b c",
            "1 2 8-1 / / rw - a b c",
            "1 2 8:1 / /",
            "99999999999 2 8:1 / / rw - a b c",
            " 1 2 8:1 / / rw - a b c",
        ],
    )
    def test_a_line_that_cannot_be_understood_is_never_skipped(self, line):
        with pytest.raises(ValueError, match="line 9"):
            parse_mountinfo(TABLE + line + "\n")

    def test_numbers_that_contradict_each_other_are_refused(self):
        with pytest.raises(ValueError, match="twice"):
            parse_mountinfo(TABLE + "27 1 8:1 / /x rw - a b c\n")
        with pytest.raises(ValueError, match="on each other"):
            parse_mountinfo("1 2 8:1 / /a rw - a b c\n2 1 8:1 / /a/b rw - a b c\n")

    def test_there_are_not_more_than_linux_allows(self, monkeypatch):
        monkeypatch.setattr(room, "MAX_MOUNTS", 6)
        with pytest.raises(ValueError, match="more than 6"):
            parse_mountinfo(TABLE)

    def test_what_covers_what_follows_from_what_is_mounted_on_what(self):
        """A mount that was moved keeps its number, so the lines are not in the order in which things cover each other."""
        lines = [
            "30 31 0:5 / /y rw - tmpfs older rw",
            "31 27 0:6 / /y rw - tmpfs newer rw",
            "27 27 8:1 / / rw - ext4 x rw",
            "32 27 0:7 / /z/deep rw - tmpfs a rw",
            "33 27 0:8 / /z rw - tmpfs b rw",
        ]
        for text in ("\n".join(lines), "\n".join(reversed(lines))):
            found = parse_mountinfo(text)
            assert where(Scope.write("/y"), found) == Scope.write("/0:5")
            assert where(Scope.write("/z/deep"), found) == Scope.write("/0:8/deep")

    def test_in_a_changed_root_directory_the_top_may_not_be_told(self):
        found = parse_mountinfo("22 99 0:21 / /proc rw - proc proc rw\n")
        assert where(Scope.read("/proc/1"), found) == Scope.read("/0:21/1")
        with pytest.raises(ValueError, match="no mount shows /w"):
            where(Scope.write("/w"), found)
        lines = ["33 99 0:8 / /z rw - tmpfs b rw", "32 99 0:7 / /z/deep rw - tmpfs a rw"]
        for text in ("\n".join(lines), "\n".join(reversed(lines))):
            assert where(Scope.write("/z/deep"), parse_mountinfo(text)) == Scope.write("/0:8/deep")


class TestWhere:
    def test_two_names_of_one_directory_meet(self):
        mounts = (ROOT, Mount("8:1", "/srv/app", "/home/me/app"))
        one, other = Scope.write("/srv/app/src"), Scope.write("/home/me")
        assert not one.overlaps(other)
        assert where(one, mounts).overlaps(where(other, mounts))
        assert where(one, mounts) == Scope.write("/8:1/srv/app/src")

    def test_two_directories_of_one_name_do_not(self):
        before, after = (ROOT,), (ROOT, Mount("0:9", "/", "/w"))
        assert not where(Scope.write("/w/x"), before).overlaps(where(Scope.write("/w/x"), after))

    def test_what_is_mounted_below_belongs_to_a_recursive_rule_and_directly_below_to_another(self):
        mounts = (ROOT, Mount("0:9", "/", "/w/a"), Mount("0:8", "/in", "/w/a/b"), Mount("0:7", "/", "/wx"))
        assert where(Scope.write("/w"), mounts).allow == tuple(Scope.write("/8:1/w", "/0:9", "/0:8/in").allow)
        flat = Scope(allow=[ScopeRule("/w", WRITE, recursive=False)])
        assert [(rule.target, rule.recursive) for rule in where(flat, mounts).allow] == [("/8:1/w", False), ("/0:9", False)]

    def test_a_deny_is_kept_where_no_other_name_is_allowed_more(self):
        mounts = (ROOT, Mount("8:1", "/w/secret", "/elsewhere"), Mount("0:9", "/", "/w/secret/m"))
        scope = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w/secret", READ)])
        there = where(scope, mounts)
        assert there.at("/8:1/w/secret/x") is Permission.NONE
        assert there.at("/0:9/x") is Permission.NONE

    @pytest.mark.parametrize(("root", "denied"), [("/w/secret", "/w/secret"), ("/w", "/w/secret"), ("/w/secret/deep", "/w/secret")])
    def test_a_deny_is_left_out_where_another_name_is_allowed_more(self, root, denied):
        """Otherwise what can be written by that name would count as if it could not, and somebody else would get it too."""
        mounts = (ROOT, Mount("8:1", root, "/alias"))
        for permission in (READ, WRITE):
            scope = Scope(allow=[ScopeRule("/w", WRITE), ScopeRule("/alias", WRITE)], deny=[ScopeRule(denied, permission)])
            assert where(scope, mounts).at("/8:1/w/secret/deep/x") is WRITE

    def test_a_flat_deny_takes_nothing_from_a_mount_in_it(self):
        mounts = (ROOT, Mount("0:9", "/", "/w/a"))
        scope = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w", WRITE, recursive=False)])
        there = where(scope, mounts)
        assert (there.at("/8:1/w/f"), there.at("/0:9/f")) == (READ, WRITE)

    def test_nothing_stays_nothing(self):
        assert where(Scope.none(), (ROOT,)) == Scope.none()

    def test_only_declared_scopes_can_be_said_so(self):
        with pytest.raises(ScopeError):
            where(Scope.write("/w") - Scope.write("/w/a"), (ROOT,))

    def test_it_is_bounded(self):
        mounts = [ROOT, *(Mount("0:9", f"/{number}", f"/w/{number}") for number in range(10_001))]
        with pytest.raises(InvalidRuleError, match="at most"):
            where(Scope.write("/w"), mounts)
        deep = Mount("0:9", "/" + "/".join(200 * ["n" * 19]), "/deep")
        with pytest.raises(InvalidRuleError):
            where(Scope.write("/deep/" + 200 * "n"), [ROOT, deep])


class TestShown:
    def test_a_name_is_found_again(self):
        mounts = (ROOT, Mount("0:9", "/", "/m"), Mount("8:1", "/very/long/name", "/v"))
        assert shown("/8:1/w/x", mounts) == "/w/x"
        assert shown("/8:1", mounts) == "/"
        assert shown("/0:9", mounts) == "/m"
        assert shown("/8:1/very/long/name/f", mounts) == "/v/f"

    def test_what_cannot_be_seen_is_told_as_it_is(self):
        mounts = (ROOT, Mount("0:9", "/", "/m"))
        assert shown("/8:1/m/f", mounts) == "/8:1/m/f"
        assert shown("/7:7/f", mounts) == "/7:7/f"


# Against brute force: every path of a small world, and a file system for each device.

NAMES = ("a", "b")
PATHS = ["/", *("/" + "/".join(parts) for depth in (1, 2, 3) for parts in product(NAMES, repeat=depth))]
DEEPER = PATHS + ["/" + "/".join(parts) for parts in product(NAMES, repeat=4)]


def inside(path, top):
    return top == "/" or path == top or path.startswith(top + "/")


def glue(top, rest):
    return "/" + "/".join(part for part in f"{top}/{rest}".split("/") if part)


def place(path, mounts):
    """(device, path in it), by the rule that a later mount covers an earlier one, and nothing cleverer."""
    mount = [mount for mount in mounts if inside(path, mount.point)][-1]
    return mount.device, glue(mount.root, path[len(mount.point) :] if mount.point != "/" else path)


def spoken(device, path):
    return f"/{device}" + (path if path != "/" else "")


@st.composite
def worlds(draw):
    mounts = [ROOT]
    for number in range(draw(st.integers(0, 4))):
        point = draw(st.sampled_from(PATHS[1:] if draw(st.integers(0, 9)) else PATHS))
        fresh = draw(st.booleans())
        device, root = (f"0:{number}", "/") if fresh else place(draw(st.sampled_from(PATHS)), mounts)
        mounts.append(Mount(device, root, point))
    return tuple(mounts)


def rules(recursive):
    return st.builds(ScopeRule, st.sampled_from(PATHS), st.sampled_from([READ, WRITE]), recursive=recursive)


def scopes(recursive):
    return st.builds(
        lambda allow, deny: Scope(allow=allow, deny=deny),
        st.lists(rules(recursive), min_size=1, max_size=3),
        st.lists(rules(recursive), max_size=2),
    )


@pytest.mark.proves("I1")
@settings(deadline=None, max_examples=300)
@given(worlds(), scopes(st.booleans()))
def test_no_name_of_a_place_is_allowed_more_than_the_place(mounts, scope):
    there = where(scope, mounts)
    for path in DEEPER:
        assert scope.at(path) <= there.at(spoken(*place(path, mounts)))


@pytest.mark.proves("I1")
@settings(deadline=None, max_examples=300)
@given(worlds(), scopes(st.just(True)))
def test_no_place_is_allowed_more_than_some_name_of_it(mounts, scope):
    """Of what a mount covers the covered name counts: it is a name again as soon as the mount is gone."""
    there = where(scope, mounts)
    for device in {mount.device for mount in mounts}:
        for path in DEEPER:
            names = [
                glue(mount.point, path[len(mount.root) :] if mount.root != "/" else path)
                for mount in mounts
                if mount.device == device and inside(path, mount.root)
            ]
            allowed = Scope(allow=scope.allow)
            assert there.at(spoken(device, path)) <= max((allowed.at(name) for name in names), default=Permission.NONE)


@pytest.mark.proves("I1", "I3")
@settings(deadline=None, max_examples=300)
@given(worlds(), scopes(st.booleans()), scopes(st.just(True)))
def test_what_a_lender_would_still_reach_by_another_name_is_found(mounts, scope, lender):
    kept = lender - scope
    lent = {place(path, mounts) for path in DEEPER if scope.at(path) is WRITE}
    reached = [path for path in DEEPER if kept.at(path) is WRITE and place(path, mounts) in lent]
    if reached:
        assert second_name(scope, kept, mounts) is not None
    if len(mounts) == 1:
        assert second_name(scope, kept, mounts) is None


def test_a_second_name_is_told():
    mounts = (ROOT, Mount("8:1", "/srv/app", "/srv/alias"))
    lender = Scope.write("/srv")
    assert second_name(Scope.write("/srv/app"), lender - Scope.write("/srv/app"), mounts) == ("/srv/app", "/srv/alias")
    assert second_name(Scope.write("/srv/app/in"), lender, mounts) == ("/srv/app/in", "/srv/alias/in")
    assert second_name(Scope.read("/srv/app"), lender, mounts) is None
    assert second_name(Scope.write("/srv"), lender - Scope.write("/srv"), mounts) is None


@settings(deadline=None, max_examples=100)
@given(scopes(st.booleans()))
def test_with_one_mount_nothing_changes_but_the_names(scope):
    there = where(scope, (ROOT,))
    for path in DEEPER:
        assert scope.at(path) is there.at(spoken("8:1", path))


@settings(deadline=None, max_examples=200)
@given(worlds(), st.sampled_from(PATHS))
def test_a_name_leads_to_a_place_and_back_to_a_name_of_it(mounts, path):
    spot = spoken(*place(path, mounts))
    name = shown(spot, mounts)
    assert spoken(*place(name, mounts)) == spot
