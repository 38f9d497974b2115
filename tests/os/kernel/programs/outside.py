"""What stands outside a confinement and must not be reached from inside: a process, sockets of four kinds, open descriptors."""

import os
import socket


def listen(kind, address):
    sock = socket.socket(*kind)
    sock.bind(address)
    if kind[1] != socket.SOCK_DGRAM:
        sock.listen()
    sock.setblocking(False)
    return sock


class Outside:
    """Made before the confinement; `pid` is a process that waits and, when told, sends a directory's descriptor over `line`."""

    def __init__(self, top):
        self.top = top
        self.abstract = "\0pk" + os.path.basename(top)
        kinds = {
            f"{top}/s/sock": (socket.AF_UNIX, socket.SOCK_STREAM),
            f"{top}/s/dgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
            self.abstract: (socket.AF_UNIX, socket.SOCK_STREAM),
        }
        self.sockets = [listen(kind, address) for address, kind in kinds.items()]
        tcp = listen((socket.AF_INET, socket.SOCK_STREAM), ("127.0.0.1", 0))
        self.port = tcp.getsockname()[1]
        self.sockets.append(tcp)
        self.line, theirs = socket.socketpair()
        self.directory = os.open(f"{top}/s", os.O_RDONLY | os.O_DIRECTORY)
        self.read_only = os.open(f"{top}/r/a", os.O_RDONLY)
        self.pid = os.fork()
        if self.pid == 0:
            self.line.close()
            while theirs.recv(1):
                socket.send_fds(theirs, [b"x"], [self.directory])
            os._exit(0)
        theirs.close()
