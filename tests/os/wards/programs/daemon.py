"""Leave something behind: `daemon.py MARK HOW FILE`. It says its number in FILE; this process waits for that and exits with 0."""

import contextlib
import ctypes
import os
import signal
import sys
import time

mark, how, file = sys.argv[1:4]


def stay() -> None:
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)
    if how == "undumpable":
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    with open(file, "a") as out:
        out.write(f"{os.getpid()}\n")
    if how == "quiet":
        os.closerange(0, 100)
    while True:
        time.sleep(60)


if how == "chain":  # everybody forks the next one and leaves, 64 side by side, each in a session of its own
    for _ in range(64):
        if os.fork() == 0:
            with open(file, "a") as out:
                out.write("x\n")
            os.closerange(0, 3)
            while True:
                if os.fork():
                    os._exit(0)
                os.setsid()
if how != "chain" and os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    stay()
lines = 64 if how == "chain" else 1
with open(file, "a+") as said:
    while said.seek(0) or said.read().count("\n") < lines:
        time.sleep(0.005)
