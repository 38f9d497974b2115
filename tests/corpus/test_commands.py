"""Ordinary commands keep working under confinement, in every cell of the matrix, and where one cannot, that is known."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

COMMANDS = tomllib.loads(Path(__file__).with_name("commands.toml").read_text())["command"]
CELLS = {
    "advisory": ("advisory", False),
    "kernel": ("kernel", True),
    "kernel_no_namespaces": ("kernel", False),
    "strict": ("strict", True),
    "strict_no_namespaces": ("strict", False),
}


@pytest.mark.parametrize("where", CELLS)
@pytest.mark.parametrize("command", COMMANDS, ids=[command["name"] for command in COMMANDS])
def test_a_command_does_what_it_does_unconfined(commands, where, command):
    outcome = commands(*CELLS[where])[command["name"]]
    if "missing" in outcome:
        pytest.skip(f"{outcome['missing']} is not here (apt: {outcome['missing']})")
    if command.get(where) == "DENY":
        assert outcome["status"] not in (0, None), "it works: then it need not be documented"
    else:
        assert outcome["status"] == 0, outcome
        assert outcome["wrong"] is None, outcome


def test_every_failure_is_explained_and_names_are_told_apart():
    names = [command["name"] for command in COMMANDS]
    assert len(names) == len(set(names)) >= 29
    for command in COMMANDS:
        assert ("because" in command) == any(command.get(cell) == "DENY" for cell in CELLS), command["name"]
        assert command.get("advisory", "ALLOW") == "ALLOW"


def test_the_security_page_says_what_the_tables_say():
    page = Path(__file__).parents[2] / "docs" / "explanation" / "_generate_security.py"
    done = subprocess.run([sys.executable, str(page), "--check"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
