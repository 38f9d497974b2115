"""Looking, making, removing, renaming: within the scope, never over a link, and never what somebody obeys without being asked."""

import os
import signal
import subprocess
import sys

import pytest
import trio

from podkit._os import _tree as tree_room
from podkit._os import _write as write_room
from podkit.abc._pod import FileStat
from podkit.confinement._sensitive import made_sensitive
from podkit.errors import AccessDeniedError, PathRefusedError
from podkit.logic import Scope

DENIED = (AccessDeniedError, PathRefusedError)


class TestLooking:
    async def test_what_is_there_is_told(self, grounds):
        os.utime(grounds.path("w/f"), (5, 1234.5))
        assert await grounds.files.stat("f") == FileStat(kind="file", size=4, modified=1234.5)
        assert (await grounds.files.stat("in")).size == 4, "a link is followed"
        assert (await grounds.files.stat("d")).kind == "directory"
        os.mkfifo(grounds.path("w/pipe"))
        assert (await grounds.files.stat("pipe")).kind == "other"

    @pytest.mark.parametrize("name", ["s/key", "s/none", "w/l", "w/ld", "w/dang", "w/priv/note", "r/../s", "w/run"])
    async def test_elsewhere_not_even_that(self, grounds, name):
        with pytest.raises(AccessDeniedError):
            await grounds.files.stat(grounds.path(name))

    async def test_absence_is_told_where_one_may_look(self, grounds):
        with pytest.raises(FileNotFoundError):
            await grounds.files.stat("none")


class TestChanging:
    async def test_a_directory_is_made_and_removed(self, grounds):
        await grounds.files.make_directory("new")
        assert grounds.seen()["w/new"] is None
        with pytest.raises(FileExistsError):
            await grounds.files.make_directory("new")
        await grounds.files.remove("new")
        assert "w/new" not in grounds.seen()

    async def test_a_link_is_removed_and_renamed_itself(self, grounds):
        await grounds.files.remove("l")
        await grounds.files.rename("ld", "ld2")
        assert os.readlink(grounds.path("w/ld2")) == grounds.path("s")
        assert grounds.get("s/key") == "secret"

    async def test_a_file_gets_another_name(self, grounds):
        await grounds.files.rename("f", "d/g")
        assert grounds.get("w/d/g") == "in w"

    @pytest.mark.parametrize(
        ("operation", "paths"),
        [
            ("make_directory", ["s/new"]),
            ("make_directory", ["w/ld/new"]),
            ("make_directory", ["r/new"]),
            ("make_directory", ["w/run"]),
            ("make_directory", ["w/run/x"]),
            ("make_directory", ["w/.git/hooks"]),
            ("remove", ["s/key"]),
            ("remove", ["w/ld/key"]),
            ("remove", ["r/f"]),
            ("remove", ["w/.git/config"]),
            ("remove", ["w/.git"]),
            ("rename", ["w/f", "s/f"]),
            ("rename", ["w/f", "w/ld/f"]),
            ("rename", ["w/f", "r/f"]),
            ("rename", ["r/f", "w/g"]),
            ("rename", ["s/key", "w/g"]),
            ("rename", ["w/ld/key", "w/g"]),
            ("rename", ["w/.git", "w/git"]),
            ("rename", ["w", "w2/w"]),
            ("rename", ["n/k", "n/l"]),
            ("rename", ["w/d", "w/run"]),
            ("remove_tree", ["s"]),
            ("remove_tree", ["w/ld/dir"]),
            ("remove_tree", ["w"]),
            ("remove_tree", ["w/.git"]),
            ("remove_tree", ["w/priv"]),
            ("remove_tree", ["n/k"]),
            ("remove_tree", ["r"]),
        ],
    )
    async def test_what_is_not_allowed_changes_nothing(self, grounds, operation, paths):
        before = grounds.seen()
        with pytest.raises(DENIED):
            await getattr(grounds.files, operation)(*map(grounds.path, paths))
        assert grounds.seen() == before

    async def test_what_was_said_is_committed_before_anything_changes(self, grounds):
        for call in (
            grounds.files.make_directory("new"),
            grounds.files.rename("new", "newer"),
            grounds.files.remove("newer"),
            grounds.files.remove_tree("d"),
        ):
            before = grounds.committed
            await call
            assert grounds.committed == before + 1
        without = grounds.make(committed=None)
        await without.make_directory("new")


class TestRemovingTrees:
    async def test_all_of_it_goes_and_nothing_that_links_lead_to(self, grounds):
        for name in ("t/a/b/c", "t/d", "t/e/f"):
            grounds.put(f"w/{name}", name)
        os.symlink(grounds.path("s"), grounds.path("w/t/out"))
        os.symlink(grounds.path("s/key"), grounds.path("w/t/a/key"))
        os.mkfifo(grounds.path("w/t/pipe"))
        before = {name: value for name, value in grounds.seen().items() if not (name + "/").startswith("w/t/")}
        await grounds.files.remove_tree("t")
        assert grounds.seen() == before

    async def test_a_file_or_a_link_is_removed_like_any_other(self, grounds):
        await grounds.files.remove_tree("f")
        await grounds.files.remove_tree("ld")
        assert {"w/f", "w/ld"}.isdisjoint(grounds.seen())
        assert grounds.get("s/key") == "secret"
        with pytest.raises(FileNotFoundError):
            await grounds.files.remove_tree("f")

    async def test_it_may_be_as_deep_as_it_likes(self, grounds):
        here = os.open(grounds.path("w"), os.O_RDONLY)
        for _ in range(2_000 if grounds.kernel else 20):
            os.mkdir("deep", dir_fd=here)
            below = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        with trio.fail_after(20):
            await grounds.files.remove_tree("deep")
        assert not os.path.exists(grounds.path("w/deep"))

    async def test_it_may_be_as_wide_as_it_likes_and_others_run_meanwhile(self, grounds, monkeypatch):
        monkeypatch.setattr(tree_room, "_NAMES_AT_ONCE", 16)
        for number in range(200):
            grounds.put(f"w/wide/{number % 3}/{number}")
        turns = 0

        async def others():
            nonlocal turns
            while os.path.exists(grounds.path("w/wide")):
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            nursery.start_soon(grounds.files.remove_tree, "wide")
        assert turns > 5

    async def test_once_begun_it_goes_on_to_its_end(self, grounds, monkeypatch):
        monkeypatch.setattr(tree_room, "_NAMES_AT_ONCE", 4)
        for number in range(50):
            grounds.put(f"w/wide/{number}")
        seen = []
        real = tree_room.Removal.step

        def step(removal):
            seen.append(removal)
            if len(seen) == 2:
                scope.cancel()
            return real(removal)

        monkeypatch.setattr(tree_room.Removal, "step", step)
        with trio.CancelScope() as scope:
            await grounds.files.remove_tree("wide")
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert not os.path.exists(grounds.path("w/wide"))

    async def test_what_is_lent_below_keeps_all_of_it_where_it_is(self, grounds):
        grounds.put("w/t/a/f", "x")
        grounds.scope = grounds.scope.lend(Scope.write(grounds.path("w/t/a")), to="notes")
        before = grounds.seen()
        for call in (grounds.files.remove_tree("t"), grounds.files.rename("t", "u"), grounds.files.rename("d", "t")):
            with pytest.raises(AccessDeniedError):
                await call
        assert grounds.seen() == before

    async def test_where_something_is_mounted_nothing_is_removed(self, grounds, monkeypatch):
        from podkit.logic._mounts import Mount

        grounds.put("w/t/a/f", "x")
        before = grounds.seen()
        for point in ("w/t/a", "w/t"):
            found = (Mount("8:1", "/", "/"), Mount("8:1", "/elsewhere", grounds.path(point)))
            monkeypatch.setattr(tree_room, "mounts", lambda found=found: found)
            with pytest.raises(PathRefusedError, match="mounted"):
                await grounds.files.remove_tree("t")
        assert grounds.seen() == before
        monkeypatch.setattr(tree_room, "mounts", lambda: None)
        await grounds.files.remove_tree("t")

    async def test_a_file_system_that_appears_meanwhile_is_not_entered(self, grounds, monkeypatch):
        grounds.put("w/t/a/f", "x")
        real = os.fstat

        def fstat(fd):
            info = real(fd)
            if os.readlink(f"/proc/self/fd/{fd}") == grounds.path("w/t/a"):
                return os.stat_result((*info[:2], 77, *info[3:10]))
            return info

        monkeypatch.setattr(tree_room.os, "fstat", fstat)
        with pytest.raises(PathRefusedError, match="mounted below"):
            await grounds.files.remove_tree("t")
        assert grounds.get("w/t/a/f") == "x"

    async def test_what_is_moved_meanwhile_is_not_followed(self, grounds, monkeypatch):
        grounds.put("w/t/a/f", "x")
        grounds.put("w/u/keep", "x")
        real = os.unlink

        def unlink(name, **more):
            if name == "f":
                os.rename(grounds.path("w/t/a"), grounds.path("w/u/a"))
            real(name, **more)

        monkeypatch.setattr(tree_room.os, "unlink", unlink)
        with pytest.raises(PathRefusedError, match="moved"):
            await grounds.files.remove_tree("t")
        assert {"w/u/a", "w/u/keep", "w/t"} <= set(grounds.seen())

    async def test_what_others_do_in_it_meanwhile_is_borne(self, grounds, monkeypatch):
        """Names vanish before they are removed, and appear before their directory is."""
        grounds.put("w/t/a/f", "x")
        grounds.put("w/t/b/g", "x")
        unlink, rmdir, done = os.unlink, os.rmdir, set()

        def unlinking(name, **more):
            if name == "g" and "g" not in done:
                done.add("g")
                unlink(grounds.path("w/t/b/g"))
                os.rmdir(grounds.path("w/t/b"))
            unlink(name, **more)

        def removing(name, **more):
            if name == "a" and "a" not in done:
                done.add("a")
                grounds.put("w/t/a/late", "x")
            if name == "t" and "t" not in done:
                done.add("t")
                rmdir(grounds.path("w/t"))
            rmdir(name, **more)

        monkeypatch.setattr(tree_room.os, "unlink", unlinking)
        with monkeypatch.context() as patch:
            patch.setattr(tree_room.os, "rmdir", removing)
            await grounds.files.remove_tree("t")
        assert {"a", "t"} <= done
        assert not os.path.exists(grounds.path("w/t"))

    async def test_a_directory_that_vanishes_before_it_is_entered_is_gone(self, grounds, monkeypatch):
        grounds.put("w/t/a/f", "x")
        real = os.open

        def opening(path, *args, **more):
            if path == "a" and os.path.exists(grounds.path("w/t/a")):
                os.unlink(grounds.path("w/t/a/f"))
                os.rmdir(grounds.path("w/t/a"))
            return real(path, *args, **more)

        monkeypatch.setattr(tree_room.os, "open", opening)
        await grounds.files.remove_tree("t")
        assert not os.path.exists(grounds.path("w/t"))

    @pytest.mark.parametrize("name", ["a", "t"])
    async def test_a_directory_that_becomes_a_link_before_it_is_entered_is_not(self, grounds, monkeypatch, name):
        grounds.put("w/t/a/f", "x")
        path = grounds.path("w/t/a" if name == "a" else "w/t")
        real = os.unlink

        def unlinking(given, **more):
            try:
                real(given, **more)
            except IsADirectoryError:
                if given == name:
                    os.rename(path, grounds.path("w/kept"))
                    os.symlink(grounds.path("s"), path)
                raise

        with monkeypatch.context() as patch:
            patch.setattr(tree_room.os, "unlink", unlinking)
            if name == "t":
                with pytest.raises(PathRefusedError, match="changed"):
                    await grounds.files.remove_tree("t")
            else:
                await grounds.files.remove_tree("t")
        assert (grounds.get("s/key"), grounds.get("s/dir/x")) == ("secret", "x")
        assert os.path.exists(grounds.path("w/kept"))

    async def test_whoever_keeps_filling_it_does_not_keep_us_for_ever(self, grounds, monkeypatch):
        monkeypatch.setattr(tree_room, "_PASSES", 5)
        grounds.put("w/t/f", "x")
        real = os.rmdir

        def removing(name, **more):
            grounds.put("w/t/again", "x")
            real(name, **more)

        monkeypatch.setattr(tree_room.os, "rmdir", removing)
        with pytest.raises(OSError, match="not empty"):
            await grounds.files.remove_tree("t")

    @pytest.mark.parametrize("call", ["unlink", "rmdir"])
    async def test_trouble_in_the_middle_is_told(self, grounds, monkeypatch, call):
        grounds.put("w/t/f", "x")

        def refuse(name, **more):
            raise PermissionError(1, "not yours")

        monkeypatch.setattr(tree_room.os, call, refuse)
        with pytest.raises(PermissionError, match="not yours"):
            await grounds.files.remove_tree("t")


class TestSensitiveNames:
    @pytest.fixture
    def files(self, grounds):
        grounds.scope = Scope.write(grounds.path("w"))
        os.symlink(".git", grounds.path("w/plain"))
        return grounds.make(sensitive=made_sensitive)

    @pytest.mark.parametrize(
        "name", [".git/hooks/pre-commit", ".git/config", "new/.git/hooks/x", "a/b/c/.git/hooks/x", ".envrc", "plain/hooks/x"]
    )
    async def test_what_somebody_obeys_is_not_changed_by_us(self, grounds, files, name):
        before = grounds.seen()
        with pytest.raises(AccessDeniedError):
            await files.write_text(name, "x")
        for call in (files.make_directory(name), files.rename("f", name), files.remove(name), files.remove_tree(name)):
            with pytest.raises((AccessDeniedError, FileNotFoundError)):
                await call
        assert grounds.seen() == before

    async def test_it_says_why_and_reading_is_no_matter(self, grounds, files):
        with pytest.raises(AccessDeniedError, match="git") as caught:
            await files.write_text(".git/config", "x")
        assert (caught.value.path, caught.value.asked.name) == (grounds.path("w/.git/config"), "WRITE")
        assert await files.read_text(".git/config") == "git"
        await files.write_text(".gitignore", "x")
        await files.write_text(".github/x", "x")

    async def test_s136_nothing_becomes_a_repository_by_its_name(self, grounds, files):
        grounds.put("w/tmpdir/hooks/pre-commit", "evil")
        for call in (files.rename("tmpdir", "d/.git"), files.rename("ld", "d/.git"), files.remove_tree(".git")):
            with pytest.raises(AccessDeniedError):
                await call
        assert not os.path.exists(grounds.path("w/d/.git"))


class TestLeftOvers:
    """What a killed writer leaves beside the file."""

    WRITER = """
import sys, os, trio
from podkit.confinement import Files, Gate
from podkit.logic import Scope
from podkit._os import _write

def stop(*_):
    print("half", flush=True)
    sys.stdin.read()

_write.Writing.commit = stop
files = Files(scope=lambda: Scope.write(sys.argv[1]), gate=Gate(), cwd=sys.argv[1])
trio.run(files.write_text, "f", "half of it")
"""

    @pytest.fixture
    def writer(self, grounds):
        process = subprocess.Popen(
            [sys.executable, "-c", self.WRITER, grounds.path("w")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"half\n"
        yield process
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def temporaries(self, grounds):
        return [name for name in grounds.seen() if ".podkit-" in name]

    async def test_the_living_keep_theirs_and_of_the_dead_it_is_swept(self, grounds, writer):
        (half,) = self.temporaries(grounds)
        await grounds.files.write_text("other", "x")
        assert self.temporaries(grounds) == [half]
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert self.temporaries(grounds) == [half]
        files = grounds.make()
        await files.write_text("other", "y")
        assert self.temporaries(grounds) == []
        assert grounds.get("w/f") == "in w"

    async def test_a_directory_is_looked_through_once(self, grounds, monkeypatch):
        monkeypatch.setattr(write_room, "_MAX_REMEMBERED", 2)
        swept = []
        monkeypatch.setattr(write_room, "sweep", swept.append)
        for name in ("a/x", "a/y", "b/x", "a/z", "c/x", "a/x"):
            await grounds.files.write_text(name, "x")
        assert len(swept) == 4, "a, b, then c for which the others are forgotten, and a again"

    async def test_only_what_is_a_temporary_file_of_ours_is_swept(self, grounds):
        keep = ["w/.podkit-x.tmp2", "w/a.podkit-x.tmp", "w/.podkit-A.tmp", "w/.podkit-.tmp"]
        for name in keep:
            grounds.put(name, "mine")
        os.mkdir(grounds.path("w/.podkit-dir.tmp"))
        os.symlink("f", grounds.path("w/.podkit-link.tmp"))
        os.mkfifo(grounds.path("w/.podkit-pipe.tmp"))
        grounds.put("w/.podkit-left.tmp", "half")
        await grounds.files.write_text("other", "x")
        left = {name for name in grounds.seen() if ".podkit-" in name}
        assert left == {*keep, "w/.podkit-dir.tmp", "w/.podkit-link.tmp", "w/.podkit-pipe.tmp"}
        for name in left:
            path = grounds.path(name)
            os.rmdir(path) if name.endswith("dir.tmp") else os.unlink(path)

    async def test_a_sweeper_that_is_quicker_than_the_writer_makes_it_begin_again(self, grounds, monkeypatch):
        real, calls = write_room.fcntl.flock, []

        def flock(fd, how):
            calls.append(fd)
            if len(calls) == 1:
                raise BlockingIOError
            if len(calls) == 2:
                os.unlink(os.readlink(f"/proc/self/fd/{fd}"))
            return real(fd, how)

        monkeypatch.setattr(write_room.fcntl, "flock", flock)
        await grounds.files.write_text("d/f", "new")
        assert (len(calls), grounds.get("w/d/f")) == (3, "new")

    async def test_without_such_locks_one_writes_and_sweeps_nothing(self, grounds, monkeypatch):
        def flock(fd, how):
            raise OSError(95, "not supported")

        monkeypatch.setattr(write_room.fcntl, "flock", flock)
        grounds.put("w/.podkit-left.tmp", "half")
        await grounds.files.write_text("f", "new")
        assert (grounds.get("w/f"), self.temporaries(grounds)) == ("new", ["w/.podkit-left.tmp"])
        os.unlink(grounds.path("w/.podkit-left.tmp"))

    async def test_a_file_that_got_another_name_meanwhile_is_let_be(self, grounds, monkeypatch):
        grounds.put("w/.podkit-left.tmp", "half")
        real = write_room.fcntl.flock

        def flock(fd, how):
            if os.path.exists(grounds.path("w/.podkit-left.tmp")) and os.fstat(fd).st_size:
                os.rename(grounds.path("w/.podkit-left.tmp"), grounds.path("w/done"))
                grounds.put("w/.podkit-left.tmp", "")
            return real(fd, how)

        monkeypatch.setattr(write_room.fcntl, "flock", flock)
        await grounds.files.write_text("other", "x")
        assert grounds.get("w/done") == "half"
        assert self.temporaries(grounds) == ["w/.podkit-left.tmp"]
        os.unlink(grounds.path("w/.podkit-left.tmp"))
