"""Transports beside the one in memory: Unix sockets and TCP. Written against podkit's public doors only."""

from ._listener import SocketListener as SocketListener
from ._tcp import TcpTransport as TcpTransport
from ._unix import UnixListener as UnixListener
from ._unix import UnixTransport as UnixTransport
