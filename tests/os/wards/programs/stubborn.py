"""A host whose tool leaves a process of the superuser: `stubborn.py DIR PYTHON`. Says who is left, and when nobody is."""

import sys

import trio

from podkit._os import hold_lease, lease_state
from podkit._os._wards import Order, Wards

top, python = sys.argv[1:3]
CODE = "import os, time; os.setresuid(0, 0, 0); os.closerange(0, 3); time.sleep(600)"


async def main() -> None:
    wards = Wards()
    lease = hold_lease("lease", f"{top}/lease")
    await wards.hold("lease", lease.fd)
    await wards.facts()
    lease.release()
    order = Order(
        argv=["sh", "-c", f"{python} -I -c '{CODE}' & sleep 0.5"], env={"PATH": "/usr/bin:/bin"}, cwd=top, namespaces=False
    )
    async with await wards.open(order, keys=["lease"]) as ward:
        (left,) = await ward.ended()
        print(*left, flush=True)
        await ward.gone()
        await wards.drop("lease")
        print("gone", lease_state(f"{top}/lease").name, flush=True)


trio.run(main)
