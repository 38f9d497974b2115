"""Writes state-machine.md and state-machine.svg from the table of a pod's life.

python docs/reference/_generate_state_machine.py [--check]: with --check nothing is written, and the exit status says whether the
files are as they would be written.
"""

from __future__ import annotations

import math
import sys
from html import escape
from pathlib import Path

from podkit.logic import Phase, _lifecycle
from podkit.logic._lifecycle_table import TABLE, Action, InputKind, Row

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/reference/_generate_state_machine.py; do not edit. -->"
Edges = dict[tuple[Phase, Phase], list[str]]

INTRO = """# The life of a pod

A pod is always in one of nine phases, and clients see three of them as a status: `idle` (IDLE, and STOPPED), `paused` (PAUSED) and
`running` (all the rest). Whatever happens to a pod (a method, a run that ended, a timer) is one input, and the table below
says what it does in every phase. It is total: a refusal is a cell like any other, so nothing a client sends can make a pod fail.

![The phases and what leads from one to the next](state-machine.svg)

## The table

Rows are inputs, columns phases. **Bold** is the next phase (none: it stays), then what is done, in order. A dash does nothing.
"""

WORDS = """
`error …`, `accepted` and `accepted{run}` are answers. A *pauser* is who asked for a pause and still waits for the answer.
`interrupt` cancels the run; *with a deadline*, the run is cut when that is over. `commit` writes the input of a run to the log, and
`commit again` that of the paused run; both come back as `committed` or `commit failed`. `leave` answers everybody who still waits
with `stopping`, shows the status, gives back the notices nobody saw, and ends the pod. `left-overs start a run` when waking notices
are in the queue and nothing holds them: then the next phase is STARTING.

## The rules beside the table
"""


def cell(row: Row) -> str:
    """One cell of the table."""
    words = ", ".join(action.value for action in row.actions)
    if row.next is None:
        return words or "\u2013"
    return f"**{row.next.name}** {words}".rstrip()


def table() -> str:
    """The whole table in Markdown."""
    lines = ["| input | " + " | ".join(phase.name for phase in Phase) + " |", "|---" * (len(Phase) + 1) + "|"]
    lines += [f"| {kind.value} | " + " | ".join(cell(TABLE[kind, phase]) for phase in Phase) + " |" for kind in InputKind]
    return "\n".join(lines)


def edges() -> Edges:
    """What leads from one phase to another, in the order of the table."""
    found: Edges = {}
    for (kind, phase), row in TABLE.items():
        nexts = {row.next} - {None, phase}
        if Action.LEFT_OVERS in row.actions and phase is Phase.IDLE:
            nexts.add(Phase.STARTING)
        for after in nexts:
            if after is not None:
                found.setdefault((phase, after), []).append(kind.value)
    order = list(Phase)
    return dict(sorted(found.items(), key=lambda edge: (order.index(edge[0][0]), order.index(edge[0][1]))))


def mermaid() -> str:
    """The same as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> IDLE"]
    lines += [f"    {one.name} --> {other.name}: {' / '.join(labels)}" for (one, other), labels in edges().items()]
    return "\n".join([*lines, "    STOPPED --> [*]", "```"])


def rules() -> str:
    """The numbered rules, as the module beside the table says them."""
    return (_lifecycle.__doc__ or "").partition("beside the table:\n\n")[2].strip()


def page() -> str:
    """The whole page."""
    diagram = f"## The diagram, as text\n\n{mermaid()}"
    return f"{NOTE}\n\n{INTRO}\n{table()}\n{WORDS}\n{rules()}\n\n{diagram}\n"


# The drawing.

PLACES = {
    Phase.IDLE: (120, 300),
    Phase.STARTING: (330, 110),
    Phase.RUNNING: (600, 66),
    Phase.PAUSING: (880, 110),
    Phase.PAUSED: (1010, 320),
    Phase.CANCELLING: (470, 215),
    Phase.BUSY: (110, 500),
    Phase.STOPPING: (660, 470),
    Phase.STOPPED: (360, 570),
}
BENDS = {
    (Phase.IDLE, Phase.STARTING): -22.0,
    (Phase.STARTING, Phase.IDLE): -22.0,
    (Phase.IDLE, Phase.BUSY): -26.0,
    (Phase.BUSY, Phase.IDLE): -26.0,
    (Phase.STARTING, Phase.PAUSED): -18.0,
    (Phase.PAUSED, Phase.STARTING): -22.0,
    (Phase.PAUSING, Phase.IDLE): -100.0,
    (Phase.PAUSED, Phase.IDLE): -70.0,
    (Phase.PAUSED, Phase.STOPPED): -190.0,
    (Phase.STARTING, Phase.STOPPING): 100.0,
    (Phase.RUNNING, Phase.IDLE): 10.0,
    (Phase.PAUSING, Phase.CANCELLING): 12.0,
}
MIDDLE = 0.42
NUMBERED_AT = {(Phase.RUNNING, Phase.IDLE): 0.62}
COLOURS = {"idle": ("#dafbe1", "#1a7f37"), "running": ("#ddf4ff", "#0969da"), "paused": ("#fff8c5", "#9a6700")}
TIP = (
    '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 L10 5 L0 10 z" fill="#57606a"/></marker></defs>'
)
HALF_WIDTH, HALF_HEIGHT = 64, 22
LEGEND_TOP, LEGEND_STEP, WIDTH = 660, 22, 1120

Point = tuple[float, float]


def _curve(edge: tuple[Phase, Phase]) -> tuple[Point, Point, Point]:
    """Start, control point and end of an edge: a quadratic curve between the borders of two boxes."""
    (x1, y1), (x2, y2) = PLACES[edge[0]], PLACES[edge[1]]
    length = math.hypot(x2 - x1, y2 - y1)
    bend = BENDS.get(edge, 0.0)
    control = ((x1 + x2) / 2 - (y2 - y1) / length * bend, (y1 + y2) / 2 + (x2 - x1) / length * bend)
    return _border((x1, y1), control), control, _border((x2, y2), control)


def _border(centre: Point, towards: Point) -> Point:
    """Where the line from a box's centre to a point leaves the box, a little outside."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    scale = min((HALF_WIDTH + 3) / abs(dx) if dx else math.inf, (HALF_HEIGHT + 3) / abs(dy) if dy else math.inf)
    return centre[0] + dx * scale, centre[1] + dy * scale


def _arrow(number: int, edge: tuple[Phase, Phase]) -> tuple[str, str]:
    """The line of an edge, and its number on it."""
    (x1, y1), (cx, cy), (x2, y2) = _curve(edge)
    at = NUMBERED_AT.get(edge, MIDDLE)
    x = (1 - at) ** 2 * x1 + 2 * at * (1 - at) * cx + at**2 * x2
    y = (1 - at) ** 2 * y1 + 2 * at * (1 - at) * cy + at**2 * y2
    line = f'    <path d="M{x1:.0f} {y1:.0f} Q{cx:.0f} {cy:.0f} {x2:.0f} {y2:.0f}" marker-end="url(#tip)"/>'
    disc = f'    <circle cx="{x:.0f}" cy="{y:.0f}" r="9" fill="#ffffff" stroke="#57606a"/>'
    return line, f'{disc}<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" font-size="11">{number}</text>'


def _box(phase: Phase) -> str:
    x, y = PLACES[phase]
    fill, stroke = ("#f6f8fa", "#57606a") if phase is Phase.STOPPED else COLOURS[phase.status.value]
    return (
        f'    <rect x="{x - HALF_WIDTH}" y="{y - HALF_HEIGHT}" width="{2 * HALF_WIDTH}" height="{2 * HALF_HEIGHT}" rx="8" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.6"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-weight="600">{phase.name}</text>'
    )


def _legend(found: Edges) -> list[str]:
    """What the numbers mean, in two columns."""
    rows = math.ceil(len(found) / 2)
    lines = []
    for index, ((one, other), labels) in enumerate(found.items()):
        x, y = 30 + (index // rows) * 550, LEGEND_TOP + (index % rows) * LEGEND_STEP
        text = f"{index + 1}  {one.name} → {other.name}: {' / '.join(labels)}"
        text = text if len(text) <= 88 else text[:86].rsplit(" /", 1)[0] + " / …"
        lines.append(f'    <text x="{x}" y="{y}">{escape(text)}</text>')
    return lines


def drawing() -> str:
    """The diagram as SVG."""
    found = edges()
    arrows = [_arrow(number, edge) for number, edge in enumerate(found, 1)]
    height = LEGEND_TOP + math.ceil(len(found) / 2) * LEGEND_STEP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        'aria-labelledby="t d" font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="14">'
    )
    return "\n".join(
        (
            head,
            '  <title id="t">The phases of a pod</title>',
            '  <desc id="d">Nine phases and the inputs that lead from one to the next; the numbers are explained below.</desc>',
            TIP,
            f'  <rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            '  <g stroke="#57606a" stroke-width="1.3" fill="none">',
            *(line for line, _ in arrows),
            "  </g>",
            '  <g fill="#1f2328">',
            *(_box(phase) for phase in Phase),
            *(number for _, number in arrows),
            "  </g>",
            '  <g fill="#1f2328" font-size="12">',
            *_legend(found),
            "  </g>",
            "</svg>",
            "",
        )
    )


def files() -> dict[Path, str]:
    """What belongs into each file."""
    return {HERE / "state-machine.md": page(), HERE / "state-machine.svg": drawing()}


def main(arguments: list[str]) -> int:
    """Write the files, or, with --check, say whether they are right."""
    if "--check" in arguments:
        return int(any(not path.is_file() or path.read_text("utf-8") != text for path, text in files().items()))
    for path, text in files().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
