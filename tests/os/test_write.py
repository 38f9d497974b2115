"""Writing whole files: all or nothing, and only where it was judged."""

import errno
import os
import stat

import pytest

from podkit._os import _write as room
from podkit._os import open_write
from podkit.errors import AccessDeniedError, PathRefusedError


def write(yard, name, content, judge=None, *, sync=False):
    data = content.encode()
    writing = open_write(yard.root, yard.path(name), judge or yard.judge, size=len(data))
    writing.write(memoryview(data))
    writing.commit(sync=sync)
    return writing


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("name", ["w/f", "w/new", "w/a/b/c", "w/d/../new", "w/fresh"])
def test_a_file_has_the_new_content_and_nothing_else_is_there(yard, name, sync):
    place = write(yard, name, "content", sync=sync).place
    assert (yard.get(name), place.path) == ("content", os.path.realpath(yard.path(name)))
    assert not [left for left in yard.names() if ".podkit" in left]


def test_a_link_is_followed_to_what_it_means_and_stays_a_link(yard):
    write(yard, "w/in", "through")
    assert (os.readlink(yard.path("w/in")), yard.get("w/f")) == ("f", "through")


@pytest.mark.parametrize("name", ["w/l", "w/ld/new", "w/rl", "w/dang", "r/f", "s/key", "w/../s/key", "s/none", "w/nodir/../../s/x"])
def test_nothing_happens_out_of_bounds(yard, name):
    before = yard.names()
    with pytest.raises((AccessDeniedError, FileNotFoundError)):
        write(yard, name, "no")
    assert (yard.names(), yard.get("s/key"), yard.get("r/f")) == (before, "secret", "read")


@pytest.mark.parametrize("name", ["w", "w/d", "w/ind", "w/new/", "w/new/.", "w/f/x", "w/d/..", "w/" + 256 * "n", "w/loop"])
def test_what_is_no_file_is_refused_and_nothing_happens(yard, name):
    before = yard.names()
    with pytest.raises((PathRefusedError, AccessDeniedError)):
        write(yard, name, "no")
    assert yard.names() == before


def test_the_top_of_everything_is_a_directory(yard):
    with pytest.raises(PathRefusedError):
        open_write(yard.root, "/", lambda place, asked, whole=False: None, size=1)


def test_a_pipe_is_refused(yard):
    os.mkfifo(yard.path("w/pipe"))
    with pytest.raises(PathRefusedError, match="not a regular file"):
        write(yard, "w/pipe", "no")


def test_every_directory_to_be_made_is_judged_first(yard):
    def judge(place, asked, /, *, whole=False):
        yard.judge(place, asked)
        if place.path.endswith("/a/b"):
            raise AccessDeniedError(place.path, asked)

    with pytest.raises(AccessDeniedError):
        write(yard, "w/a/b/c", "no", judge)
    assert "w/a" not in yard.names()


def test_until_it_is_committed_the_old_content_is_there_and_abandoned_it_stays(yard):
    for name in ("w/f", "w/x/y/z"):
        before = yard.names()
        writing = open_write(yard.root, yard.path(name), yard.judge, size=3)
        writing.write(memoryview(b"new"))
        assert yard.get("w/f") == "file"
        writing.abandon()
        assert (yard.names(), yard.get("w/f")) == (before, "file")


def test_directories_that_were_made_stay_when_somebody_uses_them(yard):
    writing = open_write(yard.root, yard.path("w/x/y/z"), yard.judge, size=3)
    yard.put("w/x/other")
    writing.abandon()
    assert {"w/x", "w/x/other"} <= yard.names()
    assert "w/x/y" not in yard.names()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o4755])
def test_the_permissions_of_a_file_are_kept_without_set_id(yard, mode):
    os.chmod(yard.path("w/f"), mode)
    write(yard, "w/f", "new")
    assert stat.S_IMODE(os.stat(yard.path("w/f")).st_mode) == mode & 0o777


def test_a_new_file_has_the_permissions_the_umask_leaves(yard):
    old = os.umask(0o027)
    try:
        write(yard, "w/new/file", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(yard.path("w/new/file")).st_mode) == 0o640
    assert stat.S_IMODE(os.stat(yard.path("w/new")).st_mode) == 0o750


def test_the_owner_of_a_file_is_kept_where_that_can_be_done(yard, monkeypatch):
    if os.geteuid() == 0:
        os.chown(yard.path("w/f"), 1234, 1234)
        write(yard, "w/f", "new")
        info = os.stat(yard.path("w/f"))
        assert (info.st_uid, info.st_gid) == (1234, 1234)
    asked = []

    def refuse(*args):
        asked.append(args)
        raise PermissionError

    monkeypatch.setattr(room.os, "fchown", refuse)
    real = os.fstat

    def foreign(fd):
        return os.stat_result((*real(fd)[:4], 4321, *real(fd)[5:10]))

    monkeypatch.setattr(room.os, "fstat", foreign)
    write(yard, "w/new", "x")
    assert not asked
    write(yard, "w/f", "y")
    assert asked
    assert yard.get("w/f") == "y"


def test_a_second_hard_link_keeps_the_old_content(yard):
    os.link(yard.path("s/key"), yard.path("w/h"))
    write(yard, "w/h", "mine")
    assert (yard.get("w/h"), yard.get("s/key")) == ("mine", "secret")


class TestInPlace:
    """A file that may be written while nothing beside it may."""

    def test_it_keeps_its_identity(self, yard):
        before = os.stat(yard.path("w/f"))
        for content in ("longer than it was", "short", ""):
            assert write(yard, "w/f", content, yard.only("w/f"), sync=True).in_place
            assert yard.get("w/f") == content
        assert os.stat(yard.path("w/f")).st_ino == before.st_ino

    def test_a_second_hard_link_is_refused(self, yard):
        os.link(yard.path("s/key"), yard.path("w/h"))
        with pytest.raises(PathRefusedError, match="second name"):
            write(yard, "w/h", "no", yard.only("w/h"))
        assert yard.get("s/key") == "secret"

    def test_a_missing_one_is_made_and_unmade(self, yard):
        assert write(yard, "w/new", "x", yard.only("w/new")).in_place
        os.unlink(yard.path("w/new"))
        open_write(yard.root, yard.path("w/new"), yard.only("w/new"), size=1).abandon()
        assert "w/new" not in yard.names()

    def test_without_room_for_it_nothing_is_changed(self, yard, monkeypatch):
        def full(fd, start, size):
            os.ftruncate(fd, 1000)
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(room.os, "posix_fallocate", full)
        with pytest.raises(OSError, match="full"):
            write(yard, "w/f", 100 * "x", yard.only("w/f"))
        assert yard.get("w/f") == "file"

    def test_abandoned_before_anything_was_written_it_is_as_it_was(self, yard):
        open_write(yard.root, yard.path("w/f"), yard.only("w/f"), size=1000).abandon()
        assert yard.get("w/f") == "file"

    @pytest.mark.parametrize("how", ["unsupported", "unknown"])
    def test_where_no_room_can_be_reserved_it_is_written_all_the_same(self, yard, monkeypatch, how):
        def unsupported(fd, start, size):
            raise OSError(errno.EOPNOTSUPP, "not here")

        if how == "unknown":
            monkeypatch.delattr(room.os, "posix_fallocate")
        else:
            monkeypatch.setattr(room.os, "posix_fallocate", unsupported)
        write(yard, "w/f", "content", yard.only("w/f"))
        assert yard.get("w/f") == "content"


def break_call(monkeypatch, name, error):
    def refuse(*_args, **_more):
        raise error

    monkeypatch.setattr(room.os, name, refuse)


@pytest.mark.parametrize("name", ["fsync", "rename", "write", "fchmod"])
def test_whatever_fails_leaves_nothing_behind(yard, monkeypatch, name):
    for path in ("w/f", "w/x/y"):
        before = yard.names()
        with monkeypatch.context() as patch:
            break_call(patch, name, OSError(errno.EIO, "broken"))
            if (name, path) == ("fchmod", "w/x/y"):
                continue
            with pytest.raises(OSError, match="broken"):
                writing = open_write(yard.root, yard.path(path), yard.judge, size=1)
                try:
                    writing.write(memoryview(b"x"))
                except OSError:
                    writing.abandon()
                    raise
                writing.commit(sync=True)
        assert (yard.names(), yard.get("w/f")) == (before, "file")


def test_a_directory_at_the_last_moment_is_not_replaced(yard):
    writing = open_write(yard.root, yard.path("w/new"), yard.judge, size=1)
    os.mkdir(yard.path("w/new"))
    with pytest.raises(PathRefusedError, match="is a directory"):
        writing.commit()
    assert not [left for left in yard.names() if ".podkit" in left]


def test_a_directory_that_was_moved_away_gets_nothing(yard):
    writing = open_write(yard.root, yard.path("w/d/f"), yard.judge, size=1)
    os.rename(yard.path("w/d"), yard.path("s/d"))
    with pytest.raises(PathRefusedError, match="moved"):
        writing.commit()
    assert (yard.get("s/d/f"), os.listdir(yard.path("s/d"))) == ("deep", ["f"])


def test_a_directory_that_was_replaced_gets_nothing(yard):
    writing = open_write(yard.root, yard.path("w/d/f"), yard.judge, size=1)
    os.rename(yard.path("w/d"), yard.path("s/d"))
    os.mkdir(yard.path("w/d"))
    with pytest.raises(PathRefusedError, match="replaced"):
        writing.commit()
    assert (os.listdir(yard.path("s/d")), os.listdir(yard.path("w/d"))) == (["f"], [])


@pytest.mark.parametrize("step", ["mkdir", "open"])
@pytest.mark.parametrize("only", [False, True])
def test_somebody_who_is_quicker_makes_it_walk_again(yard, monkeypatch, step, only):
    """The first attempt finds something where nothing was (or nothing where something was), the second succeeds."""
    calls = []
    real = getattr(os, step)

    def quicker(path, *args, **more):
        first = not calls and (step == "mkdir" or path in ("new", "x") or str(path).startswith(".podkit"))
        if first:
            calls.append(path)
            raise FileNotFoundError(errno.ENOENT, "gone") if not only else FileExistsError(errno.EEXIST, "there")
        return real(path, *args, **more)

    monkeypatch.setattr(room.os, step, quicker)
    judge = yard.judge
    name = "w/x/y"
    if step == "open" and only:
        name, judge = "w/new", yard.only("w/new")
    write(yard, name, "content", judge)
    assert calls
    assert yard.get(name) == "content"
