"""What asking a scope costs, beside other ways to ask the same: python benchmarks/bench_scope.py [--quick]

Two questions, for 1 to 10,000 rules: the permission of one path (nine parts deep, below the last rule, and for podkit also where no
rule is near), and whether a child's three rules lie within what its parent has. The peers are a loop of `str.startswith`, of
`os.path.commonpath` and of pathlib's `is_relative_to` over the same rules, and two engines for policies in general: casbin
(`keyMatch`) and cedar (a parsed policy set). Each peer's answer is compared first, and a peer that is not installed is said so.

All are measured in turn, round by round, so that a busy machine hits each of them. A figure is the median of the rounds, in
microseconds of processor time, with the least and the most beside it; the ratio is to podkit with as many rules. A peer that takes
more than a second at one size is not asked at the next.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import Any

import podkit
from podkit.protocol import Permission, ScopeRule, check_path

Ask = Callable[[], bool]
SIZES = (1, 10, 100, 1_000, 10_000)
OURS = "podkit Scope.at"


def targets(count: int) -> list[str]:
    return [f"/home/user/work/app{number % 97}/package{number}/src" for number in range(count)]


def ours(rules: list[str]) -> podkit.Scope:
    return podkit.Scope.write(*rules)


def startswith(rules: list[str], path: str) -> Ask:
    pairs = [(rule, rule + "/") for rule in rules]
    return lambda: any(path == rule or path.startswith(below) for rule, below in pairs)


def commonpath(rules: list[str], path: str) -> Ask:
    return lambda: any(os.path.commonpath((rule, path)) == rule for rule in rules)


def pathlib_relative(rules: list[str], path: str) -> Ask:
    parents = [PurePosixPath(rule) for rule in rules]
    return lambda: any(PurePosixPath(path).is_relative_to(parent) for parent in parents)


MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && keyMatch(r.obj, p.obj) && r.act == p.act
"""


def casbin_keymatch(rules: list[str], path: str) -> Ask:
    casbin: Any = import_module("casbin")
    logging.getLogger("casbin").setLevel(logging.ERROR)
    model = casbin.Model()
    model.load_model_from_text(MODEL)
    enforcer = casbin.Enforcer(model)
    enforcer.add_policies([["pod", f"{rule}/*", "write"] for rule in rules])
    return lambda: bool(enforcer.enforce("pod", path, "write"))


def cedar(rules: list[str], path: str) -> Ask:
    cedarpy: Any = import_module("cedarpy")
    text = "\n".join(
        f'permit(principal, action == Action::"write", resource) when {{ context.path like "{rule}/*" }};' for rule in rules
    )
    policies, entities = cedarpy.PolicySet.from_str(text), cedarpy.Entities.from_json_str("[]")
    request = {"principal": 'Pod::"p"', "action": 'Action::"write"', "resource": 'Files::"all"', "context": {"path": path}}
    return lambda: bool(cedarpy.is_authorized(request, policies, entities).allowed)


PEERS: dict[str, tuple[str | None, Callable[[list[str], str], Ask]]] = {
    "str.startswith, one by one": (None, startswith),
    "os.path.commonpath": (None, commonpath),
    "pathlib is_relative_to": (None, pathlib_relative),
    "casbin keyMatch": ("casbin", casbin_keymatch),
    "cedar": ("cedarpy", cedar),
}


def installed(package: str | None) -> bool:
    try:
        return package is None or bool(version(package))
    except PackageNotFoundError:
        return False


def once(ask: Callable[[], object], seconds: float) -> float:
    """Microseconds of processor time for one call, over as many calls as fit into `seconds`."""
    count, spent = 1, 0
    while True:
        begun = time.process_time_ns()
        for _ in range(count):
            ask()
        spent = time.process_time_ns() - begun
        if spent >= seconds * 1e9 or count >= 1 << 20:
            return spent / count / 1000
        count = max(count * 2, int(count * seconds * 1e9 / max(spent, 1)))


def questions(size: int, peers: list[str]) -> dict[str, Callable[[], object]]:
    """What is asked with so many rules. Every peer has to find what podkit finds."""
    rules = targets(size)
    path, far = f"{rules[-1]}/module/part/file.py", "/home/user/work/app7/no/rule/is/near/here/file.py"
    scope = ours(rules)
    assert scope.at(path) is Permission.WRITE
    assert scope.at(far) is Permission.NONE
    asked: dict[str, Callable[[], object]] = {OURS: lambda: scope.at(path), "podkit, no rule near": lambda: scope.at(far)}
    asked["podkit, of it the path's check"] = lambda: check_path(path)
    for name in peers:
        build = PEERS[name][1]
        ask, other = build(rules, path), build(rules, far)
        assert (ask(), other()) == (True, False), name
        asked[name] = ask
    parent = podkit.Scope(allow=[ScopeRule(rule, Permission.WRITE) for rule in rules])
    part = [ScopeRule(f"{rules[-1]}/a", Permission.WRITE), ScopeRule(f"{rules[-1]}/b", Permission.READ)]
    hole = [ScopeRule(f"{rules[-1]}/a/.git", Permission.WRITE)]
    assert podkit.Scope(allow=part, deny=hole) <= parent
    asked["subset: 3 rules, made and compared"] = lambda: podkit.Scope(allow=part, deny=hole) <= parent
    asked["subset: pathlib, rule by rule"] = lambda: all(
        any(PurePosixPath(one.target).is_relative_to(PurePosixPath(rule.target)) for rule in parent.allow) for one in part
    )
    return asked


def measure(sizes: tuple[int, ...], rounds: int, seconds: float) -> dict[str, dict[int, list[float]]]:
    found: dict[str, dict[int, list[float]]] = {}
    peers = [name for name, (package, _) in PEERS.items() if installed(package)]
    tired: set[str] = set()
    asked: dict[int, dict[str, Callable[[], object]]] = {}
    for size in sizes:
        asked[size] = questions(size, [name for name in peers if name not in tired])
        for name, ask in asked[size].items():
            if once(ask, 0.0) > 100_000:
                tired.add(name)
    for _ in range(rounds):
        for size, some in asked.items():
            for name, ask in some.items():
                found.setdefault(name, {}).setdefault(size, []).append(once(ask, seconds))
    return found


def show(found: dict[str, dict[int, list[float]]], sizes: tuple[int, ...]) -> None:
    print(f"{'':36}" + "".join(f"{size:>10,} rules   " for size in sizes))
    for name, by_size in found.items():
        base = "subset: 3 rules, made and compared" if name.startswith("subset") else OURS
        cells = []
        for size in sizes:
            if size not in by_size:
                cells.append(f"{'-':>18} ")
                continue
            median = statistics.median(by_size[size])
            ratio = median / statistics.median(found[base][size])
            cells.append(f"{median:9.2f} {ratio:7.1f}x ")
        print(f"{name:36}" + "".join(cells))
    print()
    for name in (OURS, "podkit, no rule near", "subset: 3 rules, made and compared"):
        medians = [statistics.median(found[name][size]) for size in sizes]
        spread = [one for size in sizes for one in found[name][size]]
        growth = medians[-1] / medians[min(1, len(medians) - 1)]
        print(f"{name:36} {min(spread):.2f} to {max(spread):.2f} us; growth from {sizes[1]} to {sizes[-1]:,} rules {growth:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; only shows that it works")
    options = parser.parse_args()
    packages = [package for package, _ in PEERS.values() if package is not None]
    there = ", ".join(f"{package} {version(package)}" for package in packages if installed(package)) or "no policy engine"
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {there}")
    for name, (package, _) in PEERS.items():
        if not installed(package):
            print(f"skipped: {name}: pip install {package}")
    found = measure(SIZES, 3 if options.quick else 15, 0.001 if options.quick else 0.02)
    show(found, SIZES)


if __name__ == "__main__":
    main()
