"""A session in files against a model of it: appended, cut, flipped, reopened, rotated, saved, replaced, in any order."""

import os
import shutil
import tempfile

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from podkit._store import FileSessionStore
from podkit.errors import CorruptLogError, SessionError

LONG = "PODKIT_LONG" in os.environ
STEPS = 40
EXAMPLES = 7000 if LONG else 340
TOP = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
STEPS_DONE = []

batches = st.lists(st.integers(0, 99), max_size=3).map(lambda numbers: [b'{"n":%d}' % number for number in numbers])


class Sessions(RuleBasedStateMachine):
    """The model: what each segment holds record by record, how far the anchor is known to be, and what was saved."""

    def __init__(self):
        super().__init__()
        self.top = tempfile.mkdtemp(prefix="pk", dir=TOP)
        self.store = FileSessionStore(os.path.join(self.top, "s"))
        self.session = None
        self.made = 0

    def teardown(self):
        if self.session is not None:
            self.session._lock.unlock()
            self.session._close_files()
        shutil.rmtree(self.top)

    def open(self, create=None):
        """What `open` does in a thread, or at once: a loop for each step would be most of the time."""
        return self.store._resume("root") if create is None else self.store._begin("root", create)

    @initialize()
    def begin(self):
        self.create()

    @rule()
    def create(self):
        if self.session is not None:
            self.close()
        self.made += 1
        self.session = self.open(f"s-{self.made}")
        self.segments, self.manifest, self.vouched = {}, None, 0

    @precondition(lambda self: self.session is not None and self.segments)
    @rule(batch=batches)
    def append(self, batch):
        self.session.append(batch)
        if batch:
            self.current.append(batch)

    @precondition(lambda self: self.session is not None)
    @rule(batch=batches)
    def rotate(self, batch):
        segment = f"g-{len(self.segments)}"
        self.session.rotate(segment, batch)
        self.segments[segment] = [batch] if batch else []
        self.vouched = len(self.current)

    @precondition(lambda self: self.session is not None and self.segments)
    @rule()
    def rotate_to_one_that_was(self):
        with pytest.raises(SessionError):
            self.session.rotate(next(iter(self.segments)), [])

    @precondition(lambda self: self.session is not None)
    @rule(value=st.one_of(st.none(), st.integers(), st.text(), st.lists(st.booleans())))
    def save(self, value):
        self.manifest = {"v": value}
        self.session.save(self.manifest)

    @precondition(lambda self: self.session is not None)
    @rule()
    def close(self):
        trio.run(self.session.aclose)
        self.session = None
        self.vouched = len(self.current)

    @precondition(lambda self: self.session is not None)
    @rule()
    def crash(self):
        """What the kernel does for a program that was killed."""
        self.session._close_files()
        self.session._lock.unlock()
        self.session = None

    @precondition(lambda self: self.session is None)
    @rule()
    def reopen(self):
        self.session = self.open()
        assert list(self.session.entries) == self.flat
        self.vouched = len(self.current)

    @precondition(lambda self: self.session is None and self.segments)
    @rule(data=st.data())
    def cut(self, data):
        """Cut the current log anywhere: it has lost records, or it is refused."""
        with open(self.log, "rb") as file:
            whole = file.read()
        at = data.draw(st.integers(0, len(whole)))
        kept = whole[:at].count(b"\n") - 1
        with open(self.log, "wb") as file:
            file.write(whole[:at])
        if kept < self.vouched:
            with pytest.raises(CorruptLogError):
                self.open()
            with open(self.log, "wb") as file:
                file.write(whole)
        else:
            del self.current[kept:]
        self.reopen()

    @precondition(lambda self: self.session is None and self.segments)
    @rule(data=st.data())
    def flip(self, data):
        """Flip any bit of any committed record of the current log: it is refused, and nothing is changed."""
        with open(self.log, "rb") as file:
            whole = file.read()
        at, bit = data.draw(st.integers(0, len(whole) - 2)), data.draw(st.integers(0, 7))
        bad = whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :]
        with open(self.log, "wb") as file:
            file.write(bad)
        with pytest.raises(CorruptLogError):
            self.open()
        with open(self.log, "r+b") as file:
            assert file.read() == bad
            file.seek(0)
            file.write(whole)
        self.reopen()

    @precondition(lambda self: self.session is None and self.segments)
    @rule(junk=st.binary(min_size=1, max_size=60).filter(lambda junk: b"\n" not in junk))
    def leave_half_a_record(self, junk):
        with open(self.log, "ab") as file:
            file.write(junk)
        self.reopen()

    @property
    def current(self):
        return next(reversed(self.segments.values()), [])

    @property
    def flat(self):
        return [entry for batch in self.current for entry in batch]

    @property
    def log(self):
        place = os.path.join(self.store.directory, "root", f"{self.made}.s-{self.made}")
        return os.path.join(place, f"{len(self.segments)}.g-{len(self.segments) - 1}.log")

    @invariant()
    def it_is_what_was_committed(self):
        STEPS_DONE.append(1)
        if self.session is not None:
            assert self.session.segments == tuple(self.segments)
            assert self.session.manifest == self.manifest
            for segment, records in list(self.segments.items())[-1 - len(STEPS_DONE) % 4 :]:
                assert self.session.read(segment) == [entry for batch in records for entry in batch]


@pytest.mark.proves("I28", "I29", "I30", "F31", "F38", "H21")
def test_a_session_in_files_is_what_the_model_says(record_property):
    run_state_machine_as_test(
        Sessions,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    record_property("steps", len(STEPS_DONE))
    print(f"{len(STEPS_DONE)} steps")
    assert len(STEPS_DONE) >= (200_000 if LONG else 10_000)
