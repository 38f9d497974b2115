"""Exchange two names as fast as it goes, until standard input ends; then say how often: `racer.py one other`."""

import ctypes
import errno
import os
import platform
import select
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
EXCHANGE = 2


def main():
    number = ctypes.c_long(276 if platform.machine() == "aarch64" else 316)
    here, flags = ctypes.c_long(-100), ctypes.c_long(EXCHANGE)
    one, other = (os.fsencode(name) for name in sys.argv[1:3])
    times = 0
    print("ready", flush=True)
    while not select.select([0], [], [], 0)[0]:
        for _ in range(200):
            if LIBC.syscall(number, here, one, here, other, flags) != 0:
                if ctypes.get_errno() != errno.ENOENT:  # somebody else makes one of them anew just now
                    sys.exit(os.strerror(ctypes.get_errno()))
                continue
            times += 1
    print(times, flush=True)


if __name__ == "__main__":
    main()
