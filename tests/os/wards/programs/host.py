"""A hosting program: `host.py DIR NAMESPACES DEED`. It holds a lease, opens a ward with a daemon in it, says so, does its deed."""

import os
import signal
import sys
from pathlib import Path

import trio

from podkit._os import hold_lease
from podkit._os._wards import Order, Wards

top, namespaces, deed = Path(sys.argv[1]), sys.argv[2] == "True", sys.argv[3]
PROGRAMS = Path(__file__).parent


async def main() -> None:
    wards = Wards(stderr=str(top / "nanny.log"))
    facts = await wards.facts()
    lease = hold_lease("lease", str(top / "lease"))
    await wards.hold("lease", lease.fd)
    argv = [sys.executable, "-I", "-S", str(PROGRAMS / "sit.py"), str(top), str(top / "sitting")]
    order = Order(argv=argv, env={}, cwd="/", namespaces=namespaces and facts.namespaces)
    ward = await wards.open(order, keys=["lease"])
    await ward.stdout.receive_some(1)  # its daemon is there
    if deed == "fork":
        pid = os.fork()
        if pid == 0:
            (top / "copy").write_text(str(os.getpid()))
            signal.pause()
    print(facts.pid, ward._said["ward"], flush=True)
    if deed == "close":
        await ward.aclose()
        await wards.drop("lease")
        lease.release()
        await wards.aclose()
        return
    await trio.sleep_forever()


trio.run(main)
