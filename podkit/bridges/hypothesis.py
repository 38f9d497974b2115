"""Hypothesis strategies for podkit's values: names, paths, rules, scopes, methods, events, and what goes wrong in a world.

    from podkit.bridges.hypothesis import scopes

    @given(scopes("/app"))
    def test_my_planner_never_asks_for_more(scope): ...

Everything that is drawn is valid: what podkit would refuse is not drawn. Paths are drawn from few words, so that they meet.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import attrs
import hypothesis.strategies as st
import trio

from podkit.logic import Scope
from podkit.protocol import Event, Method, Permission, ScopeRule, UnknownEntry, UnknownEvent, UnknownItem, check_path

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from podkit.testing import Faults, World

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_WORDS = ("a", "b", "src", "docs", ".git", "a b", "ünï", "...")
_WRITE_AND_READ = (Permission.READ, Permission.WRITE)


def names(*, max_size: int = 63) -> SearchStrategy[str]:
    """Pod names of at most `max_size` (1 to 63) characters."""
    if not 1 <= max_size <= 63:
        raise ValueError("a pod name has 1 to 63 characters")
    rest, left = _LETTERS + "_-", max_size - 1
    longest = st.text(rest, min_size=left, max_size=left)
    return st.builds(str.__add__, st.sampled_from(_LETTERS), st.text(rest, max_size=left) | longest)


def paths(under: str = "/", *, max_depth: int = 4) -> SearchStrategy[str]:
    """Absolute normal paths: `under` and what may lie at most `max_depth` levels below it. Nothing looks at a disk."""
    root = check_path(under).rstrip("/")
    other = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
    part = st.sampled_from(_WORDS) | other.filter(lambda text: text not in (".", ".."))
    return st.lists(part, max_size=max_depth).map(lambda parts: "/".join([root, *parts]) or "/").filter(_fits)


def _fits(path: str) -> bool:
    return len(path.encode()) <= 4095


def rules(under: str = "/", *, permissions: Sequence[Permission] = _WRITE_AND_READ) -> SearchStrategy[ScopeRule]:
    """Scope rules whose target is `under` or below it."""
    return st.builds(ScopeRule, paths(under), st.sampled_from(list(permissions)), recursive=st.booleans())


def scopes(under: str = "/", *, within: Scope | None = None, max_rules: int = 4) -> SearchStrategy[Scope]:
    """Declared scopes with at most `max_rules` allow rules and as many deny rules, all of them at or below `under`.

    With `within`, each is a part of it (`scope <= within`): what its holder may hand out. `under` is not asked then, and the
    denies of `within` are kept beside the others. Raises `ScopeError` when `within` is derived and so has no rules.
    """
    if within is None:
        some, any_number = st.lists(rules(under), min_size=1, max_size=max_rules), st.lists(rules(under), max_size=max_rules)
        return st.builds(lambda allow, deny: Scope(allow=allow, deny=deny), some, any_number)
    if not within.allow:
        return st.just(within)
    parts = st.lists(st.sampled_from(within.allow).flatmap(_part), min_size=1, max_size=max_rules)
    denied = st.lists(st.sampled_from(within.allow).flatmap(lambda rule: rules(rule.target)), max_size=max_rules)
    return st.builds(lambda allow, deny: Scope(allow=allow, deny=[*within.deny, *deny]), parts, denied)


def _part(rule: ScopeRule) -> SearchStrategy[ScopeRule]:
    """Rules that allow nothing which this rule does not allow."""
    permission = st.sampled_from([one for one in _WRITE_AND_READ if one <= rule.permission])
    if rule.recursive:
        return st.builds(ScopeRule, paths(rule.target), permission, recursive=st.booleans())
    return st.builds(ScopeRule, st.just(rule.target), permission, recursive=st.just(False))


# What goes wrong.


@attrs.frozen
class Strike:
    """One thing that goes wrong, `at` seconds after the script began.

    `what` is "crash" (of `who`), "freeze" (`who` stands still for `seconds`) or "partition" (nothing passes between `who` and
    `other` for `seconds`).
    """

    at: float
    what: Literal["crash", "freeze", "partition"]
    who: str
    other: str | None = attrs.field(default=None, kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)


@attrs.frozen
class FaultScript:
    """What goes wrong in a world, and when. Run `play` beside what is tested: `nursery.start_soon(script.play, world)`."""

    strikes: tuple[Strike, ...] = attrs.field(converter=tuple)

    async def play(self, world: World) -> None:
        """Let it all happen; returns when the last freeze and the last partition is over.

        Whoever is not there yet, or no more, is spared. When this is cancelled, what stands still goes on at once.
        """
        began = trio.current_time()
        under_way: dict[int, _Struck] = {}
        try:
            for at, begins, number, strike in self._moments():
                await trio.sleep_until(began + at)
                if begins:
                    _begin(world, strike, number, under_way)
                elif number in under_way:
                    _end(world, number, under_way)
        finally:
            for number in tuple(under_way):
                _end(world, number, under_way)

    def _moments(self) -> list[tuple[float, bool, int, Strike]]:
        begin = [(strike.at, True, number, strike) for number, strike in enumerate(self.strikes)]
        end = [(at + strike.seconds, False, number, strike) for at, _, number, strike in begin]
        return sorted([*begin, *end], key=lambda moment: (moment[0], moment[2], not moment[1]))


_Struck: TypeAlias = tuple[str, tuple[Any, ...]]  # what was begun, and the programs it was begun with


def _begin(world: World, strike: Strike, number: int, under_way: dict[int, _Struck]) -> None:
    try:
        programs = tuple(world.program(name) for name in (strike.who, strike.other) if name is not None)
    except KeyError:
        return  # nobody of that name was born yet
    match strike.what:
        case "crash":
            world.crash(*programs)
        case "freeze":
            world.freeze(*programs)
            under_way[number] = strike.what, programs
        case "partition":
            world.partition(*programs)
            under_way[number] = strike.what, programs


def _end(world: World, number: int, under_way: dict[int, _Struck]) -> None:
    """End what this strike began, unless another one keeps it up."""
    what, programs = under_way.pop(number)
    if any(what == other and set(programs) == set(others) for other, others in under_way.values()):
        return
    if what == "freeze":
        world.thaw(*programs)
    else:
        world.heal(*programs)


def fault_scripts(*who: str, within: float = 60.0, max_size: int = 5) -> SearchStrategy[FaultScript]:
    """At most `max_size` things that go wrong with the pods of these names, in the first `within` seconds of the script.

    They shrink towards nothing, so that what a failing test shows is what it takes.
    """
    if not who:
        raise ValueError("name the pods that something may happen to")
    name, time = st.sampled_from(who), st.floats(0, within, allow_nan=False)
    strikes: list[SearchStrategy[Strike]] = [
        st.builds(Strike, time, st.just("crash"), name),
        st.builds(Strike, time, st.just("freeze"), name, seconds=time),
    ]
    if len(set(who)) > 1:
        two = st.lists(name, min_size=2, max_size=2, unique=True)
        strikes.append(st.builds(_partition, time, two, time))
    return st.builds(FaultScript, st.lists(st.one_of(strikes), max_size=max_size))


def _partition(at: float, two: list[str], seconds: float) -> Strike:
    return Strike(at, "partition", two[0], other=two[1], seconds=seconds)


def faults(*kinds: str, max_rate: float = 2.0, max_count: int = 50) -> SearchStrategy[Faults]:
    """Faults for `simulate`: some of these kinds (of those of `Faults.default()` when none is named), each at most `max_rate` times
    in 1,000 steps, and at most `max_count` in a run."""
    from podkit.testing import Faults

    rates = st.dictionaries(st.sampled_from(kinds or tuple(Faults.default().rates)), st.floats(0, max_rate))
    return st.builds(Faults, rates, most=st.integers(0, max_count))


# What is said.


def methods(*classes: type) -> SearchStrategy[Method]:
    """Methods as a client could send them: of these classes, or of any."""
    found: SearchStrategy[Method] = st.one_of([_instances(cls) for cls in classes or get_args(Method)])
    return found


def events(*classes: type) -> SearchStrategy[Event]:
    """Events as they could be received: of these classes, or of any, of a kind podkit does not know among them.

    `events(*podkit.protocol.WORKER_EVENTS)` is what a worker may emit.
    """
    chosen = sorted(classes, key=lambda cls: cls.__name__) or get_args(Event)  # sets of classes have another order in every run
    found: SearchStrategy[Event] = st.one_of([_instances(cls) for cls in chosen])
    return found


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_foreign = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=5).map(lambda text: "x_" + text)
_json: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_plain: dict[Any, Callable[[], SearchStrategy[Any]]] = {
    Any: lambda: _json,
    str: lambda: _text,
    bool: st.booleans,
    type(None): st.none,
    ScopeRule: rules,
}


@cache
def _instances(cls: type) -> SearchStrategy[Any]:
    """Values of a class of the wire, made from its annotations."""
    if cls in (UnknownItem, UnknownEntry):
        return st.builds(lambda kind, data: cls(kind, {**data, "kind": kind}), _foreign, st.dictionaries(_text, _json, max_size=3))
    if cls is UnknownEvent:
        return st.builds(UnknownEvent, _foreign, _json)
    hints = get_type_hints(cls, include_extras=True)
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return st.builds(cls, **{field.name: _values(hints[field.name]) for field in fields})


def _values(hint: Any) -> SearchStrategy[Any]:
    """Values of an annotation."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _plain:
        return _plain[hint]()
    if origin is Annotated:
        return _marked(args)
    if origin is tuple:
        return st.lists(_values(args[0]), max_size=3).map(tuple)
    if origin in (Union, types.UnionType):
        return st.one_of([_values(one) for one in args])
    return st.sampled_from(list(hint)) if issubclass(hint, Enum) else _instances(hint)


def _marked(args: tuple[Any, ...]) -> SearchStrategy[Any]:
    for mark in args[1:]:
        if hasattr(mark, "low"):  # the bounds of an integer; their class is podkit.protocol's own
            return st.integers(mark.low, mark.high) | st.sampled_from([mark.low, mark.high])
        if type(mark).__name__ == "Uuid":
            return st.uuids().map(str)
    return _values(args[0])
