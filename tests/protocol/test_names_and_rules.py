"""Names, paths and rules: what reaches a path or a table is checked before."""

import pytest

from podkit.errors import InvalidNameError, InvalidRuleError
from podkit.protocol import Permission, ScopeRule, check_name, check_path


@pytest.mark.parametrize("name", ["a", "0", "a-b_c9", "x" * 63])
def test_a_name_is_given_back(name):
    assert check_name(name) == name


@pytest.mark.proves("H1", "I37")
@pytest.mark.parametrize("name", ["", "A", "-a", "_a", "a.b", "a/b", "..", "a\n", "é", "x" * 64, "\u0661", None, 5, b"a"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidNameError):
        check_name(name)


@pytest.mark.parametrize("path", ["/", "/a", "/a/b.c", "/...", "/.a/..b", "/a b/☃", "/" + "x" * 4094, "/a\n"])
def test_an_absolute_normal_path_is_given_back(path):
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "./a", "~", "//", "//a", "/a/", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a\0b", "/\ud800"),
        *("/" + "x" * 4095, "/" + "☃" * 1365, None, 5, b"/a"),
    ],
)
def test_what_is_no_absolute_normal_path_is_refused(path):
    with pytest.raises(InvalidRuleError):
        check_path(path)


@pytest.mark.parametrize("permission", [Permission.NONE, 1, 2, "write", None, True])
def test_a_rule_is_about_reading_or_writing(permission):
    with pytest.raises(InvalidRuleError, match=r"READ or Permission\.WRITE"):
        ScopeRule("/a", permission)


def test_a_rule_is_recursive_or_not_and_nothing_else():
    assert ScopeRule("/a", Permission.READ).recursive is True
    for odd in (1, 0, None, "no"):
        with pytest.raises(InvalidRuleError, match="True or False"):
            ScopeRule("/a", Permission.READ, recursive=odd)


def test_rules_and_permissions_read_as_people_say_them():
    assert str(ScopeRule("/a", Permission.WRITE)) == "write /a"
    assert str(ScopeRule("/a", Permission.READ, recursive=False)) == "read /a [non-recursive]"
    assert str(Permission.NONE) == "no access"
    assert Permission.NONE < Permission.READ < Permission.WRITE
