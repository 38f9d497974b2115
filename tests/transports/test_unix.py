"""Unix sockets: who may be where in the file system, and what is left there afterwards."""

import errno
import os
import socket
import stat
import sys
import tempfile
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from podkit.errors import AuthenticationError, PodUnreachableError, TransportError
from podkit_transports import UnixTransport, _unix, _unix_files


@pytest.fixture
def place(short_dir):
    return f"{short_dir}/pod/sock"


def contents(directory):
    """Everything below a directory: name, kind and mode, inode, and what is in it."""
    found = {}
    for where, _, _ in os.walk(directory):
        for name in [".", *os.listdir(where)]:
            path = os.path.join(where, name)
            state = os.lstat(path)
            text = b""
            if stat.S_ISREG(state.st_mode):
                with open(path, "rb") as file:
                    text = file.read()
            found[path] = (state.st_mode, state.st_ino, text)
    return found


def read(path):
    return Path(path).read_text()


def write(path, text):
    Path(path).write_text(text)


def stale_socket(path):
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
    return os.lstat(path).st_ino


async def exchange(transport, listener, address):
    with trio.fail_after(2):
        async with await transport.connect(address) as ours, await listener.accept() as theirs:
            await ours.send(b"ping")
            assert await theirs.receive() == b"ping"


# Addresses.


async def test_an_address_is_made_of_the_run_directory_and_the_name():
    transport = UnixTransport()
    assert transport.address("pod", "/run/x") == "unix:///run/x/pod/sock"
    assert transport.address("pod", "/run/x/") == "unix:///run/x/pod/sock"
    with pytest.raises(TransportError, match="run directory"):
        transport.address("pod", None)
    with pytest.raises(TransportError, match="107 bytes"):
        transport.address("pod", "/" + "x" * 107)


@pytest.mark.skipif(sys.platform == "darwin", reason="another limit there")
@pytest.mark.proves("F11")
async def test_a_path_of_107_bytes_works_and_one_of_108_is_refused_before_anything_is_made(short_dir):
    transport = UnixTransport()
    for character in ("x", "é"):
        room = 107 - len(os.fsencode(short_dir)) - len("//sock")
        name = character * (room // len(character.encode()))
        name += "x" * (room - len(name.encode()))
        fits = f"{short_dir}/{name}/sock"
        assert len(os.fsencode(fits)) == 107
        async with await transport.listen(fits) as listener:
            await exchange(transport, listener, fits)
        os.rmdir(os.path.dirname(fits))
        long = f"{short_dir}/{name}x/sock"
        for call in (transport.listen, transport.connect):
            with pytest.raises(TransportError, match="at most 107 bytes, this one has 108") as caught:
                await call(f"unix://{long}")
            assert not isinstance(caught.value, PodUnreachableError)
        with pytest.raises(TransportError, match="107"):
            transport.key(long)
        with pytest.raises(TransportError, match="107"):
            transport.from_fd(0, long)
        assert os.listdir(short_dir) == []


NO_PATHS = (
    """unix://relative/sock unix:///a/../b/sock unix:///a//sock unix:///a/./sock unix:///a/sock/ unix:/// unix:///a/key sock"""
)


@pytest.mark.parametrize("address", [*NO_PATHS.split(), "unix:///a\0b", "/a\udc80\ud800/sock"])
async def test_what_cannot_be_the_path_of_a_socket_is_refused(address):
    transport = UnixTransport()
    for call in (transport.listen, transport.connect):
        with pytest.raises(TransportError) as caught:
            await call(address)
        assert not isinstance(caught.value, PodUnreachableError)


async def test_a_url_and_a_bare_path_are_the_same_place(place):
    transport = UnixTransport()
    async with await transport.listen(place) as listener:
        assert listener.address == place
        for address in (place, f"unix://{place}", f"whatever://{place}"):
            await exchange(transport, listener, address)


@pytest.mark.parametrize("name", ["a", "ab", "abc", "sock", "a-longer-name.sock"])
async def test_any_name_will_do_and_the_temporary_one_is_never_longer(place, name, monkeypatch):
    bound = []
    bind = socket.socket.bind

    class Watched(socket.socket):
        def bind(self, where):
            bound.append(where)
            bind(self, where)

    monkeypatch.setattr(_unix_files.socket, "socket", Watched)
    path = f"{os.path.dirname(place)}/{name}"
    transport = UnixTransport()
    async with await transport.listen(path) as listener:
        await exchange(transport, listener, path)
        assert sorted(os.listdir(os.path.dirname(path))) == sorted([name, "key"])
    assert bound
    assert all(len(where) <= len(path) and where != path for where in bound)


# What listening makes and what it leaves.


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.proves("I18")
async def test_directory_socket_and_key_are_for_us_alone_whatever_the_umask(place, umask):
    transport, before = UnixTransport(), os.umask(umask)
    try:
        async with await transport.listen(place):
            modes = [
                stat.S_IMODE(os.lstat(path).st_mode) for path in (os.path.dirname(place), place, f"{os.path.dirname(place)}/key")
            ]
            assert modes == [0o700, 0o600, 0o600]
            assert stat.S_ISSOCK(os.lstat(place).st_mode)
    finally:
        os.umask(before)


async def test_every_listen_has_a_fresh_key_and_connect_finds_it(place):
    transport, keys = UnixTransport(), []
    for _ in range(3):
        async with await transport.listen(place):
            keys.append(transport.key(place))
            assert read(f"{os.path.dirname(place)}/key") == keys[-1]
    assert len(set(keys)) == 3
    assert all(len(key) == 64 and int(key, 16) >= 0 for key in keys)


async def test_closing_removes_socket_and_key_and_leaves_the_rest(place):
    transport = UnixTransport()
    listener = await transport.listen(place)
    write(f"{os.path.dirname(place)}/stderr.log", "said")
    fd = listener.fd
    assert os.fstat(fd)
    await listener.aclose()
    await listener.aclose()
    assert os.listdir(os.path.dirname(place)) == ["stderr.log"]
    assert listener.fd == -1
    with pytest.raises(PodUnreachableError):
        await transport.connect(place)
    with pytest.raises(PodUnreachableError):
        transport.key(place)


async def test_closing_under_cancellation_removes_them_too(place):
    listener = await UnixTransport().listen(place)
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.aclose()
    assert os.listdir(os.path.dirname(place)) == []
    assert listener.fd == -1


async def test_closing_removes_nothing_that_is_not_its_own(place):
    transport = UnixTransport()
    first = await transport.listen(place)
    os.unlink(place)  # as a cleaner of temporary directories would
    second = await transport.listen(place)
    key = transport.key(place)
    await first.aclose()
    await exchange(transport, second, place)
    assert transport.key(place) == key
    await second.aclose()
    assert os.listdir(os.path.dirname(place)) == []


async def test_closing_is_quiet_when_the_directory_is_gone(place):
    listener = await UnixTransport().listen(place)
    for name in os.listdir(os.path.dirname(place)):
        os.unlink(f"{os.path.dirname(place)}/{name}")
    os.rmdir(os.path.dirname(place))
    await listener.aclose()


async def test_closing_is_quiet_when_something_is_in_the_way(place, monkeypatch):
    listener = await UnixTransport().listen(place)

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(_unix_files.os, "unlink", refuse)
    await listener.aclose()
    monkeypatch.undo()
    assert sorted(os.listdir(os.path.dirname(place))) == ["key", "sock"]
    async with await UnixTransport().listen(place) as again:  # and what was left is stale
        await exchange(UnixTransport(), again, place)


async def test_a_stale_socket_is_replaced(place):
    before = stale_socket(place)
    transport = UnixTransport()
    with pytest.raises(PodUnreachableError, match="refused"):
        await transport.connect(place)
    async with await transport.listen(place) as listener:
        assert os.lstat(place).st_ino != before
        await exchange(transport, listener, place)


@pytest.mark.proves("H20")
async def test_a_live_path_is_never_taken_over_and_its_owner_notices_nothing(place):
    transport = UnixTransport()
    async with await transport.listen(place) as listener:
        before = contents(os.path.dirname(place))
        for _ in range(3):
            with pytest.raises(TransportError, match="never taken over"):
                await UnixTransport().listen(place)
        assert contents(os.path.dirname(place)) == before
        with trio.move_on_after(0.01) as waiting:
            await listener.accept()
        assert waiting.cancelled_caught, "no connection came of the question"
        await exchange(transport, listener, place)


async def test_the_path_of_a_pod_too_busy_to_accept_is_not_taken_over_either(place):
    os.makedirs(os.path.dirname(place), mode=0o700)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(place)
        busy.listen(0)
        waiting.connect(place)
        with pytest.raises(TransportError, match="never taken over"):
            await UnixTransport().listen(place)


async def test_a_datagram_socket_is_alive_too(place):
    os.makedirs(os.path.dirname(place), mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(place)
        with pytest.raises(TransportError, match="never taken over"):
            await UnixTransport().listen(place)


@pytest.mark.parametrize("kind", ["file", "directory", "link", "link to nowhere", "fifo"])
async def test_what_is_not_a_socket_is_left_alone(place, kind):
    directory = os.path.dirname(place)
    os.makedirs(directory, mode=0o700)
    live = await UnixTransport().listen(f"{directory}2/sock")
    match kind:
        case "file":
            write(place, "mine")
        case "directory":
            os.mkdir(place)
        case "link":
            os.symlink(f"{directory}2/sock", place)
        case "link to nowhere":
            os.symlink("nowhere", place)
        case "fifo":
            os.mkfifo(place)
    before = contents(directory)
    with pytest.raises(TransportError, match="left alone"):
        await UnixTransport().listen(place)
    assert contents(directory) == before
    await live.aclose()


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o750, 0o755, 0o770, 0o777, 0o1777])
async def test_a_directory_that_others_may_enter_is_refused_and_not_changed(place, mode):
    os.mkdir(os.path.dirname(place))
    os.chmod(os.path.dirname(place), mode)
    with pytest.raises(TransportError, match="0700"):
        await UnixTransport().listen(place)
    assert stat.S_IMODE(os.stat(os.path.dirname(place)).st_mode) == mode
    assert os.listdir(os.path.dirname(place)) == []


async def test_a_directory_that_is_a_link_a_file_or_missing_above_is_refused(place, short_dir):
    os.mkdir(f"{short_dir}/real", 0o700)
    os.symlink("real", f"{short_dir}/pod")
    with pytest.raises(TransportError, match="link"):
        await UnixTransport().listen(place)
    assert os.listdir(f"{short_dir}/real") == []
    write(f"{short_dir}/file", "")
    with pytest.raises(TransportError, match="not a directory"):
        await UnixTransport().listen(f"{short_dir}/file/sock")
    with pytest.raises(TransportError, match="cannot listen"):
        await UnixTransport().listen(f"{short_dir}/no/pod/sock")
    assert "no" not in os.listdir(short_dir)


async def test_a_directory_of_another_user_is_refused(place, monkeypatch):
    os.mkdir(os.path.dirname(place), 0o700)
    monkeypatch.setattr(_unix_files.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(TransportError, match="another user"):
        await UnixTransport().listen(place)
    assert os.listdir(os.path.dirname(place)) == []


@pytest.mark.proves("F10")
async def test_the_path_appears_only_when_it_can_be_connected_to(place, monkeypatch):
    rename, seen = os.rename, []

    def watched(source, target, **kwargs):
        if target == "sock":
            assert not os.path.exists(place)
            assert os.path.exists(f"{os.path.dirname(place)}/key")
            with socket.socket(socket.AF_UNIX) as early:
                early.connect(f"{os.path.dirname(place)}/{source}")
            seen.append(source)
        rename(source, target, **kwargs)

    monkeypatch.setattr(_unix_files.os, "rename", watched)
    async with await UnixTransport().listen(place):
        assert len(seen) == 1


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("call", ["open", "fstat", "chmod", "fchmod", "write", "rename", "stat"])
async def test_whatever_fails_on_the_way_nothing_is_left_and_what_was_there_stays(short_dir, monkeypatch, call, stale):
    place = f"{short_dir}/pod/sock"
    os.mkdir(f"{short_dir}/pod", 0o700)
    if stale:
        stale_socket(place)
        write(f"{short_dir}/pod/key", "old")
    before = {path: value[0] for path, value in contents(short_dir).items()}
    fds = len(os.listdir("/proc/self/fd"))
    real = getattr(os, call)
    for n in range(1, 30):
        count = 0

        def failing(*args, n=n, **kwargs):
            nonlocal count
            count += 1
            if count == n:
                raise OSError(errno.EIO, "planted")
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(_unix_files.os, call, failing)
            listener = None
            with suppress(TransportError):
                listener = await UnixTransport().listen(place)
        if listener is not None:
            break
        after = {path: value[0] for path, value in contents(short_dir).items()}
        assert {path: mode for path, mode in after.items() if not path.endswith("/key")} == {
            path: mode for path, mode in before.items() if not path.endswith("/key")
        }
        assert len(os.listdir("/proc/self/fd")) == fds
    assert listener is not None
    assert n > 1, "the call was never made, so nothing was tested"
    await listener.aclose()
    assert len(os.listdir("/proc/self/fd")) == fds


async def test_a_short_write_of_the_key_is_a_failure(place, monkeypatch):
    monkeypatch.setattr(_unix_files.os, "write", lambda fd, data: len(data) - 1)
    with pytest.raises(TransportError, match="No space"):
        await UnixTransport().listen(place)
    assert os.listdir(os.path.dirname(place)) == []


async def test_a_directory_without_room_for_a_temporary_name_is_refused(place, monkeypatch):
    monkeypatch.setattr(_unix_files, "_NAMES_TRIED", 20)
    monkeypatch.setattr(_unix_files.secrets, "token_hex", lambda n: "a" * 2 * n)
    stale_socket(f"{os.path.dirname(place)}/.aaa")
    with pytest.raises(TransportError, match="no free name"):
        await UnixTransport().listen(place)
    with pytest.raises(TransportError, match="no free name"):
        await UnixTransport().listen(f"{os.path.dirname(place)}/a")
    assert os.listdir(os.path.dirname(place)) == [".aaa"]


async def test_a_socket_that_cannot_be_asked_is_not_taken_over(place, monkeypatch):
    stale_socket(place)

    class Deaf(socket.socket):
        def connect(self, where):
            raise PermissionError(errno.EACCES, "planted")

        def bind(self, where):
            raise PermissionError(errno.EACCES, "planted")

    with monkeypatch.context() as patch:
        patch.setattr(_unix_files.socket, "socket", Deaf)
        with pytest.raises(TransportError, match="planted"):
            await UnixTransport().listen(place)
        os.unlink(place)
        with pytest.raises(TransportError, match="planted"):
            await UnixTransport().listen(place)
    assert os.listdir(os.path.dirname(place)) == []


@pytest.mark.proves("H20")
async def test_of_many_that_want_a_stale_path_at_once_exactly_one_has_it(place):
    for _ in range(10):
        stale_socket(place)
        won, lost, start = [], [], threading.Barrier(8)

        def contend(won=won, lost=lost, start=start):
            start.wait()
            try:
                won.append(_unix_files.publish(place, place))
            except TransportError as error:
                lost.append(error)

        threads = [threading.Thread(target=contend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 7)
        assert sorted(os.listdir(os.path.dirname(place))) == ["key", "sock"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(place)
        won[0][0].close()
        won[0][1].remove()


async def test_who_holds_the_directory_for_long_is_not_waited_for(place, monkeypatch):
    import fcntl

    monkeypatch.setattr(_unix_files, "_LOCK_WAIT", 0.01)
    os.mkdir(os.path.dirname(place), 0o700)
    held = os.open(os.path.dirname(place), os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(TransportError, match="cannot listen"):
        await UnixTransport().listen(place)
    assert os.listdir(os.path.dirname(place)) == []
    os.close(held)


# The key.


def key_file(place, text=b"k" * 64, mode=0o600):
    path = f"{os.path.dirname(place)}/key"
    with open(path, "wb") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


@pytest.mark.parametrize("what", ["directory", "key"])
async def test_a_program_without_room_for_one_more_file_does_not_blame_the_key(place, monkeypatch, what):
    stale_socket(place)
    key_file(place, b"k" * 32)
    real = os.open

    def no_room(path, flags, *args, dir_fd=None):
        if (dir_fd is None) == (what == "directory"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, *args, dir_fd=dir_fd)

    monkeypatch.setattr(_unix_files.os, "open", no_room)
    with pytest.raises(PodUnreachableError, match="the key cannot be read: Too many open files"):
        UnixTransport().key(place)


@pytest.mark.parametrize("text", [b"", b" \n", b"x" * 4097, b"a\nb", b"\xff\xfe", b"a\0b", b"caf\xc3\xa9"])
async def test_what_is_no_key_is_refused(place, text):
    stale_socket(place)
    key_file(place, text)
    with pytest.raises(AuthenticationError):
        UnixTransport().key(place)


async def test_a_key_of_4096_bytes_and_a_line_end_is_a_key(place):
    stale_socket(place)
    key_file(place, b"x" * 4095 + b"\n")
    assert UnixTransport().key(place) == "x" * 4095


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610])
async def test_a_key_that_others_may_open_is_refused(place, mode):
    stale_socket(place)
    key_file(place, mode=mode)
    with pytest.raises(AuthenticationError, match="nobody else"):
        UnixTransport().key(place)


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "socket"])
async def test_a_key_that_is_not_a_plain_file_is_refused_at_once(place, kind):
    stale_socket(place)
    path = f"{os.path.dirname(place)}/key"
    match kind:
        case "link":
            os.symlink(key_file(place.replace("/sock", "/../sock")), path)
        case "directory":
            os.mkdir(path, 0o700)
        case "fifo":
            os.mkfifo(path, 0o600)
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(path)
    with pytest.raises(AuthenticationError):
        UnixTransport().key(place)


async def test_a_key_of_another_user_or_unreadable_is_refused(place, monkeypatch):
    stale_socket(place)
    key_file(place)
    assert UnixTransport().key(place) == "k" * 64
    with monkeypatch.context() as patch:
        patch.setattr(_unix_files.os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(AuthenticationError):
            UnixTransport().key(place)

    def failing(*args):
        raise OSError(errno.EIO, "planted")

    monkeypatch.setattr(_unix_files.os, "read", failing)
    with pytest.raises(AuthenticationError, match="planted"):
        UnixTransport().key(place)


async def test_where_no_pod_is_there_is_no_key_and_a_pod_without_key_is_not_trusted(place):
    transport = UnixTransport()
    with pytest.raises(PodUnreachableError):
        transport.key(place)
    stale_socket(place)
    with pytest.raises(AuthenticationError, match="no key"):
        transport.key(place)
    os.unlink(place)
    with pytest.raises(PodUnreachableError):
        transport.key(place)


# Connecting and accepting.


@pytest.mark.parametrize("what", ["nothing", "file", "directory"])
async def test_connecting_to_what_is_no_socket_is_unreachable(place, what):
    os.mkdir(os.path.dirname(place))
    if what == "file":
        write(place, "")
    if what == "directory":
        os.mkdir(place)
    with pytest.raises(PodUnreachableError) as caught:
        await UnixTransport().connect(place)
    assert caught.value.address == place


async def test_a_pod_whose_queue_is_full_is_waited_for_and_then_unreachable(place, autojump_clock):
    os.mkdir(os.path.dirname(place))
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(place)
        busy.listen(0)
        transport = UnixTransport()
        first = await transport.connect(place)
        with pytest.raises(PodUnreachableError, match="does not accept"):
            await transport.connect(place)
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        async with trio.open_nursery() as nursery:

            async def late():
                await (await transport.connect(place)).aclose()

            nursery.start_soon(late)
            await trio.sleep(1)
            busy.accept()[0].close()
        await first.aclose()


async def test_a_peer_of_another_user_is_not_served_and_the_next_one_is(place, monkeypatch):
    transport = UnixTransport()
    users = [os.geteuid(), os.getuid() + 1, None, os.geteuid()]
    real = _unix._peer_uid

    def planted(sock):
        if not serving:
            return real(sock)
        user = users.pop(0)
        if user is None:
            raise OSError(errno.ENOTCONN, "gone")
        return user

    monkeypatch.setattr(_unix, "_peer_uid", planted)
    async with await transport.listen(place) as listener:
        serving = False
        clients = [await transport.connect(place) for _ in range(4)]
        serving = True
        with trio.fail_after(2):
            accepted = [await listener.accept(), await listener.accept()]
            for number in (0, 3):
                await clients[number].send(b"%d" % number)
            assert [await channel.receive() for channel in accepted] == [b"0", b"3"]
            for number in (1, 2):
                with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
                    await clients[number].receive()
        for channel in (*clients, *accepted):
            await channel.aclose()


async def test_a_socket_of_another_user_is_not_trusted(place, monkeypatch):
    monkeypatch.setattr(_unix, "_peer_uid", lambda sock: os.getuid() + 1)
    async with await UnixTransport().listen(place):
        with pytest.raises(AuthenticationError, match="another user"):
            await UnixTransport().connect(place)


async def test_each_side_has_its_own_reading_limit(place):
    from podkit.errors import RemoteProtocolError

    transport = UnixTransport(max_method=10, max_event=20)
    async with await transport.listen(place) as listener, await transport.connect(place) as ours, await listener.accept() as theirs:
        await ours.send(b"x" * 10)
        await theirs.send(b"x" * 20)
        with trio.fail_after(1):
            assert (len(await theirs.receive()), len(await ours.receive())) == (10, 20)
            await ours.send(b"x" * 11)
            await theirs.send(b"x" * 21)
            for channel in (ours, theirs):
                with pytest.raises(RemoteProtocolError):
                    await channel.receive()


async def test_a_thousand_connections_keep_no_descriptor(place):
    transport = UnixTransport()
    async with await transport.listen(place) as listener:
        before = len(os.listdir("/proc/self/fd"))
        with trio.fail_after(20):
            for _ in range(1000):
                await exchange(transport, listener, place)
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_descriptor_that_cannot_be_had_is_a_transport_error(place, monkeypatch):
    def short(*args):
        raise OSError(errno.EMFILE, "Too many open files")

    transport = UnixTransport()
    async with await transport.listen(place):
        monkeypatch.setattr(_unix.socket, "socket", short)
        with pytest.raises(TransportError, match="Too many open files"):
            await transport.connect(place)
        monkeypatch.undo()


# Handing a listener to a child.

CHILD = """
import sys, trio
from podkit_transports import UnixTransport
async def main():
    fd, address = int(sys.argv[1]), sys.argv[2]
    listener = UnixTransport().from_fd(fd, address)
    import os
    assert not os.get_inheritable(fd)
    while True:
        async with await listener.accept() as channel:
            frame = await channel.receive()
            await channel.send(b"child says " + frame)
            if frame == b"stop":
                break
    await listener.aclose()
trio.run(main)
"""


async def asked(transport, place, frame):
    with trio.fail_after(10):
        async with await transport.connect(place) as channel:
            await channel.send(frame)
            return await channel.receive()


async def test_a_child_takes_over_a_listener_and_cleans_up_after_itself(place):
    transport = UnixTransport()
    listener = await transport.listen(place)
    key = transport.key(place)
    command = [sys.executable, "-c", CHILD, str(listener.fd), place]
    async with trio.open_nursery() as nursery:
        child = partial(trio.run_process, pass_fds=(listener.fd,))
        nursery.start_soon(child, command)
        assert await asked(transport, place, b"hello") == b"child says hello"
        listener.detach()
        assert listener.fd == -1
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        assert transport.key(place) == key
        assert await asked(transport, place, b"stop") == b"child says stop"
    assert os.listdir(os.path.dirname(place)) == []
    await listener.aclose()


async def test_what_a_killed_child_leaves_is_unreachable_at_once_and_removed_by_its_parent(place):
    transport = UnixTransport()
    listener = await transport.listen(place)
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-c", CHILD, str(listener.fd), place]
        process = await nursery.start(partial(trio.run_process, pass_fds=(listener.fd,), check=False), command)
        listener.detach()
        assert await asked(transport, place, b"hello") == b"child says hello"
        process.kill()
    with pytest.raises(PodUnreachableError):
        await transport.connect(place)
    assert sorted(os.listdir(os.path.dirname(place))) == ["key", "sock"]
    await listener.aclose()
    assert os.listdir(os.path.dirname(place)) == []


async def test_a_listener_that_does_not_own_its_path_leaves_it(place):
    transport = UnixTransport()
    listener = await transport.listen(place)
    copy = transport.from_fd(os.dup(listener.fd), place, own=False)
    await exchange(transport, copy, place)
    await copy.aclose()
    await exchange(transport, listener, place)
    await listener.aclose()


async def test_a_listener_whose_directory_is_gone_can_still_be_taken_over(place, short_dir):
    transport = UnixTransport()
    listener = await transport.listen(place)
    fd = os.dup(listener.fd)
    await listener.aclose()
    os.rmdir(os.path.dirname(place))
    await transport.from_fd(fd, place).aclose()


async def test_only_a_listening_unix_socket_can_be_taken_over(place):
    transport = UnixTransport()
    with (
        socket.socket(socket.AF_UNIX) as idle,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        tempfile.TemporaryFile() as file,
    ):
        for thing in (idle, datagram, tcp, file):
            with pytest.raises(TransportError, match="socket"):
                transport.from_fd(thing.fileno(), place)
            os.fstat(thing.fileno())  # it was left open
    with pytest.raises(TransportError):
        transport.from_fd(-1, place)
    with pytest.raises(TransportError):
        transport.from_fd(10**6, place)


def test_what_is_shown_holds_no_secret(place):
    async def main():
        transport = UnixTransport()
        async with await transport.listen(place) as listener:
            shown = f"{transport!r} {listener!r} {listener._place!r}"
            assert transport.key(place) not in shown
            assert place in shown

    trio.run(main)
