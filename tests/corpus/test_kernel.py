"""What hostile programs get in every cell of the matrix: level, namespaces or not, this user or nobody."""

import pytest

SPOILED = {"K18": "s/attr", "K19": "r/attr"}  # what may be changed where a row says that it is documented, and nothing else


def required(row, level, namespaces):
    name = "kernel" if namespaces else "kernel_no_namespaces"
    if level == "strict":
        name = "strict" if namespaces or "strict_no_namespaces" not in row["required"] else "strict_no_namespaces"
    return row["required"][name]


def tried(cells, cell):
    said = cells(*cell)
    if cell[1] and not said["notes"]["namespaces"]:
        pytest.skip("this machine does not let us have namespaces")
    return said


@pytest.mark.proves("I1", "I34", "I39")
def test_every_program_gets_its_verdict(cells, cell, probe):
    said = tried(cells, cell)
    if probe.get("needs") == "tmux" and not said["tmux"]:
        pytest.skip("tmux (apt: tmux) is not here")
    outcome = said["results"][probe["id"], probe["probe"]]
    assert outcome["errno"] != "BROKEN", outcome
    verdict = required(probe, *cell[:2])
    if probe.get("ward") == "daemon":
        assert outcome["allowed"], "there was no daemon"
        assert said["notes"]["daemon"]["gone"], "the daemon outlived its call"
    elif verdict != "DOCUMENTED":
        assert outcome["allowed"] == (verdict == "ALLOW"), outcome


@pytest.mark.proves("I1", "I34")
def test_nothing_outside_is_changed_and_nobody_outside_is_reached(cells, cell, rows):
    said = tried(cells, cell)
    documented = {
        row["id"] for row in rows["k_kernel"] if "probe" in row and "case" not in row and required(row, *cell[:2]) == "DOCUMENTED"
    }
    assert set(said["changed"]) <= {name for row, name in SPOILED.items() if row in documented}
    assert said["touched"] == []
    assert said["victim"], "the other process was ended, stopped or changed"
    for ward in ("main", "no_network", "daemon"):
        assert said["notes"][ward] | {"gone": True} == {"status": 0, "stderr": "", "leaked": [], "gone": True}, ward


def test_every_attack_works_where_nothing_stops_it(cells, rows):
    """An attack that fails unconfined would prove nothing when it fails in a ward."""
    said = cells("none", False, "self")
    broken = []
    for row in rows["k_kernel"]:
        needless = "case" in row or "unproven" in row or (row.get("needs") == "tmux" and not said["tmux"])
        if needless or (row.get("root") and not said["mounted"]):
            continue
        outcome = said["results"][row["id"], row["probe"]]
        if not outcome["allowed"] and (said["mounted"] or outcome["errno"] not in ("EPERM", "EACCES", "ENOENT")):
            broken.append(outcome)
    assert broken == []


def test_every_documented_hole_is_really_open(cells, rows):
    """A hole that was closed is no longer documented."""
    closed = []
    for row in rows["k_kernel"]:
        for level, namespaces in ((level, namespaces) for level in ("kernel", "strict") for namespaces in (True, False)):
            if "case" in row or required(row, level, namespaces) != "DOCUMENTED":
                continue
            found = [cells(level, namespaces, user) for user in ("self", "nobody")]
            if row.get("root") and not found[0]["mounted"]:
                continue
            if not any(said["results"][row["id"], row["probe"]]["allowed"] for said in found):
                closed.append((row["id"], row["probe"], level, namespaces))
    assert closed == []
