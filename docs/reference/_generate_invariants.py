"""Writes invariants.md: what podkit holds itself to, as far as tests name it, and those tests. Run it after marking one.

python docs/reference/_generate_invariants.py
"""

import ast
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent.parent / "tests"
TITLES = {
    "invariants": "What holds at every moment",
    "failures": "What went wrong elsewhere",
    "hazards": "What could go wrong",
}


def promises():
    """Kind -> id -> sentence."""
    return tomllib.loads((HERE / "_promises.toml").read_text())


def marked():
    """Id -> the tests that name it, in order."""
    found = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(file.read_text())
        everything = _marks(tree.body)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for name in [*everything, *(mark for one in node.decorator_list for mark in _named(one))]:
                    found.setdefault(name, []).append((file.relative_to(TESTS).as_posix(), node.name))
    return found


def _marks(body):
    """The ids that a whole file is about: `pytestmark = pytest.mark.proves(...)`."""
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            yield from _named(node.value)


def _named(node):
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.proves":
            yield from (argument.value for argument in call.args)


def page():
    """The page as text."""
    tests = marked()
    lines = ["# Invariants, and the tests that hold them", ""]
    lines += ["Generated from the tests. Each sentence is followed by tests that fail when it is not so.", ""]
    for kind, sentences in promises().items():
        lines += [f"## {TITLES[kind]}", ""]
        for name, sentence in sentences.items():
            lines.append(f"- **{name}** {sentence}")
            shown = tests.get(name, [])[:8]
            lines += [f"  - `{file}`: {test.removeprefix('test_').replace('_', ' ')}" for file, test in shown]
            more = len(tests.get(name, [])) - len(shown)
            lines += [f"  - and {more} more"] if more else []
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    (HERE / "invariants.md").write_text(page())
