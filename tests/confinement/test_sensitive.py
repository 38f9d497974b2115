"""Names that programs obey are left be, there or not; everything else, in `.git` too, is ordinary."""

import pytest

from podkit.confinement._form import Entry
from podkit.confinement._sensitive import existing_sensitive, made_sensitive, sensitive


@pytest.mark.proves("S130", "S131", "S133", "S134", "S136")
@pytest.mark.parametrize(
    "path",
    [
        "/w/repo/.git/hooks/pre-commit",
        "/w/repo/.git/hooks",
        "/w/repo/.git/config",
        "/w/repo/.git/config.worktree",
        "/w/repo/.git/info/attributes",
        "/w/repo/.git/commondir",
        "/w/repo/.git/modules/a/b/hooks/x",
        "/w/repo/.git/modules/a/config",
        "/w/repo/.git/worktrees/x/config.worktree",
        "/w/repo/.git/worktrees/x/gitdir",
        "/w/repo/.git/rebase-merge/git-rebase-todo",
        "/w/repo/.git",
        "/w/a/b/c/d/e/.git/hooks/x",
        "/w/.GIT/Hooks/x",
        "/w/.g\u200cit/hooks/x",
        "/w/.gitmodules",
        "/w/.gitconfig",
        "/w/.mcp.json",
        "/w/.claude",
        "/w/.claude/settings.json",
        "/w/.codex/config.toml",
        "/w/.vscode/tasks.json",
        "/w/.idea/x",
        "/w/.envrc",
        "/w/.bashrc",
        "/w/.bash_profile",
        "/w/.profile",
        "/w/.zshrc",
        "/w/.zprofile",
        "/w/.zshenv",
        "/w/.ssh/authorized_keys",
        "/.git",
    ],
)
def test_what_programs_obey_is_sensitive(path):
    assert sensitive(path)
    assert made_sensitive(path)


@pytest.mark.proves("S135")
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/w/.github/x",
        "/w/.gitignore",
        "/w/.gitattributes",
        "/w/.git-notes",
        "/w/repo/.git/index",
        "/w/repo/.git/HEAD",
        "/w/repo/.git/refs/heads/hooks",
        "/w/repo/.git/objects/ab/cd",
        "/w/repo/.git/info/exclude",
        "/w/hooks/x",
        "/w/config",
        "/w/.bashrc/x",
        "/w/.profiles",
        "/w/claude",
        "/w/git",
        "/w/ünï",
    ],
)
def test_what_is_ordinary_is_not(path):
    assert sensitive(path) is None
    assert made_sensitive(path) is None


@pytest.mark.proves("S136")
@pytest.mark.parametrize("path", ["/w/.git/modules", "/w/.git/modules/a", "/w/.git/worktrees/x", "/w/.git/info"])
def test_what_leads_to_something_sensitive_is_not_exchanged(path):
    assert sensitive(path) is None
    assert made_sensitive(path)


class Look:
    """A tree by nested dicts; what is no dict is a kind."""

    def __init__(self, tree):
        self.tree, self.listed = tree, []

    def _at(self, path):
        found = self.tree
        for part in path.split("/")[1:]:
            found = found.get(part) if part and isinstance(found, dict) else (found if not part else None)
        return found

    def kind(self, path):
        found = self._at(path)
        return "dir" if isinstance(found, dict) else found

    def entries(self, path):
        self.listed.append(path)
        if self.kind(path) != "dir":
            return []
        return [Entry(name, "dir" if isinstance(kind, dict) else kind) for name, kind in self._at(path).items()]


def test_what_is_there_is_found_nearest_first_and_not_looked_for_everywhere():
    git = {
        "config": "file",
        "HEAD": "file",
        "hooks": {"pre-commit": "file"},
        "objects": {"ab": {"hooks": {}}},
        "info": {"attributes": "file", "exclude": "file"},
        "modules": {"a": {"b": {"config": "file", "hooks": {}, "refs": {"heads": {}}}}},
    }
    tree = {
        "w": {
            "repo": {".git": git, "node_modules": {"x": {".git": {"hooks": {}}}}, "src": {".envrc": "file", "l": "link"}},
            ".git": "file",
            ".claude": {"settings.json": "file"},
            ".vscode": "link",
        },
        "f": "file",
        "else": {".envrc": "file"},
    }
    look = Look(tree)
    found = existing_sensitive(look, ["/w", "/f", "/gone"])
    assert [path.count("/") for path in found] == sorted(path.count("/") for path in found)
    assert set(found) == {
        "/w/.git",
        "/w/.claude",
        "/w/repo/src/.envrc",
        "/w/repo/.git/config",
        "/w/repo/.git/hooks",
        "/w/repo/.git/info/attributes",
        "/w/repo/.git/modules/a/b/config",
        "/w/repo/.git/modules/a/b/hooks",
    }
    assert not [path for path in look.listed if "objects" in path or "node_modules" in path or path.endswith("hooks")]
    assert set(existing_sensitive(look, ["/w/repo/.git"])) == {path for path in found if path.startswith("/w/repo/.git/")}
    assert "/else/.envrc" in existing_sensitive(look, ["/"])


def test_no_more_entries_are_looked_at_than_allowed():
    tree = {"w": {str(n): {".envrc": "file"} for n in range(10)}}
    look = Look(tree)
    assert existing_sensitive(look, ["/w"], limit=12) == ("/w/0/.envrc", "/w/1/.envrc")
    assert existing_sensitive(Look({"w": {".envrc": "file", ".mcp.json": "file"}}), ["/w"], limit=1) == ("/w/.envrc",)
    assert existing_sensitive(look, ["/w"], limit=0) == ()
