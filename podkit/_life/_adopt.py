"""Becoming a child: in a program that a launcher started, or in a task of the parent's program."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import trio

from podkit._os import Wards, new_uuid, own_process, read_all, say
from podkit.errors import NotBornError
from podkit.logic import decide_adopt
from podkit.protocol import BirthCredential

from ._authority import Authority
from ._birth import take_birth_descriptor
from ._house import House
from ._kept import open_log
from ._open import control_dirs
from ._place import Place
from ._plan_document import MAX_DOCUMENT, Document, decode_document
from ._plan_manifest import Manifest
from ._pod import Pod
from ._setting import Setting
from ._tools import tool_table
from ._upward import Upward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podkit.abc import Lease, Registry, SessionStore, Tool, Transport, Worker

    from ._birth import Birth


async def adopt_pod(worker: Worker, *, transport: Transport, registry: Registry | None = None, tools: Sequence[Tool] = ()) -> None:
    """Be the child that a launcher started this program for, and return when it has been stopped.

    The birth is read from the inherited descriptor, once. `registry` None: opened from the birth's locator. The parent's death is
    a stop, unless the parent chose `on_parent_death="keep"`; SIGTERM is one too. Raises `NotBornError` when nobody started us,
    `AdoptionRefusedError` when the reservation is gone, taken or not ours. What the child held comes back when this program ends.
    """
    fd = take_birth_descriptor()
    if fd is None:
        raise NotBornError
    document = decode_document(await _read(fd))
    if registry is None:
        from podkit._store import open_registry  # late: FileRegistry needs portalocker, which costs 50 ms of import

        registry = open_registry(document.locator)
    if document.lease_fd is None or document.listener_fd is None:
        raise NotBornError(reason="the birth document names no descriptors")
    lease = registry.lease_from_fd(f"{document.name}.{document.incarnation}", document.lease_fd)
    from_fd = getattr(transport, "from_fd", None)
    if from_fd is None:
        raise NotBornError(reason=f"{type(transport).__name__} cannot take over an inherited listener")
    listener = from_fd(document.listener_fd, document.address)
    sessions = None
    if document.sessions:
        from podkit._store import open_sessions  # late, for the same reason

        sessions = open_sessions(document.sessions)
    house = await house_of(document, worker, transport, registry, tools, lease, listener, own=own_process(), sessions=sessions)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope(shield=True):  # see `living`
            await nursery.start(house.live)
        nursery.start_soon(_heed_signals, house)
        _say_ready(document)
        await until_stopped(house, document, registry)
        nursery.cancel_scope.cancel()


async def adopt_in_task(birth: Birth, worker: Worker, *, tools: Sequence[Tool]) -> None:
    """The same, for a child that is a task of this program."""
    parent = birth.parent
    registry = parent.authority.registry
    house = await house_of(
        birth.document,
        worker,
        parent.transport,
        registry,
        tools,
        birth.lease,
        birth.listener,
        own=None,
        wards=parent.setting.wards,
        sessions=parent.setting.kept.sessions,
    )
    if birth.process is not None:
        birth.process.house = house.scope
    async with trio.open_nursery() as nursery:
        with trio.CancelScope(shield=True):  # see `living`
            await nursery.start(house.live)
        birth.ready.set()
        await until_stopped(house, birth.document, registry)


async def until_stopped(house: House, document: Document, registry: Registry) -> None:
    """Return when the pod is gone. A cancellation from outside and the parent's death are asked for in order first."""
    async with trio.open_nursery() as nursery:
        if document.on_parent_death == "stop":
            nursery.start_soon(_heed_parent, house, document, registry)
        try:
            await house.pod.stopped()
        finally:
            house.ask_to_end()
            with trio.CancelScope(shield=True):
                await house.pod.stopped()
        nursery.cancel_scope.cancel()


async def _heed_parent(house: House, document: Document, registry: Registry) -> None:
    await registry.gone(_parent_key(document))
    house.ask_to_end()


async def _heed_signals(house: House) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            house.ask_to_end()


async def house_of(
    document: Document,
    worker: Worker,
    transport: Transport,
    registry: Registry,
    tools: Sequence[Tool],
    lease: Lease,
    listener: trio.abc.Listener[trio.abc.Channel[bytes]],
    *,
    own: tuple[int, int] | None,
    wards: Wards | None = None,
    sessions: SessionStore | None = None,
) -> House:
    tool_table(tools)  # before an earlier session is put aside for this one
    # A child that is a task has no process of its own that anybody might signal.
    pid, started = (None, None) if own is None else own
    table = await registry.transact(
        lambda table: decide_adopt(
            table,
            name=document.name,
            incarnation=document.incarnation,
            secret=document.secret,
            pid=pid,
            started=started,
            address=document.address,
        )
    )
    place = Place(document.run_dir)
    authority = Authority(registry, table, table[document.incarnation], control=control_dirs(registry, place, sessions))
    kept = await open_log(sessions, _manifest(document), restore=document.restore)
    credential = BirthCredential(document.name, document.incarnation, document.secret)
    setting = Setting(
        worker=worker,
        tools=tools,
        transport=transport,
        place=place,
        cwd=document.cwd,
        limits=document.limits,
        level=document.confinement,
        address=document.address,
        upward=Upward(document.parent_address, credential, transport, parent=lambda: _parent_address(document, registry)),
        parent_instance=document.parent_instance,
        wards=wards or Wards(),
        kept=kept,
    )
    try:
        return House(
            Pod(authority, setting),
            lease=lease,
            listener=listener,
            key=transport.key(document.address),
            own_program=own is not None,
            own_wards=wards is None,
        )
    except BaseException:
        with trio.CancelScope(shield=True):
            await kept.log.aclose()
        raise


def _manifest(document: Document) -> Manifest:
    """What a child keeps of itself. It is for its parent to restore it, and what it may do then is what it is given then."""
    return Manifest(
        name=document.name,
        session=new_uuid(),
        tree=document.tree,
        incarnation=document.incarnation,
        scope=document.scope,
        grant=document.grant,
        cwd=document.cwd,
        address=document.address,
        run_dir=document.run_dir,
        plain=None,
        generation="B",
        level=document.confinement,
        limits=document.limits,
        parent=document.parent,
    )


async def _parent_address(document: Document, registry: Registry) -> str | None:
    """Where the pod above us is by now: our parent, the same restored, or who inherited us; None when nobody above us lives.

    A lease that is missing says nothing; once it was forgotten, its row is gone as well.
    """
    rows = await registry.rows()
    row = rows.get(document.incarnation)
    parent = None if row is None else rows.get(row.parent)
    return parent.address if parent is not None and await registry.held(parent.key) else None


def _parent_key(document: Document) -> str:
    return f"{document.parent}.{document.parent_incarnation}"


async def _read(fd: int) -> bytes:
    """The whole birth document. Its writer is our parent: when that dies, the pipe ends."""
    try:
        return await read_all(fd, MAX_DOCUMENT)
    except OSError as error:
        raise NotBornError(reason=f"PODKIT_BIRTH names a descriptor that cannot be read: {error}") from None


def _say_ready(document: Document) -> None:
    if document.ready_fd is not None:
        say(document.ready_fd, b"\n")
