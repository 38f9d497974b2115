"""Making, removing and renaming: names are changed, never what a link leads to."""

import os

import pytest

from podkit._os import _files as room
from podkit._os import make_directory, remove, rename
from podkit.errors import AccessDeniedError, PathRefusedError
from podkit.protocol import Permission


def test_a_directory_is_made(yard):
    make_directory(yard.root, yard.path("w/new"), yard.judge)
    make_directory(yard.root, yard.path("w/ind/below/"), yard.judge)
    assert {"w/new", "w/d/below"} <= yard.names()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("w/ld/d", AccessDeniedError),
        ("s/d", AccessDeniedError),
        ("r/d", AccessDeniedError),
        ("w/d", FileExistsError),
        ("w/dang", FileExistsError),
        ("w/a/b", FileNotFoundError),
        ("w/f/x", PathRefusedError),
    ],
)
def test_no_directory_is_made_elsewhere_or_over_something(yard, name, error):
    before = yard.names()
    with pytest.raises(error):
        make_directory(yard.root, yard.path(name), yard.judge)
    assert yard.names() == before


def test_removing_a_link_leaves_what_it_leads_to(yard):
    for name in ("w/l", "w/ld", "w/dang", "w/in"):
        remove(yard.root, yard.path(name), yard.judge)
        assert name not in yard.names()
    assert (yard.get("s/key"), yard.get("w/f")) == ("secret", "file")


def test_a_file_and_an_empty_directory_are_removed(yard):
    remove(yard.root, yard.path("w/d/f"), yard.judge)
    remove(yard.root, yard.path("w/d"), yard.judge)
    assert "w/d" not in yard.names()


def test_removing_a_directory_asks_about_everything_below_it(yard):
    os.unlink(yard.path("w/d/f"))
    remove(yard.root, yard.path("w/d"), yard.judge)
    assert (yard.path("w/d"), Permission.WRITE, True) in yard.asked


@pytest.mark.parametrize(
    ("name", "error"),
    [("w/ld/key", AccessDeniedError), ("r/f", AccessDeniedError), ("w/d", OSError), ("w/none", FileNotFoundError)],
)
def test_what_may_not_be_removed_stays(yard, name, error):
    before = yard.names()
    with pytest.raises(error):
        remove(yard.root, yard.path(name), yard.judge)
    assert yard.names() == before


def test_the_top_of_everything_cannot_be_removed_or_renamed(yard):
    def anything(place, asked, /, *, whole=False):
        return

    with pytest.raises(PathRefusedError, match="no name"):
        remove(yard.root, "/", anything)
    with pytest.raises(PathRefusedError, match="no name"):
        rename(yard.root, "/", yard.path("w/x"), anything)


def test_a_rename_asks_about_both_ends_with_everything_below(yard):
    rename(yard.root, yard.path("w/d"), yard.path("w/e"), yard.judge)
    assert yard.asked == [(yard.path("w/d"), Permission.WRITE, True), (yard.path("w/e"), Permission.WRITE, True)]
    assert yard.get("w/e/f") == "deep"


def test_a_rename_moves_the_link_and_replaces_a_link(yard):
    rename(yard.root, yard.path("w/in"), yard.path("w/l"), yard.judge)
    assert (os.readlink(yard.path("w/l")), yard.get("s/key")) == ("f", "secret")


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("w/f", "w/ld/x", AccessDeniedError),
        ("w/f", "r/x", AccessDeniedError),
        ("r/f", "w/x", AccessDeniedError),
        ("w/ld/key", "w/x", AccessDeniedError),
        ("w/none", "w/x", FileNotFoundError),
        ("w/f", "w/none/x", FileNotFoundError),
        ("w/d", "w/d/e", OSError),
        ("w/f", "w/d", OSError),
    ],
)
def test_a_rename_that_may_not_or_cannot_be_changes_nothing(yard, source, target, error):
    before = yard.names()
    with pytest.raises(error):
        rename(yard.root, yard.path(source), yard.path(target), yard.judge)
    assert yard.names() == before


def test_what_vanishes_after_the_judgement_is_looked_for_again(yard):
    def hasty(place, asked, /, *, whole=False):
        yard.judge(place, asked, whole=whole)
        if len(yard.asked) == 1:
            os.unlink(yard.path("w/f"))

    with pytest.raises(FileNotFoundError):
        remove(yard.root, yard.path("w/f"), hasty)
    with pytest.raises(FileExistsError):
        yard.asked.clear()
        make_directory(yard.root, yard.path("w/x"), lambda place, asked, whole=False: os.makedirs(place.path, exist_ok=True))


def test_a_directory_that_vanishes_after_the_judgement_is_looked_for_again(yard):
    def hasty(place, asked, /, *, whole=False):
        yard.judge(place, asked, whole=whole)
        if len(yard.asked) == 2:
            os.rename(yard.path("w/d"), yard.path("w/gone"))

    with pytest.raises(FileNotFoundError):
        rename(yard.root, yard.path("w/f"), yard.path("w/d/g"), hasty)
    assert yard.get("w/f") == "file"


def test_surprises_mean_that_something_changed():
    with pytest.raises(room.ChangedError), room.surprised(FileNotFoundError):
        raise FileNotFoundError
    with pytest.raises(PermissionError), room.surprised(FileNotFoundError):
        raise PermissionError
