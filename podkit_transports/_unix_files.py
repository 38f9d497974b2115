"""The directory of a Unix socket: whose it is, the key beside the socket, and who may replace what."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

from podkit.abc import address_body
from podkit.errors import AuthenticationError, InvalidRuleError, PodUnreachableError, TransportError
from podkit.protocol import check_path

from ._listener import BACKLOG

if TYPE_CHECKING:
    from collections.abc import Iterator

# What `sun_path` holds without its terminating NUL, in bytes.
PATH_LIMIT = 103 if sys.platform == "darwin" else 107
_KEY = "key"
_KEY_LIMIT = 4096  # bytes
_LOCK_WAIT = 0.2  # seconds
_NAMES_TRIED = 200
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def socket_path(address: str) -> str:
    """The path a Unix address names, checked for form and length. Raises `TransportError`."""
    path = address_body(address)
    try:
        check_path(path)
    except InvalidRuleError as error:
        raise TransportError(address, f"not a path for a socket: {error.reason}") from None
    size = len(os.fsencode(path))
    if size > PATH_LIMIT:
        raise TransportError(
            address, f"the path of a Unix socket has at most {PATH_LIMIT} bytes, this one has {size}; use a shorter directory"
        )
    if os.path.basename(path) in ("", _KEY):
        raise TransportError(address, "a socket has a name, and not the one of the key file beside it")
    return path


@attrs.frozen
class Seen:
    """A file as it was when we made or found it, so that only that one is ever removed."""

    device: int
    inode: int
    changed: int

    @classmethod
    def at(cls, name: str, directory: int) -> Seen | None:
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return None
        return cls(found.st_dev, found.st_ino, found.st_mtime_ns)


@attrs.frozen
class Place:
    """A socket path and what lies there of ours: the socket and the key."""

    path: str
    socket: Seen | None
    key: Seen | None

    @classmethod
    def found(cls, path: str) -> Place:
        """What lies at `path` now, taken to be ours."""
        try:
            directory = os.open(os.path.dirname(path), _DIRECTORY)
        except OSError:
            return cls(path, None, None)
        try:
            return cls(path, Seen.at(os.path.basename(path), directory), Seen.at(_KEY, directory))
        finally:
            os.close(directory)

    def remove(self) -> None:
        """Remove the socket and the key where they are still the ones seen. Never raises for what is gone or in the way."""
        try:
            directory = os.open(os.path.dirname(self.path), _DIRECTORY)
        except OSError:
            return
        try:
            with _locked(directory):
                for name, seen in ((os.path.basename(self.path), self.socket), (_KEY, self.key)):
                    if seen is not None and Seen.at(name, directory) == seen:
                        os.unlink(name, dir_fd=directory)
        except OSError:
            return  # what is left there is stale, and whoever listens next replaces it
        finally:
            os.close(directory)


def publish(path: str, address: str) -> tuple[socket.socket, Place]:
    """Listen at `path`: a new key beside it first, and the socket only when it can be connected to.

    The last directory of the path is made, 0700, if it is missing. Raises `TransportError`, with nothing changed, when that
    directory is not private, when something that is not a socket is in the way, or when somebody listens there.
    """
    try:
        with _private_directory(path, address) as directory, _locked(directory):
            _check_free(path, directory, address)
            return _publish(path, directory, address)
    except OSError as error:
        raise TransportError(address, f"cannot listen: {error.strerror or error}") from error


def read_key(path: str, address: str) -> str:
    """The key beside the socket at `path`.

    Raises `PodUnreachableError` when there is no pod (no directory, or neither socket nor key) or no more files can be open, and
    `AuthenticationError` when the key is missing, not a plain file, not ours, open to others, or not a key.
    """
    try:
        directory = os.open(os.path.dirname(path), _DIRECTORY)
    except OSError as error:
        _check_room(error, address)
        raise PodUnreachableError(address, f"no pod there: {error.strerror}") from None
    try:
        return _read_key(directory, os.path.basename(path), address)
    finally:
        os.close(directory)


def _check_room(error: OSError, address: str) -> None:
    """Raise what says nothing about the key: this program, or the machine, has too many files open."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise PodUnreachableError(address, f"the key cannot be read: {error.strerror}") from None


def _read_key(directory: int, socket_name: str, address: str) -> str:
    try:
        # Non-blocking, so that a FIFO in its place cannot hold us.
        file = os.open(_KEY, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        if Seen.at(socket_name, directory) is None:
            raise PodUnreachableError(address, "no pod there: neither socket nor key") from None
        raise AuthenticationError(address, "there is no key beside the socket") from None
    except OSError as error:
        _check_room(error, address)
        raise AuthenticationError(address, f"the key cannot be read: {error.strerror}") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise AuthenticationError(address, "the key is not a plain file of ours that nobody else may open")
        data = os.read(file, _KEY_LIMIT + 1)
    except OSError as error:
        raise AuthenticationError(address, f"the key cannot be read: {error.strerror}") from None
    finally:
        os.close(file)
    key = data.strip().decode("ascii", "replace")
    if len(data) > _KEY_LIMIT or not key or not key.isascii() or not key.isprintable():
        raise AuthenticationError(address, "what is in the key file is not a key")
    return key


@contextmanager
def _private_directory(path: str, address: str) -> Iterator[int]:
    """A descriptor of the directory of `path`, which is made if it is missing; it is ours and nobody else may enter it."""
    name = os.path.dirname(path)
    with suppress(FileExistsError):
        os.mkdir(name, 0o700)
    try:
        directory = os.open(name, _DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise TransportError(address, "the socket's directory is a link or not a directory") from None
        raise
    try:
        found = os.fstat(directory)
        if found.st_uid != os.geteuid():
            raise TransportError(address, "the socket's directory belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise TransportError(address, "the socket's directory is open to other users; it needs mode 0700")
        yield directory
    finally:
        os.close(directory)


@contextmanager
def _locked(directory: int) -> Iterator[None]:
    """Alone among those who publish or remove in this directory. It is held for microseconds, so waiting blocks for as long."""
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.0005)
    try:
        yield
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)


def _check_free(path: str, directory: int, address: str) -> None:
    """Nothing is at `path`, or a socket that nobody listens on."""
    try:
        found = os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise TransportError(address, "something that is not a socket is there, and it is left alone")
    # A datagram socket cannot connect to a stream socket, so the kernel says whether one is alive there (EPROTOTYPE) or none
    # (ECONNREFUSED), and whoever listens sees nothing of the question.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
    raise TransportError(address, "a pod listens there already, and a live pod's path is never taken over")


def _publish(path: str, directory: int, address: str) -> tuple[socket.socket, Place]:
    name = os.path.basename(path)
    sock, temporary = _bind_beside(path)
    made = [temporary]
    try:
        # The directory may have been swapped for another between our opening it and the bind by name.
        found = Seen.at(temporary, directory)
        if found is None:
            raise TransportError(address, "the socket's directory changed while we listened")
        os.chmod(temporary, 0o600, dir_fd=directory)
        sock.listen(BACKLOG)
        key = _write_key(directory)
        made.append(_KEY)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        sock.close()
        for left in made:
            with suppress(OSError):
                os.unlink(left, dir_fd=directory)
        raise
    return sock, Place(path, found, key)


def _bind_beside(path: str) -> tuple[socket.socket, str]:
    """A socket bound to a free name in the same directory that is no longer than the one it is for."""
    name = os.path.basename(path)
    size = len(os.fsencode(name))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        for _ in range(_NAMES_TRIED):
            temporary = f".{secrets.token_hex(4)}"[:size] if size > 1 else secrets.token_hex(1)[0]
            if temporary == name:
                continue
            try:
                sock.bind(f"{os.path.dirname(path).rstrip('/')}/{temporary}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return sock, temporary
        raise OSError(errno.EADDRINUSE, "no free name for a temporary socket in the directory")
    except BaseException:
        sock.close()
        raise


def _write_key(directory: int) -> Seen:
    """A fresh key, there at once and whole."""
    temporary = f".key.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        try:
            os.fchmod(file, 0o600)
            data = secrets.token_hex(32).encode()
            if os.write(file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)
        found = Seen.at(temporary, directory)
        if found is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.rename(temporary, _KEY, src_dir_fd=directory, dst_dir_fd=directory)
        return found
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
