"""The reference page and its drawing are what the table says."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from podkit.logic import Phase
from podkit.logic._lifecycle_table import TABLE, Action, InputKind

SCRIPT = Path(__file__).parents[2] / "docs" / "reference" / "_generate_state_machine.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_state_machine", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_table_generates(generator: ModuleType) -> None:
    for path, text in generator.files().items():
        assert path.read_text("utf-8") == text, f"run: python {SCRIPT.name}"
    assert generator.main(["--check"]) == 0


def test_a_page_that_is_not_right_is_noticed_and_written_again(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "HERE", tmp_path)
    assert generator.main(["--check"]) == 1
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    page = tmp_path / "state-machine.md"
    page.write_text(page.read_text("utf-8").replace("STOPPING", "STOPPED", 1), "utf-8")
    assert generator.main(["--check"]) == 1


def test_the_page_has_every_cell_and_every_rule(generator: ModuleType) -> None:
    page = generator.page()
    for kind in InputKind:
        row = next(line for line in page.splitlines() if line.startswith(f"| {kind.value} |"))
        assert row == f"| {kind.value} | " + " | ".join(generator.cell(TABLE[kind, phase]) for phase in Phase) + " |"
    assert [f"\n{number}. " in page for number in range(1, 11)] == [True] * 9 + [False]


def test_the_diagrams_have_every_change_of_phase(generator: ModuleType) -> None:
    changes = {(phase, row.next) for (_, phase), row in TABLE.items() if row.next not in (None, phase)}
    changes |= {(Phase.IDLE, Phase.STARTING) for (_, phase), row in TABLE.items() if Action.LEFT_OVERS in row.actions}
    assert set(generator.edges()) == changes
    assert all(f"    {one.name} --> {other.name}: " in generator.mermaid() for one, other in changes)
    drawing = ET.fromstring(generator.drawing())
    svg = "{http://www.w3.org/2000/svg}"
    assert len(drawing.findall(f".//{svg}circle")) == len(changes)
    assert {phase.name for phase in Phase} <= {text.text for text in drawing.iter(f"{svg}text")}
