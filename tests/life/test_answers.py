"""Every method gets exactly one answer in every phase: now, or when what it waits for is decided, or when the pod ends."""

from contextlib import asynccontextmanager
from typing import get_args

import attrs
import pytest
import trio

import podkit
from podkit._net import Ask, Origin
from podkit.logic import AskJob, CancelJob, JobDone, Phase, StartJob
from podkit.protocol import (
    Accepted,
    AttachOrRestorePod,
    Cancel,
    Compact,
    CompletionKind,
    CompletionsEvent,
    Error,
    ErrorCode,
    GetHistory,
    Hello,
    History,
    InspectPod,
    ListCompletions,
    ListRewindTargets,
    ListVisiblePods,
    Method,
    Notify,
    Pause,
    PodAttachRestore,
    PodEventMethod,
    PodInspection,
    PodTurnEnded,
    Resume,
    RewindTarget,
    RewindTargets,
    RewindTo,
    Role,
    Run,
    ShutdownMethod,
    VisiblePods,
)
from podkit.testing import ScriptedWorker, open_world

SEGMENT = "00000000-0000-4000-8000-000000000000"
KID = podkit.Scope.write("/w/kid")

# For each method: one of it, and what answers it when it is accepted.
METHODS = {
    Run: (Run("go"), Accepted),
    Notify: (Notify("news"), Accepted),
    PodEventMethod: (PodEventMethod(PodTurnEnded("kid")), Accepted),
    Resume: (Resume(), Accepted),
    Cancel: (Cancel(), Accepted),
    Pause: (Pause(), Accepted),
    ShutdownMethod: (ShutdownMethod(), Accepted),
    GetHistory: (GetHistory(), History),
    Compact: (Compact(), Accepted),
    ListCompletions: (ListCompletions(CompletionKind.FILE, ""), CompletionsEvent),
    ListRewindTargets: (ListRewindTargets(), RewindTargets),
    RewindTo: (RewindTo(RewindTarget(SEGMENT, 0), 0), Accepted),
    ListVisiblePods: (ListVisiblePods(), VisiblePods),
    InspectPod: (InspectPod("kid"), PodInspection),
    AttachOrRestorePod: (AttachOrRestorePod("kid"), PodAttachRestore),
    Hello: (Hello((1,), "test/1", "x"), None),
}
WORDS = (Notify, PodEventMethod)
JOBS = (StartJob, CancelJob)

# For each phase: who is answered otherwise than with an acceptance, and with what.
OPEN = {Compact: "invalid_request", RewindTo: "invalid_request", Hello: "invalid_request"}
BUSY = OPEN | {Run: "already_running", Resume: "already_running", RewindTo: "already_running"}
REFUSED = {
    Phase.IDLE: OPEN | {Resume: "not_paused", Cancel: "not_running", Pause: "not_running"},
    Phase.STARTING: BUSY,
    Phase.RUNNING: BUSY,
    Phase.PAUSING: BUSY,
    Phase.CANCELLING: BUSY | {Pause: "not_running"},
    Phase.BUSY: BUSY | {Pause: "not_running"},
    Phase.PAUSED: OPEN,
    Phase.STOPPING: OPEN | dict.fromkeys((Run, Resume, Pause, RewindTo, *WORDS), "stopping"),
    Phase.STOPPED: dict.fromkeys(METHODS, "stopping") | {Hello: "invalid_request"},
}


class Stubborn(podkit.abc.Worker):
    """Works until it is let go, whatever is asked of it."""

    def __init__(self):
        self.let_go = trio.Event()

    async def work(self, run, emit):
        with trio.CancelScope(shield=True):
            await self.let_go.wait()
        await trio.lowlevel.checkpoint()


def submit(pod, method, answers):
    """As from an admitted connection: of a client, or of the child when it reports."""
    child = ("kid", pod.children["kid"].incarnation) if isinstance(method, PodEventMethod) else None
    origin = Origin(Role.CLIENT if child is None else Role.CHILD, "test", child)
    pod.desk.submit(Ask(method, None, origin, answers.append))


@asynccontextmanager
async def in_phase(world, phase):
    """A pod with a child in that phase, and what lets it go on."""
    worker = Stubborn()
    async with world.open_pod("root", worker, scope=podkit.Scope.write("/w"), cwd="/") as pod:
        await pod.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
        go_on = worker.let_go.set
        actor, ignored = pod.actor, []
        if phase in (Phase.RUNNING, Phase.PAUSING, Phase.CANCELLING, Phase.PAUSED, Phase.STOPPING):
            await pod.run("work")
        match phase:
            case Phase.STARTING:
                # Committing takes no time here: as if it did.
                commit = actor._commit
                actor._commit = ignored.append
                submit(pod, Run("work"), ignored)

                def go_on():
                    worker.let_go.set()
                    actor._commit = commit
                    commit(ignored[0])

            case Phase.BUSY:
                perform = actor._perform
                actor._perform = lambda effect: ignored.append(effect) if isinstance(effect, JOBS) else perform(effect)
                token = actor.replies.open(Ask(Compact(), None, Origin(Role.CLIENT), ignored.append))
                actor.feed(AskJob(token, "compact"))

                def go_on():
                    worker.let_go.set()
                    actor.feed(JobDone(1))

            case Phase.PAUSING | Phase.PAUSED:
                submit(pod, Pause(), ignored)
            case Phase.CANCELLING:
                submit(pod, Cancel(), ignored)
            case Phase.STOPPING | Phase.STOPPED:
                submit(pod, ShutdownMethod(), ignored)
        if phase is Phase.PAUSED:
            worker.let_go.set()
            while actor.life.phase is not Phase.PAUSED:
                await trio.lowlevel.checkpoint()
            worker.let_go = trio.Event()
            go_on = worker.let_go.set
        assert actor.life.phase is phase
        yield pod, go_on
        go_on()


def test_there_is_a_row_for_every_method_and_every_phase():
    assert set(METHODS) == set(get_args(Method))
    assert set(REFUSED) == set(Phase)


@pytest.mark.proves("I13", "I23")
@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("method", METHODS)
async def test_every_method_has_exactly_one_answer_in_every_phase(autojump_clock, method, phase):
    said, accepted = METHODS[method]
    with trio.fail_after(1000):
        async with open_world() as world, in_phase(world, phase) as (pod, go_on):
            answers = []
            submit(pod, said, answers)
            expected = REFUSED[phase].get(method)
            later = {ListCompletions: tuple(Phase), Pause: (Phase.STARTING, Phase.RUNNING, Phase.PAUSING)}.get(method, ())
            assert len(answers) == (0 if expected is None and phase in later else 1)
            go_on()
            await trio.sleep(10)
        (answer,) = answers
        if expected is None:
            assert isinstance(answer, accepted), answer
        else:
            assert isinstance(answer, Error)
            assert answer.code == expected
            assert answer.message


@pytest.mark.proves("I13")
@pytest.mark.parametrize("phase", Phase)
async def test_all_methods_at_once_are_answered_once_each_and_the_pod_ends(autojump_clock, phase):
    with trio.fail_after(1000):
        async with open_world() as world, in_phase(world, phase) as (pod, go_on):
            answers = {method: [] for method in METHODS}
            for method, (said, _) in METHODS.items():
                submit(pod, said, answers[method])
            go_on()
        assert {method: len(found) for method, found in answers.items()} == dict.fromkeys(METHODS, 1)


@pytest.mark.proves("I23")
@pytest.mark.parametrize("method", [Pause, Cancel])
async def test_a_run_is_paused_or_cancelled_also_before_its_first_step(method):
    class Endless(podkit.abc.Worker):
        async def work(self, run, emit):
            await trio.sleep_forever()

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Endless(), scope=podkit.Scope.write("/w")) as pod:
            began, ended = [], []
            origin = Origin(Role.CLIENT, "test")
            pod.desk.submit(Ask(Run("go"), None, origin, began.append))
            pod.desk.submit(Ask(method(), None, origin, ended.append))
            with trio.fail_after(2):
                await pod.wait(began[0].run)
            assert isinstance(ended[0], Accepted)


@pytest.mark.parametrize("method", [InspectPod, AttachOrRestorePod])
async def test_who_is_not_there_is_not_found(method):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=podkit.Scope.write("/w")) as pod:
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.send(method("nobody"))
            assert caught.value.code is ErrorCode.INVALID_REQUEST
            found = await pod.send(method("root"))
            said = attrs.asdict(found)
            assert next(iter(said.values()))["address"] == pod.address
