"""podkit's own directories and files: private, ours, never through a link."""

import os
import stat

import pytest

from podkit._os import _dirs as room
from podkit._os import make_private_dir, open_private_file, remove_pod_dir, tail
from podkit.errors import PathRefusedError


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open():
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_a_private_directory_is_made_whatever_the_umask(top, umask):
    old = os.umask(umask)
    try:
        make_private_dir(f"{top}/d")
    finally:
        os.umask(old)
    assert mode(f"{top}/d") == 0o700
    make_private_dir(f"{top}/d")


def test_a_directory_that_others_may_enter_is_refused_and_left_alone(top):
    os.mkdir(f"{top}/d", 0o755)
    with pytest.raises(PathRefusedError, match="others"):
        make_private_dir(f"{top}/d")
    assert mode(f"{top}/d") == 0o755


def test_a_link_or_a_file_is_no_private_directory(top):
    os.mkdir(f"{top}/real", 0o700)
    os.symlink("real", f"{top}/link")
    with open(f"{top}/file", "w"):
        pass
    with pytest.raises(PathRefusedError, match="is a link"):
        make_private_dir(f"{top}/link")
    with pytest.raises(PathRefusedError, match="not a directory"):
        make_private_dir(f"{top}/file")
    with pytest.raises(FileNotFoundError):
        make_private_dir(f"{top}/none/d")


def test_a_directory_of_somebody_else_is_refused(top, monkeypatch):
    os.mkdir(f"{top}/d", 0o700)
    monkeypatch.setattr(room.os, "geteuid", lambda: 4321)
    for call in (make_private_dir, remove_pod_dir):
        with pytest.raises(PathRefusedError, match="another user"):
            call(f"{top}/d")


def test_the_files_of_a_pod_and_its_directory_are_removed(top):
    make_private_dir(f"{top}/d")
    for name in ("sock", "key", "stderr.log"):
        os.close(open_private_file(f"{top}/d/{name}"))
    assert remove_pod_dir(f"{top}/d/")
    assert os.listdir(top) == []
    assert remove_pod_dir(f"{top}/d")


def test_what_is_not_known_stays_and_so_does_the_directory(top):
    os.makedirs(f"{top}/d/key/inside")
    for name in ("other", "sock"):
        os.close(open_private_file(f"{top}/d/{name}"))
    assert not remove_pod_dir(f"{top}/d")
    assert sorted(os.listdir(f"{top}/d")) == ["key", "other"]
    assert not remove_pod_dir(f"{top}/d", ())


def test_links_are_removed_and_not_followed(top):
    os.mkdir(f"{top}/real", 0o700)
    os.close(open_private_file(f"{top}/real/sock"))
    os.mkdir(f"{top}/d", 0o700)
    os.symlink("../real/sock", f"{top}/d/sock")
    os.symlink("real", f"{top}/link")
    assert remove_pod_dir(f"{top}/d")
    with pytest.raises(PathRefusedError):
        remove_pod_dir(f"{top}/link")
    assert os.listdir(f"{top}/real") == ["sock"]


@pytest.mark.parametrize("name", ["", ".", "..", "../real/sock", "/etc/passwd"])
def test_only_names_in_the_directory_are_removed(top, name):
    os.mkdir(f"{top}/d", 0o700)
    with pytest.raises(PathRefusedError):
        remove_pod_dir(f"{top}/d", [name])


def test_a_directory_that_was_exchanged_meanwhile_is_not_removed(top, monkeypatch):
    os.mkdir(f"{top}/d", 0o700)
    real = os.unlink

    def exchange(*args, **more):
        if not os.path.exists(f"{top}/old"):
            os.rename(f"{top}/d", f"{top}/old")
            os.mkdir(f"{top}/d")
        return real(*args, **more)

    monkeypatch.setattr(room.os, "unlink", exchange)
    assert not remove_pod_dir(f"{top}/d")
    assert sorted(os.listdir(top)) == ["d", "old"]


def test_a_directory_that_vanished_meanwhile_is_gone(top, monkeypatch):
    os.mkdir(f"{top}/d", 0o700)
    real = os.unlink

    def vanish(*args, **more):
        if os.path.exists(f"{top}/d"):
            os.rmdir(f"{top}/d")
        return real(*args, **more)

    monkeypatch.setattr(room.os, "unlink", vanish)
    assert remove_pod_dir(f"{top}/d")


def test_trouble_in_removing_is_told(top, monkeypatch):
    os.mkdir(f"{top}/d", 0o700)

    def refuse(*_args, **_more):
        raise PermissionError("no")

    monkeypatch.setattr(room.os, "rmdir", refuse)
    with pytest.raises(PermissionError):
        remove_pod_dir(f"{top}/d")


def test_a_private_file_is_new_unless_it_is_continued(top):
    old = os.umask(0)
    try:
        fd = open_private_file(f"{top}/f")
    finally:
        os.umask(old)
    os.write(fd, b"one\n")
    os.close(fd)
    assert mode(f"{top}/f") == 0o600
    with pytest.raises(FileExistsError):
        open_private_file(f"{top}/f")
    fd = open_private_file(f"{top}/f", append=True)
    os.write(fd, b"two\n")
    os.close(fd)
    assert tail(f"{top}/f") == "one\ntwo\n"


def test_what_is_not_a_private_file_of_ours_is_not_continued(top):
    os.close(open_private_file(f"{top}/f"))
    os.link(f"{top}/f", f"{top}/second")
    os.symlink("f", f"{top}/link")
    os.symlink("new", f"{top}/dangling")
    os.mkfifo(f"{top}/pipe", 0o600)
    os.mkdir(f"{top}/dir")
    with open(f"{top}/open", "w"):
        os.chmod(f"{top}/open", 0o644)
    reader = os.open(f"{top}/pipe", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("f", "second", "link", "dangling", "pipe", "dir", "open"):
        with pytest.raises(PathRefusedError):
            open_private_file(f"{top}/{name}", append=True)
    os.close(reader)
    with pytest.raises(PathRefusedError):
        open_private_file(f"{top}/pipe", append=True)
    with pytest.raises(PathRefusedError, match="too long"):
        open_private_file(f"{top}/{256 * 'n'}")
    assert not os.path.exists(f"{top}/new")


@pytest.mark.parametrize(
    ("data", "limit", "text"),
    [
        (b"", 10, ""),
        (b"all of it", 10, "all of it"),
        (b"0123456789", 4, "6789"),
        ("aé".encode(), 1, ""),
        ("aé".encode(), 2, "é"),
        ("x\U0001f600y".encode(), 4, "y"),
        ("x\U0001f600y".encode(), 5, "\U0001f600y"),
        (b"ab\xffcd", 4, "b\ufffdcd"),
        (b"\x80\x80\x80\x80\x80\x80", 5, "\ufffd\ufffd"),
    ],
)
def test_the_tail_starts_with_a_whole_character(top, data, limit, text):
    with open(f"{top}/f", "wb") as file:
        file.write(data)
    assert tail(f"{top}/f", limit) == text


def test_the_tail_of_what_is_no_file_is_empty(top):
    os.mkfifo(f"{top}/pipe")
    with open(f"{top}/f", "w") as file:
        file.write("secret")
    os.symlink("f", f"{top}/link")
    for name in ("none", "pipe", "link", "."):
        assert tail(f"{top}/{name}") == ""
