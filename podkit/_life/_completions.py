"""What a word may become: files below the pod's directory that it may read, its pods, its tools. Bounded in number and in time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from podkit.errors import PodkitError
from podkit.protocol import Completion, CompletionKind, CompletionsEvent, Error, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podkit._net import Ask
    from podkit.protocol import Event, ListCompletions

    from ._pod import Pod

_log = logging.getLogger("podkit.completions")
MOST = 100
_LONGEST = 4096  # characters of a prefix
_LOOKED_AT = 400  # names of which it is found out what they are
_SECONDS = 2.0
_AT_ONCE = 4


class Completer:
    """Answers `list_completions` of one pod. Files are looked for beside everything else, a few requests at a time."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._turns = trio.CapacityLimiter(_AT_ONCE)

    def complete(self, ask: Ask, asked: ListCompletions) -> None:
        """Answer `ask`, now or in a moment. A kind of which this pod has nothing is answered with nothing."""
        match asked.kind:
            case CompletionKind.FILE:
                self._pod.start_soon(self._files, ask, asked.prefix)
            case CompletionKind.POD:
                ask.answer(_of(asked.kind, [self._pod.name, *self._pod.children], asked.prefix))
            case CompletionKind.TOOL:
                ask.answer(_of(asked.kind, self._pod.tools, asked.prefix))
            case _:
                ask.answer(CompletionsEvent(asked.kind, ()))

    async def _files(self, ask: Ask, prefix: str) -> None:
        reply: Event = Error(ErrorCode.STOPPING, "the pod is stopping")
        try:
            with trio.move_on_after(_SECONDS) as deadline:
                async with self._turns:
                    reply = CompletionsEvent(CompletionKind.FILE, tuple(await self._found(prefix)))
            if deadline.cancelled_caught:
                reply = Error(ErrorCode.LIMIT_EXCEEDED, f"the files there cannot be told within {_SECONDS:.0f} s")
        except Exception:  # noqa: BLE001 - logged and answered; a question never ends a pod
            _log.exception("files could not be completed", extra={"incarnation": self._pod.incarnation})
            reply = Error(ErrorCode.INTERNAL, "files could not be completed")
        finally:
            ask.answer(reply)

    async def _found(self, prefix: str) -> list[Completion]:
        """A place that may not be read is as one that is not there: both have nothing to offer."""
        directory, slash, stem = prefix.rpartition("/")
        files, where = self._pod.files, directory + slash
        try:
            names = await files.listdir(where or self._pod.setting.cwd) if len(prefix) <= _LONGEST else []
        except (PodkitError, OSError, ValueError):
            return []
        names = [name for name in names if name.startswith(stem) and (not name.startswith(".") or stem.startswith("."))]
        found: list[Completion] = []
        for name in names[:_LOOKED_AT]:
            if len(found) == MOST:
                break
            try:
                kind = (await files.stat(f"{where or self._pod.setting.cwd + '/'}{name}")).kind
            except (PodkitError, OSError, ValueError):
                continue
            found.append(Completion(where + name, is_dir=kind == "directory"))
        return found


def _of(kind: CompletionKind, names: Iterable[str], prefix: str) -> CompletionsEvent:
    found = sorted(name for name in names if name.startswith(prefix))
    return CompletionsEvent(kind, tuple(Completion(name) for name in found[:MOST]))
