"""What may be asked of run_process, and how much of an output is kept."""

import random

import pytest

from podkit._life._plan_programs import Kept, plan_request
from podkit.errors import InvalidArgumentError, InvalidNameError

NOTHING = {"cwd": None, "input": None, "timeout": None, "unix_sockets": False, "network": True, "job": None, "env": None}


def ask(argv=("ls",), **changes):
    return plan_request(argv, **(NOTHING | changes))


def test_a_request_says_what_runs():
    request = ask(["ls", "-l"], input="fed", env={"A": "b"}, timeout=3)
    assert (request.argv, request.input, request.env, request.timeout) == (("ls", "-l"), b"fed", {"A": "b"}, 3)
    assert request.what == "program `ls`"
    assert ask(job="server").what == "job `server`"
    assert "fed" not in repr(request)


@pytest.mark.proves("I35")
@pytest.mark.parametrize(
    "argv", [[], "ls", b"ls", None, 7, ["a\0"], [""], [7], ["ls", None], ["ls", "\ud800"], ["ls", "x" * 131_072]]
)
def test_what_no_program_can_be_given_is_refused(argv):
    with pytest.raises(InvalidArgumentError):
        ask(argv)


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"": "x"}},
        {"env": {"A=B": "x"}},
        {"env": {"A": "\0"}},
        {"env": {"A": 1}},
        {"env": {f"A{n}": "x" * 100_000 for n in range(11)}},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"timeout": True},
        {"timeout": "3"},
        {"input": b"x" * (64 * 2**20 + 1)},
        {"job": "server", "input": b""},
    ],
)
def test_odd_options_are_refused(changes):
    with pytest.raises(InvalidArgumentError):
        ask(**changes)


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a\n"])
def test_a_job_has_a_name_like_a_pod(name):
    with pytest.raises(InvalidNameError):
        ask(job=name)


def test_odd_bytes_in_a_name_of_a_file_are_arguments_like_others():
    assert ask(["ls", "\udcff"]).argv == ("ls", "\udcff")


@pytest.mark.parametrize("limit", [2, 10, 100])
def test_the_beginning_and_the_end_of_an_output_are_kept_and_the_rest_is_counted(limit):
    pieces = random.Random(7)
    for size in (0, 1, limit - 1, limit, limit + 1, 3 * limit, 50 * limit):
        whole = bytes(pieces.randrange(256) for _ in range(size))
        kept, at = Kept(limit), 0
        while at < size:
            step = pieces.randint(1, limit + 3)
            kept.add(whole[at : at + step])
            at += step
        found = kept.bytes()
        assert len(found) + kept.dropped == size
        assert kept.dropped == max(0, size - limit)
        assert found == (whole if size <= limit else whole[: limit // 2] + whole[-(limit // 2) :])
        assert kept.bytes() == found
