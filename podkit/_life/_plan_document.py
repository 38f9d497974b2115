"""The birth document: what a parent tells a program so that it can be the child. Said over a pipe, read once. Pure."""

import json
from typing import Any

import attrs

from podkit.errors import NotBornError, PodkitError
from podkit.logic import Limits, Scope
from podkit.protocol import check_name

FORMAT = 1
MAX_DOCUMENT = 16 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Document:
    """Everything a child starts from. Nothing else is inherited: no ambient configuration, no environment."""

    name: str
    incarnation: str
    tree: str
    scope: Scope
    grant: Scope
    parent: str
    parent_incarnation: str
    parent_address: str
    parent_instance: str = attrs.field(repr=False)
    address: str
    run_dir: str | None
    locator: str
    cwd: str
    on_parent_death: str
    confinement: str
    limits: Limits
    sessions: str
    restore: bool
    secret: str = attrs.field(repr=False)
    lease_fd: int | None = None
    listener_fd: int | None = None
    ready_fd: int | None = None


_TEXT = ("incarnation", "tree", "parent", "parent_incarnation", "parent_address", "parent_instance", "address", "locator", "cwd")
_FDS = ("lease_fd", "listener_fd", "ready_fd")


def encode_document(document: Document) -> bytes:
    """The document as bytes."""
    data = attrs.asdict(document, recurse=False)
    data["scope"], data["grant"] = document.scope.to_data(), document.grant.to_data()
    data["limits"] = attrs.asdict(document.limits)
    return json.dumps({"format": FORMAT} | data).encode()


def decode_document(raw: bytes) -> Document:
    """Read a document strictly: unknown or missing members, wrong types and other formats are a `NotBornError`."""
    try:
        data: dict[str, Any] = json.loads(raw)
        if not isinstance(data, dict) or repr(data.pop("format", None)) != repr(FORMAT):
            raise NotBornError(reason="the birth document is of another format")
        for key in (*_TEXT, "on_parent_death", "confinement", "secret"):
            if not isinstance(data.get(key), str) or not data[key]:
                raise NotBornError(reason=f"the birth document lacks {key}")
        for key in _FDS:
            if not isinstance(data.get(key), int) or isinstance(data[key], bool) or data[key] < 3:
                raise NotBornError(reason=f"the birth document names no descriptor for {key}")
        if not isinstance(data.get("run_dir"), str | None) or data.get("run_dir") == "":
            raise NotBornError(reason="the birth document names no run directory")
        if not isinstance(data.get("sessions"), str) or not isinstance(data.get("restore"), bool):
            raise NotBornError(reason="the birth document does not say where sessions are kept")
        check_name(data.get("name"))
        limits = data.get("limits")
        if not isinstance(limits, dict) or limits.keys() != {field.name for field in attrs.fields(Limits)}:
            raise NotBornError(reason="the birth document names no limits")
        data["limits"] = Limits(**limits)
        data["scope"], data["grant"] = Scope.from_data(data.get("scope")), Scope.from_data(data.get("grant"))
        return Document(**data)
    except NotBornError:
        raise
    except (ValueError, TypeError, RecursionError, PodkitError) as error:
        raise NotBornError(reason=f"the birth document cannot be read: {error}") from None
