"""10,000 seeds of random scenarios under every kind of fault, on all cores: minutes, so behind `PODKIT_LONG=1`."""

import logging
import multiprocessing
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from podkit.testing import KINDS, Faults, random_scenario, simulate

SEEDS, BLOCK, LEAST = range(1000, 11_000), 100, 100

EVEN = {kind: 0.3 for kind in KINDS if kind != "reboot"}
MIXES = (
    Faults(EVEN),
    Faults({**EVEN, "kill_in_stop": 3.0, "disk_sync": 1.5}),  # there are few stops, and few syncs
    Faults({"kill": 1.0, "kill_in_spawn": 1.0, "cancel": 0.5, "event_lost": 1.0, "event_twice": 1.0}),
    Faults({**EVEN, "reboot": 0.8}),
)


def block(first):
    """Which faults there were in one block of seeds. Every second seed keeps sessions and restores who dies, and in every second
    eight hubs write straight to their peers, as over sockets."""
    logging.disable(logging.CRITICAL)  # what fails in these runs is meant to
    fired = Counter()
    for seed in range(first, first + BLOCK):
        scenario = partial(random_scenario, sessions=bool(seed % 2), sockets=bool(seed // 8 % 2))
        fired.update(simulate(scenario, seed=seed, faults=MIXES[seed // 2 % len(MIXES)], steps=400_000).faults)
    return fired


@pytest.mark.skipif(not os.environ.get("PODKIT_LONG"), reason="a long run: set PODKIT_LONG=1")
@pytest.mark.proves("I1", "I2", "I3", "I4", "I5", "I6", "I12", "I13", "I14", "I15", "I21", "I22", "I23", "I24", "I25", "I26", "I27")
def test_10_000_seeds_under_every_kind_of_fault_break_no_invariant():
    """A kind that came up fewer than 100 times makes the run invalid, not green."""
    fired = Counter(dict.fromkeys(KINDS, 0))
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, found in enumerate(pool.map(block, SEEDS[::BLOCK]), start=1):
            fired.update(found)
            kind, count = fired.most_common()[-1]
            sys.__stderr__.write(f"{number * BLOCK} seeds, {fired.total()} faults, fewest {kind} ({count})\n")
    assert min(fired.values()) >= LEAST, f"an invalid run: {fired}"
