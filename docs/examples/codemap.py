"""A code map of a source tree, made by a tree of pods: python docs/examples/codemap.py [DIR]

A lead pod splits DIR (default: a copy of the standard library's `email` package) into disjoint parts and starts one child process
for each, which may read everything and write its part only. Every child parses its files and writes INDEX.md inside its part; one
of them hands a sub-part on to a grandchild. Meanwhile the lead tries to write into a delegated part and a child tries to write
outside its own: both are refused. Then the lead merges what the children wrote into CODEMAP.md, stops them, and writes in the
parts it got back. The exit status is 0 only when all of that is so and nothing is left: no process, lease, socket or allocation.
How DIR is split is said in codemap_plan.py; a DIR that is given is worked on in place, and no page that codemap.py did not write
is ever overwritten.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

sys.path.append(str(Path(__file__).resolve().parent))  # -P leaves it out; at the end, so that nothing here hides a module

from codemap_ground import ground, leftovers, plan
from codemap_plan import MARK, Answer, Job, Part, clean, describe, merge, render_index
from codemap_screen import Screen

import podkit
from podkit.abc import Emit, Run
from podkit.protocol import NotificationItem, RunResult, TextDone, TurnStart
from podkit_transports import UnixTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAUNCH = [sys.executable, "-P", str(Path(__file__).resolve()), "--child"]
PENDING = f"{MARK}\nBeing written.\n"


def part_scope(part: Part, root: str) -> podkit.Scope:
    """Write on the part, read on the whole."""
    rules = [podkit.ScopeRule(target, podkit.Permission.WRITE) for target in part.targets]
    return podkit.Scope(allow=[podkit.ScopeRule(root, podkit.Permission.READ), *rules])


def below(path: str, root: str) -> str:
    """`path` as seen from `root`, which it lies in."""
    return path.removeprefix(root.rstrip("/") + "/")


async def refused_write(files: podkit.abc.Files, path: str) -> str | None:
    """Try to write where somebody else may; return the refusal, or None when it was not refused."""
    try:
        await files.write_text(path, "this must never be seen\n")
    except podkit.AccessDeniedError as error:
        return str(error)
    return None


class Mapper(podkit.abc.Worker):
    """A child or grandchild: maps the files of its part. Its last words are an `Answer`."""

    async def work(self, run: Run, emit: Emit) -> None:
        if not run.text:
            return  # a grandchild reported; whoever asked it has its answer
        job = Job.from_json(run.text)
        emit(TurnStart(turn=1))
        answers: list[Answer] = []
        async with trio.open_nursery() as nursery:
            if job.part.sub is not None:
                await run.pod.files.write_text(job.part.sub.index, PENDING)
                helper = await run.pod.spawn(
                    job.part.sub.name, scope=part_scope(job.part.sub, job.root), launcher=podkit.ProcessLauncher(LAUNCH)
                )
                nursery.start_soon(self._delegate, helper, Job(job.root, job.part.sub, job.delay), answers)
            answers.append(await self._map(run, emit, job))
        refusal = None
        if job.outside is not None:
            refusal = await refused_write(run.pod.files, job.outside)
        told = tuple(notice.message for notice in run.notices if isinstance(notice, NotificationItem))
        files, definitions = sum(one.files for one in answers), sum(one.definitions for one in answers)
        emit(TextDone(text=f"mapped {files} files with {definitions} definitions"))
        emit(TextDone(text=Answer(files, definitions, refusal, told).to_json()))

    async def _map(self, run: Run, emit: Emit, job: Job) -> Answer:
        modules = []
        for path in job.part.files:
            module = describe(below(path, job.root), await run.pod.files.read_bytes(path))
            modules.append(module)
            emit(TextDone(text=f"{module.path}: {len(module.definitions)} definitions"))
            await trio.sleep(job.delay)
        await run.pod.files.write_text(job.part.index, render_index(job.part.name, modules))
        return Answer(len(modules), sum(len(module.definitions) for module in modules))

    async def _delegate(self, helper: podkit.abc.Child, job: Job, answers: list[Answer]) -> None:
        answers.append(last_words(await helper.ask(job.to_json())))
        await helper.stop()


def last_words(outcome: podkit.Outcome) -> Answer:
    """What a Mapper ends with. `RuntimeError` when its run did not end well."""
    if outcome.result != RunResult.FINISHED:
        raise RuntimeError(f"its run ended {outcome.result}")
    return Answer.from_json(outcome.text.rpartition("\n\n")[2])


@dataclass
class Summary:
    """What happened, and what should not have."""

    pods: int = 0
    files: int = 0
    definitions: int = 0
    refusals: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def refused(self, who: str, refusal: str | None, *holders: str) -> None:
        """Note a refusal, which must name the holder: one of these."""
        if refusal is None:
            self.problems.append(f"{who} could write where it must not")
        elif not any(f"pod `{holder}`" in refusal for holder in holders):
            self.problems.append(f"the refusal of {who} does not name {' or '.join(holders)}: {refusal}")
        else:
            self.refusals.append(f"{who}: {refusal}")

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """What fails inside is noted and does not stop the rest."""
        try:
            yield
        except (podkit.PodkitError, OSError, RuntimeError, ValueError) as error:
            self.problems.append(f"{what}: {error}")


class Lead(podkit.abc.Worker):
    """Hands out the parts, waits, merges, and takes everything back."""

    def __init__(self, root: str, parts: tuple[Part, ...], delay: float, summary: Summary) -> None:
        self.root, self.parts, self.delay, self.summary = root, parts, delay, summary

    async def work(self, run: Run, emit: Emit) -> None:
        if not run.text:
            return  # a child reported; the run that asked it has its answer

        def say(text: str) -> None:
            emit(TextDone(text=text))

        emit(TurnStart(turn=1))
        async with trio.open_nursery() as nursery:
            for at, part in enumerate(self.parts):
                with self.summary.noting(f"starting {part.name}"):
                    await run.pod.files.write_text(part.index, PENDING)
                    child = await run.pod.spawn(
                        part.name, scope=part_scope(part, self.root), launcher=podkit.ProcessLauncher(LAUNCH)
                    )
                    nursery.start_soon(self._ask, child, at)
            say(f"{len(run.pod.children)} parts are delegated")
            if lent := [part for part in self.parts if part.name in run.pod.children]:
                refusal = await refused_write(run.pod.files, lent[0].index)
                self.summary.refused("lead", refusal, lent[0].name)
        with self.summary.noting("merging"):
            await self._merge(run.pod, say)
        for child in tuple(run.pod.children.values()):
            with self.summary.noting(f"stopping {child.name}"):
                await child.stop()
                say(f"{child.name} is stopped, its part is back")
        for part in self.parts:
            with self.summary.noting(f"writing in {part.name} again"):
                text = await run.pod.files.read_text(part.index)
                await run.pod.files.write_text(part.index, f"{text}\nMerged into CODEMAP.md.\n")

    async def _ask(self, child: podkit.abc.Child, at: int) -> None:
        part, other = self.parts[at], self.parts[at - 1]
        outside = other.index if at == 1 else None
        with self.summary.noting(f"asking {part.name}"):
            await child.notify(f"you are one of {len(self.parts)}", wake=False)
            job = Job(self.root, part, self.delay, outside)
            answer = last_words(await child.ask(job.to_json()))
            self.summary.files += answer.files
            self.summary.definitions += answer.definitions
            if outside is not None:
                self.summary.refused(part.name, answer.refusal, other.name, "lead")  # the lead, if the other is gone
            if answer.told != (f"you are one of {len(self.parts)}",):
                self.summary.problems.append(f"{part.name} was told {answer.told}")

    async def _merge(self, pod: podkit.abc.Pod, say: Callable[[str], None]) -> None:
        pages: dict[str, str] = {}
        for part in self.parts:
            for page in part.pages():
                pages[below(page, self.root)] = text = await pod.files.read_text(page)
                if text == PENDING:
                    self.summary.problems.append(f"{page} was never written")
        await pod.files.write_text(os.path.join(self.root, "CODEMAP.md"), merge(os.path.basename(self.root), pages))
        say(f"{len(pages)} pages are merged into CODEMAP.md")


async def lead(root: str, parts: tuple[Part, ...], options: argparse.Namespace) -> tuple[Summary, int]:
    """Run the tree and report; the second value is the signal that ended it early, or 0."""
    summary, caught = Summary(), 0
    registry, transport = podkit.FileRegistry(options.registry), UnixTransport()
    screen = Screen(root, registry, transport)
    worker = Lead(root, parts, options.delay, summary)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def heed(work: trio.CancelScope) -> None:
                nonlocal caught
                async for number in signals:  # again and again: the first one ends the work, and ending takes its time
                    caught = caught or int(number)
                    work.cancel()

            with trio.CancelScope() as work:
                nursery.start_soon(heed, work)
                with summary.noting("the lead"):
                    scope = podkit.Scope.write(root)
                    async with podkit.open_pod(
                        "lead", worker, scope=scope, transport=transport, registry=registry, cwd=root
                    ) as pod:
                        nursery.start_soon(screen.follow, pod)
                        outcome = await pod.ask("map")
                        if outcome.result != RunResult.FINISHED:
                            summary.problems.append(f"the lead's run ended {outcome.result}")
            with trio.CancelScope(shield=True):
                table = await registry.table()
                summary.problems += [
                    f"left: {what}" for what in leftovers(table.values(), registry.directory, screen.seen.values())
                ]
            summary.pods = len(screen.seen)
            nursery.cancel_scope.cancel()
    return summary, caught


def report(summary: Summary, seconds: float, caught: int) -> None:
    """The last lines."""
    print()
    for refusal in summary.refusals:
        print(f"refused  {clean(refusal, 300)}")
    for problem in summary.problems:
        print(f"PROBLEM  {clean(problem, 1000)}")
    left = sum(problem.startswith("left: ") for problem in summary.problems)
    print(
        f"{summary.pods} pods, {summary.files} files, {summary.definitions} definitions, {len(summary.refusals)} refusals, "
        f"{seconds:.1f} s; left over: {left or 'no process, lease, socket or allocation'}"
    )
    if caught:
        print(f"ended early by {signal.Signals(caught).name}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Map a source tree with a tree of pods.")
    parser.add_argument("directory", nargs="?", help="the tree to map, in place (default: a copy of the `email` package)")
    parser.add_argument("--keep", action="store_true", help="keep the copy")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="wait this long after every file")
    parser.add_argument("--registry", metavar="DIR", help="use this registry, not the user's")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    if options.child:
        trio.run(adopt)
        return 0
    start = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):  # until `lead` heeds them, and afterwards
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with ground(options.directory, keep=options.keep) as root:
            parts = plan(root)
            print(f"mapping {root} in {len(parts)} parts: {', '.join(part.name for part in parts)}", flush=True)
            summary, caught = trio.run(lead, root, parts, options)
            page = Path(root, "CODEMAP.md")
            if page.is_file() and not caught:
                text = page.read_text().splitlines()
                print("\n--- CODEMAP.md ---", *text[1:14], f"… {len(text)} lines", sep="\n")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (OSError, ValueError) as error:
        print(f"codemap.py: {error}", file=sys.stderr)
        return 2
    report(summary, time.monotonic() - start, caught)
    return 128 + caught if caught else 1 if summary.problems else 0


async def adopt() -> None:
    await podkit.adopt_pod(Mapper(), transport=UnixTransport())


if __name__ == "__main__":
    sys.exit(main())
