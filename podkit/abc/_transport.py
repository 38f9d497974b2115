"""The port through which pods are reached: addresses, listeners, and channels whose items are frames."""

from __future__ import annotations

import abc
from typing import ClassVar

import trio

from podkit.errors import LocalProtocolError, TransportError


def address_body(address: str) -> str:
    """What an address says after its `://`; a bare absolute path is its own body.

    The scheme is not looked at: who chose the transport chose it for this address. Raises `TransportError` for anything
    that is neither `scheme://something` nor an absolute path, and for NUL.
    """
    if not isinstance(address, str) or "\0" in address:
        raise TransportError(address, "an address is text without NUL")
    if address.startswith("/"):
        return address
    _scheme, mark, body = address.partition("://")
    if not mark or not body:
        raise TransportError(address, "an address is scheme://something or an absolute path")
    return body


def check_frame(frame: object) -> bytes:
    """Return `frame` when it can be sent as one item of a channel, else raise `LocalProtocolError`.

    A frame is `bytes`, holds no line feed, because a line feed is what ends a frame on a byte stream, and is more than white
    space, because a line of white space is nothing to whoever reads it.
    """
    if type(frame) is not bytes:
        raise LocalProtocolError(f"a frame is bytes, not {type(frame).__name__}")
    if not frame or frame.isspace():
        raise LocalProtocolError("a frame is not empty and not only white space")
    if b"\n" in frame:
        raise LocalProtocolError("a frame holds no line feed")
    return frame


class Transport(abc.ABC):
    """How pods are reached. Subclass it, implement `connect` and `listen`, and hold the result to `podkit.testing.check_transport`.

    An address is a URL that only its transport understands. A transport never checks the scheme and reads what follows
    `://`, so that one transport can stand in front of another.

    **Channels.** One item is one frame: `bytes`, not empty or blank, without line feed; `send` refuses anything else with
    `LocalProtocolError` and has then sent nothing. `receive` hands out every frame that is already here before any error,
    and then raises `trio.EndOfChannel` (the peer closed; a last line that lacked its line feed was handed out first),
    `trio.BrokenResourceError` (the connection was lost) or `RemoteProtocolError` (a line over the reading limit: no more is
    read, for good, but `send` still works). After our own `aclose` everything raises `trio.ClosedResourceError`, also
    what was waiting at that moment. One task may send while another receives; two senders or two receivers at a time are
    `trio.BusyResourceError`. Reading and writing never wait for each other.

    A cancelled `receive` has taken nothing. A `send` that is cancelled while it waits closes the channel, since half a
    line must never be followed by another; one that is cancelled before it began has done nothing. After a failed `send`
    every later one raises `trio.BrokenResourceError`, and what the peer sent before it left can still be received.

    **Optional**, used where they exist:

    - `channel.send_many(frames)` writes several frames at once.
    - `channel.receive_many()` waits for one frame and returns all that are here.
    - `channel.receive_lines()` does so too and returns them joined, each with its line feed, for channels that have them like that;
      blank lines may be among them.
    - `channel.send_nowait(lines)` writes frames that are joined already, each with its line feed, as far as they go without
      waiting: it returns whether all of them went, keeps what did not for the next `send_many`, which may be empty, to send first,
      and raises `trio.WouldBlock` when nothing was written.
    - `channel.put_many(frames)` sends as many of them as there is room for right now and answers how many that were; for channels
      whose other end is in this program.
    - `channel.read_at_most(count)` says before the first `receive` how many bytes of the peer may be taken in until
      `read_at_most(None)`, and `receive` raises `RemoteProtocolError` when they were not enough for a frame: so a peer that was
      not let in costs little memory.
    - `channel.hang_up()` is `aclose` where that needs no waiting.
    - `listener.address` is where the listener really listens (a port 0 became a number); `listener.fd` is a descriptor that a child
      may inherit, and `transport.from_fd(fd, address)` makes a listener of it there.
    """

    scheme: ClassVar[str] = ""

    def key(self, address: str) -> str | None:  # noqa: ARG002 - the address matters to transports that have keys
        """What a client shows to be let in at `address`; None where nothing is needed. Raises `TransportError`."""
        return None

    def address(self, name: str, run_dir: str | None) -> str:  # noqa: ARG002 - for transports that live in directories
        """Where a pod called `name`, with its files in `run_dir` (None: it has none), should listen."""
        return f"{self.scheme}://{name}"

    @abc.abstractmethod
    async def connect(self, address: str) -> trio.abc.Channel[bytes]:
        """Connect to the pod at `address`. Raises `PodUnreachableError` when nobody answers there."""

    @abc.abstractmethod
    async def listen(self, address: str) -> trio.abc.Listener[trio.abc.Channel[bytes]]:
        """Listen at `address`: from now on `connect` succeeds. Raises `TransportError`, also when the address is taken."""
