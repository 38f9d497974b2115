"""The attack corpus for reading and writing: every row is a path somebody hostile might give, with the verdict it must get."""

import os
import socket
import unicodedata

import pytest
import trio

from podkit.errors import AccessDeniedError, PathRefusedError
from podkit.protocol import Permission

DENY = AccessDeniedError
REFUSE = PathRefusedError
ABSENT = FileNotFoundError
NFC = unicodedata.normalize("NFC", "e\u0301")
NFD = "e\u0301"

# id, operation, path ({} is the top directory), verdict: what is read, or the error; for writes the file that has the content then
ROWS = [
    ("S001 read", "R", "{}/w/f", "in w"),
    ("S001 write", "W", "{}/w/new", "w/new"),
    ("S002", "R", "{}/r/f", "in r"),
    ("S003", "W", "{}/r/f", DENY),
    ("S004", "R", "{}/s/key", DENY),
    ("S005", "R", "{}/w/../s/key", DENY),
    ("S006", "W", "{}/w/../r/f", DENY),
    ("S007 dot", "R", "{}/w/./f", "in w"),
    ("S007 slashes", "R", "{}/w//f", "in w"),
    ("S008", "R", "/{}/w/f", "in w"),
    ("S009", "R", "//{}/w/f", "in w"),
    ("S010", "R", "{}/w-evil/f", DENY),
    ("S011", "R", "{}/w2/f", DENY),
    ("S012", "R", "{}/W/f", DENY),
    ("S013", "W", "{}/w", REFUSE),
    ("S013 below", "W", "{}/w/d", REFUSE),
    ("S014", "R", "{}/w/f/", REFUSE),
    ("S015", "W", "{}/w/f/x", REFUSE),
    ("S016", "R", "", REFUSE),
    ("S017", "R", "f", "in w"),
    ("S018", "R", "{}/w/f\0/../../etc/passwd", REFUSE),
    ("S019 dots", "R", "{}/w/%2e%2e/s/key", ABSENT),
    ("S019 slash", "R", "{}/w/..%2fs/key", ABSENT),
    ("S020", "R", "{}\\w\\..\\s\\key", DENY),
    ("S021", "R", "~/.ssh/id_rsa", ABSENT),
    ("S022 home", "R", "$HOME/x", ABSENT),
    ("S022 braces", "R", "${{D}}/s/key", ABSENT),
    ("S023", "R", "file://{}/s/key", ABSENT),
    ("S024", "W", "{}/w/ /../../s/x", ABSENT),
    ("S025", "W", "{}/w/\u2024\u2024/x", "w/\u2024\u2024/x"),
    ("S026", "R", "{}/w/..\uff0fs/key", ABSENT),
    ("S027 NFC", "W", "{}/w/" + NFC, "w/" + NFC),
    ("S027 NFD", "W", "{}/w/" + NFD, "w/" + NFD),
    ("S028", "W", "{}/w/\udcff", REFUSE),
    ("S029", "W", "{}/w/a\nb\t\x1b", "w/a\nb\t\x1b"),
    ("S030 page", "R", "{}/w/" + 4096 * "x", REFUSE),
    ("S030 more", "R", "/" + 65_535 * "x", REFUSE),
    ("S031", "W", "{}/w/" + 256 * "n", REFUSE),
    ("S032", "R", "/../../..{}/w/f", "in w"),
    ("S033", "R", "{}/w/f/.", REFUSE),
    ("S034", "W", "{}/w/nodir/../../s/x", ABSENT),
    ("S035", "W", "{}/w/nodir/../x", ABSENT),
    ("S036", "R", "{}/w/" + 4000 * "./" + "f", REFUSE),
    ("S036 shorter", "R", "{}/w/" + 1900 * "./" + "f", "in w"),
    ("S037 con", "W", "{}/w/con", "w/con"),
    ("S037 -rf", "W", "{}/w/-rf", "w/-rf"),
    ("S037 help", "W", "{}/w/--help", "w/--help"),
    ("S038", "W", "{}/w/\u202egpj.sh", "w/\u202egpj.sh"),
    ("S040", "R", "{}/w/l", DENY),
    ("S041", "W", "{}/w/l", DENY),
    ("S042", "R", "{}/w/ld/key", DENY),
    ("S043", "W", "{}/w/ld/new", DENY),
    ("S044", "R", "{}/w/rl", DENY),
    ("S045", "W", "{}/w/dang", DENY),
    ("S046", "R", "{}/w/in", "in w"),
    ("S046 write", "W", "{}/w/in", "w/f"),
    ("S047", "R", "{}/w/loop", REFUSE),
    ("S047 write", "W", "{}/w/loop", REFUSE),
    ("S048", "R", "{}/w/c1", DENY),
    ("S049", "R", "{}/w/abs", DENY),
    ("S050 read", "R", "{}/r/up/f", "in w"),
    ("S050 write", "W", "{}/r/up/f", "w/f"),
    ("S051", "R", "{}/w/ld/../f", DENY),
    ("S055", "L", "{}/w/ld", DENY),
    ("S059 root", "R", "/proc/self/root{}/s/key", REFUSE),
    ("S059 root allowed", "R", "/proc/self/root{}/w/f", REFUSE),
    ("S059 cwd", "R", "/proc/self/cwd/x", REFUSE),
    ("S059 fd", "R", "/proc/self/fd/0", REFUSE),
    ("S059 dev", "R", "/dev/fd/0", REFUSE),
    ("S059 stdin", "R", "/dev/stdin", REFUSE),
    ("S061 environ", "R", "/proc/self/environ", REFUSE),
    ("S061 pid", "R", f"/proc/{os.getpid()}/root{{}}/s/key", REFUSE),
    ("deny write: read", "R", "{}/w/.git/config", "git"),
    ("deny write: write", "W", "{}/w/.git/config", DENY),
    ("deny write: new", "W", "{}/w/.git/hooks/pre-commit", DENY),
    ("deny read", "R", "{}/w/priv/note", DENY),
    ("deny read: list", "L", "{}/w/priv", DENY),
    ("non-recursive: child", "W", "{}/n/f", "n/f"),
    ("non-recursive: below", "R", "{}/n/k/f", DENY),
    ("non-recursive: new below", "W", "{}/n/new/f", DENY),
    ("list", "L", "{}/w/d", ["f"]),
    ("list a file", "L", "{}/w/f", REFUSE),
    ("list absence", "L", "{}/w/none", ABSENT),
    ("list elsewhere", "L", "{}/s", DENY),
    ("control plane", "R", "{}/w/run/root/key", DENY),
    ("control plane: write", "W", "{}/w/run/root/key", DENY),
    ("control plane: itself", "L", "{}/w/run", DENY),
    ("beside the control plane", "W", "{}/w/run2", "w/run2"),
]


@pytest.mark.parametrize(("operation", "path", "verdict"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_every_row_gets_its_verdict(grounds, operation, path, verdict):
    path = path.format(grounds.top)
    before = grounds.seen()
    call = {"R": grounds.files.read_text, "L": grounds.files.listdir}.get(operation)
    with trio.fail_after(1):
        if isinstance(verdict, type):
            with pytest.raises(verdict) as caught:
                await (call(path) if call is not None else grounds.files.write_text(path, "mine"))
            assert type(caught.value) is verdict
            assert grounds.seen() == before
        elif call is not None:
            assert await call(path) == verdict
            assert grounds.seen() == before
        else:
            await grounds.files.write_text(path, "mine")
            changed = {name for name, content in grounds.seen().items() if before.get(name, "?") != content and content is not None}
            assert changed == {verdict}
            assert grounds.get(verdict) == "mine"


async def test_s052_forty_one_links_are_too_many(grounds):
    for number in range(41):
        os.symlink("f" if number == 0 else f"x{number - 1}", grounds.path(f"w/x{number}"))
    assert await grounds.files.read_text("x39") == "in w"
    with pytest.raises(PathRefusedError, match="links"):
        await grounds.files.read_text("x40")


async def test_s056_s060_a_link_may_be_there_and_leads_nowhere(grounds):
    os.symlink("/etc", grounds.path("w/t"))
    os.symlink(f"/proc/self/root{grounds.path('s/key')}", grounds.path("w/m"))
    with pytest.raises(AccessDeniedError):
        await grounds.files.read_bytes("t/passwd")
    with pytest.raises(PathRefusedError):
        await grounds.files.read_bytes("m")


async def test_s066_a_directory_replaced_by_a_link_leads_nowhere(grounds):
    os.rename(grounds.path("w"), grounds.path("old"))
    os.symlink(grounds.path("s"), grounds.path("w"))
    for call in (grounds.files.read_text("key"), grounds.files.write_text("key", "x"), grounds.files.listdir(".")):
        with pytest.raises(AccessDeniedError):
            await call
    assert grounds.get("s/key") == "secret"


async def test_s068_writing_under_a_second_name_leaves_the_first(grounds):
    os.link(grounds.path("s/key"), grounds.path("w/h"))
    await grounds.files.write_text("h", "mine")
    assert (grounds.get("w/h"), grounds.get("s/key")) == ("mine", "secret")


async def test_s070_s075_what_is_no_file_is_refused_and_not_waited_for(grounds):
    os.mkfifo(grounds.path("w/pipe"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(grounds.path("w/sock"))
        listener.listen()
        with trio.fail_after(1):
            for name in ("pipe", "sock"):
                with pytest.raises(PathRefusedError, match="not a regular file"):
                    await grounds.files.read_bytes(name)
                with pytest.raises(PathRefusedError, match="not a regular file"):
                    await grounds.files.write_bytes(name, b"x")


async def test_s072_a_file_that_is_too_big_is_refused_before_it_is_read(grounds):
    os.truncate(grounds.put("w/sparse"), 2**40)
    with trio.fail_after(1), pytest.raises(PathRefusedError, match="more than"):
        await grounds.files.read_bytes("sparse")


async def test_a_whole_machine_in_scope_still_has_no_processes_in_it(grounds):
    grounds.scope = type(grounds.scope).read("/")
    assert grounds.scope.at("/proc/self/environ") is Permission.READ
    with pytest.raises(PathRefusedError):
        await grounds.files.read_bytes("/proc/self/environ")
    with pytest.raises(PathRefusedError):
        await grounds.files.listdir("/proc")
    assert "proc" in await grounds.files.listdir("/")
