"""Ordinary programs work where they are confined: what is refused must not be what they need."""

import os
import shutil

import pytest

START = """
import os
import confined
from _kernel import _namespaces, _process

top = sys.argv[1]
os.chdir("/")
if "root" in confined.SETUP:
    _namespaces.enter(user=os.geteuid() != 0)
    outer = os.fork()
    if outer:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(outer, 0)[1]))
    _namespaces.private_root([*((path, False) for path in (*confined.system(), f"{top}/r")), (f"{top}/w", True)])
    _namespaces.mount_all([_namespaces.Mount("/dev/shm", "empty")])
    assert _namespaces.mount_proc()
    if tool := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(tool, 0)[1]))
os.chdir(f"{top}/w")
confined.confine(shared="root" in confined.SETUP)
_process.close_others((0, 1, 2))
home = f"{top}/w"
shared = {"SHM": "granted"} if "root" in confined.SETUP else {}  # semaphores of process pools live in /dev/shm
names = {**shared, "HOME": home, "TMPDIR": home, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "GIT_AUTHOR_NAME": "a"}
os.execve("/bin/sh", ["sh", "-ec", sys.argv[3]], names)
"""
SETUPS = ("kernel", "strict network root")
if os.environ.get("PODKIT_LONG"):
    SETUPS = (*SETUPS, "kernel network", "strict", "strict network", "strict root")
THREADS = """
import asyncio, concurrent.futures, os, subprocess, tempfile, threading
def double(x): return 2 * x
if __name__ == "__main__":
    t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()
    if "SHM" in os.environ:
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            assert list(pool.map(double, [1, 2])) == [2, 4]
    print(subprocess.run(["echo", "child"], capture_output=True, text=True).stdout.strip())
    async def main():
        process = await asyncio.create_subprocess_exec("echo", "async", stdout=-1)
        print((await process.communicate())[0].decode().strip())
    asyncio.run(main())
    with tempfile.NamedTemporaryFile("w") as file: file.write("x")
"""
NODE = """
const { Worker, isMainThread, parentPort } = require("worker_threads");
if (isMainThread) {
  const worker = new Worker(__filename);
  worker.on("message", (text) => {
    const { spawnSync } = require("child_process");
    console.log(text, spawnSync("echo", ["child"]).stdout.toString().trim());
    require("fs").promises.writeFile("out", "x").then(() => console.log("written"));
  });
} else parentPort.postMessage("thread");
"""


@pytest.fixture(params=SETUPS)
def shell(request, who, yard, has_namespaces):
    """shell(script) -> what it printed, confined, with `w` as home and working directory."""
    if "root" in request.param and not has_namespaces:
        pytest.skip("namespaces are not to be had by this user here")
    for name, text in (
        ("threads.py", THREADS),
        ("threads.js", NODE),
        ("hello.c", 'int puts(const char*);int main(){puts("hello");}'),
    ):
        path = os.path.join(yard, "w", name)
        with open(path, "w") as file:
            file.write(text)
        os.chown(path, who.uid, -1)

    def shell(script):
        done = who.run(START, yard, request.param, script)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout.split()

    return shell


def needs(program, package):
    found = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        pytest.skip(f"needs {program} (package {package}) in the system's directories")


def test_a_shell_with_pipes_and_jobs(shell):
    assert shell("sleep 0 & wait; echo x | tr x y | cat > f; mkdir -p d/e; mv f d/e/g; cat d/e/g; ls /dev/fd/0 >/dev/null") == ["y"]


def test_threads_pools_and_event_loops(shell):
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("needs /usr/bin/python3 (package python3)")
    assert shell("/usr/bin/python3 threads.py") == ["thread", "child", "async"]


def test_node_with_threads_and_children(shell):
    needs("node", "nodejs")
    assert shell("node threads.js") == ["thread", "child", "written"]


def test_npm(shell):
    needs("npm", "npm")
    assert shell("mkdir p && cd p && npm init -y >/dev/null && npm pkg get version")[-1] == '"1.0.0"'


def test_git(shell):
    needs("git", "git")
    script = """
    export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    git init -q repo; cd repo; echo x > f; git add f; git commit -qm one; git checkout -q -b b; git gc -q; git clone -q . ../copy
    git -C ../copy log --format=%s"""
    assert shell(script) == ["one"]


def test_a_compiler_and_what_it_made(shell):
    needs("gcc", "gcc")
    assert shell("gcc -pipe hello.c -o hello && ./hello") == ["hello"]


def test_pip(shell):
    if not os.path.exists("/usr/bin/pip"):
        pytest.skip("needs /usr/bin/pip (package python3-pip)")
    assert shell("/usr/bin/pip --version")[0] == "pip"


@pytest.fixture
def server(who, yard):
    """A tmux server outside; answers its socket."""
    needs("tmux", "tmux")
    path = f"{yard}/s/tmux"
    run = "import os; os.environ['SHELL'] = '/bin/sh'; os.execvp('tmux', ['tmux', '-S', *sys.argv[1:]])"
    started = who.run(run, path, "-f", "/dev/null", "new-session", "-d", "cat")
    assert started.returncode == 0, started.stderr
    yield path
    who.run(run, path, "kill-server")


@pytest.mark.proves("K36")
def test_tmux_runs_nothing_outside(shell, yard, server):
    assert shell(f"tmux -S {server} run-shell 'echo > {yard}/s/pwn' 2>/dev/null && echo ran || echo refused") == ["refused"]
    assert not os.path.exists(f"{yard}/s/pwn")


@pytest.mark.proves("K36")
def test_who_is_given_unix_sockets_is_given_this_too(who, yard, server):
    done = who.run(START, yard, "kernel sockets", f"tmux -S {server} run-shell 'echo > {yard}/s/pwn'")
    assert done.returncode == 0, done.stderr
    assert os.path.exists(f"{yard}/s/pwn")
