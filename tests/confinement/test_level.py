"""Levels: by strength, never below what is required."""

import pytest

from podkit.confinement import Level, available, choose
from podkit.confinement import _level as room
from podkit.errors import ConfinementError


def test_levels_compare_by_strength_and_read_as_their_names():
    assert sorted([Level.STRICT, Level.ADVISORY, Level.KERNEL]) == [Level.ADVISORY, Level.KERNEL, Level.STRICT]
    assert Level.ADVISORY < Level.KERNEL <= Level.STRICT
    assert Level.STRICT > Level.KERNEL >= Level.KERNEL
    assert (str(Level.KERNEL), Level("kernel")) == ("kernel", Level.KERNEL)


@pytest.mark.parametrize("compare", ["__lt__", "__le__", "__gt__", "__ge__"])
def test_a_level_does_not_compare_with_mere_text(compare):
    assert getattr(Level.KERNEL, compare)("advisory") is NotImplemented


def test_what_there_is_now_is_advisory():
    assert available() is Level.ADVISORY
    assert choose() is choose("kernel") is choose("advisory", "advisory") is Level.ADVISORY


@pytest.mark.parametrize("best", list(Level))
@pytest.mark.parametrize("asked", [None, *Level])
@pytest.mark.parametrize("require", [None, *Level])
def test_it_is_the_best_up_to_the_wish_and_never_below_the_condition(monkeypatch, best, asked, require):
    monkeypatch.setattr(room, "available", lambda: best)
    if require is not None and require > best:
        with pytest.raises(ConfinementError) as caught:
            choose(asked, require)
        assert (caught.value.level, best.value in caught.value.reason) == (require.value, True)
        return
    got = choose(asked, require)
    assert got <= best
    assert require is None or got >= require
    wish = asked or Level.KERNEL
    assert got == min(best, wish if require is None else max(wish, require))


@pytest.mark.parametrize("name", ["", "Kernel", "none", "kernel+sockets", 7, b"kernel"])
@pytest.mark.parametrize("place", ["asked", "require"])
def test_a_name_that_is_no_level_is_refused(name, place):
    with pytest.raises(ConfinementError, match="no such level"):
        choose(**{place: name})
