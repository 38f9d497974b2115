"""Where something waits, or came from, in the code of whoever uses podkit: what a reader of a failure looks for first."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable
from types import FrameType, TracebackType

from trio.lowlevel import Task

_NOT_THEIRS = ("podkit", "trio", "contextlib", "outcome")
_MOST = 5

_Place = tuple[FrameType, int]


def waits(tasks: Iterable[Task]) -> list[str]:
    """Where these tasks wait, each place once; of tasks that are somewhere in their code and others, only the former."""
    found = [_innermost(list(task.iter_await_frames())) for task in tasks]
    theirs = [place for place, is_theirs in found if is_theirs]
    return list(dict.fromkeys(theirs or (place for place, _ in found)))[:_MOST]


def raised(error: BaseException) -> str:
    """Where this error comes from; of a group, the first of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return _innermost(list(_frames(error.__traceback__)))[0]


def _frames(traceback: TracebackType | None) -> Iterable[_Place]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _innermost(places: list[_Place]) -> tuple[str, bool]:
    """The innermost place in code that is neither podkit's nor trio's, and True; when there is none, the innermost of all."""
    theirs = [place for place in places if str(place[0].f_globals.get("__name__")).partition(".")[0] not in _NOT_THEIRS]
    if not places:
        return "the beginning of a task", False
    frame, line = (theirs or places)[-1]
    code = frame.f_code
    said = linecache.getline(code.co_filename, line).strip()
    return f"{os.path.basename(code.co_filename)}:{line}, in {code.co_name}{f': {said}' if said else ''}", bool(theirs)
