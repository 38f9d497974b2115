"""Rules one by one: what they give, when they are refused, and that a refused restriction leaves no doubt about it."""

import errno
import json

import pytest

from podkit._os._kernel import _landlock
from podkit._os._kernel._calls import KernelError

START = """
import json, os
from _kernel import _landlock, _process
from _kernel._calls import KernelError
from _kernel._landlock import Rule
from tries import opened, read, write
_process.no_new_privileges()
top = sys.argv[1]
SYSTEM = [Rule(path, "read") for path in ("/usr", "/proc") if os.path.exists(path)]

def restrict(*rules, network=True, scoped=True):
    try:
        _landlock.restrict([*SYSTEM, *(Rule(*rule) for rule in rules)], network=network, scoped=scoped)
    except KernelError as error:
        return [error.step, error.error, error.path]

def outcome(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return "ok"

def tell(*values):
    print(json.dumps(values))
"""


@pytest.mark.parametrize(
    ("rule", "step", "error"),
    [
        (("{top}/missing", "read", None), "rule", errno.ENOENT),
        (("{top}/w/l", "write", None), "rule", errno.ELOOP),
        (("{top}/w/ld/dir", "read", None), "rule", errno.ELOOP),
        (("/proc/self/root{top}/w", "write", None), "rule", errno.ELOOP),
        (("w", "write", None), "rule", errno.EINVAL),
        (("", "write", None), "rule", errno.EINVAL),
        (("{top}/w\0/../s", "write", None), "rule", errno.EINVAL),
        (("{top}/w", "all", None), "rule", errno.EINVAL),
        (("{top}/w", "", None), "rule", errno.EINVAL),
        (("{top}/w", "edit", None), "rule", errno.EISDIR),
        (("{top}/w", "write", (1, 1)), "pin", errno.ESTALE),
        (("{top}/w/a", "edit", (1, 1)), "pin", errno.ESTALE),
        (("{top}/w/a/b", "read", None), "rule", errno.ENOTDIR),
        (("/" + "x" * 5000, "read", None), "rule", errno.ENAMETOOLONG),
    ],
)
@pytest.mark.proves("I39")
def test_a_rule_that_cannot_be_meant_confines_nothing_and_is_reported(who, yard, rule, step, error):
    source = (
        START + "tell(restrict(json.loads(sys.argv[2])), outcome(lambda: read(f'{top}/s/key')), len(os.listdir('/proc/self/fd')))"
    )
    path, *rest = rule
    path = path.format(top=yard)
    refusal, reads, descriptors = who.tells(source, yard, json.dumps([path, *rest]))
    assert (refusal, reads) == ([step, error, path], "ok")
    assert descriptors == 4  # none was left open


def test_a_pin_that_fits_is_no_hindrance(who, yard):
    source = (
        START
        + """
found = os.stat(f"{top}/w")
tell(restrict((f"{top}/w", "write", [found.st_dev, found.st_ino])), outcome(lambda: write(f"{top}/w/a")))"""
    )
    assert who.tells(source, yard) == [None, "ok"]


def test_a_file_that_may_be_edited_is_changed_in_place_and_not_replaced(who, yard):
    source = (
        START
        + """
restrict((f"{top}/w/a", "edit"), (f"{top}/w", "read"))
tell(
    outcome(lambda: write(f"{top}/w/a", "r+")),
    outcome(lambda: os.truncate(f"{top}/w/a", 0)),
    outcome(lambda: write(f"{top}/w/x")),
    outcome(lambda: write(f"{top}/w/new")),
    outcome(lambda: os.unlink(f"{top}/w/a")),
    outcome(lambda: os.rename(f"{top}/w/a", f"{top}/w/b")),
)"""
    )
    assert who.tells(source, yard) == ["ok", "ok", *[errno.EACCES] * 4]


def test_write_on_a_file_is_edit(who, yard):
    source = (
        START
        + """
restrict((f"{top}/w/a", "write"))
tell(*map(outcome, (lambda: write(f"{top}/w/a"), lambda: os.unlink(f"{top}/w/a"), lambda: os.listdir(f"{top}/w"))))"""
    )
    assert who.tells(source, yard) == ["ok", errno.EACCES, errno.EACCES]


def test_what_was_open_before_stays_open(who, yard):
    source = (
        START
        + """
fd = os.open(f"{top}/s/key", os.O_RDWR)
restrict()
tell(outcome(lambda: os.pwrite(fd, b"x", 0)), outcome(lambda: read(f"{top}/s/key")))"""
    )
    assert who.tells(source, yard) == ["ok", errno.EACCES]


@pytest.mark.proves("K54")
def test_a_second_restriction_only_narrows(who, yard):
    source = (
        START
        + """
first = restrict((f"{top}/w", "write"))
second = restrict((f"{top}/w", "read"), (f"{top}/s", "write"))
tries = (lambda: read(f"{top}/w/a"), lambda: write(f"{top}/w/a"), lambda: read(f"{top}/s/key"))
tell(first, second, *map(outcome, tries))"""
    )
    assert who.tells(source, yard) == [None, None, "ok", errno.EACCES, errno.EACCES]


@pytest.mark.proves("K55")
def test_the_seventeenth_restriction_is_refused_by_its_depth(who, yard):
    source = (
        START
        + """
depths = [restrict((f"{top}/w", "write")) for _ in range(17)]
tell(depths, outcome(lambda: write(f"{top}/w/a")), outcome(lambda: read(f"{top}/s/key")))"""
    )
    assert who.tells(source, yard) == [[None] * 16 + [["depth", errno.E2BIG, ""]], "ok", errno.EACCES]


def test_without_no_new_privileges_nobody_can_restrict_himself(kit, who, yard):
    source = START.replace("_process.no_new_privileges()", "") + "tell(restrict())"
    assert who.tells(source, yard) == ([None] if who.uid == 0 else [["restrict", errno.EPERM, ""]])


@pytest.mark.parametrize(("scoped", "sees"), [(True, errno.EPERM), (False, "ok")])
@pytest.mark.proves("K38", "K39")
def test_signals_leave_the_confinement_only_when_it_is_not_scoped(who, yard, scoped, sees):
    source = (
        START
        + """
reading, writing = os.pipe()
other = os.fork()
if not other:
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
restrict(scoped=sys.argv[2] == "True")
told = outcome(lambda: os.kill(other, 0))
inner = os.fork()
if not inner:
    os._exit(0)
tell(told, outcome(lambda: os.kill(inner, 0)))
sys.stdout.flush()
os._exit(0)"""
    )
    assert who.tells(source, yard, str(scoped)) == [sees, "ok"]


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 7, 20])
def test_each_version_of_landlock_is_asked_for_what_it_has(who, yard, version):
    source = (
        START
        + f"""
_landlock.abi = lambda: {version}
told = restrict((f"{{top}}/w", "write"), network={version < 4}, scoped={version >= 6})
tries = (lambda: write(f"{{top}}/w/a"), lambda: read(f"{{top}}/s/key"), lambda: os.truncate(f"{{top}}/r/a", 0))
tell(told, *map(outcome, tries))"""
    )
    truncates = "ok" if version < 3 else errno.EACCES  # older ones know no right to truncate
    assert who.tells(source, yard) == [None, "ok", errno.EACCES, truncates]


@pytest.mark.parametrize(
    ("version", "network", "scoped", "refused"),
    [(0, True, False, True), (3, False, False, True), (4, False, False, False), (5, True, True, True), (6, True, True, False)],
)
@pytest.mark.proves("K56", "I39")
def test_a_kernel_that_cannot_do_what_is_asked_confines_nothing_rather_than_less(monkeypatch, version, network, scoped, refused):
    monkeypatch.setattr(_landlock, "abi", lambda: version)
    monkeypatch.setattr(_landlock, "_create", lambda *_: pytest.fail("reached the kernel") if refused else refuse())

    def refuse():
        raise KernelError("test", 0)

    with pytest.raises(KernelError) as caught:
        _landlock.restrict([], network=network, scoped=scoped)
    assert (caught.value.step, caught.value.error) == (("landlock", errno.EOPNOTSUPP) if refused else ("test", 0))


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
@pytest.mark.proves("K56")
def test_a_kernel_without_landlock_has_version_nought_and_refuses(monkeypatch, error):
    def missing(*_):
        raise OSError(error, "no")

    monkeypatch.setattr(_landlock, "syscall", missing)
    assert _landlock.abi() == 0
    with pytest.raises(KernelError, match="landlock") as caught:
        _landlock.restrict([], network=True)
    assert caught.value.step == "landlock"
    with pytest.raises(KernelError) as caught:
        _landlock._create(7, 1, 0, 0)
    assert (caught.value.step, caught.value.error) == ("landlock", error)


def test_rules_by_the_thousand_are_no_trouble(ourselves, tmp_path):
    for number in range(2000):
        (tmp_path / str(number)).touch()
    source = (
        START
        + """
told = restrict(*((f"{top}/{number}", "edit") for number in range(0, 2000, 2)))
tell(told, outcome(lambda: write(f"{top}/1998")), outcome(lambda: write(f"{top}/1999")))"""
    )
    assert ourselves.tells(source, str(tmp_path)) == [None, "ok", errno.EACCES]
