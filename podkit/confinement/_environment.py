"""What a program needs of the machine besides what its scope allows: the read set, devices, and a clean environment."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import site
import stat
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

from podkit.protocol import check_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/proc", "/nix/store", "/gnu/store")
# Of /sys only what runtimes ask to size themselves.
_SIZES = ("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage")
_LINKED = ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime")  # files of /etc that may be kept elsewhere
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SECRETS = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/security/opasswd", "/etc/ssl/private")
_HOST_KEY = re.compile(r"ssh_host_\w+_key")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_MAX_VALUE = 32 * 2**10
_MAX_ALL = 256 * 2**10
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = frozenset(["LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL", "JAVA_HOME"])
_CERTIFICATES = frozenset(["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"])
_PROXIES = frozenset(["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"])
_FIXED: Final = {
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "npm_config_update_notifier": "false",
}
_HOMES: Final = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_CACHE_HOME": ".cache",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "PIP_CACHE_DIR": ".cache/pip",
    "npm_config_cache": ".npm",
}


@cache
def read_set() -> tuple[str, ...]:
    """What programs may read whatever their scope: absolute paths without links, none inside another, as found when first asked.

    The system's directories (/usr, /bin, /sbin, /lib*, /etc, /opt, /proc, /nix/store, /gnu/store), of /sys what tells how large the
    machine is, and where a name resolver's files are kept. This interpreter and the one it was made from, its site-packages and
    the directories these name in `.pth` files. Of the first node, npm and java on PATH: for node and npm `bin` and
    `lib/node_modules`, for java its whole directory; unless it belongs to somebody else or others may write to it.

    Not in it: the home directory (nor anything above it), /var, /run, /tmp, /dev, the directory of the running script, PYTHONPATH.
    """
    found = [os.path.realpath(path) for path in (*_SYSTEM, *_SIZES, *_LINKED) if os.path.exists(path)]
    for path in _python():
        found += _without_home(os.path.realpath(path))
    for name in ("node", "npm", "java"):
        found += _runtime(name)
    return tuple(_outermost(path for path in found if os.path.exists(path)))


@cache
def device_set() -> tuple[str, ...]:
    """The devices that programs may read and write: null, zero, full, random and urandom, as far as there are any. No terminal."""
    return tuple(path for path in _DEVICES if os.path.exists(path))


@cache
def host_secrets() -> tuple[str, ...]:
    """What is inside the read set, is the machine's own secret, and could be read by us (as root): password hashes, host keys.

    Where the kernel form has mounts these are to be hidden. Found when first asked.
    """
    keys = sorted(f"/etc/ssh/{name}" for name in _names("/etc/ssh") if _HOST_KEY.fullmatch(name))
    return tuple(path for path in (*_SECRETS, *keys) if os.access(path, os.R_OK) and os.path.realpath(path) == path)


def clean_environment(base: Mapping[str, str], *, home: str, tmp: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program: what of `base` is needed, and the rest made for it.

    Kept: PATH (its absolute entries), LANG, LANGUAGE, LC_*, TZ, USER, LOGNAME, SHELL, JAVA_HOME, where certificates are
    (SSL_CERT_FILE and the like), and proxies whose address holds no password. Everything else of `base` is left out, so nothing
    named like a key, token or password is ever handed on. HOME, the XDG directories and the caches of pip and npm are below
    `home`; TMPDIR, TMP and TEMP are `tmp`; nothing pages, prompts or asks for updates. `extra` is added as it is: what is declared
    there is wanted.

    Raises `InvalidRuleError` when `home` or `tmp` is no absolute normal path, `ValueError` for a name in `extra` that is none
    (letters, digits and `_`, at most 128), a value with a NUL or of more than 32 KiB, and for more than 256 KiB in all.
    """
    check_path(home)
    check_path(tmp)
    made = {name: value for name, value in base.items() if _is_kept(name, value) and _problem(name, value) is None}
    entries = [entry for entry in base.get("PATH", "").split(":") if entry.startswith("/") and "\0" not in entry]
    path = ":".join(dict.fromkeys(entries))
    made["PATH"] = path if path and _problem("PATH", path) is None else _PATH
    made |= _FIXED | {"HOME": home} | {name: f"{home.rstrip('/')}/{below}" for name, below in _HOMES.items()}
    made |= dict.fromkeys(("TMPDIR", "TMP", "TEMP"), tmp)
    for name, value in (extra or {}).items():
        problem = _problem(name, value)
        if problem is not None:
            raise ValueError(f"the environment cannot have {name!r}: {problem}")
        made[name] = value
    if sum(len(name) + len(os.fsencode(value)) + 2 for name, value in made.items()) > _MAX_ALL:
        raise ValueError(f"an environment has at most {_MAX_ALL} bytes")
    return made


def _is_kept(name: str, value: str) -> bool:
    if name in _KEPT or name in _CERTIFICATES or name.startswith("LC_"):
        return True
    return name.lower() in _PROXIES and "@" not in value


def _problem(name: object, value: object) -> str | None:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        return "not a name"
    if not isinstance(value, str) or "\0" in value:
        return "its value is not text, or holds a NUL"
    try:
        size = len(os.fsencode(value))
    except UnicodeEncodeError:
        return "its value is not text"
    return f"its value has more than {_MAX_VALUE} bytes" if size > _MAX_VALUE else None


def _python() -> Iterator[str]:
    yield sys.prefix
    yield sys.base_prefix
    packages = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
    named = set()
    for directory in packages:
        yield directory
        for name in _names(directory):
            if name.endswith(".pth"):
                named |= _lines(f"{directory}/{name}")
    yield from (path for path in sys.path if path.startswith("/") and path in named)


def _lines(path: str) -> set[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return {line.strip() for line in file.read(2**20).splitlines()}
    except OSError:
        return set()


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _runtime(name: str) -> list[str]:
    program = shutil.which(name)
    if program is None:
        return []
    real = os.path.realpath(program)
    modules = real.find("/lib/node_modules/")  # npm is a script in there, and its place in bin a link
    directory, last = (real[:modules], "bin") if modules > 0 else os.path.split(os.path.dirname(real))
    if last != "bin" or not _is_ours(directory):
        return []
    if name != "java":
        return [f"{directory}/bin", f"{directory}/lib/node_modules"]
    return _without_home(directory) if os.path.exists(f"{directory}/release") else []


def _is_ours(directory: str) -> bool:
    info = os.stat(directory)
    return info.st_uid in (0, os.getuid()) and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _without_home(directory: str) -> list[str]:
    """A directory that programs are installed in; of the home directory, or one above it, only where programs are kept."""
    homes = {os.path.realpath(os.path.expanduser("~")), os.path.realpath(_home_of_user())}
    if any(home == directory or directory == "/" or home.startswith(directory + "/") for home in homes):
        return [f"{directory.rstrip('/')}/{name}" for name in ("bin", "lib", "lib64", "include", "pyvenv.cfg")]
    return [directory]


def _home_of_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def _outermost(paths: Iterable[str]) -> Iterator[str]:
    last = None
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if last is None or not path.startswith(last + "/"):
            yield path
            last = path
