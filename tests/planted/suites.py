"""The suites that are not about any bug by name: the simulator, the contracts, the reference models and the disk that fails."""

from functools import partial

from copies import copies
from keeps import keeps
from promises import promises
from readers import readers
from waiters import waiters

from podkit.testing import KINDS, Faults, SimulationError, random_scenario, simulate

FAULTS = Faults.default()
_ON_DISK = Faults({kind: 2.0 for kind in KINDS if kind.startswith("disk_")})
_DEADLY = Faults({"kill": 2, "kill_in_spawn": 0.5, "cut": 1}, most=30)
_SLOW = Faults.only("slow_reader", rate=1)

_CONTRACT = ["-k", "keeps_the_contract"]
SUITES = {
    "registry contract": ["tests/testing/test_check_registry.py", *_CONTRACT],
    "transport contract": ["tests/testing/test_check_transport.py", *_CONTRACT],
    "launcher contract": ["tests/testing/test_check_launcher.py", *_CONTRACT],
    "worker contract": ["tests/testing/test_check_worker.py", *_CONTRACT],
    "registry model": [
        "tests/logic/test_allocations_model.py",
        "tests/logic/test_registry_laws.py::test_twenty_thousand_histories_of_facts_nobody_decided_leave_sound_tables",
    ],
    "scope model": ["tests/logic/test_scope_oracle.py"],
    "lifecycle model": ["tests/logic/test_lifecycle_exploration.py::test_no_sequence_of_inputs_breaks_a_rule"],
    "registry rules": ["tests/store/test_registry_contract.py"],
    "wire model": ["tests/protocol/test_framing.py", "tests/protocol/test_round_trip.py"],
    "wire fuzzing": ["tests/protocol/test_hostile.py", "tests/protocol/test_json_corpus.py"],
    "disk faults": ["tests/store/crash/test_faults.py"],
    "power loss": ["tests/store/crash/test_power_loss.py"],
    "attack corpus": [
        "tests/corpus/test_paths.py::test_a_path_is_a_target_when_it_has_one_spelling_only",
        "tests/corpus/test_paths.py",
        "tests/corpus/test_delegation.py",
        "tests/corpus/test_authority.py",
    ],
}


def simulation(seeds):
    """Whether a random scenario under faults breaks an invariant with one of these seeds; says which."""
    return _noticed(random_scenario, FAULTS, seeds)


def simulation_on_disk(seeds):
    """The same with a registry in files, on a disk that fails."""
    return _noticed(random_scenario, _ON_DISK, seeds)


def restores(seeds):
    """The same where every pod has a session: who is killed is restored."""
    return _noticed(partial(random_scenario, sessions=True), _DEADLY, seeds)


def kept_promises(seeds):
    """The same for what clients are promised, while some of what is said arrives late."""
    return _noticed(promises, _SLOW, seeds)


def kept_sessions(seeds):
    """The same for what a session keeps, when its pod is killed and restored."""
    return _noticed(keeps, Faults.none(), seeds)


def _noticed(scenario, faults, seeds):
    for seed in seeds:
        try:
            simulate(scenario, seed=seed, faults=faults)
        except SimulationError as error:
            print(f"seed {seed}: {error.invariant}: {error.what}")
            return True
    return False


SIMULATED = {
    "simulation": (simulation, 120),
    "simulation on disk": (simulation_on_disk, 60),
    "restores": (restores, 100),
    "promises": (kept_promises, 20),
    "sessions": (kept_sessions, 60),
    "readers": (readers, 1),
    "waiters": (waiters, 2),
    "copies": (copies, 1),
}
