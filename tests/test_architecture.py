"""The rules between the rooms, read from the imports with `ast`: nothing is imported here, so a broken room is judged too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    ("errors",),
    ("protocol",),
    ("logic",),
    ("abc",),
    ("_os",),
    ("confinement",),
    ("_store",),
    ("_net",),
    ("_life",),
    ("tools", "worker", "models", "cli_agents"),
    ("",),  # the front door
    ("testing",),
    ("bridges", "host"),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
PURE_ROOMS = {"errors", "protocol", "logic"}
EFFECTS = {"asyncio", "ctypes", "fcntl", "io", "mmap", "multiprocessing", "os", "pathlib", "portalocker", "random", "secrets"}
EFFECTS |= {"select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "trio"}
PLUGIN_DOORS = {"", "abc", "errors", "protocol", "testing"}
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
WALL_CLOCK_OF = {"podkit/_os/_ids.py", "podkit/_store/_file_registry.py"}  # what people read, and the age of a file
STARTERS = {"run_process", "open_process", "popen", "system", "forkpty", "fork"}
MAX_FILE, MAX_FUNCTION = 400, 60
ALLOWED: set[str] = set()  # "podkit/room/_file.py" or "podkit/room/_file.py::function"; starts empty and should stay so


def imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Every module a file imports, wherever in the file: (line, dotted name). An imported name counts as a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
            and node.args
        ):
            yield node.lineno, node.args[0].value if isinstance(node.args[0], ast.Constant) else "a name computed at run time"


def starts_process(node: ast.AST) -> bool:
    if not isinstance(node, ast.Attribute):
        return False
    owner = ast.unparse(node.value)
    named = node.attr in STARTERS or node.attr.startswith(("exec", "spawn", "posix_spawn"))
    return named and owner in ("os", "posix", "pty", "trio", "trio.lowlevel", "lowlevel")


def reads_wall_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ".".join(ast.unparse(node).split(".")[-2:]) in WALL_CLOCK


def check_size(tree: ast.Module, text: str, where: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > MAX_FILE and where not in ALLOWED:
        yield f"{where}: {lines} lines, more than {MAX_FILE}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            if size > MAX_FUNCTION and f"{where}::{node.name}" not in ALLOWED:
                yield f"{where}:{node.lineno}: {node.name} has {size} lines, more than {MAX_FUNCTION}"


def check_core(room: str, file: Path, line: int, target: str) -> Iterator[str]:
    top, *rest = target.split(".")
    if (room in PURE_ROOMS or file.name.startswith("_plan_")) and (top in EFFECTS or target == "a name computed at run time"):
        yield f"line {line}: imports {target}, and decides or describes only"
    starter = target.rpartition(".")[2]
    from_os = top in ("os", "posix", "pty", "trio") and (
        starter in STARTERS or starter.startswith(("exec", "spawn", "posix_spawn"))
    )
    if room != "_os" and (top in ("subprocess", "multiprocessing") or from_os):
        yield f"line {line}: imports {target}; a process is started only through _os"
    if top == "podkit_transports":
        yield f"line {line}: imports {target}; the core knows no plug-in"
    if top != "podkit":
        return
    other = rest[0] if rest and rest[0] in RANK else ""
    if other == room:
        return
    if not other:
        if RANK[room] < RANK[""] or room == "":
            yield f"line {line}: imports the front door ({target})"
    elif RANK[other] >= RANK[room]:
        yield f"line {line}: {room or 'the front door'} imports {other}, which is not below it"
    elif any(part.startswith("_") for part in rest[1:]):
        yield f"line {line}: imports {target}, a private file of another room"


def check_plugin(line: int, target: str) -> Iterator[str]:
    top, *rest = target.split(".")
    if top == "podkit":
        door = rest[0] if rest and (rest[0] in RANK or rest[0].startswith("_")) else ""
        if door not in PLUGIN_DOORS or any(part.startswith("_") for part in rest):
            yield f"line {line}: a plug-in imports {target}; public doors only"


def violations(root: Path) -> list[str]:
    """Everything in `root`/podkit and `root`/podkit_transports that breaks a rule, each with its place."""
    found: list[str] = []
    for file in sorted([*root.glob("podkit/**/*.py"), *root.glob("podkit_transports/**/*.py")]):
        where, text = file.relative_to(root), file.read_text()
        tree = ast.parse(text, filename=str(where))
        room = where.parts[1].removesuffix(".py") if len(where.parts) > 1 else ""
        room = "" if where.parts[0] == "podkit" and room == "__init__" else room
        problems: list[str] = []
        for line, target in imports(tree, where.parts[:-1]):
            problems += check_core(room, file, line, target) if where.parts[0] == "podkit" and room in RANK else ()
            problems += check_plugin(line, target) if where.parts[0] == "podkit_transports" else ()
        if room != "_os":
            problems += [f"line {n.lineno}: {ast.unparse(n)} starts a process" for n in ast.walk(tree) if starts_process(n)]
        if where.as_posix() not in WALL_CLOCK_OF:
            looks = [n.lineno for n in ast.walk(tree) if reads_wall_clock(n)]
            looks += [line for line, target in imports(tree, where.parts[:-1]) if target in WALL_CLOCK]
            problems += [f"line {line}: reads the wall clock, which anybody may set" for line in looks]
        if where.parts[0] == "podkit" and room not in RANK:
            problems.append(f"{room} is no room: give it a place in LAYERS, or put the file into a room")
        found += [f"{where}: {problem}" for problem in problems] + list(check_size(tree, text, where.as_posix()))
    return found


@pytest.mark.proves("I38")
def test_every_room_keeps_the_rules():
    assert not (found := violations(ROOT)), "\n" + "\n".join(found)


def test_a_planted_breach_of_each_rule_is_reported(tmp_path):
    planted = {
        "podkit/protocol/_x.py": ("if TYPE_CHECKING:\n    from podkit.logic import Scope\n", "not below"),
        "podkit/logic/_y.py": ("def f():\n    import time\n", "decides or describes"),
        "podkit/_net/_plan_z.py": ("from pathlib import Path\n", "decides or describes"),
        "podkit/abc/_a.py": ("from podkit import open_pod\n", "front door"),
        "podkit/_net/_b.py": ("from .._life import Actor\n", "not below"),
        "podkit/tools/_c.py": ("from podkit._store._journal import Journal\n", "private file"),
        "podkit/_life/_d.py": ("import os\nos.posix_spawn('x', [], {})\n", "starts a process"),
        "podkit/worker/_e.py": ("from trio.lowlevel import open_process\n", "only through _os"),
        "podkit/helpers.py": ("", "no room"),
        "podkit/_os/_long.py": ("\n" * 401, "401 lines"),
        "podkit/_os/_wide.py": ("def f():\n" + "    pass\n" * 60, "61 lines"),
        "podkit/_net/_h.py": ("import time\nuntil = time.time() + 1\n", "wall clock"),
        "podkit/_life/_i.py": ("from time import time\n", "wall clock"),
        "podkit_transports/_f.py": ("from podkit.logic import Scope\n", "public doors only"),
        "podkit_transports/_g.py": ("from podkit.abc._transport import Transport\n", "public doors only"),
    }
    for name, (text, _) in planted.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = violations(tmp_path)
    for name, (_, reason) in planted.items():
        assert any(line.startswith(name) and reason in line for line in found), (name, found)
    assert len(found) == len(planted)
