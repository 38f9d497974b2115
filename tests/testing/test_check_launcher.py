"""The contract check of launchers: right ones pass, and one with a single broken promise fails at that promise."""

import os
import subprocess

import pytest
import trio
import trio.testing

import podkit
from podkit.abc import Launcher, Process
from podkit.testing._check_launcher import LAUNCHER_CLAUSES, _clause, check_launcher
from podkit.testing._check_launcher_ground import open_ground
from podkit_transports import UnixTransport


def test_the_task_launcher_keeps_the_contract():
    def make(child):
        return podkit.TaskLauncher(child.make_worker)

    trio.run(check_launcher, make, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.proves("I4", "F2", "F14")
async def test_the_process_launcher_keeps_the_contract():
    with trio.fail_after(120):
        await check_launcher(
            lambda child: podkit.ProcessLauncher(child.argv), transport=UnixTransport, registry=podkit.FileRegistry
        )


def test_the_clauses_are_numbered_sentences():
    assert [name for name, _ in LAUNCHER_CLAUSES] == [f"L{n}" for n in range(1, len(LAUNCHER_CLAUSES) + 1)]
    assert all(sentence and not sentence.endswith(".") for _, sentence in LAUNCHER_CLAUSES)


class Handle(Process):
    """Another process: what the mutants of handles are made of."""

    def __init__(self, inner):
        self.inner, self.pid = inner, inner.pid

    async def wait(self):
        return await self.inner.wait()

    def terminate(self):
        self.inner.terminate()

    def kill(self):
        self.inner.kill()

    def stderr_tail(self):
        return self.inner.stderr_tail()


class Handing(Launcher):
    """Another launcher, whose processes are handed out as `kind`."""

    kind = Handle

    def __init__(self, child):
        self.inner = podkit.TaskLauncher(child.make_worker)

    async def launch(self, birth):
        return self.kind(await self.inner.launch(birth))


def handing(kind):
    return type(kind.__name__, (Handing,), {"kind": kind, "__doc__": kind.__doc__})


class Nothing(Handing):
    """Launches, and keeps the handle for itself."""

    async def launch(self, birth):
        await trio.lowlevel.checkpoint()
        return await super().launch(birth) and None


class Stranger(Handing):
    """Starts somebody else at the child's address."""

    async def launch(self, birth):
        async def run():
            async with await podkit.MemoryTransport().listen(birth.document.address):
                birth.ready.set()
                await trio.sleep_forever()

        return self.kind(birth.task(run))


@handing
class Premature(Handle):
    """Says at once that it is over."""

    async def wait(self):
        await trio.lowlevel.checkpoint()
        return 0


@handing
class Reaping(Handle):
    """Ends the child when somebody stops waiting for it."""

    async def wait(self):
        try:
            return await super().wait()
        except trio.Cancelled:
            self.kill()
            raise


@handing
class Once(Handle):
    """Can be waited for once."""

    waited = False

    async def wait(self):
        if self.waited:
            await trio.sleep_forever()
        status = await super().wait()
        self.waited = True
        return status


@handing
class Alarming(Handle):
    """Tells a good end as a bad one."""

    async def wait(self):
        return await super().wait() or 1


@handing
class Calming(Handle):
    """Tells every end as a good one."""

    async def wait(self):
        await super().wait()
        return 0


@handing
class Misquoting(Handle):
    def stderr_tail(self):
        return "all is well"


@handing
class Polite(Handle):
    """Does not end what it should."""

    def terminate(self):
        pass


@handing
class Fragile(Handle):
    """Raises when there is nobody to signal."""

    over = False

    async def wait(self):
        status = await super().wait()
        self.over = True
        return status

    def terminate(self):
        if self.over:
            raise ProcessLookupError
        super().terminate()


@handing
class Merciful(Handle):
    """Does not kill."""

    def kill(self):
        pass


@handing
class Praising(Handle):
    """Calls it a good end to be killed."""

    async def wait(self):
        return max(await super().wait(), 0)


class OneChild(Handing):
    """Has one handle for all its children."""

    handle = None

    async def launch(self, birth):
        handle = await super().launch(birth)
        self.handle = self.handle or handle
        return self.handle


class OneFate(Handing):
    """Ends all its children when one is to end."""

    def __init__(self, child):
        super().__init__(child)
        self.all = []

    async def launch(self, birth):
        handle = await super().launch(birth)
        self.all.append(handle)
        handle.kill = lambda: [one.inner.kill() for one in self.all]
        return handle


class Lasting(Handing):
    """Goes on launching when nobody wants the child any more, and tells nobody."""

    async def launch(self, birth):
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
            await super().launch(birth)
        await trio.lowlevel.checkpoint()
        return Handle(birth.process)


MUTANTS = {
    Nothing: "L1",
    Stranger: "L1",
    Premature: "L1",
    Reaping: "L1",
    Once: "L2",
    Alarming: "L2",
    Calming: "L4",
    Misquoting: "L4",
    Polite: "L6",
    Fragile: "L6",
    Merciful: "L7",
    Praising: "L7",
    OneChild: "L8",
    OneFate: "L8",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_promise_is_named_by_its_clause(mutant):
    with pytest.raises(AssertionError) as caught:
        trio.run(check_launcher, mutant, clock=trio.testing.MockClock(autojump_threshold=0))
    sentence = dict(LAUNCHER_CLAUSES)[MUTANTS[mutant]]
    assert str(caught.value).startswith(f"{MUTANTS[mutant]}: {sentence}; ")


def test_a_launcher_that_goes_on_when_nobody_wants_the_child_is_undone_by_who_asked_it():
    trio.run(check_launcher, Lasting, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_wrapper_that_the_mutants_are_made_of_is_not_itself_a_mutant():
    trio.run(check_launcher, Handing, clock=trio.testing.MockClock(autojump_threshold=0))


# Launchers of programs: each is held to the one clause that it breaks, because a program takes its time.


class Programs(Launcher):
    """A launcher of programs as a stranger might write it."""

    close_fds = True

    def __init__(self, child):
        self.argv = child.argv

    async def launch(self, birth):
        program = birth.program()
        command = {"env": os.environ | dict(program.environment), "pass_fds": program.pass_fds, "cwd": program.cwd}
        if not self.close_fds:
            for fd in program.pass_fds:
                os.set_inheritable(fd, True)
            command["pass_fds"] = ()
        with open(program.stderr, "ab") as stderr:
            process = await trio.lowlevel.open_process(
                self.argv, stderr=stderr, stdin=subprocess.DEVNULL, close_fds=self.close_fds, **command
            )
        return self.handle(process, program.stderr)

    def handle(self, process, stderr):
        return ProgramHandle(process, stderr)


class ProgramHandle(Process):
    def __init__(self, process, stderr):
        self.process, self.stderr, self.pid = process, stderr, process.pid

    async def wait(self):
        return await self.process.wait()

    def terminate(self):
        self.process.terminate()

    def kill(self):
        self.process.kill()


class Generous(Programs):
    """Lets its programs inherit whatever is inheritable."""

    close_fds = False


class Untyped(Programs):
    """Says in its own way that there is no such program."""

    async def launch(self, birth):
        try:
            return await super().launch(birth)
        except FileNotFoundError as error:
            raise RuntimeError("no such program") from error


class Flattening(Programs):
    """Knows two ways to end: well and not."""

    def handle(self, process, stderr):
        handle = ProgramHandle(process, stderr)

        async def wait():
            return min(abs(await process.wait()), 1)

        handle.wait = wait
        return handle


async def check_clause(make, clause):
    def ground():
        return open_ground(make, UnixTransport, podkit.FileRegistry, {"programs": True})

    with trio.fail_after(60):
        await _clause.check(ground, only=clause)


@pytest.mark.parametrize("clause", ["L1", "L5", "L9", "L11"])
async def test_a_launcher_of_programs_as_a_stranger_might_write_it_keeps_these_clauses(clause):
    await check_clause(Programs, clause)


@pytest.mark.parametrize(("mutant", "clause"), [(Generous, "L11"), (Flattening, "L11"), (Untyped, "L5")])
async def test_a_broken_promise_of_programs_is_named_by_its_clause(mutant, clause):
    with pytest.raises(AssertionError, match=rf"^{clause}: "):
        await check_clause(mutant, clause)
