"""Sit here, with a daemon beside us: `sit.py MARK FILE`. Says one byte when both are there."""

import os
import sys
import time

said, says = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(says, b"x")
    os.closerange(0, 20)
    while True:
        time.sleep(60)
os.read(said, 1)
with open(sys.argv[2], "w") as out:
    out.write(str(os.getpid()))
os.write(1, b"x")
while True:
    time.sleep(60)
