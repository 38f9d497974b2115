"""Levels: by strength, never below what is required."""

import pytest

from podkit.confinement import Level, available, choose
from podkit.confinement import _level as room
from podkit.confinement._level import LAYERS, check_depth, in_force
from podkit.errors import ConfinementError


def test_levels_compare_by_strength_and_read_as_their_names():
    assert sorted([Level.STRICT, Level.ADVISORY, Level.KERNEL]) == [Level.ADVISORY, Level.KERNEL, Level.STRICT]
    assert Level.ADVISORY < Level.KERNEL <= Level.STRICT
    assert Level.STRICT > Level.KERNEL >= Level.KERNEL
    assert (str(Level.KERNEL), Level("kernel")) == ("kernel", Level.KERNEL)


@pytest.mark.parametrize("compare", ["__lt__", "__le__", "__gt__", "__ge__"])
def test_a_level_does_not_compare_with_mere_text(compare):
    assert getattr(Level.KERNEL, compare)("advisory") is NotImplemented


@pytest.fixture
def offered(monkeypatch):
    """Says what the kernel offers: the version of Landlock, and whether system calls can be filtered."""

    def offer(landlock, filters):
        monkeypatch.setattr(room, "kernel_offers", lambda: (landlock, filters))

    return offer


@pytest.mark.proves("K56")
@pytest.mark.parametrize(
    ("landlock", "filters", "best"), [(0, True, "advisory"), (5, True, "advisory"), (7, False, "advisory"), (6, True, "strict")]
)
def test_the_kernel_offers_its_levels_with_landlock_6_and_a_filter(offered, landlock, filters, best):
    offered(landlock, filters)
    assert available() == best
    assert choose() == min(Level.KERNEL, Level(best))
    assert choose("strict") == best
    assert choose("advisory") is Level.ADVISORY


@pytest.mark.proves("K56")
@pytest.mark.parametrize(
    ("landlock", "filters", "why"), [(0, True, "no Landlock"), (5, True, "has Landlock 5"), (7, False, "cannot be filtered here")]
)
def test_what_is_required_and_not_there_is_refused_with_the_reason(offered, landlock, filters, why):
    offered(landlock, filters)
    with pytest.raises(ConfinementError, match=why) as caught:
        choose(require="kernel")
    assert caught.value.level == "kernel"


def test_this_machine_is_asked_once():
    room.kernel_offers.cache_clear()
    first = room.kernel_offers()
    assert room.kernel_offers() is first
    assert isinstance(available(), Level)


@pytest.mark.parametrize(
    ("level", "unix_sockets", "said"),
    [
        (Level.ADVISORY, False, "advisory"),
        (Level.ADVISORY, True, "advisory"),
        (Level.KERNEL, False, "kernel"),
        (Level.KERNEL, True, "kernel+sockets"),
        (Level.STRICT, True, "strict+sockets"),
    ],
)
def test_the_level_in_force_says_when_sockets_are_open(level, unix_sockets, said):
    assert in_force(level, unix_sockets=unix_sockets) == said


@pytest.mark.proves("K55")
def test_layers_are_counted_and_end_before_the_kernels():
    env: dict[str, str] = {}
    for layer in range(1, 13):
        env[LAYERS] = str(check_depth(env))
        assert env[LAYERS] == str(layer)
    with pytest.raises(ConfinementError, match="layer 13"):
        check_depth(env)


@pytest.mark.parametrize("said", ["", "-1", "x", "1.0", " 1", "\u0661", "9999999"])
def test_a_count_that_is_none_is_refused(said):
    with pytest.raises(ConfinementError, match="not a number"):
        check_depth({LAYERS: said})


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
