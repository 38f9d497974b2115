"""Settling a scope: real paths, pinned, made where they are missing, said in coordinates of file systems, undone on failure."""

import errno
import os

import pytest

from podkit.confinement import _targets as room
from podkit.confinement._targets import Settled, check_pins, settle_targets
from podkit.errors import InvalidRuleError, PathRefusedError, ScopeError
from podkit.logic import Scope
from podkit.logic._allocations import Pin
from podkit.logic._mounts import Mount
from podkit.protocol import Permission, ScopeRule

READ, WRITE = Permission.READ, Permission.WRITE


@pytest.fixture
def place(top):
    """A few things in a fresh directory; answers paths in it."""
    for name in ("w/d", "r", "s"):
        os.makedirs(f"{top}/{name}")
    with open(f"{top}/w/f", "w") as file:
        file.write("x")
    os.symlink("d", f"{top}/w/link")
    os.symlink("none", f"{top}/w/dang")
    return lambda name="": f"{top}/{name}".rstrip("/")


def names(top):
    return sorted(os.path.relpath(os.path.join(at, name), top) for at, dirs, files in os.walk(top) for name in dirs + files)


def is_pin(pin, path):
    info = os.stat(path)
    return pin == Pin(path, info.st_dev, info.st_ino)


def test_what_is_there_is_pinned_and_what_is_denied_is_not(place):
    scope = Scope(
        allow=[ScopeRule(place("w"), WRITE), ScopeRule(place("w/f"), READ), ScopeRule(place("r/none"), READ)],
        deny=[ScopeRule(place("w/d"), WRITE), ScopeRule(place("w/later"), READ)],
    )
    settled = settle_targets(scope, make=None)
    assert settled.scope is scope
    assert settled.made == ()
    assert [pin.target for pin in settled.pins] == [place("w"), place("w/f")]
    assert all(is_pin(pin, pin.target) for pin in settled.pins)
    check_pins(settled.pins)


@pytest.mark.proves("F25")
@pytest.mark.parametrize("name", ["w/link", "w/link/x", "w/dang", "w/dang/x"])
@pytest.mark.parametrize("kind", ["read", "write", "deny"])
def test_a_link_is_refused_wherever_it_is(place, name, kind):
    rule = ScopeRule(place(name), READ if kind == "read" else WRITE)
    scope = Scope(allow=[ScopeRule(place("r"), READ)], deny=[rule]) if kind == "deny" else Scope(allow=[rule])
    before = names(place())
    with pytest.raises(PathRefusedError, match="is a link, name the real path") as caught:
        settle_targets(scope, make=lambda path: True)
    assert caught.value.path == place(name)
    assert names(place()) == before


def test_the_place_of_a_scope_is_said_too(place):
    settled = settle_targets(Scope.write(place("w")), make=None)
    if settled.where is None:
        pytest.skip("this system does not tell")
    (rule,) = settled.where.allow
    assert rule.permission is WRITE
    assert rule.target.split("/")[1].count(":") == 1


class TestMaking:
    @pytest.mark.proves("F30")
    def test_a_missing_directory_is_made_where_the_lender_may_write_and_removed_when_nobody_is_born(self, place):
        before = names(place())
        asked = []
        scope = Scope.write(place("w/new/deep"), place("w/d"), place("w/new"))
        settled = settle_targets(scope, make=lambda path: asked.append(path) is None)
        assert asked == [place("w/new"), place("w/new/deep")]
        assert [target.path for target in settled.made] == asked
        assert sorted(pin.target for pin in settled.pins) == sorted([place("w/new/deep"), place("w/d"), place("w/new")])
        assert "made" not in repr(settled)
        settled.unmake()
        assert names(place()) == before

    @pytest.mark.proves("F30")
    def test_what_the_child_left_is_not_removed(self, place):
        settled = settle_targets(Scope.write(place("w/new/deep")), make=lambda path: True)
        with open(place("w/new/kept"), "w"):
            pass
        settled.unmake()
        assert "w/new/kept" in names(place())
        assert "w/new/deep" not in names(place())

    def test_where_the_lender_may_not_write_it_stays_missing(self, place):
        before = names(place())
        for make in (None, lambda path: False):
            settled = settle_targets(Scope.write(place("w/new")), make=make)
            assert (settled.pins, settled.made) == ((), ())
        assert names(place()) == before

    def test_what_is_only_read_is_never_made(self, place):
        settled = settle_targets(Scope.read(place("w/new")), make=lambda path: True)
        assert (settled.pins, settled.made) == ((), ())

    @pytest.mark.parametrize("trouble", ["mkdir", "link", "mounts"])
    def test_whatever_fails_nothing_is_left(self, place, monkeypatch, trouble):
        real, before = os.mkdir, names(place())

        def mkdir(path, *args, **more):
            if path == "second" and trouble == "mkdir":
                raise OSError(errno.ENOSPC, "full")
            if path == "second" and trouble == "link":
                os.symlink("d", place("w/second"))
                raise FileExistsError
            return real(path, *args, **more)

        def torn():
            raise ValueError("line 3: not a line about a mount")

        monkeypatch.setattr(os, "mkdir", mkdir)
        if trouble == "mounts":
            monkeypatch.setattr(room, "mounts", torn)
        with pytest.raises((OSError, PathRefusedError)):
            settle_targets(Scope.write(place("w/first"), place("w/second/x")), make=lambda path: True)
        assert [name for name in names(place()) if name != "w/second"] == before


class TestWhatCannotBe:
    def test_a_file_system_of_another_machine_is_read_and_not_written(self, place, monkeypatch):
        asked = []
        monkeypatch.setattr(room, "network_filesystem", lambda path: asked.append(path) or "nfs4")
        settle_targets(Scope.read(place("w")), make=None)
        for name, there in (("w/d", "w/d"), ("w/x/y", "w")):
            with pytest.raises(PathRefusedError, match=r"network file system .nfs4."):
                settle_targets(Scope.write(place(name)), make=lambda path: True)
            assert asked[-1] == place(there)
        with pytest.raises(PathRefusedError, match="network file system"):
            settle_targets(Scope.write("/podkit-is-not-there"), make=None)
        assert asked[-1] == "/"

    def test_where_this_user_may_not_look_nothing_can_be_written(self, place, monkeypatch):
        def closed(path):
            raise PermissionError(errno.EACCES, "closed")

        monkeypatch.setattr(room, "find_target", closed)
        scope = Scope(allow=[ScopeRule(place("r"), READ)], deny=[ScopeRule(place("w"), WRITE)])
        assert settle_targets(scope, make=None).pins == ()
        with pytest.raises(PathRefusedError, match="cannot be looked at"):
            settle_targets(Scope.write(place("w")), make=None)

    def test_only_a_declared_scope_has_targets(self, place):
        with pytest.raises(ScopeError):
            settle_targets(Scope.write(place("w")) - Scope.write(place("w/d")), make=None)

    def test_a_table_of_mounts_that_cannot_be_understood_is_no_place_to_lend_anything(self, place, monkeypatch):
        def torn():
            raise ValueError("line 3: not a line about a mount")

        monkeypatch.setattr(room, "mounts", torn)
        with pytest.raises(PathRefusedError, match="line 3"):
            settle_targets(Scope.write(place("w")), make=None)

    def test_where_the_system_does_not_tell_the_place_is_not_said(self, place, monkeypatch):
        monkeypatch.setattr(room, "mounts", lambda: None)
        assert settle_targets(Scope.write(place("w")), make=None).where is None
        monkeypatch.setattr(room, "mounts", tuple)
        assert settle_targets(Scope.write(place("w")), make=None).where is None

    @pytest.mark.proves("I1", "I3")
    def test_a_second_name_within_the_lenders_reach_is_refused(self, place, monkeypatch):
        mounts = (Mount("8:1", "/", "/"), Mount("8:1", place("w/d"), place("w/alias")))
        monkeypatch.setattr(room, "mounts", lambda: mounts)
        before = names(place())
        with pytest.raises(PathRefusedError, match=r"also called .*/w/alias/new, by a mount") as caught:
            settle_targets(Scope.write(place("w/d/new")), make=lambda path: True, lender=Scope.write(place("w")))
        assert caught.value.path == place("w/d/new")
        assert names(place()) == before
        for lender in (Scope.write(place("w/d")), Scope.read(place("w")), None):
            settle_targets(Scope.write(place("w/d")), make=None, lender=lender)

    def test_what_is_too_much_is_said(self, place, monkeypatch):
        def much(scope, mounts):
            raise InvalidRuleError("", "a scope has at most 10000 rules")

        monkeypatch.setattr(room, "where", much)
        with pytest.raises(InvalidRuleError):
            settle_targets(Scope.write(place("w")), make=None)


@pytest.mark.proves("F25")
@pytest.mark.parametrize(
    "change", ["moved away", "another directory", "a link to it", "an ancestor moved", "an ancestor by a link"]
)
def test_what_was_replaced_is_seen(place, change):
    settled = settle_targets(Scope.write(place("w/d")), make=None)
    check_pins(settled.pins)
    if change.startswith("an ancestor"):
        os.rename(place("w"), place("moved"))
        if "link" in change:
            os.symlink("moved", place("w"))
    else:
        os.rename(place("w/d"), place("s/d"))
        if change == "another directory":
            os.mkdir(place("w/d"))
        elif change == "a link to it":
            os.symlink(place("s/d"), place("w/d"))
    with pytest.raises(PathRefusedError, match="replaced") as caught:
        check_pins(settled.pins)
    assert (caught.value.path, caught.value.reason) == (place("w/d"), "replaced")


def test_nothing_pinned_is_nothing_to_check():
    check_pins(())
    Settled(Scope.none(), (), None).unmake()
