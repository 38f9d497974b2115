"""What scopes mean, by brute force: every rule matched against every path of a finite universe. It shares nothing with `podkit`.

A rule is `(target, permission, recursive)` with the target as a tuple of parts, the permission as 0, 1 or 2. What a scope has is
two sets of paths, those that may be read and those that may be written, each an int with one bit a path. A set of paths answers
for *all* paths there are: rules speak of `names` down to `depth` alone, so a path is told from others by its longest part made of
such names and by whether nothing, one strange name, or more than one follows. The universe has one path of each kind, and one more
that is longer still.
"""

import itertools
import random
from dataclasses import dataclass

NONE, READ, WRITE = 0, 1, 2
STRANGE = "?"
TAILS = ((), (STRANGE,), (STRANGE,) * 2, (STRANGE,) * 5)


@dataclass(frozen=True)
class Held:
    """Who may do what: the paths that may be read, and those of them that may be written."""

    read: int
    write: int

    def at(self, index):
        return (self.read >> index & 1) + (self.write >> index & 1)

    def within(self, other):
        return not (self.read & ~other.read or self.write & ~other.write)

    def both(self, other):
        return Held(self.read & other.read, self.write & other.write)

    def either(self, other):
        return Held(self.read | other.read, self.write | other.write)

    def less(self, other):
        return Held(self.read, self.write & ~other.write)

    def meets(self, other):
        return bool(self.write & other.write)


NOTHING = Held(0, 0)


def parted(path):
    return tuple(part for part in path.split("/") if part)


def spelled(parts):
    return "/" + "/".join(parts)


def matches(rule, parts):
    target, _, recursive = rule
    inside = parts[: len(target)] == target
    return inside and (recursive or len(parts) - len(target) <= 1)


def effective(allow, deny, parts):
    """The permission of one path, any path, straight from the rules: the table of what denies leave is written out."""
    allowed = max((rule[1] for rule in allow if matches(rule, parts)), default=NONE)
    denied = {rule[1] for rule in deny if matches(rule, parts)}
    if READ in denied:
        return NONE
    return min(allowed, READ) if WRITE in denied else allowed


class Universe:
    """One path of every kind that rules over `names` down to `depth` can tell apart."""

    def __init__(self, names, depth):
        self.names = tuple(names)
        self.places = [parts for size in range(depth + 1) for parts in itertools.product(names, repeat=size)]
        self.paths = [parts + tail for parts in self.places for tail in TAILS]
        self.strings = [spelled(parts) for parts in self.paths]
        self.index = {parts: number for number, parts in enumerate(self.paths)}
        self.all = (1 << len(self.paths)) - 1
        self.depth = depth
        self.rules = [(target, level, deep) for target in self.places for level in (READ, WRITE) for deep in (True, False)]
        self.matched = {rule: self._set(parts for parts in self.paths if matches(rule, parts)) for rule in self.rules}
        self.below = [self._set(other for other in self.paths if other[: len(parts)] == parts) for parts in self.paths]

    def _set(self, chosen):
        return sum(1 << self.index[parts] for parts in chosen)

    def held(self, allow, deny=()):
        """What declared rules give, everywhere."""
        read = write = none = only_read = 0
        for rule in allow:
            read |= self.matched[rule]
            write |= self.matched[rule] if rule[1] == WRITE else 0
        for rule in deny:
            none |= self.matched[rule] if rule[1] == READ else 0
            only_read |= self.matched[rule]
        return Held(read & ~none, write & ~only_read)

    def least(self, held, index):
        """The least permission of a path and everything below it."""
        inside = self.below[index]
        return WRITE if not inside & ~held.write else READ if not inside & ~held.read else NONE

    def kind(self, path):
        """The index of the path of the universe that no rule tells from this one."""
        parts = parted(path)
        known = 0
        while known < min(len(parts), self.depth) and parts[known] in self.names:
            known += 1
        return self.index[parts[:known] + TAILS[min(len(parts) - known, 2)]]


def draw_rule(chance, universe):
    depth = chance.randint(0, universe.depth)
    return tuple(chance.choices(universe.names, k=depth)), chance.choice((READ, WRITE)), chance.choice((True, False))


def draw_rules(chance, universe, most):
    """At most so many rules, at least one of which allows; as many near the root as far from it, so that they meet."""
    rules = [draw_rule(chance, universe) for _ in range(chance.randint(1, most))]
    denies = chance.randint(0, len(rules) - 1)
    return rules[denies:], rules[:denies]


def seeds(name, count):
    """As many generators, each of which can be made again from the name and a number."""
    return ((number, random.Random(f"{name}-{number}")) for number in range(count))
