"""What a program in a ward gets, and what its host hears of it."""

import errno
import json
import os
import signal
import sys

import pytest
import trio

from podkit._os._kernel import _cgroup, _process
from podkit._os._wards import Order, Wards
from podkit.errors import ConfinementError

LEVELS = ("advisory", "kernel", "strict")


@pytest.mark.parametrize("level", LEVELS)
async def test_a_program_is_heard_to_its_end(yard, level):
    order = yard.order("sh", "-c", "echo out; echo err >&2; exit 7", level=level)
    assert await yard.run(order) == (7, b"out\n", b"err\n", ())


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE])
async def test_a_signal_is_a_negative_status(yard, sig):
    assert (await yard.run(yard.order("sh", "-c", f"kill -{sig.value} $$")))[0] == -sig


async def test_it_may_be_waited_for_by_many_and_again(yard):
    async with await yard.wards.open(yard.order("sh", "-c", "read x; exit 4"), stdin=True) as ward:
        got = []

        async def wait():
            got.append(await ward.wait())

        async def ended():
            got.append(await ward.ended())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ended)
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await ward.stdin.send_all(b"\n")
        assert sorted(map(str, got)) == ["()"] * 3 + ["4"] * 3
        assert (await ward.wait(), await ward.ended()) == (4, ())
    assert (await ward.wait(), await ward.ended()) == (4, ())
    ward.end()
    await ward.aclose()


async def test_who_waits_for_the_end_and_gives_up_leaves_the_others_waiting(yard):
    async with await yard.wards.open(yard.order("cat"), stdin=True) as ward:
        with trio.CancelScope() as impatient:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ward.ended)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(ward.wait)
                await trio.testing.wait_all_tasks_blocked()
                impatient.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ward.wait)
            await ward.stdin.aclose()
        assert await ward.ended() == ()


async def test_what_is_sent_is_read(yard):
    async with await yard.wards.open(yard.order("wc", "-c"), stdin=True) as ward:

        async def write():
            async with ward.stdin:
                await ward.stdin.send_all(b"x" * 300_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            status, said, _, _ = await yard.finish(ward)
    assert (status, said.split()) == (0, [b"300000"])


async def test_output_that_the_program_closes_has_ended(yard):
    order = yard.order("sh", "-c", "exec >&- 2>&-; read x")
    async with await yard.wards.open(order, stdin=True) as ward:
        assert await ward.stdout.receive_some() == b""
        assert await ward.stderr.receive_some() == b""
        await ward.stdin.aclose()
        await ward.wait()


async def test_input_that_nobody_reads_is_refused(yard):
    async with await yard.wards.open(yard.order("sh", "-c", "exec <&-; echo; sleep 1000"), stdin=True) as ward:
        await ward.stdout.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await ward.stdin.send_all(b"x" * 300_000)


async def test_without_a_stdin_there_is_nothing_to_read(yard):
    assert await yard.run(yard.order("cat")) == (0, b"", b"", ())


async def test_the_environment_and_the_directory_are_what_was_ordered(yard):
    env = {"A": "b c", "\udcff": "\udcfe\U0001f600", "PATH": os.environ["PATH"]}
    order = Order(argv=["sh", "-c", "pwd; cat /proc/self/environ"], env=env, cwd=str(yard.top), namespaces=yard.namespaces)
    _, said, _, _ = await yard.run(order)
    where, _, environ = said.partition(b"\n")
    got = set(environ.rstrip(b"\0").split(b"\0")) - {b"PWD=" + where, b"OLDPWD=" + where, b"_=/usr/bin/cat", b"SHLVL=0", b"SHLVL=1"}
    assert where.decode() == str(yard.top)
    assert got >= {b"A=b c"}
    assert got <= {os.fsencode(f"{name}={value}") for name, value in env.items()}


async def test_arguments_reach_the_program_byte_for_byte(yard):
    argv = ["printf", "%s|", "", "\udcff", "a\nb", '"', "\u2028", "\U0001f600"]
    assert (await yard.run(yard.order(*argv)))[1] == b"".join(os.fsencode(text) + b"|" for text in argv[2:])


@pytest.mark.proves("I34", "K10")
@pytest.mark.parametrize("level", LEVELS)
async def test_a_program_has_three_descriptors_and_nothing_else(yard, level):
    leaked = os.open("/", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    fifo = yard.top / "lease"
    os.mkfifo(fifo)
    lease = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await yard.wards.hold("lease", lease)
        code = "import os, json; print(json.dumps(sorted(map(int, os.listdir('/proc/self/fd')))))"
        order = yard.order(sys.executable, "-I", "-S", "-c", code, level=level)
        status, said, trouble, _ = await yard.run(order, keys=["lease"], stdin=True)
        assert (status, trouble, json.loads(said)) == (0, b"", [0, 1, 2, 3])  # 3 is the listing itself
        await yard.wards.drop("lease")
    finally:
        os.close(lease)
        os.close(leaked)


async def test_a_program_starts_with_every_signal_as_it_is_by_default(yard):
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    wards = Wards()
    try:
        yard = type(yard)(wards, yard.namespaces, yard.top)
        _, said, _, _ = await yard.run(yard.order("cat", "/proc/self/status"))
    finally:
        signal.signal(signal.SIGUSR1, before)
        await wards.aclose()
    assert {line.split()[1] for line in said.splitlines() if line[:6] in (b"SigBlk", b"SigIgn", b"SigCgt")} == {b"0" * 16}


async def test_a_program_leads_a_session_of_its_own_and_has_no_terminal(yard):
    code = "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0)); os.open('/dev/tty', os.O_RDWR)"
    status, said, trouble, _ = await yard.run(yard.order(sys.executable, "-I", "-S", "-c", code))
    assert (status, said) == (1, b"True\n")
    assert b"/dev/tty" in trouble


@pytest.mark.parametrize("level", LEVELS)
async def test_a_program_that_is_not_there_is_the_errno_of_that(yard, level):
    (yard.top / "text").write_text("no program")
    (yard.top / "odd").write_text("no program")
    (yard.top / "odd").chmod(0o755)
    for argv, wrong in {
        "nowhere": FileNotFoundError,
        "./nowhere": FileNotFoundError,
        "/nowhere/at/all": FileNotFoundError,
        "./text": PermissionError,
        str(yard.top): PermissionError,
        f"{yard.top}/text/x": NotADirectoryError,
        "./odd": OSError,
    }.items():
        with pytest.raises(wrong) as caught:
            await yard.wards.open(yard.order(argv, level=level))
        assert caught.value.filename == argv
    with pytest.raises(FileNotFoundError) as missing:
        await yard.wards.open(yard.order("true", level=level, cwd="/nowhere"))
    assert missing.value.filename == "/nowhere"
    with pytest.raises(NotADirectoryError):
        await yard.wards.open(yard.order("true", level=level, cwd="/etc/passwd"))


async def test_a_program_is_looked_for_along_its_own_path(yard):
    place = yard.top / "bin"
    place.mkdir()
    (place / "hello").write_text("#!/bin/sh\necho $0\n")
    (place / "hello").chmod(0o755)
    blind = yard.top / "blind"
    blind.mkdir()
    (blind / "hello").write_text("not to be run")
    path = f"/nowhere:{blind}:{place}:/usr/bin:/bin"
    assert (await yard.run(yard.order("hello", env={"PATH": path})))[1].decode() == f"{place}/hello\n"
    with pytest.raises(PermissionError):
        await yard.wards.open(yard.order("hello", env={"PATH": f"{blind}:/usr/bin"}))
    assert (await yard.run(yard.order("hello", env={"PATH": ":/nowhere"}, cwd=str(place))))[1] == b"./hello\n"


async def test_too_much_for_one_program_is_said_by_the_kernel_or_before(yard):
    many = {f"N{number}": "" for number in range(150_000)}  # few bytes, and a pointer for each
    with pytest.raises(OSError, match=os.strerror(errno.E2BIG)):
        await yard.wards.open(yard.order("true", env=many))
    for argv in (["true", "x\0"], ["x" * 131072], ["true", *["x" * 131000] * 17], [], [""]):
        with pytest.raises(ValueError, match=r"argument|argv|name"):
            await yard.wards.open(Order(argv=argv, env={}, cwd="/"))
    for env in ({"A=": "x"}, {"": "x"}, {"A": "\0"}):
        with pytest.raises(ValueError, match=r"environment|value"):
            await yard.wards.open(Order(argv=["true"], env=env, cwd="/"))
    assert (await yard.run(yard.order("printenv", "BIG", env={"BIG": "x" * 131000})))[1] == b"x" * 131000 + b"\n"


async def test_large_orders_arrive_whole(yard):
    argv = ["sh", "-c", "echo $#", "sh", *("y" * 100_000 for _ in range(15))]
    assert (await yard.run(yard.order(*argv)))[:2] == (0, b"15\n")


async def test_a_step_of_the_confinement_that_fails_fails_the_call(yard):
    ran = yard.top / "ran"
    for rest in (
        {"rules": [("/nowhere", "read", None)]},
        {"rules": [(str(yard.top), "read", (1, 2))]},
        {"mounts": [("/nowhere/x", "ro")]},
    ):
        with pytest.raises(ConfinementError) as caught:
            await yard.wards.open(yard.order("touch", str(ran), level="kernel", **rest))
        assert caught.value.level == "kernel"
        assert caught.value.reason
    assert not ran.exists()
    assert (await yard.run(yard.order("true")))[0] == 0


async def test_an_order_that_needs_mounts_is_not_carried_out_without_them(yard):
    order = yard.order("true", level="kernel", mounts=[("/usr", "ro")], namespaces=False)
    with pytest.raises(ConfinementError):
        await yard.wards.open(order)


@pytest.mark.proves("K01", "K02", "K04")
async def test_the_kernel_holds_a_program_to_its_rules(yard):
    (yard.top / "mine").mkdir()
    (yard.top / "theirs").write_text("secret")
    order = yard.order("sh", "-c", "echo x > mine/x; cat theirs; echo y > theirs; touch new", level="kernel")
    order = Order(**{**vars_of(order), "rules": (*order.rules[:-1], (str(yard.top / "mine"), "write", None))})
    status, said, trouble, _ = await yard.run(order)
    assert (status, said) == (1, b"")
    assert trouble.count(b"denied") == 3
    assert (yard.top / "theirs").read_text() == "secret"
    assert (yard.top / "mine" / "x").read_text() == "x\n"


def vars_of(order):
    import attrs

    return attrs.asdict(order, recurse=False)


@pytest.mark.proves("K47")
@pytest.mark.parametrize("level", ["kernel", "strict"])
async def test_a_confined_program_has_few_capabilities_and_gains_none(yard, level):
    _, said, _, _ = await yard.run(yard.order("cat", "/proc/self/status", level=level))
    status = dict(line.split(b":\t", 1) for line in said.splitlines() if b":\t" in line)
    kept = sum(1 << number for number in _process.KEEP_AS_ROOT) if os.geteuid() == 0 else 0
    assert (status[b"NoNewPrivs"], status[b"Seccomp"]) == (b"1", b"2")
    assert {name: int(status[name], 16) & ~kept for name in (b"CapEff", b"CapPrm", b"CapBnd", b"CapAmb")} == dict.fromkeys(
        (b"CapEff", b"CapPrm", b"CapBnd", b"CapAmb"), 0
    )


@pytest.mark.proves("K18")
async def test_modes_and_times_outside_cannot_be_changed_under_strict(yard):
    other = yard.top.parent / "other"
    other.write_text("x")
    other.chmod(0o644)
    before = os.stat(other)
    order = yard.order("sh", "-c", "chmod 600 ../other; touch -d 2001-01-01 ../other; echo on", level="strict")
    assert (await yard.run(order))[:2] == (0, b"on\n")
    after = os.stat(other)
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


async def test_mounts_are_as_ordered(yard):
    if not yard.namespaces:
        pytest.skip("mounts need namespaces")
    lent = yard.top / "lent"
    lent.mkdir()
    (lent / "f").write_text("theirs")
    script = "echo a > lent/f; mv lent other; echo b > new; cat lent/f new; cat lent/f"
    order = yard.order("sh", "-c", script, level="kernel", mounts=[(str(lent), "ro")])
    status, said, trouble, _ = await yard.run(order)
    assert (status, said) == (0, b"theirsb\ntheirs")
    assert b"Read-only" in trouble
    assert (lent / "f").read_text() == "theirs"
    (lent / "f").write_text("ours")


@pytest.mark.proves("K16", "K17")
async def test_in_a_root_of_its_own_nothing_else_exists(yard):
    if not yard.namespaces:
        pytest.skip("a root needs namespaces")
    (yard.top / "w").mkdir()
    (yard.top / "s").mkdir()
    rules = [rule for rule in yard.order("x", level="strict").rules if rule[0] != str(yard.top)]
    binds = [(rule[0], False) for rule in rules if os.path.isdir(rule[0]) and rule[0] != "/proc"]
    order = Order(
        argv=["sh", "-c", "ls; echo x > w/x; chmod 600 w/x; ls -d /root /tmp/* 2>&1"],
        env={"PATH": os.environ["PATH"]},
        cwd=str(yard.top),
        level="strict",
        rules=[*rules, (str(yard.top / "w"), "write", None), (str(yard.top.parent.parent), "read", None)],
        binds=[*binds, (str(yard.top / "w"), True)],
    )
    status, said, trouble, _ = await yard.run(order)
    assert b"w\n" in said, (status, said, trouble)
    assert b"s\n" not in said.splitlines(keepends=True)
    assert os.stat(yard.top / "w" / "x").st_mode & 0o777 == 0o600


@pytest.mark.proves("K34", "K36")
@pytest.mark.parametrize("sockets", [False, True])
async def test_unix_sockets_are_for_who_ordered_them(yard, sockets):
    code = "import socket; socket.socketpair(); socket.socket(socket.AF_UNIX)"
    order = yard.order(sys.executable, "-I", "-S", "-c", code, level="kernel", unix_sockets=sockets)
    status, _, trouble, _ = await yard.run(order)
    assert (status == 0) is sockets, trouble


async def test_fifty_at_once(yard):
    got = []

    async def one(number):
        got.append(await yard.run(yard.order("sh", "-c", f"echo {number}; exit {number}", level=LEVELS[number % 2])))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one, number)
    assert sorted(got) == sorted((number, b"%d\n" % number, b"", ()) for number in range(50))


@pytest.mark.proves("I34")
async def test_nothing_is_left_of_a_hundred_calls(yard, until):
    facts, home = await yard.wards.facts(), _cgroup.home()

    def counts():
        fds = [len(os.listdir(f"/proc/{pid}/fd")) for pid in ("self", facts.pid)]
        groups = [name for name in os.listdir(home or "/") if name.startswith(f"podkit-{facts.pid}-")]
        return fds, children(facts.pid), len(groups)

    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return len(file.read().split())

    await yard.run(yard.order("true"))
    await until(lambda: children(facts.pid) <= 2)
    before = counts()
    for number in range(100):
        with trio.move_on_after(0.0 if number % 10 == 3 else 10):
            if number % 10 == 5:
                with pytest.raises(FileNotFoundError):
                    await yard.wards.open(yard.order("nowhere"))
            await yard.run(yard.order("true"))
    await until(lambda: counts() == before)


async def test_a_cancelled_open_leaves_nothing_running(yard, until, processes):
    mark = f"{yard.top}/mark"
    started = yard.top / "started"
    for number in range(30):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def give_up(number=number, scope=scope):
                    for _ in range(number // 3):
                        await trio.sleep(0.0002)
                    scope.cancel()

                nursery.start_soon(give_up)
                ward = await yard.wards.open(yard.order("sh", "-c", f"echo >> {started}; sleep 1000", mark))
                await ward.aclose()
        assert processes(mark) == set()


async def test_a_cancelled_wait_can_be_made_again(yard):
    async with await yard.wards.open(yard.order("cat"), stdin=True) as ward:
        for _ in range(3):
            with trio.move_on_after(0.001) as scope:
                await ward.wait()
            assert scope.cancelled_caught
        await ward.stdin.aclose()
        assert await ward.wait() == 0


async def test_closing_ends_what_still_runs(yard, processes):
    mark = f"{yard.top}/mark"
    ward = await yard.wards.open(yard.order("sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000", mark))
    assert processes(mark)
    await ward.aclose()
    assert processes(mark) == set()
    assert await ward.wait() == -signal.SIGKILL
    assert await ward.ended() == ()


async def test_the_process_id_is_that_of_the_program_for_its_host(yard):
    async with await yard.wards.open(yard.order("cat"), stdin=True) as ward:
        with open(f"/proc/{ward.pid}/cmdline") as file:
            assert file.read() == "cat\0"


async def test_an_order_and_a_ward_show_no_arguments(yard):
    order = yard.order("cat", "secret-argument", env={"KEY": "secret-value"})
    async with await yard.wards.open(order) as ward:
        assert "secret" not in f"{order!r} {ward!r} {yard.wards!r}"


async def test_closed_wards_are_closed(yard):
    wards = Wards()
    yard = type(yard)(wards, yard.namespaces, yard.top)
    open_one = await wards.open(yard.order("sleep", "1000"))
    await wards.aclose()
    await wards.aclose()
    assert await open_one.wait() == -signal.SIGKILL
    with pytest.raises(ConfinementError):
        await wards.open(yard.order("true"))
    with pytest.raises(ConfinementError):
        await wards.facts()
    assert not wards.dead


async def test_a_nanny_that_was_never_needed_was_never_started(yard):
    wards = Wards()
    assert "not started" in repr(wards)
    await wards.drop("lease")
    await wards.aclose()
    assert "not started" in repr(wards)
