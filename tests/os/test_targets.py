"""Targets on the disk: reached by no link, made where they are missing, known again, and unmade."""

import errno
import os

import attrs
import pytest

from podkit._os import Root, open_read, open_write, remove, rename, stat_path
from podkit._os import _targets as room
from podkit._os._targets import find_target, make_target, mount_of, still_there, unmake_targets
from podkit.errors import PathRefusedError


@attrs.frozen
class Pin:
    target: str
    device: int
    inode: int


def pin(path):
    info = os.stat(path, follow_symlinks=False)
    return Pin(path, info.st_dev, info.st_ino)


def anything(place, asked, /, *, whole=False):
    return


@pytest.fixture(params=[True, False], ids=["openat2", "steps"])
def way(request, monkeypatch):
    if request.param and not room.has_openat2():
        pytest.skip("no openat2 here")
    monkeypatch.setattr(room, "has_openat2", lambda: request.param)


class TestFinding:
    def test_what_is_there_is_found(self, yard):
        for name in ("w", "w/f", "w/d/f"):
            found = find_target(yard.path(name))
            assert (found.info.st_ino, found.missing) == (os.stat(yard.path(name)).st_ino, ())
        assert find_target("/").info.st_ino == os.stat("/").st_ino

    def test_what_is_missing_is_told_name_by_name(self, yard):
        found = find_target(yard.path("w/x/y"))
        assert (found.info, found.missing) == (None, ("x", "y"))

    @pytest.mark.proves("F25")
    @pytest.mark.parametrize(
        ("name", "link"),
        [("w/ld", ""), ("w/ld/dir", "w/ld"), ("w/dang", ""), ("w/dang/x", "w/dang"), ("w/loop", ""), ("r/up/d", "r/up")],
    )
    def test_a_link_anywhere_is_refused_and_named(self, yard, name, link):
        with pytest.raises(PathRefusedError, match="is a link, name the real path") as caught:
            find_target(yard.path(name))
        assert caught.value.path == yard.path(name)
        assert caught.value.reason.startswith(yard.path(link) if link else "is a link")

    def test_nothing_is_below_a_file(self, yard):
        with pytest.raises(PathRefusedError, match="not a directory"):
            find_target(yard.path("w/f/x"))

    @pytest.mark.parametrize("error", [errno.ELOOP, errno.ENOENT, errno.ENOTDIR])
    def test_what_is_swapped_on_the_way_is_looked_at_again(self, yard, monkeypatch, error):
        real, calls = os.open, []

        def swapped(path, *args, **more):
            if path == "w" and len(calls) < 2:
                calls.append(path)
                raise OSError(error, "swapped")
            return real(path, *args, **more)

        monkeypatch.setattr(room.os, "open", swapped)
        assert find_target(yard.path("w/f")).info is not None
        assert len(calls) == 2

    def test_what_never_holds_still_is_refused_and_trouble_is_told(self, yard, monkeypatch):
        real = os.open

        def broken(number):
            def opening(path, *args, **more):
                if path == "w":
                    raise OSError(number, "broken")
                return real(path, *args, **more)

            return opening

        monkeypatch.setattr(room.os, "open", broken(errno.ENOENT))
        with pytest.raises(PathRefusedError, match="changed"):
            find_target(yard.path("w/f"))
        monkeypatch.setattr(room.os, "open", broken(errno.EIO))
        with pytest.raises(OSError, match="broken"):
            find_target(yard.path("w/f"))


class TestMaking:
    def test_each_missing_directory_is_made_where_it_is_allowed_and_unmade_again(self, yard):
        asked = []
        before = yard.names()
        old = os.umask(0o027)
        try:
            found, made = make_target(yard.path("w/x/y/z"), lambda path: asked.append(path) is None)
        finally:
            os.umask(old)
        assert asked == [yard.path(name) for name in ("w/x", "w/x/y", "w/x/y/z")]
        assert [target.path for target in made] == [yard.path(name) for name in ("w/x", "w/x/y", "w/x/y/z")]
        assert found.info.st_ino == os.stat(yard.path("w/x/y/z")).st_ino
        assert os.stat(yard.path("w/x")).st_mode & 0o777 == 0o750
        unmake_targets(made)
        assert yard.names() == before

    def test_nothing_is_made_when_not_all_of_it_may_be(self, yard):
        before = yard.names()
        found, made = make_target(yard.path("w/x/y"), lambda path: not path.endswith("y"))
        assert (found.info, found.missing, made) == (None, ("x", "y"), ())
        assert yard.names() == before

    def test_what_is_there_is_left_as_it_is(self, yard):
        found, made = make_target(yard.path("w/d"), lambda path: pytest.fail(path))
        assert (found.info.st_ino, made) == (os.stat(yard.path("w/d")).st_ino, ())

    def test_only_what_was_made_and_is_empty_is_unmade(self, yard):
        _, made = make_target(yard.path("w/x/y/z"), lambda path: True)
        yard.put("w/x/kept")
        os.rename(yard.path("w/x/y"), yard.path("w/moved"))
        os.makedirs(yard.path("w/x/y/z"))
        unmake_targets(made)
        assert {"w/x/kept", "w/x/y/z", "w/moved/z"} <= yard.names()
        os.rename(yard.path("w/x"), yard.path("w/old"))
        os.symlink("old", yard.path("w/x"))
        unmake_targets(made)
        assert {"w/old/kept", "w/old/y/z"} <= yard.names()
        unmake_targets(())

    @pytest.mark.parametrize("error", [FileExistsError, FileNotFoundError])
    def test_somebody_who_is_quicker_makes_it_look_again(self, yard, monkeypatch, error):
        real, calls = os.mkdir, []

        def quicker(path, *args, **more):
            if not calls:
                calls.append(path)
                raise error
            return real(path, *args, **more)

        monkeypatch.setattr(room.os, "mkdir", quicker)
        found, made = make_target(yard.path("w/x/y"), lambda path: True)
        assert (found.info is not None, len(made)) == (True, 2)

    def test_a_failure_in_the_middle_leaves_nothing(self, yard, monkeypatch):
        real, before = os.mkdir, yard.names()

        def full(path, *args, **more):
            if path == "y":
                raise OSError(errno.ENOSPC, "full")
            return real(path, *args, **more)

        monkeypatch.setattr(room.os, "mkdir", full)
        with pytest.raises(OSError, match="full"):
            make_target(yard.path("w/x/y"), lambda path: True)
        assert yard.names() == before


@pytest.mark.usefixtures("way")
class TestKnowingAgain:
    def test_what_was_pinned_is_known(self, yard):
        for name in ("w", "w/f", "w/d"):
            assert still_there(pin(yard.path(name)))
        assert still_there(pin("/"))

    @pytest.mark.proves("F25")
    def test_what_was_replaced_is_not(self, yard):
        pins = {name: pin(yard.path(name)) for name in ("w/d", "w/f", "w/d/f")}
        os.rename(yard.path("w/d"), yard.path("w/gone"))
        assert not still_there(pins["w/d"])
        assert not still_there(pins["w/d/f"])
        os.symlink("gone", yard.path("w/d"))
        assert not still_there(pins["w/d"]), "the same directory, but by a link"
        assert not still_there(pins["w/d/f"])
        os.unlink(yard.path("w/d"))
        os.mkdir(yard.path("w/d"))
        assert not still_there(pins["w/d"])
        os.unlink(yard.path("w/f"))
        os.symlink("gone/f", yard.path("w/f"))
        assert not still_there(pins["w/f"])
        assert not still_there(Pin(yard.path("w/gone/f/x"), 1, 1))

    def test_trouble_of_the_system_is_not_taken_for_it(self, yard, monkeypatch):
        def broken(*_args, **_more):
            raise OSError(errno.EMFILE, "too many open files")

        one = pin(yard.path("w"))
        monkeypatch.setattr(room, "openat2", broken)
        monkeypatch.setattr(room.os, "open", broken)
        with pytest.raises(OSError, match="too many"):
            still_there(one)


def test_mounts_are_told_apart_where_the_system_does(yard, monkeypatch):
    one, other = os.open(yard.path("w"), os.O_PATH), os.open("/proc", os.O_PATH)
    assert mount_of(one) == mount_of(yard.root.fd) or os.stat(yard.top).st_dev != os.stat("/").st_dev
    assert mount_of(one) != mount_of(other)
    real = open

    def without(path, *args, **more):
        if path.endswith(str(one)):
            raise FileNotFoundError
        return real("/dev/null", *args, **more)

    monkeypatch.setattr("builtins.open", without)
    assert mount_of(one) == os.stat(yard.path("w")).st_dev
    assert mount_of(other) == os.stat("/proc").st_dev
    os.close(one)
    os.close(other)


class TestARootWithPins:
    @pytest.fixture
    def pinned(self, yard):
        root = Root(kernel=yard.root._kernel, pins=[pin(yard.path("w/d/f")), pin(yard.path("w/d")), pin(yard.path("w"))])
        with root:
            yield root

    def read(self, root, path):
        fd, _ = open_read(root, path, anything)
        with open(fd) as file:
            return file.read()

    def test_what_is_still_there_is_used(self, yard, pinned):
        assert self.read(pinned, yard.path("w/f")) == "file"
        assert self.read(pinned, yard.path("w/d/f")) == "deep"
        assert self.read(pinned, yard.path("s/key")) == "secret", "no pin speaks of it"
        assert stat_path(pinned, yard.path("w"), anything).st_ino == os.stat(yard.path("w")).st_ino

    @pytest.mark.proves("F25")
    @pytest.mark.parametrize("swap", [None, "directory", "file"])
    def test_what_was_replaced_is_refused(self, yard, pinned, swap):
        os.rename(yard.path("w/d"), yard.path("w/gone"))
        if swap is not None:
            yard.put("w/d/f" if swap == "directory" else "w/d")
        before = yard.names()
        for call in (
            lambda: self.read(pinned, yard.path("w/d/f")),
            lambda: open_write(pinned, yard.path("w/d/new"), anything, size=1),
            lambda: open_write(pinned, yard.path("w/d/f"), anything, size=1),
            lambda: remove(pinned, yard.path("w/d/f"), anything),
            lambda: rename(pinned, yard.path("w/f"), yard.path("w/d/new"), anything),
            lambda: stat_path(pinned, yard.path("w/d/f"), anything),
            lambda: stat_path(pinned, yard.path("w/d"), anything),
        ):
            with pytest.raises(PathRefusedError, match="replaced|stays" + ("|not a dir" if swap == "file" else "")) as caught:
                call()
            assert caught.value.path.startswith(yard.path("w/d"))
        assert yard.names() == before

    @pytest.mark.proves("F25")
    def test_what_became_a_link_is_another_place_and_judged_as_that(self, yard, pinned):
        os.rename(yard.path("w/d"), yard.path("w/gone"))
        os.symlink("gone", yard.path("w/d"))
        places = []
        fd, place = open_read(pinned, yard.path("w/d/f"), lambda place, asked, whole=False: places.append(place.path))
        os.close(fd)
        assert (place.path, places[-1]) == (yard.path("w/gone/f"), yard.path("w/gone/f"))

    def test_a_file_that_was_replaced_is_refused(self, yard, pinned):
        yard.put("w/d/g", "another")
        os.rename(yard.path("w/d/g"), yard.path("w/d/f"))
        with pytest.raises(PathRefusedError, match="replaced"):
            self.read(pinned, yard.path("w/d/f"))

    def test_a_file_that_is_pinned_is_written_in_place(self, yard, pinned):
        inode = os.stat(yard.path("w/d/f")).st_ino
        writing = open_write(pinned, yard.path("w/d/f"), anything, size=2)
        writing.write(memoryview(b"ok"))
        writing.commit()
        assert (writing.in_place, yard.get("w/d/f"), os.stat(yard.path("w/d/f")).st_ino) == (True, "ok", inode)

    def test_targets_and_what_is_above_them_stay_where_they_are(self, yard, pinned):
        for name in ("w/d", "w", "w/d/f"):
            with pytest.raises(PathRefusedError, match="stays where it is"):
                rename(pinned, yard.path(name), yard.path("w/elsewhere"), anything)
            with pytest.raises(PathRefusedError, match="stays where it is"):
                rename(pinned, yard.path("w/in"), yard.path(name), anything)
            with pytest.raises(PathRefusedError, match="stays where it is"):
                remove(pinned, yard.path(name), anything)
        with pytest.raises(PathRefusedError, match="stays where it is"):
            rename(pinned, yard.top, yard.top + "2", anything)

    def test_trouble_on_the_way_to_a_pin_is_told_as_it_is(self, yard, pinned, monkeypatch):
        def broken(*_args, **_more):
            raise OSError(errno.EIO, "broken")

        monkeypatch.setattr(pinned, "_open", broken)
        with pytest.raises(OSError, match="broken"):
            pinned.open_at(yard.path("w/f"), os.O_RDONLY)

    def test_a_pin_outside_the_root_is_refused(self, yard):
        with pytest.raises(PathRefusedError, match="leads out"):
            Root(yard.path("w"), pins=[pin(yard.path("r"))])


def test_another_mount_is_refused_where_that_is_asked(yard):
    """`/dev/shm` or `/proc` is on another mount than `/`, which is all that is needed to see it."""
    other = next((path for path in ("/dev/shm", "/sys") if os.path.ismount(path)), None)
    if other is None:
        pytest.skip("nothing is mounted here")
    for stay, allowed in [(True, False), (False, True)]:
        with Root(kernel=yard.root._kernel, pins=[pin("/dev" if other == "/dev/shm" else "/")], cross_mounts=not stay) as root:
            if allowed:
                assert stat_path(root, other, anything).st_ino == os.stat(other).st_ino
                continue
            with pytest.raises(PathRefusedError, match="another mount"):
                stat_path(root, other, anything)
    with Root(kernel=yard.root._kernel, pins=[pin(yard.path("w"))], cross_mounts=False) as root:
        assert stat_path(root, yard.path("w/d/f"), anything).st_size == 4
    with Root(kernel=yard.root._kernel, cross_mounts=False) as root:
        assert stat_path(root, other, anything).st_ino == os.stat(other).st_ino, "no pin speaks of it"
