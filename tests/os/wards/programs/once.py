"""One call by a program: `once.py DIR LEVEL NAMESPACES`. It may write in DIR/w, and tries DIR/s as well."""

import os
import sys

import trio

from podkit._os._wards import Order, Wards

top, level, namespaces = sys.argv[1], sys.argv[2], sys.argv[3] == "namespaces"


async def main() -> None:
    wards = Wards(stderr=None)
    facts = await wards.facts()
    rules = [(path, "read", None) for path in ("/usr", "/etc", "/proc", "/bin", "/lib", "/lib64") if os.path.exists(path)]
    rules = [rule for rule in rules if not os.path.islink(rule[0])]
    rules += [("/dev/null", "edit", None), (f"{top}/w", "write", None)]
    argv = ["sh", "-c", "echo x > w/x && echo x > s/x"]
    order = Order(argv=argv, env={"PATH": "/usr/bin:/bin"}, cwd=top, level=level, rules=rules, namespaces=namespaces)
    async with await wards.open(order) as ward:
        status, left = await ward.wait(), await ward.ended()
        trouble = await ward.stderr.receive_some()
    print(facts.abi > 0, facts.tree, status, left, bytes(trouble), sep="\n")
    await wards.aclose()


trio.run(main)
