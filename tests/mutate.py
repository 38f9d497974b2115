"""Plant one small fault after another into one module and see whether tests notice.

    python tests/mutate.py podkit/logic/_scope.py [--seconds 30] [--lines 10-20,35] -- tests/logic/test_scope.py ...

Standard library and pytest alone. The source is never written: each mutant is compiled in a forked process, in place of the module.
Not mutated: annotations, docstrings, imports. Prints the mutants that no test noticed, and the share of those that one did.
A mutant that hangs counts as noticed after `--seconds` of processor time. `--lines 10-20,35` limits it to these lines,
`--every 4` tries one mutant of four.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
NAMED = {
    "min": "max", "max": "min", "any": "all", "all": "any", "bisect_left": "bisect_right", "bisect_right": "bisect_left",
    "rfind": "find", "find": "rfind", "startswith": "endswith", "endswith": "startswith", "rstrip": "strip", "reversed":
    "list", "sorted": "list", "NONE": "READ", "READ": "WRITE", "WRITE": "READ", "_NONE": "_READ", "_READ": "_WRITE",
    "_WRITE": "_READ", "frozenset": "tuple", "extend": "append", "append": "extend",
}  # fmt: skip


def spots(tree):
    """Every node with its parent, but for annotations, docstrings, imports and what is only for the type checker."""
    waiting = [(child, tree) for child in ast.iter_child_nodes(tree)]
    while waiting:
        node, parent = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom | ast.AnnAssign) and getattr(node, "value", None) is None:
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node, parent
        skipped = [getattr(node, "annotation", None), getattr(node, "returns", None), *getattr(node, "decorator_list", ())]
        waiting.extend((child, node) for child in ast.iter_child_nodes(node) if not any(child is one for one in skipped))


def faults(node, parent):
    """The faults of one node: what it is called, and a function that plants it."""

    def put(name, value):
        return lambda: setattr(node, name, value)

    def instead(new):
        def plant():
            for name, field in ast.iter_fields(parent):
                if field is node:
                    setattr(parent, name, new)
                elif isinstance(field, list):
                    field[:] = [new if one is node else one for one in field]

        return plant

    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                ops = [*node.ops[:i], COMPARED[type(op)](), *node.ops[i + 1 :]]
                yield f"{type(op).__name__} to {type(ops[i]).__name__}", put("ops", ops)
        case ast.BoolOp():
            yield "and/or swapped", put("op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
            for i in range(len(node.values)):
                yield f"without operand {i + 1}", put("values", node.values[:i] + node.values[i + 1 :])
        case ast.BinOp() | ast.AugAssign() if type(node.op) in COMPUTED:
            yield f"{type(node.op).__name__} to {COMPUTED[type(node.op)].__name__}", put("op", COMPUTED[type(node.op)]())
        case ast.UnaryOp():
            yield f"without {type(node.op).__name__}", instead(node.operand)
        case ast.If() | ast.While() | ast.IfExp():
            yield "condition turned", put("test", ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension():
            for i in range(len(node.ifs)):
                yield "without a condition", put("ifs", node.ifs[:i] + node.ifs[i + 1 :])
        case ast.match_case() if node.guard is not None:
            yield "without its guard", put("guard", None)
        case ast.Constant(value=bool()):
            yield f"{node.value} to {not node.value}", put("value", not node.value)
        case ast.Constant(value=int()):
            yield f"{node.value} to {node.value + 1}", put("value", node.value + 1)
        case ast.Constant(value=str()) if not isinstance(parent, ast.Dict | ast.Call) or node.value:
            yield f"text {node.value!r} changed", put("value", node.value + "?")
        case ast.Name(id=name) if name in NAMED and isinstance(node.ctx, ast.Load):
            yield f"{name} to {NAMED[name]}", put("id", NAMED[name])
        case ast.Attribute(attr=name) if name in NAMED:
            yield f"{name} to {NAMED[name]}", put("attr", NAMED[name])
        case ast.Slice():
            for name in ("lower", "upper", "step"):
                if getattr(node, name) is not None:
                    yield f"slice without {name}", put(name, None)
        case ast.Return() if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield "returns None", put("value", ast.Constant(None))
        case ast.Call() if node.keywords:
            for i, keyword in enumerate(node.keywords):
                yield f"without argument {keyword.arg}", put("keywords", node.keywords[:i] + node.keywords[i + 1 :])
        case ast.Continue():
            yield "continue to break", instead(ast.Break())
    if isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.Raise | ast.Break) and not isinstance(parent, ast.Module):
        yield "left out", instead(ast.Pass())


def planted(source, wanted):
    """The code with the fault of that number, or None when there is none of that number."""
    tree = ast.parse(source)
    count = 0
    for node, parent in spots(tree):
        for what, plant in faults(node, parent):
            if count == wanted:
                line = getattr(node, "lineno", getattr(parent, "lineno", 0))
                plant()
                return line, what, ast.fix_missing_locations(tree)
            count += 1
    return None


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant to whoever imports the module."""

    def __init__(self, name, path, tree):
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None

    def exec_module(self, module):
        module.__file__ = str(self.path)
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def survives(name, path, tree, tests, seconds):
    """Whether the tests pass with this tree as the module. Hanging is not surviving; seconds are of processor time, so that a
    busy machine does not look like a hanging test."""
    import hypothesis  # noqa: F401 - what tests stand on is imported before the fork, so that no mutant pays for it
    import pytest
    import trio  # noqa: F401

    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(20 * seconds)
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        out = os.open(os.devnull, os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.meta_path.insert(0, Planted(name, path, tree))
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore:Module already imported", *tests])))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+", help="after --: test files and other arguments of pytest, the quickest first")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--lines", default="")
    parser.add_argument("--every", type=int, default=1, help="try one mutant of so many")
    options = parser.parse_intermixed_args()
    ranges = [[int(number) for number in part.split("-")] for part in options.lines.split(",") if part]
    path = options.module.resolve()
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    sys.path.insert(0, str(ROOT))
    source = path.read_text()
    begun = time.monotonic()
    number = planned = killed = 0
    if not survives(name, path, ast.parse(source), options.tests, options.seconds * 4):
        sys.exit("the tests fail without any fault")
    while (mutant := planted(source, number)) is not None:
        line, what, tree = mutant
        number += 1
        if number % options.every or (ranges and not any(one[0] <= line <= one[-1] for one in ranges)):
            continue
        planned += 1
        if survives(name, path, tree, options.tests, options.seconds):
            print(f"{path.name}:{line}: {what}: {source.splitlines()[line - 1].strip()}", flush=True)
        else:
            killed += 1
    share = 100 * killed / max(planned, 1)
    print(f"{path.name}: {killed} of {planned} mutants noticed ({share:.1f} %) in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
