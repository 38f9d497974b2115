"""Writes api.md from the docstrings of the public doors, and errors.md from the error tree.

python docs/reference/_generate_api.py [--check]: with --check nothing is written, and the exit status says whether the pages are as
they would be written.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
DOORS = ("podkit", "podkit.abc", "podkit.protocol", "podkit.logic", "podkit.tools", "podkit.testing", "podkit_transports")
NOTE = "<!-- Written by docs/reference/_generate_api.py; do not edit. -->"


def text_of(thing: object) -> str:
    """A docstring as Markdown: its own indentation gone."""
    return inspect.getdoc(thing) or ""


def signature_of(thing: object) -> str:
    """The call as one would write it, without `self` and without what differs from one Python to the next."""
    try:
        signature = inspect.signature(thing)  # type: ignore[arg-type]  # not everything is callable: hence the except
    except (TypeError, ValueError):
        return ""
    parameters = [one for one in signature.parameters.values() if one.name != "self" and not one.name.startswith("_")]
    shown = str(signature.replace(parameters=parameters))
    shown = re.sub(r"(: |-> )'([^']*)'", r"\1\2", re.sub(r" at 0x[0-9a-f]+", "", shown))
    return shown.removesuffix(" -> None")


def members_of(cls: type) -> Iterator[str]:
    """The public methods and properties that podkit wrote for a class, its own and inherited ones."""
    seen: set[str] = set()
    for owner in cls.__mro__:
        if not owner.__module__.startswith("podkit"):
            continue
        for name, value in vars(owner).items():
            function = getattr(value, "__func__", value)
            if name.startswith("_") or name in seen or not isinstance(function, types.FunctionType | property):
                continue
            seen.add(name)
            text = text_of(getattr(cls, name)).partition("\n\n")[0].replace("\n", " ")
            word = "async " if inspect.iscoroutinefunction(function) else ""
            call = signature_of(function) if isinstance(function, types.FunctionType) else ""
            yield f"- `{word}{name}{call}`: {text}" if text else f"- `{word}{name}{call}`"


def describe(door: str, name: str, thing: object) -> Iterator[str]:
    """One public name."""
    if isinstance(thing, type) and issubclass(thing, enum.Enum):
        yield from (f"### {name}", "", text_of(thing), "", ", ".join(f"`{member.name}`" for member in thing), "")
    elif isinstance(thing, type):
        made = (attrs.has(thing) or "__init__" in vars(thing)) and "Made by" not in text_of(thing)
        call = signature_of(thing) if made else ""
        yield from (f"### {name}", "", f"`class {door}.{name}{call}`", "", text_of(thing), "")
        yield from (*members_of(thing), "")
    elif callable(thing) and isinstance(thing, types.FunctionType):
        word = "async " if inspect.iscoroutinefunction(thing) else ""
        yield from (f"### {name}", "", f"`{word}{door}.{name}{signature_of(thing)}`", "", text_of(thing), "")
    elif name.isupper():
        yield from (f"### {name}", "", f"`{door}.{name}`: a constant.", "")
    else:
        yield from (f"### {name}", "", f"`{door}.{name}`: a type for annotations.", "")


def api() -> str:
    """The page of every door. A name that two doors export is described once, at the first, and errors have a page of their own."""
    lines = [
        NOTE,
        "# The public names",
        "",
        "What each door exports, from the docstrings. The errors are on [their own page](errors.md).",
        "",
    ]
    told: dict[int, str] = {}
    for door in DOORS:
        module = importlib.import_module(door)
        lines += [f"## {door}", "", text_of(module), ""]
        elsewhere = []
        for name, thing in sorted(vars(module).items(), key=lambda item: item[0].lower()):
            if (
                name.startswith("_")
                or isinstance(thing, types.ModuleType)
                or (isinstance(thing, type) and issubclass(thing, Exception))
            ):
                continue
            if told.setdefault(id(thing), f"{door}.{name}") != f"{door}.{name}":
                elsewhere.append(f"`{name}` (see `{told[id(thing)]}`)")
                continue
            lines += describe(door, name, thing)
        lines += [f"Also here: {', '.join(elsewhere)}.", ""] if elsewhere else []
    return "\n".join(lines).rstrip() + "\n"


def errors() -> str:
    """The page of the error tree, with the fields of each class."""
    module = importlib.import_module("podkit.errors")
    lines = [
        NOTE,
        "# The errors",
        "",
        "All of them are names of the front door and of `podkit.errors`. Catch them and read their fields: the text is for people.",
        "",
    ]

    def tell(cls: type, depth: int) -> None:
        fields = ", ".join(f"`{one.name}`" for one in attrs.fields(cls)) if attrs.has(cls) else ""
        text = text_of(cls).replace("\n", " ") if cls.__dict__.get("__doc__") else ""
        lines.append(f"{'  ' * depth}- **{cls.__name__}**{f' ({fields})' if fields else ''}: {text}")
        for below in cls.__subclasses__():
            if getattr(module, below.__name__, None) is below:
                tell(below, depth + 1)

    tell(module.PodkitError, 0)
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    status = 0
    for page, text in ((HERE / "api.md", api()), (HERE / "errors.md", errors())):
        if "--check" not in arguments:
            page.write_text(text)
        elif not page.is_file() or page.read_text() != text:
            print(f"{page.name} is not what the docstrings say; run: python docs/reference/_generate_api.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
