"""Every way to make two writers by moving things about: what podkit does itself is refused, what others do to the disk is harmless.

A lender may write `w` and has lent `w/a`. `lender` and `child` are their files, each pinned as settled. Harmless means: whoever
writes afterwards is refused, or writes where nobody else may.
"""

import ctypes
import errno
import os
import shutil

import attrs
import pytest

from podkit.confinement import Files, Gate
from podkit.confinement._targets import check_pins, settle_targets
from podkit.errors import AccessDeniedError, PathRefusedError
from podkit.logic import Scope
from podkit.logic._mounts import Mount, second_name, where
from podkit.protocol import Permission

REFUSED = (AccessDeniedError, PathRefusedError)
EXCHANGE = 2


def exchange(one, other):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), EXCHANGE) != 0:
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EINVAL):
            pytest.skip("no exchange of names here")
        raise OSError(number, os.strerror(number))


@attrs.define
class Two:
    top: str
    lender: Files
    child: Files
    pins: tuple

    def path(self, name):
        return f"{self.top}/{name}"


@pytest.fixture
def two(top):
    for name in ("w/a/deep", "w/b", "out"):
        os.makedirs(f"{top}/{name}")
    for name in ("w/a/f", "w/b/f", "out/f"):
        with open(f"{top}/{name}", "w") as file:
            file.write(name)
    own, lent = Scope.write(f"{top}/w"), Scope.write(f"{top}/w/a")
    mine, theirs = settle_targets(own, make=None), settle_targets(lent, make=None, lender=own)
    scope = own.lend(lent, to="child")
    lender = Files(scope=lambda: scope, gate=Gate(), cwd=top, pins=lambda: mine.pins)
    child = Files(scope=lambda: lent, gate=Gate(), cwd=top, pins=lambda: theirs.pins)
    return Two(top, lender, child, theirs.pins)


async def writes(files, path):
    """Whether a write is done; a refusal is a typed one."""
    try:
        await files.write_text(path, "written")
    except REFUSED:
        return False
    return True


async def writers(two, name):
    return [who for who, files in (("lender", two.lender), ("child", two.child)) if await writes(files, two.path(name))]


async def test_as_long_as_nothing_moves_each_writes_its_own(two):
    assert await writers(two, "w/a/f") == ["child"]
    assert await writers(two, "w/a/deep/new") == ["child"]
    assert await writers(two, "w/b/f") == ["lender"]
    assert await writers(two, "out/f") == []


class TestByPodkit:
    """In process, through `Files`, by either of the two."""

    @pytest.mark.proves("I1", "I3")
    @pytest.mark.parametrize(
        ("source", "target"),
        [
            ("w/a", "w/c"),  # renamed where it is
            ("w/a", "w/b/a"),
            ("w/b", "w/a/b"),  # into it
            ("w/a/deep", "w/b/deep"),  # out of it
            ("w", "w2"),  # the lender's own target
            ("w/b", "w/a"),  # over it
            ("w/a", "out/a"),  # out of the lender's root
        ],
    )
    async def test_what_is_lent_and_its_ancestors_stay_where_they_are(self, two, source, target):
        before = sorted(os.walk(two.top))
        with pytest.raises(REFUSED):
            await two.lender.rename(two.path(source), two.path(target))
        assert sorted(os.walk(two.top)) == before

    @pytest.mark.proves("I1", "I3")
    @pytest.mark.parametrize("name", ["w/a", "w/a/f", "w/a/deep", "w", "."])
    async def test_what_is_lent_is_not_removed_by_the_lender(self, two, name):
        for call in (two.lender.remove, two.lender.remove_tree):
            with pytest.raises(REFUSED):
                await call(two.path(name))
        assert await writers(two, "w/a/f") == ["child"]

    @pytest.mark.parametrize("name", ["w/a", "w", "w/b", "w/b/f"])
    async def test_the_child_moves_neither_its_own_target_nor_anything_of_the_lender(self, two, name):
        for call in (
            two.child.rename(two.path(name), two.path("w/a/inside")),
            two.child.remove(two.path(name)),
            two.child.remove_tree(two.path(name)),
            two.child.rename(two.path("w/a/f"), two.path(name)),
        ):
            with pytest.raises(REFUSED):
                await call
        assert await writers(two, "w/a/f") == ["child"]


class TestByOthers:
    """To the disk itself, by whoever may: another program, a person."""

    @pytest.mark.proves("I1", "F25")
    async def test_renamed_it_is_refused_to_both(self, two):
        os.rename(two.path("w/a"), two.path("w/c"))
        assert await writers(two, "w/a/f") == []
        with pytest.raises(PathRefusedError, match="replaced"):
            await two.child.read_text(two.path("w/a/f"))
        with pytest.raises(PathRefusedError, match="replaced"):
            check_pins(two.pins)
        # By its new name it is the lender's, and only the lender's: the child is refused wherever it tries.
        assert await writers(two, "w/c/f") == ["lender"]

    @pytest.mark.proves("I1", "F25")
    async def test_exchanged_with_another_it_is_refused_to_both(self, two):
        os.mkdir(two.path("w/b/deep"))
        exchange(two.path("w/a"), two.path("w/b"))
        assert await writers(two, "w/a/f") == []
        assert await writers(two, "w/a/deep/new") == []
        assert await writers(two, "w/b/f") == ["lender"]
        exchange(two.path("w/a"), two.path("w/b"))
        assert await writers(two, "w/a/f") == ["child"], "back in its place it is as before"

    @pytest.mark.proves("F25")
    async def test_moved_out_of_the_lenders_root_it_is_nobodys(self, two):
        os.rename(two.path("w/a"), two.path("out/a"))
        os.mkdir(two.path("w/a"))
        assert await writers(two, "w/a/new") == []
        assert await writers(two, "out/a/f") == []

    @pytest.mark.proves("F25")
    async def test_removed_and_made_again_it_has_one_writer_at_most(self, two):
        """The kernel may give the same number again; then it is the same path, and the child's as before."""
        shutil.rmtree(two.path("w/a"))
        assert await writers(two, "w/a/new") == []
        os.mkdir(two.path("w/a"))
        assert await writers(two, "w/a/new") in ([], ["child"])

    @pytest.mark.proves("F25")
    @pytest.mark.parametrize("to", ["w/b", "out", "w/c"])
    async def test_a_link_in_its_place_leads_nobody_anywhere_new(self, two, to):
        """S087: the real directory is kept beside it, or the link is to what the lender has, or to neither."""
        os.rename(two.path("w/a"), two.path("w/c"))
        os.symlink(two.path(to), two.path("w/a"))
        assert await writers(two, "w/a/f") == ([] if to == "out" else ["lender"])
        with pytest.raises(REFUSED):
            await two.child.read_text(two.path("w/a/f"))
        with pytest.raises(PathRefusedError, match="replaced"):
            check_pins(two.pins)

    @pytest.mark.proves("F25")
    async def test_with_a_new_root_under_the_old_name_nothing_is_anybodys(self, two):
        """S066, S067: the root of the scopes replaced, by a directory or by a link, and an ancestor too."""
        os.rename(two.path("w"), two.path("old"))
        os.makedirs(two.path("w/a"))
        assert await writers(two, "w/a/f") == []
        assert await writers(two, "w/b") == []
        shutil.rmtree(two.path("w"))
        os.symlink("old", two.path("w"))
        assert await writers(two, "w/a/f") == []
        assert await writers(two, "w/b/f") == []
        os.unlink(two.path("w"))
        os.rename(two.path("old"), two.path("w"))
        assert await writers(two, "w/a/f") == ["child"]

    @pytest.mark.proves("F25")
    async def test_moved_ancestors_take_everything_with_them(self, two):
        os.rename(two.top, two.top + ".moved")
        try:
            assert await writers(two, "w/a/f") == []
            assert await writers(two, "w/b/f") == []
            os.symlink(two.top + ".moved", two.top)
            assert await writers(two, "w/a/f") == []
            assert await writers(two, "w/b/f") == []
        finally:
            if os.path.islink(two.top):
                os.unlink(two.top)
            os.rename(two.top + ".moved", two.top)

    async def test_a_hard_link_across_the_boundary_ends_with_the_first_write(self, two):
        """Two names of one file: podkit replaces, so the other name keeps the old content and its own writer."""
        os.link(two.path("w/a/f"), two.path("w/b/shared"))
        await two.lender.write_text(two.path("w/b/shared"), "the lender's")
        with open(two.path("w/a/f")) as file:
            assert file.read() == "w/a/f"
        await two.child.write_text(two.path("w/a/f"), "the child's")
        with open(two.path("w/b/shared")) as file:
            assert file.read() == "the lender's"

    async def test_a_hard_link_to_a_lent_file_is_not_written_in_place(self, two):
        """S068. A file that is a target is written in place, which would reach the other name too."""
        lent = Scope.write(two.path("w/b/f"))
        settled = settle_targets(lent, make=None)
        child = Files(scope=lambda: lent, gate=Gate(), cwd=two.top, pins=lambda: settled.pins)
        assert await writes(child, two.path("w/b/f"))
        check_pins(settled.pins)
        os.link(two.path("w/b/f"), two.path("w/b/second"))
        with pytest.raises(PathRefusedError, match="hard link"):
            await child.write_text(two.path("w/b/f"), "no")
        os.unlink(two.path("w/b/second"))
        os.rename(two.path("out/f"), two.path("w/b/f"))
        with pytest.raises(PathRefusedError, match="replaced"):
            await child.write_text(two.path("w/b/f"), "no")
        os.unlink(two.path("w/b/f"))
        with pytest.raises(PathRefusedError, match="replaced"):
            await child.write_text(two.path("w/b/f"), "no")
        assert not os.path.exists(two.path("w/b/f"))


@pytest.mark.proves("I1", "I2")
def test_a_bind_mount_makes_no_second_writer():
    """In coordinates of file systems the two names are one, and what is lent under one name is not kept under the other."""
    mounts = (Mount("8:1", "/", "/"), Mount("8:1", "/w/a", "/elsewhere/a"), Mount("8:1", "/w", "/w/b/again"))
    lent = where(Scope.write("/w/a"), mounts)
    for name in ("/elsewhere", "/elsewhere/a/deep", "/w/b", "/w/b/again/a", "/"):
        assert where(Scope.write(name), mounts).common_write(lent) is not None
    assert where(Scope.write("/w/c"), mounts).common_write(lent) is None
    assert where(Scope.write("/elsewhere/b"), mounts).common_write(lent) is None
    kept = Scope.write("/w") - Scope.write("/w/a")
    assert second_name(Scope.write("/w/a"), kept, mounts) == ("/w/a", "/w/b/again/a")
    assert kept.at("/w/b/again/a") is Permission.WRITE


async def test_s069_what_is_on_another_mount_is_refused_where_that_is_asked(top):
    """`/dev/shm` is on another mount than `/dev`, which is all that is needed to see it."""
    if not os.path.ismount("/dev/shm"):
        pytest.skip("nothing is mounted at /dev/shm here")
    scope = Scope.read("/dev")
    pins = settle_targets(scope, make=None).pins
    for stay in (True, False):
        files = Files(scope=lambda: scope, gate=Gate(), cwd=top, pins=lambda: pins, cross_mounts=not stay)
        if stay:
            with pytest.raises(PathRefusedError, match="another mount"):
                await files.listdir("/dev/shm")
        else:
            await files.listdir("/dev/shm")
