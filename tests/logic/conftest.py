"""The oracle of scopes, for every test of this room that compares with brute force."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def oracle():
    """The module `scope_oracle.py` beside this file. Tests are imported without their directory, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location("scope_oracle", Path(__file__).with_name("scope_oracle.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def universe(oracle):
    """Three names down to depth three. Two of them sort on either side of the slash, between a path and what is below it, and one
    is what podkit itself tries first when it looks for a name nobody speaks of."""
    return oracle.Universe(("x", "x-", "x0"), 3)
