"""Where paths lead, and that only what was judged is opened."""

import errno
import os

import pytest

from podkit._os import ChangedError, Root, open_listing, open_read, spell, stat_path
from podkit._os import _files as files_room
from podkit._os import _openat2 as door
from podkit._os import _resolve as resolve_room
from podkit._os import _walk as walk_room
from podkit.errors import AccessDeniedError, PathRefusedError


def read(yard, path, **more):
    fd, place = open_read(yard.root, path, yard.judge, **more)
    with open(fd) as file:
        return file.read(), place.path


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("{}/w/f", "w/f"),
        ("{}/w/./f", "w/f"),
        ("{}/w//f", "w/f"),
        ("/{}/w/f", "w/f"),
        ("//{}/w/f", "w/f"),
        ("/../../..{}/w/f", "w/f"),
        ("{}/w/d/../f", "w/f"),
        ("{}/w/in", "w/f"),
        ("{}/w/ind/f", "w/d/f"),
        ("{}/w/ind/../f", "w/f"),
        ("{}/r/up/f", "w/f"),
        ("{}/w/" + 900 * "./" + "f", "w/f"),
    ],
)
def test_a_path_leads_to_the_file_it_means(yard, path, place):
    assert read(yard, path.format(yard.top)) == (yard.get(place), yard.path(place))


def test_a_relative_path_starts_at_the_directory_given_and_not_at_ours(yard):
    assert read(yard, "f", cwd=yard.path("w/d")) == ("deep", yard.path("w/d/f"))
    assert read(yard, "../r/f", cwd=yard.path("w"))[0] == "read"


@pytest.mark.parametrize(
    "name", ["w/l", "w/ld/key", "w/rl", "w/dang", "w/abs", "w/../s/key", "w/ld/../f", "s/key", "s/none", "w/ld/none"]
)
def test_what_leads_out_of_bounds_is_denied_whether_it_exists_or_not(yard, name):
    with pytest.raises(AccessDeniedError):
        read(yard, yard.path(name))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{}/w/f/", "not a directory"),
        ("{}/w/f/.", "not a directory"),
        ("{}/w/f/x", "not a directory"),
        ("{}/w/slash", "not a directory"),
        ("{}/w/in/", "not a directory"),
        ("{}/w/d", "is a directory"),
        ("{}/w/ind/", "is a directory"),
        ("{}/w/loop", "40 links"),
        ("{}/w/loop/x", "40 links"),
        ("", "not empty"),
        ("{}/w/f\0/../../etc/passwd", "NUL"),
        ("/" + 4095 * "x", "too long"),
        ("/" + 65535 * "x", "too long"),
        ("{}/w/" + 256 * "n", "too long"),
        ("{}/w/\udcff", "surrogates"),
        ("/proc/self/root{}/w/f", "/proc"),
        ("/proc/self/cwd/x", "/proc"),
        ("/proc/1/environ", "/proc"),
        ("/proc", "/proc"),
        ("/proc/none/at/all", "/proc"),
        ("/dev/stdin", "/proc"),
        ("/dev/fd/0", "/proc"),
    ],
)
def test_what_cannot_be_a_file_is_refused_with_a_reason(yard, path, reason):
    with pytest.raises(PathRefusedError) as caught:
        read(yard, path.format(yard.top))
    assert reason in caught.value.reason


@pytest.mark.parametrize("path", [None, b"/x", 7])
def test_a_path_that_is_not_text_is_refused(yard, path):
    with pytest.raises(PathRefusedError, match="text"):
        read(yard, path)


def test_a_link_into_proc_is_no_way_to_another_process(yard):
    os.symlink(f"/proc/self/root{yard.path('w/f')}", yard.path("w/m"))
    with pytest.raises(PathRefusedError, match="/proc"):
        read(yard, yard.path("w/m"))


def test_forty_links_are_followed_and_forty_one_are_not(yard):
    for number in range(41):
        os.symlink("f" if number == 0 else f"c{number - 1}", yard.path(f"w/c{number}"))
    assert read(yard, yard.path("w/c39"))[0] == "file"
    with pytest.raises(PathRefusedError, match="links"):
        read(yard, yard.path("w/c40"))


def test_a_maze_of_links_that_overflows_a_path_is_refused(yard):
    at = yard.path("w")
    name, here = "d" * 247, os.open(at, os.O_DIRECTORY)
    for letter in "abcdefghijklmnopq":
        os.mkdir(name, dir_fd=here)
        os.symlink(name, letter, dir_fd=here)
        below = os.open(name, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.symlink("../" * 17 + "../s/key", "l", dir_fd=here)
    os.close(here)
    path = f"{at}/" + "/".join("abcdefghijklmnopq")
    for tried in (path + "/l", path + "/new"):
        with pytest.raises((AccessDeniedError, PathRefusedError)):
            read(yard, tried)


def test_a_link_to_a_name_that_cannot_be_is_refused(yard):
    os.symlink("n" * 300, yard.path("w/long"))
    os.symlink(b"\xff", os.fsencode(yard.path("w/odd")))
    for name in ("w/long", "w/odd"):
        with pytest.raises(PathRefusedError):
            read(yard, yard.path(name))


def test_absence_is_absence_and_names_the_path(yard):
    for path in ("w/none", "w/none/../f", "w/none/at/all"):
        with pytest.raises(FileNotFoundError) as caught:
            read(yard, yard.path(path))
        assert caught.value.filename == spell(yard.path(path), cwd="/").shown


def test_names_are_taken_as_they_are(yard):
    names = ["%2e%2e", "~", "$HOME", "a\nb\t\x1b", "\u2024\u2024", "..\uff0fs", "\u00e9", "e\u0301"]
    for name in [*names, "-rf", "\u202egpj.sh", "con", "file:", "x\\..\\y"]:
        yard.put(f"w/{name}", name)
        assert read(yard, name, cwd=yard.path("w")) == (name, yard.path(f"w/{name}"))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))])
def test_pipes_and_devices_are_refused_without_being_opened(yard, make):
    try:
        make(yard.path("w/odd"))
    except PermissionError:
        pytest.skip("may not make devices here")
    with pytest.raises(PathRefusedError, match="not a regular file"):
        read(yard, yard.path("w/odd"))


@pytest.mark.parametrize("name", ["w/f", "w/./f"])
def test_a_pipe_put_there_after_the_judgement_is_not_waited_for(yard, name):
    def swap(place, asked, /, *, whole=False):
        if place.path == yard.path("w/f"):
            os.unlink(place.path)
            os.mkfifo(place.path)

    with pytest.raises(PathRefusedError, match="not a regular file"):
        open_read(yard.root, yard.path(name), swap)


def test_a_pipe_put_there_at_the_last_moment_is_not_waited_for(yard, monkeypatch):
    real = os.lstat

    def swap(path):
        info = real(path)
        os.unlink(path)
        os.mkfifo(path)
        return info

    monkeypatch.setattr(files_room.os, "lstat", swap)
    with pytest.raises(PathRefusedError, match="not a regular file"):
        open_read(yard.root, yard.path("w/f"), yard.judge)


def test_a_swap_between_judgement_and_opening_is_seen_and_judged_again(yard):
    def swap(place, asked, /, *, whole=False):
        yard.judge(place, asked)
        if len(yard.asked) == 1:
            os.rename(yard.path("w/d"), yard.path("w/gone"))
            os.symlink(yard.path("s"), yard.path("w/d"))

    yard.put("s/f", "secret")
    with pytest.raises(AccessDeniedError) as caught:
        open_read(yard.root, yard.path("w/d/f"), swap)
    assert caught.value.path == yard.path("s/f")


def test_a_place_that_never_holds_still_is_refused_in_the_end(yard):
    def swap(place, asked, /, *, whole=False):
        raise ChangedError

    with pytest.raises(PathRefusedError, match="changed while it was opened"):
        open_read(yard.root, yard.path("w/f"), swap)


def test_opening_follows_no_link_anywhere(yard):
    for path in ("w/in", "w/ind/f", "w/f/x", "w/none", "w/ld/key"):
        for flags in (os.O_RDONLY, os.O_PATH):
            with pytest.raises(ChangedError):
                yard.root.open_at(yard.path(path), flags)
    with pytest.raises(PathRefusedError, match="is a directory"):
        yard.root.open_at(yard.path("w/d"), os.O_WRONLY)
    with pytest.raises(PathRefusedError, match="not a regular file"):
        os.mkfifo(yard.path("w/pipe"))
        yard.root.open_at(yard.path("w/pipe"), os.O_WRONLY | os.O_NONBLOCK)


def test_descriptors_are_not_inherited(yard):
    for flags in (os.O_RDONLY, os.O_PATH):
        fd = yard.root.open_at(yard.path("w/f"), flags)
        assert not os.get_inheritable(fd)
        os.close(fd)
    assert not os.get_inheritable(yard.root.fd)


def test_listing_wants_a_directory_and_the_right_to_read_it(yard):
    fd, place = open_listing(yard.root, yard.path("w/ind"), yard.judge)
    assert (os.listdir(fd), place.path) == (["f"], yard.path("w/d"))
    os.close(fd)
    with pytest.raises(PathRefusedError, match="not a directory"):
        open_listing(yard.root, yard.path("w/f"), yard.judge)
    with pytest.raises(AccessDeniedError):
        open_listing(yard.root, yard.path("w/ld"), yard.judge)
    with pytest.raises(FileNotFoundError):
        open_listing(yard.root, yard.path("w/none"), yard.judge)


def test_the_root_itself_has_a_place(yard):
    for path in ("/", "/.", "/..", "/tmp/.."):
        place = yard.root.resolve(path)
        assert (place.path, place.name, place.parent, place.directory) == ("/", "", "/", True)


def test_stat_tells_of_a_link_or_of_what_it_leads_to(yard):
    assert stat_path(yard.root, yard.path("w/in"), yard.judge).st_size == 4
    assert stat_path(yard.root, yard.path("w/in"), yard.judge, follow=False).st_size == 1
    assert stat_path(yard.root, yard.path("w/ind/"), yard.judge, follow=False).st_ino == os.stat(yard.path("w/d")).st_ino


class TestARootBelow:
    """A root may be a directory; nothing leads out of it."""

    @pytest.fixture(params=[True, False])
    def below(self, request, yard):
        with Root(yard.path("w"), kernel=request.param) as root:
            yield root

    def test_paths_and_links_inside_are_walked(self, yard, below):
        for name in ("w/f", "w/in", "w/ind/../f"):
            assert below.resolve(yard.path(name)).path == yard.path("w/f")
        os.symlink(yard.path("w/d"), yard.path("w/full"))
        assert below.resolve(yard.path("w/full/f")).path == yard.path("w/d/f")

    @pytest.mark.parametrize("name", ["r/f", "w/l", "w/rl", "w/../r/f", "w-evil"])
    def test_what_leads_out_is_refused(self, yard, below, name):
        with pytest.raises(PathRefusedError, match="leads out of"):
            below.resolve(yard.path(name))

    def test_it_stays_the_directory_it_was_when_it_is_moved(self, yard, below):
        os.rename(yard.path("w"), yard.path("moved"))
        os.symlink(yard.path("s"), yard.path("w"))
        yard.put("s/f", "secret")
        fd = below.open_at(yard.path("w/f"), os.O_RDONLY)
        assert os.read(fd, 10) == b"file"
        os.close(fd)

    def test_a_root_behind_a_link_or_that_is_no_directory_is_refused(self, yard):
        for name in ("w/ind", "w/f", "w/ind/../d"):
            for kernel in (True, False):
                with pytest.raises(PathRefusedError):
                    Root(yard.path(name), kernel=kernel)
        with pytest.raises(FileNotFoundError):
            Root(yard.path("none"))


def test_a_root_may_be_closed_twice():
    root = Root()
    root.close()
    root.close()


def test_without_the_system_call_the_steps_are_taken(monkeypatch, yard):
    def refuse(*_args, **_more):
        raise OSError(errno.ENOSYS, "no such call")

    monkeypatch.setattr(door, "openat2", refuse)
    assert door.has_openat2.__wrapped__() is False
    monkeypatch.setattr(walk_room, "has_openat2", lambda: False)
    monkeypatch.setattr(walk_room, "openat2", refuse)
    with Root() as root:
        assert root.resolve(yard.path("w/in")).path == yard.path("w/f")


def test_the_system_call_is_not_asked_for_elsewhere(monkeypatch):
    monkeypatch.setattr(door.sys, "platform", "darwin")
    assert door.has_openat2.__wrapped__() is False


def test_an_interrupted_call_is_made_again(monkeypatch):
    answers = iter([-1, 77])
    monkeypatch.setattr(door, "_syscall", lambda: lambda *_args: next(answers))
    monkeypatch.setattr(door.ctypes, "get_errno", lambda: errno.EINTR)
    assert door.openat2("x", os.O_RDONLY, 0, resolve=0, dir_fd=3) == 77


def test_where_proc_is_an_ordinary_directory_or_missing_nothing_is_refused_for_it(monkeypatch):
    real = os.stat
    monkeypatch.setattr(walk_room.os, "stat", lambda path, **more: real("/" if path == "/proc" else path, **more))
    assert walk_room._processes.__wrapped__() is None

    def missing(path, **more):
        raise FileNotFoundError

    monkeypatch.setattr(walk_room.os, "stat", missing)
    assert walk_room._processes.__wrapped__() is None


def test_trouble_on_the_way_is_told_as_it_is(yard, monkeypatch):
    def refuse(call, name):
        def refusing(path, *args, **more):
            if path == name:
                raise OSError(errno.EIO, "broken")
            return call(path, *args, **more)

        return refusing

    monkeypatch.setattr(yard.root, "_kernel", False)
    for name, call, path in [("stat", "f", "w/f"), ("readlink", "in", "w/in"), ("open", "d", "w/d/f")]:
        with monkeypatch.context() as patch:
            patch.setattr(resolve_room.os, name, refuse(getattr(os, name), call))
            with pytest.raises(OSError, match="broken"):
                yard.root.resolve(yard.path(path))
            assert yard.root.resolve(yard.path("w")).path == yard.path("w")


def test_a_disk_in_trouble_is_told_when_something_is_opened(yard, monkeypatch):
    def broken(*_args, **_more):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(yard.root, "_open", broken)
    monkeypatch.setattr(walk_room, "openat2", broken)
    with pytest.raises(OSError, match="broken"):
        yard.root.open_at(yard.path("w/f"), os.O_RDONLY)


def test_a_link_that_turns_into_something_else_is_looked_at_again(yard, monkeypatch):
    real, calls = os.readlink, []

    def turn(name, **more):
        if not calls:
            calls.append(name)
            os.unlink(yard.path("w/in"))
            yard.put("w/in", "a file now")
        return real(name, **more)

    monkeypatch.setattr(resolve_room.os, "readlink", turn)
    assert read(yard, yard.path("w/in")) == ("a file now", yard.path("w/in"))


def test_a_directory_that_turns_into_a_link_is_looked_at_again(yard, monkeypatch):
    real, calls = os.open, []

    def turn(name, *args, **more):
        if name == "d" and not calls:
            calls.append(name)
            os.rename(yard.path("w/d"), yard.path("w/gone"))
            os.symlink(yard.path("s"), yard.path("w/d"))
        return real(name, *args, **more)

    monkeypatch.setattr(yard.root, "_straight", lambda spelling: None)
    monkeypatch.setattr(resolve_room.os, "open", turn)
    with pytest.raises(AccessDeniedError):
        read(yard, yard.path("w/d/key"))
    assert calls


def test_without_a_root_there_is_no_system_call_to_try(monkeypatch):
    def refuse(*_args, **_more):
        raise PermissionError

    monkeypatch.setattr(door.os, "open", refuse)
    assert door.has_openat2.__wrapped__() is False
