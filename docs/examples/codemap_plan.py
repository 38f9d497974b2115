"""The pure part of codemap.py: split a source tree into disjoint parts, describe a module, write the index. No disk, no pods.

A *part* is what one child gets: `targets` it may write, `files` it describes, and `index`, the page it writes, which always lies
inside its targets. Sources are never moved. How a tree is split:

* every directory below the root that holds Python files is a part, and its `INDEX.md` lies in that directory;
* files beside those directories are grouped: the targets of such a part are the files themselves and a directory of its own,
  `codemap/<part>/`, for its `INDEX.md`;
* with too few parts the largest is divided (a directory into what is in it, a group of files into halves), with too many the two
  smallest become one, whose index lies in `codemap/<part>/` too.

In the part with the most files one piece is set apart as its *sub-part*, for a grandchild.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEAST, MOST = 3, 6
MARK = "<!-- written by codemap.py -->"
INDEX = "INDEX.md"


@dataclass(frozen=True)
class Part:
    """What one child maps. Paths are relative to the root until `at` makes them absolute."""

    name: str
    targets: tuple[str, ...]
    files: tuple[str, ...]
    index: str
    sub: Part | None = None

    def at(self, root: str) -> Part:
        """The same part with absolute paths below `root`."""
        home = root.rstrip("/") + "/"
        sub = None if self.sub is None else self.sub.at(root)
        targets, files = (tuple(home + path for path in paths) for paths in (self.targets, self.files))
        return replace(self, targets=targets, files=files, index=home + self.index, sub=sub)

    def pages(self) -> tuple[str, ...]:
        """Every index page of this part."""
        return (self.index,) if self.sub is None else (self.index, *self.sub.pages())


@dataclass(frozen=True)
class Job:
    """A child's task: its part, the root for naming files, and somewhere it shall try, in vain, to write."""

    root: str
    part: Part
    delay: float = 0.0
    outside: str | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        data = json.loads(text)
        return cls(data["root"], _part(data["part"]), float(data["delay"]), data["outside"])


@dataclass(frozen=True)
class Answer:
    """A child's last words: what it mapped, the refusal it met, and what it was told by notices."""

    files: int
    definitions: int
    refusal: str | None = None
    told: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Answer:
        """`ValueError` when it is anything else: a child is another program."""
        match json.loads(text):
            case {"files": int(files), "definitions": int(definitions), "refusal": str() | None as refusal, "told": list(told)}:
                return cls(files, definitions, refusal, tuple(map(str, told)))
        raise ValueError(f"not an answer: {clean(text)}")


def _part(data: Mapping[str, object]) -> Part:
    sub = data["sub"]
    return Part(
        str(data["name"]),
        tuple(map(str, data["targets"])) if isinstance(data["targets"], list) else (),
        tuple(map(str, data["files"])) if isinstance(data["files"], list) else (),
        str(data["index"]),
        _part(sub) if isinstance(sub, dict) else None,
    )


# Splitting.


@dataclass(frozen=True)
class _Unit:
    """A piece on the way to a part: one whole directory, or files and directories that share an index page elsewhere."""

    label: str
    files: tuple[str, ...]
    directory: str | None
    targets: tuple[str, ...]


def split(files: Sequence[str]) -> tuple[Part, ...]:
    """Split Python files (relative paths) into three to six disjoint parts. `ValueError` when there are fewer than three files."""
    if len(files) < LEAST:
        raise ValueError(f"a code map in {LEAST} parts needs at least {LEAST} Python files, and there are {len(files)}")
    units = list(_inside("", tuple(sorted(files))))
    while len(units) < LEAST:
        biggest = max(units, key=lambda unit: len(unit.files))
        units.remove(biggest)
        units += _divide(biggest)
    while len(units) > MOST:
        units.sort(key=lambda unit: (-len(unit.files), unit.label))
        one, other = units.pop(), units.pop()
        both = (*other.files, *one.files), (*other.targets, *one.targets)
        units.append(_Unit("rest", both[0], None, both[1]))
    home = "codemap"
    while any(path.startswith(home + "/") for path in files):
        home += "-index"
    names: set[str] = {"lead"}
    parts = [_to_part(unit, home, names) for unit in sorted(units, key=lambda unit: unit.targets)]
    most = max(range(len(parts)), key=lambda at: len(parts[at].files))
    parts[most] = _with_sub(parts[most])
    return tuple(parts)


def _inside(directory: str, files: tuple[str, ...]) -> Iterator[_Unit]:
    """What a directory consists of: its subdirectories, and the files directly in it as one group."""
    below = directory + "/" if directory else ""
    names = sorted({path[len(below) :].split("/")[0] for path in files if "/" in path[len(below) :]})
    for name in names:
        inner = tuple(path for path in files if path.startswith(f"{below}{name}/"))
        yield _Unit(name, inner, below + name, (below + name,))
    loose = tuple(path for path in files if "/" not in path[len(below) :])
    if loose:
        yield _Unit(directory.rpartition("/")[2] or "top", loose, None, loose)


def _divide(unit: _Unit) -> Iterator[_Unit]:
    if unit.directory is not None and any("/" in path[len(unit.directory) + 1 :] for path in unit.files):
        yield from _inside(unit.directory, unit.files)
        return
    half = (len(unit.files) + 1) // 2
    for files in (unit.files[:half], unit.files[half:]):
        yield _Unit(unit.label, files, None, files)


def _to_part(unit: _Unit, home: str, names: set[str]) -> Part:
    stem = re.sub(r"[^a-z0-9]+", "-", unit.label.lower()).strip("-")[:16].strip("-") or "part"
    name, count = stem, 1
    while name in names:
        count += 1
        name = f"{stem}-{count}"
    names.update((name, f"{name}-sub"))
    if unit.directory is not None:
        return Part(name, unit.targets, unit.files, f"{unit.directory}/{INDEX}")
    return Part(name, (*unit.targets, f"{home}/{name}"), unit.files, f"{home}/{name}/{INDEX}")


def _with_sub(part: Part) -> Part:
    """Set a piece of the part apart: its largest subdirectory when the part is a directory that has one, else half of its files."""
    home = part.index.rpartition("/")[0]
    inner = [unit for unit in _inside(home, part.files) if unit.directory] if part.targets == (home,) else []
    if inner and len(part.files) > max(len(unit.files) for unit in inner):
        unit = max(inner, key=lambda unit: len(unit.files))
        sub = Part(f"{part.name}-sub", unit.targets, unit.files, f"{unit.directory}/{INDEX}")
    else:
        files = part.files[len(part.files) // 2 :] if len(part.files) > 1 else ()
        if not files:
            return part
        own = f"{home}/codemap-sub"
        sub = Part(f"{part.name}-sub", (*files, own), files, f"{own}/{INDEX}")
    return replace(part, files=tuple(path for path in part.files if path not in sub.files), sub=sub)


# Describing.


@dataclass(frozen=True)
class Definition:
    """A class or function: `kind` is "class" or "def", `name` says where in the module, `doc` is its docstring's first line."""

    kind: str
    name: str
    doc: str


@dataclass(frozen=True)
class Module:
    """What a file says of itself. `error` is set when it cannot be read as Python."""

    path: str
    doc: str = ""
    definitions: tuple[Definition, ...] = ()
    error: str = ""


def describe(path: str, source: bytes) -> Module:
    """Describe one file. Never raises for what is in it, and never runs any of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            return Module(path, _doc(tree), tuple(_definitions(tree, "")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Module(path, error=clean(f"{type(error).__name__}: {error}"))


def _definitions(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[Definition]:
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield Definition("class", prefix + child.name, _doc(child))
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Definition("def", prefix + child.name, _doc(child))


def _doc(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return clean((ast.get_docstring(node) or "").partition("\n")[0])


def clean(text: str, limit: int = 100) -> str:
    """One printable line of at most `limit` characters; sources and pods are strangers."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


# Writing.


def render_index(title: str, modules: Sequence[Module]) -> str:
    """The page of one part."""
    count = sum(len(module.definitions) for module in modules)
    lines = [MARK, f"# {title}", "", f"{len(modules)} modules, {count} definitions."]
    for module in modules:
        lines += ["", f"## `{clean(module.path, 300)}`", ""]
        lines += [f"*{module.error}*"] if module.error else []
        lines += [module.doc, ""] if module.doc and module.definitions else [module.doc] if module.doc else []
        for one in module.definitions:
            doc = f": {one.doc}" if one.doc else ""
            lines.append(f"{'  ' * one.name.count('.')}- {one.kind} `{one.name}`{doc}")
    return "\n".join(lines) + "\n"


def merge(title: str, pages: Mapping[str, str]) -> str:
    """CODEMAP.md from the index pages (relative path to text), each one level deeper and under a link to it."""
    lines = [MARK, f"# Code map of {clean(title)}"]
    for path, text in pages.items():
        body = [line for line in text.splitlines() if line != MARK]
        lines += ["", *("#" + line if line.startswith("#") else line for line in body), "", f"From [{path}]({path})."]
    return "\n".join(lines) + "\n"
