"""Planting a bug: a few lines of a function of podkit are exchanged for others, for as long as a block runs."""

import ast
import inspect
import sys
import textwrap
from contextlib import contextmanager
from importlib import import_module

import attrs


@attrs.frozen
class Edit:
    """In the function at `where` ("module:function", "module:Class.method") the text `old`, which is there once, becomes `new`."""

    where: str
    old: str
    new: str


@attrs.frozen
class Bug:
    """One bug: `says` what podkit does with it, in a sentence.

    `caught` names the general suites that notice, the quickest first; "simulation 51" says a seed with which it is noticed, which
    is tried before others. `why` says, for a bug that none notices, what hides it and what would show it.
    """

    id: str
    says: str
    edits: tuple[Edit, ...]
    caught: tuple[str, ...] = ()
    why: str = ""


def function_at(where):
    """The function object, which stays the same one wherever it was imported to: only its code is exchanged."""
    module, _, path = where.partition(":")
    found = import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, property):
        found = found.fget
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return getattr(found, "__func__", found)


def edited(edits):
    """The code of one function with all these edits. `LookupError` when podkit has changed so that one does not fit any more."""
    function = function_at(edits[0].where)
    lines, first = inspect.getsourcelines(function)
    source = textwrap.dedent("".join(lines))
    for edit in edits:
        old, new = edit.old, edit.new
        if source.count(old) != 1:
            raise LookupError(f"{edit.where} has {source.count(old)} times: {old!r}")
        source = source.replace(old, new)
    name, free = function.__name__, function.__code__.co_freevars
    if free:  # what it takes from around it (`__class__`, for `super()`) has to be around it again
        source = f"def around({', '.join(free)}):\n" + textwrap.indent(source, "    ")
    tree = ast.parse("\n" * (first - 1 - bool(free)) + source)
    flags = sys.modules[function.__module__].__dict__.get("annotations")
    code = compile(tree, inspect.getsourcefile(function), "exec", flags=flags.compiler_flag if flags else 0, dont_inherit=True)
    if free:
        code = _inner(code, "around")
    return function, _inner(code, name)


def _inner(code, name):
    (found,) = [const for const in code.co_consts if inspect.iscode(const) and const.co_name == name]
    return found


@contextmanager
def plant(bug):
    """Podkit has this bug inside of the block."""
    places = {}
    for edit in bug.edits:
        places.setdefault(edit.where, []).append(edit)
    changed = [edited(edits) for edits in places.values()]
    before = [(function, function.__code__) for function, _ in changed]
    try:
        for function, code in changed:
            function.__code__ = code
        yield
    finally:
        for function, code in before:
            function.__code__ = code
