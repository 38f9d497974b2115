"""What programs get besides their scope: a read set that is stated, and an environment that tells nothing."""

import os
import pwd
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from podkit.confinement import _environment as room
from podkit.confinement._environment import clean_environment, device_set, host_secrets, read_set
from podkit.errors import InvalidRuleError


@pytest.fixture
def fresh(monkeypatch, top):
    """A home, and nothing remembered from before."""
    for remembered in (read_set, device_set, host_secrets):
        remembered.cache_clear()
    home = f"{top}/home"
    os.mkdir(home)
    monkeypatch.setenv("HOME", home)
    yield home
    for remembered in (read_set, device_set, host_secrets):
        remembered.cache_clear()


def covers(paths, path):
    return any(path == one or path.startswith(one + "/") for one in paths)


def test_the_read_set_is_existing_paths_without_links_none_inside_another(fresh):
    found = read_set()
    assert all(os.path.realpath(path) == path and os.path.exists(path) for path in found)
    assert not [path for path in found if covers(set(found) - {path}, path)]
    for needed in ("/usr", "/etc", "/proc", sys.prefix, sys.base_prefix, os.__file__):
        assert covers(found, os.path.realpath(needed)), needed


def test_neither_home_nor_what_others_keep_there_is_in_the_read_set(fresh):
    for path in (
        fresh,
        os.path.dirname(fresh),
        pwd.getpwuid(os.getuid()).pw_dir,
        "/",
        "/tmp",
        "/run",
        "/var",
        "/dev",
        "/sys",
        "/home",
    ):
        assert not covers(read_set(), os.path.realpath(path)), path


def test_an_interpreter_in_the_home_directory_does_not_open_it(fresh, monkeypatch):
    for name in ("bin", "lib"):
        os.mkdir(f"{fresh}/{name}")
    monkeypatch.setattr(sys, "prefix", fresh)
    monkeypatch.setattr(sys, "base_prefix", "/")
    found = read_set()
    assert {f"{fresh}/bin", f"{fresh}/lib"} <= set(found)
    assert not covers(found, fresh)
    assert "/" not in found


def test_of_sys_path_there_is_what_site_packages_name_and_nothing_else(fresh, monkeypatch, top):
    for name in ("packages", "user", "editable", "script"):
        os.mkdir(f"{top}/{name}")
    Path(top, "packages", "a.pth").write_text(f"import x\n{top}/editable\n{top}/unused\n")
    Path(top, "user", "b.pth").mkdir()
    monkeypatch.setattr(site, "getsitepackages", lambda: [f"{top}/packages", f"{top}/none"])
    monkeypatch.setattr(site, "getusersitepackages", lambda: f"{top}/user")
    monkeypatch.setattr(sys, "path", ["", "relative", f"{top}/script", f"{top}/editable", *sys.path])
    for user in (True, False):
        read_set.cache_clear()
        monkeypatch.setattr(site, "ENABLE_USER_SITE", user)
        found = {path for path in read_set() if path.startswith(top)}
        assert found == {f"{top}/packages", f"{top}/editable"} | ({f"{top}/user"} if user else set())


def program(directory, name):
    path = Path(directory, "bin", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def found_on(monkeypatch, top, *directories):
    monkeypatch.setenv("PATH", ":".join(f"{directory}/bin" for directory in directories))
    read_set.cache_clear()
    return {path.removeprefix(top) for path in read_set() if path.startswith(top + "/")}


def test_runtimes_on_the_path_are_in_it_where_only_their_owner_writes(fresh, monkeypatch, top):
    node, java = f"{top}/node", f"{top}/jdk"
    program(node, "node")
    script = f"{node}/lib/node_modules/npm/bin/npm-cli.js"
    os.makedirs(os.path.dirname(script))
    Path(script).write_text("")
    Path(script).chmod(0o755)
    os.symlink(script, f"{node}/bin/npm")
    program(java, "java")
    assert found_on(monkeypatch, top, node, java) == {"/node/bin", "/node/lib/node_modules"}  # nothing says that it is a JDK
    Path(java, "release").touch()
    assert found_on(monkeypatch, top, node, java) == {"/node/bin", "/node/lib/node_modules", "/jdk"}
    os.chmod(node, 0o777)
    os.chmod(java, 0o775)
    assert found_on(monkeypatch, top, node, java) == set()
    os.makedirs(f"{top}/flat")
    os.rename(program(f"{top}/odd", "node"), f"{top}/flat/node")
    monkeypatch.setenv("PATH", f"{top}/flat")
    read_set.cache_clear()
    assert not [path for path in read_set() if path.startswith(top)]


def test_somebody_elses_runtime_is_not_in_it(fresh, monkeypatch, top):
    program(f"{top}/node", "node")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    before = os.stat(f"{top}/node")
    if before.st_uid == 0:
        os.chown(f"{top}/node", 4321, -1)
    assert found_on(monkeypatch, top, f"{top}/node") == set()


def test_a_user_without_an_entry_has_a_read_set_too(fresh, monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert "/usr" in read_set()


def test_devices_are_those_that_are_harmless(fresh):
    assert set(device_set()) <= {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")}
    assert "/dev/null" in device_set()


def test_the_machines_own_secrets_are_named_when_we_could_read_them(fresh, monkeypatch, top):
    monkeypatch.setattr(room, "_names", lambda path: ["ssh_host_rsa_key", "ssh_host_rsa_key.pub", "ssh_config"])
    monkeypatch.setattr(os, "access", lambda path, how: path in ("/etc/shadow", "/etc/ssh/ssh_host_rsa_key"))
    assert host_secrets() == ("/etc/shadow", "/etc/ssh/ssh_host_rsa_key")
    host_secrets.cache_clear()
    monkeypatch.setattr(os, "access", lambda path, how: False)
    assert host_secrets() == ()


# The environment.

HOME = {"home": "/w/home", "tmp": "/w/tmp"}
SECRETS = {
    "ANTHROPIC_API_KEY": "canary",
    "GITHUB_TOKEN": "canary",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "DB_PASSWORD": "canary",
    "https_proxy": "http://me:canary@proxy:3128",
    "SSH_AUTH_SOCK": "/canary",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/canary",
    "XDG_RUNTIME_DIR": "/canary",
    "LD_PRELOAD": "/canary.so",
    "PYTHONPATH": "/canary",
    "PODKIT_BIRTH": "canary",
    "GIT_DIR": "/canary",
    "HOME": "/canary",
    "TMPDIR": "/canary",
}


@pytest.mark.proves("I36")
def test_nothing_of_ours_is_handed_on_but_what_is_stated():
    kept = {"LANG": "C.UTF-8", "LC_ALL": "C", "TZ": "UTC", "USER": "me", "SHELL": "/bin/sh", "HTTP_PROXY": "http://proxy:3128"}
    made = clean_environment(SECRETS | kept | {"SSL_CERT_FILE": "/etc/ssl/x", "NODE_EXTRA_CA_CERTS": "/x"}, **HOME)
    assert "canary" not in str(made)
    assert kept.items() <= made.items()
    assert made["SSL_CERT_FILE"] == "/etc/ssl/x"
    assert made["HOME"] == "/w/home"
    assert {made[name] for name in ("TMPDIR", "TMP", "TEMP")} == {"/w/tmp"}
    assert made["XDG_CACHE_HOME"] == "/w/home/.cache"
    assert (made["TERM"], made["GIT_TERMINAL_PROMPT"]) == ("dumb", "0")
    assert "XDG_RUNTIME_DIR" not in made


def test_the_path_keeps_its_absolute_entries():
    assert clean_environment({"PATH": "/b:.::bin:/a:/b"}, **HOME)["PATH"] == "/b:/a"
    for poor in ("", ".:bin", "/x\0", "/" + "x" * 40_000):
        assert clean_environment({"PATH": poor}, **HOME)["PATH"].endswith("/usr/bin:/sbin:/bin")
    assert "PATH" in clean_environment({}, home="/", tmp="/")
    assert clean_environment({}, home="/", tmp="/")["XDG_CONFIG_HOME"] == "/.config"


@pytest.mark.parametrize("value", ["x\0", "\udcff" * 40_000, "x" * 40_000, "\ud800"])
def test_what_cannot_be_an_environment_is_left_out_and_in_extra_refused(value):
    assert "LANG" not in clean_environment({"LANG": value}, **HOME)
    with pytest.raises(ValueError, match="'LANG'"):
        clean_environment({}, **HOME, extra={"LANG": value})


@pytest.mark.parametrize("name", ["", "1A", "A=B", "A B", "A\n", "Ä", "A" * 129, 7])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="not a name"):
        clean_environment({}, **HOME, extra={name: "x"})
    assert "A=B" not in clean_environment({"LC_A=B": "x"}, **HOME)


def test_what_is_declared_is_added_and_the_whole_is_bounded():
    assert (
        clean_environment({}, **HOME, extra={"GH_TOKEN": "t", "TERM": "xterm"}).items()
        >= {"GH_TOKEN": "t", "TERM": "xterm"}.items()
    )
    with pytest.raises(ValueError, match="not text"):
        clean_environment({}, **HOME, extra={"A": 7})
    with pytest.raises(ValueError, match="at most"):
        clean_environment({}, **HOME, extra={f"A{n}": "x" * 32_000 for n in range(9)})
    for paths in ({"home": "w", "tmp": "/t"}, {"home": "/w", "tmp": "/t/"}):
        with pytest.raises(InvalidRuleError):
            clean_environment({}, **paths)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git (package git)")
def test_programs_run_in_it(top):
    env = clean_environment(os.environ, home=top, tmp=top)
    done = subprocess.run(["git", "config", "--global", "user.name", "x"], env=env, check=False, timeout=20)
    assert done.returncode == 0
    assert "name = x" in Path(top, ".gitconfig").read_text()
