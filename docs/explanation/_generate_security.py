"""Write what is known not to be enforced into security.md, between its markers, from the tables that the attack corpus is run from.

`python docs/explanation/_generate_security.py` writes, with `--check` it only says whether the page is up to date.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent.parent / "tests" / "corpus"
PAGE = HERE / "security.md"
END = "<!-- /generated -->"
TABLES = ("s1_lexical", "s2_links", "s3_rules", "s4_sensitive", "k_kernel")
CELLS = {
    "kernel_no_namespaces": "`kernel`, no namespaces",
    "kernel": "`kernel`",
    "strict_no_namespaces": "`strict`, no namespaces",
    "strict": "`strict`",
}


def load(name: str, table: str) -> list[dict[str, Any]]:
    """The rows of one table of the corpus."""
    rows: list[dict[str, Any]] = tomllib.loads((CORPUS / f"{name}.toml").read_text())[table]
    return rows


def verdict(required: dict[str, str], cell: str) -> str:
    """What is required in a cell; `strict` without namespaces is as `strict` where nothing else is said."""
    if "all" in required:
        return required["all"]
    return required.get(cell, required["strict"])


def holes() -> list[str]:
    """A line for every hole: where it is open, what it is, and the rows that show it."""
    found: dict[str, tuple[list[str], set[str]]] = {}
    for table in TABLES:
        for row in load(table, "row"):
            open_in = {cell for cell in CELLS if verdict(row["required"], cell) == "DOCUMENTED"}
            if open_in:
                rows, cells = found.setdefault(row["hole"], ([], set()))
                rows += [row["id"]] if row["id"] not in rows else []
                cells |= open_in
    lines = ["| Known hole | " + " | ".join(CELLS.values()) + " | Shown by |", "|---" * (len(CELLS) + 2) + "|"]
    for hole, (rows, cells) in found.items():
        marks = " | ".join("open" if cell in cells else "closed" for cell in CELLS)
        lines.append(f"| {hole} | {marks} | {', '.join(rows)} |")
    return lines


def lost() -> list[str]:
    """What a scope allows and a level cannot give to programs."""
    lines = []
    for row in load("k_kernel", "row"):
        denied = [text for cell, text in CELLS.items() if verdict(row["required"], cell) == "DENY"]
        if row.get("shortfall"):
            lines.append(f"- {row['shortfall']} ({row['id']}): not at {'; '.join(denied)}.")
    return lines


def commands() -> list[str]:
    """A line for every ordinary command: where it works."""
    cells = {"advisory": "`advisory`", **CELLS}
    lines = ["| Command | " + " | ".join(cells.values()) + " | |", "|---" * (len(cells) + 2) + "|"]
    for command in load("commands", "command"):
        marks = " | ".join("no" if command.get(cell) == "DENY" else "works" for cell in cells)
        lines.append(f"| {command['name']} | {marks} | {command.get('because', '')} |")
    return lines


def sections() -> dict[str, list[str]]:
    """The generated parts of the page, by the name in their marker."""
    attacks = sum(len(load(table, "row")) for table in TABLES)
    first = [
        f"The corpus has {attacks} attacks. At `advisory` nothing stops a program that a tool starts, so this is about the levels",
        "that the kernel enforces, with and without namespaces. What is not listed is closed, and a test fails when it is not.",
        "",
        *holes(),
        "",
        "A scope allows these, and programs cannot have them (podkit's own file operations can):",
        "",
        *lost(),
    ]
    return {"holes": first, "commands": commands()}


def page(text: str) -> str:
    """The page with its generated parts as they should be. Raises `ValueError` when it has no place for one."""
    for name, lines in sections().items():
        begin = f"<!-- generated: {name} -->"
        head, found, rest = text.partition(begin)
        _old, end, tail = rest.partition(END)
        if not found or not end:
            raise ValueError(f"{PAGE.name} has no {begin} and {END}")
        text = f"{head}{begin}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}"
    return text


def main(arguments: list[str] | None = None) -> int:
    """0 when the page is, or was made, as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the page is not up to date")
    given = parser.parse_args(arguments)
    text = PAGE.read_text()
    wanted = page(text)
    if given.check:
        if text != wanted:
            print("security.md is not what the corpus says: run python docs/explanation/_generate_security.py", file=sys.stderr)
        return int(text != wanted)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
