"""What a pod does with files: content, refusals that say why, and that no half of anything is ever seen."""

import os

import pytest
import trio

from podkit._os import Root
from podkit._os import _write as write_room
from podkit.confinement import ControlPlane, Files, ScopeJudge
from podkit.confinement import _files as room
from podkit.errors import AccessDeniedError, InvalidRuleError, PathRefusedError
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
async def test_what_is_written_is_read(grounds, size):
    data = os.urandom(size)
    await grounds.files.write_bytes("new/file", data)
    assert await grounds.files.read_bytes("new/file") == data


async def test_text_is_utf8_and_its_lines_stay_as_they_are(grounds):
    await grounds.files.write_text("t", "é\r\n\u2028x\n")
    assert await grounds.files.read_text("t") == "é\r\n\u2028x\n"
    grounds.put("w/odd", b"ab\xff")
    with pytest.raises(PathRefusedError, match=r"not UTF-8 text \(byte 2\)") as caught:
        await grounds.files.read_text("odd")
    assert caught.value.path == grounds.path("w/odd")
    with pytest.raises(UnicodeEncodeError):
        await grounds.files.write_text("t", "\ud800")


async def test_names_are_listed_in_order(grounds):
    for name in ("b", "a", "é"):
        grounds.put(f"w/list/{name}")
    os.mkdir(os.fsencode(grounds.path("w/list/")) + b"\xff")
    assert await grounds.files.listdir("list") == ["\\xff", "a", "b", "é"]


async def test_a_listing_is_bounded(grounds, monkeypatch):
    monkeypatch.setattr(room, "_MAX_ENTRIES", 10)
    monkeypatch.setattr(room, "_ENTRIES_AT_ONCE", 3)
    for number in range(10):
        grounds.put(f"w/list/{number}")
    assert len(await grounds.files.listdir("list")) == 10
    grounds.put("w/list/x")
    with pytest.raises(PathRefusedError, match="more than 10 entries"):
        await grounds.files.listdir("list")


async def test_sizes_are_bounded_both_ways(grounds):
    files = grounds.make(max_bytes=10)
    await files.write_bytes("f", b"0123456789")
    assert await files.read_bytes("f") == b"0123456789"
    grounds.put("w/f", "01234567890")
    with pytest.raises(PathRefusedError, match="more than 10 bytes"):
        await files.read_bytes("f")
    with pytest.raises(PathRefusedError, match="more than 10 bytes"):
        await files.write_bytes("f", b"01234567890")
    assert grounds.get("w/f") == "01234567890"


async def test_a_file_that_grows_while_it_is_read_is_bounded_too(grounds, monkeypatch):
    real = os.read
    monkeypatch.setattr(room.os, "read", lambda fd, size: real(fd, size) or size * b"x")
    files = grounds.make(max_bytes=2**21)
    with pytest.raises(PathRefusedError, match="more than"):
        await files.read_bytes("f")


async def test_what_was_given_may_be_changed_afterwards(grounds):
    data = bytearray(2 * 2**20)

    async def spoil():
        data[:] = len(data) * b"x"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(grounds.files.write_bytes, "new", data)
        nursery.start_soon(spoil)
    content = await grounds.files.read_bytes("new")
    assert set(content) in ({0}, {ord("x")})


class TestRefusals:
    """A denial names the path, what was asked, the rule, and who has it instead."""

    async def test_the_rule_that_denies_is_named(self, grounds):
        with pytest.raises(AccessDeniedError) as caught:
            await grounds.files.write_text(".git/config", "x")
        error = caught.value
        assert (error.path, error.asked) == (grounds.path("w/.git/config"), Permission.WRITE)
        assert grounds.path("w/.git") in str(error)
        assert error.explanation.allowed is False
        assert error.holder is None

    async def test_the_holder_of_what_is_lent_is_named(self, grounds):
        grounds.scope = grounds.scope.lend(Scope.write(grounds.path("w/d")), to="notes")
        assert await grounds.files.read_text("d/f") == "deep"
        with pytest.raises(AccessDeniedError) as caught:
            await grounds.files.write_text("d/f", "x")
        assert caught.value.holder == "notes"
        assert "notes" in str(caught.value)

    async def test_the_path_that_is_meant_is_named_and_not_the_link(self, grounds):
        with pytest.raises(AccessDeniedError) as caught:
            await grounds.files.read_text("l")
        assert caught.value.path == grounds.path("s/key")

    async def test_what_a_link_says_is_not_told_where_it_may_not_be_read(self, grounds):
        os.symlink("/somewhere/private", grounds.path("s/link"))
        for path in (grounds.path("s/link"), "ld/link", "ld/link/x"):
            with pytest.raises(AccessDeniedError) as caught:
                await grounds.files.read_text(path)
            assert "private" not in str(caught.value)
            assert caught.value.path == grounds.path("s/link")

    async def test_a_link_from_out_of_sight_is_no_way_in(self, grounds):
        os.symlink("w", grounds.path("way"))
        for call in (grounds.files.read_text, lambda path: grounds.files.write_text(path, "x")):
            with pytest.raises(AccessDeniedError) as caught:
                await call(grounds.path("way/f"))
            assert caught.value.path == grounds.path("way/f")

    async def test_absence_is_told_only_where_one_may_look(self, grounds):
        with pytest.raises(FileNotFoundError):
            await grounds.files.read_text("none")
        for path in ("s/none", "s/none/deeper", "w/priv/none"):
            with pytest.raises(AccessDeniedError):
                await grounds.files.read_text(grounds.path(path))

    async def test_nothing_hostile_comes_through_in_an_error(self, grounds):
        for path in ("\x1b[31m" + 300 * "x", grounds.path("s/\x1b\n")):
            with pytest.raises((PathRefusedError, AccessDeniedError)) as caught:
                await grounds.files.read_text(path)
            assert "\x1b" not in str(caught.value)


async def test_a_file_whose_directory_may_not_be_written_is_changed_in_place(grounds):
    grounds.scope = Scope.write(grounds.path("w/f"), grounds.path("w/new"))
    before = os.stat(grounds.path("w/f")).st_ino
    await grounds.files.write_bytes("f", 3 * 2**20 * b"x")
    assert (os.stat(grounds.path("w/f")).st_ino, grounds.size("w/f")) == (before, 3 * 2**20)
    await grounds.files.write_text("new", "made")
    assert grounds.get("w/new") == "made"
    with pytest.raises(AccessDeniedError):
        await grounds.files.write_text("other", "x")


async def test_a_hard_link_in_place_is_refused(grounds):
    os.link(grounds.path("s/key"), grounds.path("w/h"))
    grounds.scope = Scope.write(grounds.path("w/h"))
    with pytest.raises(PathRefusedError, match="hard link"):
        await grounds.files.write_text("h", "x")
    assert grounds.get("s/key") == "secret"


async def test_the_pods_own_directory_is_used_and_not_the_programs(grounds, monkeypatch):
    monkeypatch.chdir(grounds.path("s"))
    assert await grounds.files.read_text("f") == "in w"
    with pytest.raises(FileNotFoundError):
        await grounds.files.read_text("key")


@pytest.mark.parametrize("more", [{"cwd": "w"}, {"cwd": "/w/../x"}, {"control": ["run"]}, {"control": ["/a//b"]}])
def test_a_place_to_stand_is_an_absolute_normal_path(grounds, more):
    with pytest.raises(InvalidRuleError):
        grounds.make(**more)


class TestCommitBeforeEffect:
    async def test_writing_waits_until_what_was_said_is_committed(self, grounds):
        go, seen = trio.Event(), []

        async def committed():
            await go.wait()

        files = grounds.make(committed=committed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(files.write_text, "f", "new")
            await trio.testing.wait_all_tasks_blocked()
            seen.append((grounds.get("w/f"), grounds.gate.busy))
            go.set()
        assert seen == [("in w", ())]
        assert grounds.get("w/f") == "new"

    async def test_what_cannot_be_committed_is_not_done(self, grounds):
        async def committed():
            raise KeyError

        with pytest.raises(KeyError):
            await grounds.make(committed=committed).write_text("f", "new")
        assert grounds.get("w/f") == "in w"

    async def test_reading_and_writing_need_nobody_to_commit(self, grounds):
        files = grounds.make(committed=None)
        await files.write_text("f", "new")
        assert await files.read_text("f") == "new"
        assert grounds.committed == 0
        await grounds.files.listdir(".")
        assert grounds.committed == 0


class TestTheGate:
    async def test_the_scope_is_asked_inside_the_gate(self, grounds):
        """What waits while a revocation is under way sees the new scope."""
        failed = []

        async def write():
            with pytest.raises(AccessDeniedError) as caught:
                await grounds.files.write_text("f", "x")
            failed.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            async with grounds.gate.alone():
                await trio.testing.wait_all_tasks_blocked()
                grounds.scope = grounds.scope.lend(Scope.write(grounds.path("w")), to="child")
        assert failed[0].holder == "child"

    async def test_a_revocation_waits_for_what_is_under_way(self, grounds):
        seen = []

        async def revoke():
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            busy.extend(grounds.gate.busy)
            async with grounds.gate.alone():
                seen.append(grounds.size("w/big"))

        busy = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grounds.files.write_bytes, "big", 6 * 2**20 * b"x")
            nursery.start_soon(revoke)
        assert seen == [6 * 2**20]
        assert busy == ["writing big"]


class TestTheControlPlane:
    def judge(self, grounds, *directories):
        root = Root(kernel=grounds.kernel)
        return root, ScopeJudge(root, grounds.scope, ControlPlane(tuple(directories)))

    async def test_it_is_closed_whatever_the_scope_and_whether_it_exists(self, grounds):
        for name in ("w/run", "w/run/root", "w/run/root/sock"):
            with pytest.raises(AccessDeniedError, match="podkit keeps"):
                await grounds.files.write_text(grounds.path(name), "x")
        grounds.put("w/run/root/key", "key")
        for name in ("w/run/root/key", "w/run/root", "w/run/none"):
            with pytest.raises(AccessDeniedError, match="podkit keeps"):
                await grounds.files.read_text(grounds.path(name))

    async def test_it_is_closed_under_its_other_names(self, grounds):
        grounds.put("w/run/root/key", "key")
        os.symlink("run", grounds.path("w/alias"))
        files = grounds.make(control=[grounds.path("w/alias")])
        for name in ("run/root/key", "alias/root/key", "d/../alias/root/key"):
            with pytest.raises(AccessDeniedError, match="podkit keeps"):
                await files.read_text(name)

    async def test_a_directory_that_appears_later_behind_a_link_is_closed_too(self, grounds):
        os.symlink(grounds.path("w/later"), grounds.path("r/alias"))
        files = grounds.make(control=[grounds.path("r/alias")])
        with pytest.raises(AccessDeniedError, match="podkit keeps"):
            await files.write_text("later/x", "x")
        grounds.put("w/later/key", "key")
        for _ in range(2):
            with pytest.raises(AccessDeniedError, match="podkit keeps"):
                await files.read_text("later/key")

    def test_what_has_a_part_of_it_below_stays_where_it_is(self, grounds):
        root, judge = self.judge(grounds, grounds.path("w/a/run"))
        with root:
            for path in ("w", "w/a", "w/a/run"):
                with pytest.raises(AccessDeniedError, match="podkit keeps"):
                    judge(root.resolve(grounds.path(path)), Permission.WRITE, whole=True)
            judge(root.resolve(grounds.path("w/d")), Permission.WRITE, whole=True)

    def test_what_has_something_denied_or_lent_below_stays_where_it_is(self, grounds):
        root, judge = self.judge(grounds)
        with root:
            with pytest.raises(AccessDeniedError, match="stay where it is"):
                judge(root.resolve(grounds.path("w")), Permission.WRITE, whole=True)
            judge(root.resolve(grounds.path("w")), Permission.WRITE)

    def test_the_whole_machine_can_be_kept(self, grounds):
        root, judge = self.judge(grounds, "/")
        with root, pytest.raises(AccessDeniedError, match="podkit keeps"):
            judge(root.resolve(grounds.path("w/f")), Permission.READ)


class Countdown(trio.abc.Instrument):
    """Cancels a scope at the n-th step of the run."""

    def __init__(self, scope, steps):
        self.scope, self.steps = scope, steps

    def before_task_step(self, task):
        self.steps -= 1
        if self.steps == 0:
            self.scope.cancel()


OPERATIONS = {
    "replace": ("f", 3 * 2**20),
    "new": ("new", 3 * 2**20),
    "new directories": ("a/b/c", 3 * 2**20),
    "in place": ("only", 3 * 2**20),
    "new in place": ("only-new", 3 * 2**20),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_cancelled_at_any_step_a_write_has_done_all_or_nothing(grounds, operation):
    name, size = OPERATIONS[operation]
    outcomes = set()
    for steps in range(1, 20):
        grounds.put("w/only", "as it was")
        if operation == "in place":
            grounds.scope = Scope.write(grounds.path("w/only"))
        if operation == "new in place":
            grounds.scope = Scope.write(grounds.path("w/only-new"))
        before = grounds.seen()
        with trio.fail_after(10), trio.CancelScope() as scope:
            countdown = Countdown(scope, steps)
            trio.lowlevel.add_instrument(countdown)
            try:
                await grounds.files.write_bytes(name, size * b"x")
            finally:
                trio.lowlevel.remove_instrument(countdown)
        path = grounds.path(f"w/{name}")
        if grounds.holds(f"w/{name}", size * b"x"):
            outcomes.add("all")
            grounds.put("w/f", "in w")
            if operation != "replace":
                os.unlink(path)
            if operation == "new directories":
                os.removedirs(os.path.dirname(path))
            continue
        outcomes.add("nothing")
        assert scope.cancelled_caught
        assert grounds.seen() == before
    assert outcomes == {"all", "nothing"}


async def test_a_cancelled_read_leaves_nothing_open(grounds):
    grounds.put("w/big", 4 * 2**20 * b"x")
    for operation in (grounds.files.read_bytes, grounds.files.listdir):
        for steps in range(1, 12):
            with trio.CancelScope() as scope:
                countdown = Countdown(scope, steps)
                trio.lowlevel.add_instrument(countdown)
                try:
                    await operation("big" if operation == grounds.files.read_bytes else ".")
                finally:
                    trio.lowlevel.remove_instrument(countdown)


@pytest.mark.parametrize("call", ["write", "rename", "fchmod"])
async def test_trouble_in_the_middle_leaves_the_old_content(grounds, monkeypatch, call):
    def broken(*_args, **_more):
        raise OSError(28, "No space left on device")

    before = grounds.seen()
    with monkeypatch.context() as patch:
        patch.setattr(write_room.os, call, broken)
        with pytest.raises(OSError, match="No space"):
            await grounds.files.write_text("f", "new")
    assert grounds.seen() == before


async def test_many_writers_of_one_file_leave_one_of_their_contents(grounds):
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(grounds.files.write_bytes, "f", 3 * 2**20 * bytes([65 + number]))
    content = await grounds.files.read_bytes("f")
    assert (len(content), len(set(content))) == (3 * 2**20, 1)


async def test_files_work_in_virtual_time(grounds, autojump_clock):
    with trio.fail_after(1):
        await grounds.files.write_bytes("big", 6 * 2**20 * b"x")
        await grounds.files.read_bytes("big")
        await grounds.files.listdir(".")
    assert trio.current_time() == autojump_clock.current_time()


def test_a_rule_in_the_scope_may_speak_of_a_file(grounds):
    scope = Scope(allow=[ScopeRule(grounds.path("w/f"), Permission.WRITE)])
    assert scope.at(grounds.path("w/f")) is Permission.WRITE


async def test_a_refused_write_names_who_holds_the_path_when_somebody_can_tell(grounds):
    async def holder(path):
        return "somebody" if path.endswith("/r/f") else None

    files = Files(scope=lambda: grounds.scope, gate=grounds.gate, cwd=grounds.top, kernel=grounds.kernel, holder=holder)
    with pytest.raises(AccessDeniedError, match=r"held by pod `somebody`") as caught:
        await files.write_text(grounds.path("r/f"), "x")
    assert caught.value.holder == "somebody"
    with pytest.raises(AccessDeniedError) as caught:
        await files.read_text(grounds.path("s/key"))  # reading is shared: nobody holds it
    assert caught.value.holder is None
