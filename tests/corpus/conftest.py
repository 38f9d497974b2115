"""The corpus: its rows, and the ground that every row is tried on."""

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
import unicodedata
from pathlib import Path

import pytest
import trio

import podkit
from podkit._os import Root, has_openat2
from podkit.confinement import ControlPlane, Files, Gate, ScopeJudge
from podkit.confinement._sensitive import made_sensitive
from podkit.confinement._targets import settle_targets
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

HERE = Path(__file__).parent
LONG = os.environ.get("PODKIT_LONG") == "1"
TABLES = ("s1_lexical", "s2_links", "s3_rules", "s4_sensitive", "k_kernel")
FILES = {
    "w/f": "in w",
    "w/.git/config": "git",
    "w/priv/note": "private",
    "w/d/f": "deep",
    "r/f": "in r",
    "r/a": "in r",
    "n/f": "in n",
    "n/k/f": "below n",
    "s/key": "secret",
    "s/dir/x": "x",
    "w-evil/f": "evil",
    "w2/f": "two",
    "W/f": "big",
}
LINKS = {
    "w/ld": "{}/s",
    "w/l": "{}/s/key",
    "w/rl": "../s/key",
    "w/in": "f",
    "w/dang": "{}/s/new",
    "w/loop": "loop",
    "w/c1": "c2",
    "w/c2": "c3",
    "w/c3": "../s/key",
    "w/abs": "/etc/passwd",
    "r/up": "../w",
}
SIGNS = {
    "{NUL}": "\0",
    "{LF}": "\n",
    "{TAB}": "\t",
    "{ESC}": "\x1b",
    "{nfc}": unicodedata.normalize("NFC", "e\u0301"),
    "{nfd}": "e\u0301",
    "{ff}": "\udcff",
    "{2024}": "\u2024",
    "{FF0F}": "\uff0f",
    "{202E}": "\u202e",
}


def load(table):
    """The rows of one table, in order."""
    return tomllib.loads((HERE / f"{table}.toml").read_text())["row"]


def kind_of(row):
    """What has to be done with a row of the S tables."""
    if "case" in row:
        return "case"
    return {"delegate": "delegate", "rule": "rule"}.get(row["op"], "path")


def pytest_generate_tests(metafunc):
    for kind in ("path", "delegate", "rule"):
        if f"{kind}_row" in metafunc.fixturenames:
            rows = [row for table in TABLES[:-1] for row in load(table) if kind_of(row) == kind]
            metafunc.parametrize(f"{kind}_row", rows, ids=[f"{row['id']} {row['what']}" for row in rows])
    if "cell" in metafunc.fixturenames:
        rows = probes() if "probe" in metafunc.fixturenames else [None]
        pairs = [(cell, row) for cell in CELLS for row in rows if row is None or not row.get("root") or can_mount(cell[2])]
        if rows == [None]:
            metafunc.parametrize("cell", CELLS, ids=cell_name)
        else:
            ids = [f"{cell_name(cell)}-{row['id']} {row['what']}" for cell, row in pairs]
            metafunc.parametrize(("cell", "probe"), pairs, ids=ids)
    if "lexical_row" in metafunc.fixturenames:
        rows = [row for row in load("s1_lexical") if "rule" in row]
        metafunc.parametrize("lexical_row", rows, ids=[f"{row['id']} {row['what']}" for row in rows])


class Ground:
    """A fresh private directory `top` with everything in it that leads elsewhere, and `Files` over the scope of the corpus."""

    def __init__(self, top, kernel):
        self.top, self.kernel, self.gate = top, kernel, Gate()
        for name, content in FILES.items():
            self.put(name, content)
        for name, target in LINKS.items():
            os.symlink(target.format(top), self.path(name))
        self.scope = Scope(
            allow=[
                ScopeRule(self.path("w"), Permission.WRITE),
                ScopeRule(self.path("r"), Permission.READ),
                ScopeRule(self.path("n"), Permission.WRITE, recursive=False),
            ],
            deny=[ScopeRule(self.path("w/.git"), Permission.WRITE), ScopeRule(self.path("w/priv"), Permission.READ)],
        )
        self.control = [self.path("w/run")]
        self.pins = settle_targets(self.scope, make=None).pins
        self.files = self.make()

    def make(self, **more):
        """`Files` as a pod of the corpus has it; `more` is passed on."""
        given = {
            "scope": lambda: self.scope,
            "gate": self.gate,
            "cwd": self.path("w"),
            "control": self.control,
            "kernel": self.kernel,
        }
        return Files(**given, pins=lambda: self.pins, sensitive=made_sensitive, **more)

    @contextlib.contextmanager
    def floor(self):
        """A root and a judge, for the functions below `Files`."""
        with Root(kernel=self.kernel) as root:
            yield root, ScopeJudge(root, self.scope, ControlPlane(tuple(self.control)))

    def path(self, name):
        return f"{self.top}/{name}" if name else self.top

    def say(self, text, row=()):
        """A text of a row with everything put in that its braces stand for."""
        if "repeat" in row:
            text = text.replace("{*}", row["repeat"][0] * row["repeat"][1])
        for name, sign in {**SIGNS, "{pid}": str(os.getpid()), "{D}": self.top}.items():
            text = text.replace(name, sign)
        return text

    def rules(self, given):
        """The rules of a row; `InvalidRuleError` for a target that is none."""
        return [
            ScopeRule(self.say(rule["target"]), Permission[rule["permission"].upper()], recursive=rule.get("recursive", True))
            for rule in given
        ]

    def put(self, name, content=""):
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def get(self, name):
        return Path(self.path(name)).read_text()

    def seen(self, below=""):
        """Everything there is: names, kinds, modes, times of change, what links say, what files hold."""
        found = {}
        for at, dirs, files in os.walk(self.path(below)):
            for name in dirs + files:
                path = os.path.join(at, name)
                info = os.lstat(path)
                what = [stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode), info.st_nlink]
                if stat.S_ISLNK(info.st_mode):
                    what.append(os.readlink(path))
                elif stat.S_ISREG(info.st_mode):
                    with open(path, "rb") as file:
                        what += [info.st_size, info.st_mtime_ns, file.read(100)]
                found[os.path.relpath(path, self.top)] = what
        return found


@pytest.fixture
def top():
    directory = os.path.realpath(tempfile.mkdtemp(prefix="pk", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["openat2", "steps"])
def ground(request, top, monkeypatch):
    kernel = request.param == "openat2"
    if kernel and not has_openat2():
        pytest.skip("no openat2 here")
    ground = Ground(top, kernel)
    monkeypatch.chdir(ground.path("n"))  # a relative path that started here would read another file
    before = set(os.listdir("/proc/self/fd"))
    yield ground
    assert set(os.listdir("/proc/self/fd")) <= before, "descriptors were left open"
    assert ground.gate.busy == ()
    assert not [name for name in ground.seen() if ".podkit-" in name], "a temporary file was left"


@pytest.fixture(scope="session")
def rows():
    """All rows, by table."""
    return {table: load(table) for table in TABLES}


@pytest.fixture(scope="session")
def long():
    """Whether there is time for long campaigns."""
    return LONG


# The cells of the matrix in which programs are tried.

USERS = {"self": None, "nobody": 65534}
CELLS = [(level, namespaces, user) for level in ("kernel", "strict") for namespaces in (True, False) for user in USERS]


def cell_name(cell):
    return f"{cell[0]}-{'namespaces' if cell[1] else 'no namespaces'}-{cell[2]}"


def can_mount(user):
    """Whether that user can prepare what only root can."""
    return user == "self" and os.geteuid() == 0


def probes():
    """The rows that are one probe of tests/corpus/programs/attack.py."""
    return [row for row in load("k_kernel") if "case" not in row]


@pytest.fixture(scope="session")
def programs():
    """The programs of the corpus where every user may read them."""
    directory = tempfile.mkdtemp(prefix="pk", dir="/tmp")
    os.chmod(directory, 0o755)
    for path in (HERE / "programs").glob("*.py"):
        shutil.copy(path, directory)
    shutil.copy(HERE / "commands.toml", directory)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


class Runner:
    """Runs a program of the corpus as a user: with an interpreter and packages that this user may read."""

    def __init__(self, programs):
        self.programs = programs
        self._found = {}
        self._copies = None

    def run(self, user, program, given, *, own_mounts=True, seconds=120):
        """What the program says, as JSON. Skips where there is no way to be that user."""
        prefix, path = self._user(user)
        env = {**os.environ, "PYTHONPATH": path}
        if own_mounts and user == "self" and os.geteuid() == 0 and shutil.which("unshare"):
            prefix = ["unshare", "--mount", "--propagation", "private", *prefix]
            env["PODKIT_CORPUS_MOUNTS"] = "own"
        argv = [*prefix, f"{self.programs}/{program}"]
        done = subprocess.run(
            argv, input=json.dumps(given).encode(), capture_output=True, env=env, timeout=seconds, cwd="/", check=False
        )
        assert done.returncode == 0, done.stderr.decode()[-4000:]
        return json.loads(done.stdout)

    def _user(self, user):
        if user not in self._found:
            self._found[user] = self._own() if user == "self" else self._other(USERS[user])
        if self._found[user] is None:
            pytest.skip("no interpreter here that another user may run (apt: python3)")
        return self._found[user]

    def _own(self):
        return [sys.executable], ":".join([str(HERE.parent.parent), *sys.path])

    def _other(self, uid):
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            pytest.skip("becoming another user needs root and setpriv (apt: util-linux)")
        become = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
        packages = os.path.dirname(os.path.dirname(trio.__file__))
        here = os.path.dirname(os.path.dirname(podkit.__file__))
        for path in (f"{here}:{packages}", self._copied(here, packages)):
            for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
                works = "import subprocess, sys, trio, podkit; subprocess.run([sys.executable, '-I', '-S', '-c', ''], check=True)"
                argv = [*become, python, "-c", works]
                try:
                    done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": path}, capture_output=True, cwd="/", check=False)
                except OSError:
                    continue
                if done.returncode == 0:
                    return [*become, python], path
        return None

    def _copied(self, here, packages):
        """Copies of podkit and of what it stands on, for an interpreter that may not look where they are."""
        target = f"{self.programs}/packages"
        if not os.path.isdir(target):
            shutil.copytree(f"{here}/podkit", f"{target}/podkit")
            for name in os.listdir(packages):
                if name.partition("-")[0].lower() in NEEDED and not os.path.exists(f"{target}/{name}"):
                    copy = shutil.copytree if os.path.isdir(f"{packages}/{name}") else shutil.copy
                    copy(f"{packages}/{name}", f"{target}/{name}")
        return target


NEEDED = {
    "trio",
    "attr",
    "attrs",
    "outcome",
    "sniffio",
    "sortedcontainers",
    "idna",
    "msgspec",
    "rpds",
    "rpds_py",
    "cattr",
    "cattrs",
}
NEEDED |= {"jsonschema", "jsonschema_specifications", "referencing", "portalocker", "typing_extensions.py", "typing_extensions"}


@pytest.fixture(scope="session")
def runner(programs):
    return Runner(programs)


@pytest.fixture(scope="session")
def cells(runner):
    """What came of every probe, cell by cell, each tried once: `cells(level, namespaces, user)`."""

    @functools.cache
    def cell(level, namespaces, user):
        wards = {}
        for row in probes():
            if level == "none" and "unproven" in row:
                continue
            wards.setdefault(row.get("ward", "main"), []).append([row["id"], row["probe"]])
        said = runner.run(user, "cell.py", {"level": level, "namespaces": namespaces, "wards": wards})
        said["results"] = {(one["id"], one["probe"]): one for one in said["results"]}
        return said

    return cell


@pytest.fixture(scope="session")
def run_confined(programs):
    """Run one program in a ward: `await run_confined(argv, scope=…, cwd=…, level=…, namespaces=…)` is (status, stdout, stderr)."""
    return module(programs, "confined").run_confined


def module(directory, name):
    """A program of the corpus, as a module."""
    spec = importlib.util.spec_from_file_location(f"corpus_{name}", f"{directory}/{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="session")
def commands(runner):
    """How the ordinary commands ended in one cell, by name: `commands(level, namespaces)`."""

    @functools.cache
    def cell(level, namespaces):
        said = runner.run("self", "commands.py", {"level": level, "namespaces": namespaces}, own_mounts=False)
        if namespaces and not said["namespaces"]:
            pytest.skip("this machine does not let us have namespaces")
        return {one["name"]: one for one in said["results"]}

    return cell
