"""How watch.py follows a tree: who is there, from a registry or from the pods themselves, and what each of them says."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio
from watch_news import news
from watch_tree import Seat

import podkit
from podkit.protocol import ListVisiblePods, VisiblePods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podkit.abc import Registry, Transport

LOOK = 0.5  # seconds between two looks, when nothing calls for one earlier
COMING_BACK = podkit.Reconnect(longest=2.0)
ANSWER = 2.0  # seconds for a pod to say who is below it
PATIENCE = 10.0  # seconds for one command
TOLD = 200


class Tree:
    """A tree of pods as it is followed. `seats` are in the order in which they are shown; `changed` is told of every change."""

    def __init__(self, transport: Transport, tell: Callable[[str], None] | None = None) -> None:
        self.seats: dict[str, Seat] = {}
        self.told: deque[str] = deque(maxlen=TOLD)
        self.changed = trio.Event()
        self._tell, self._transport = tell, transport
        self._clients: dict[str, podkit.Client] = {}
        self._tasks: dict[str, trio.CancelScope] = {}
        self._gone: dict[tuple[str, str], set[str]] = {}  # what had a name, and lives no more
        self.looked = 0

    def tell(self, text: str) -> None:
        """Say something to whoever watches."""
        self.told.append(text)
        if self._tell is not None:
            self._tell(text)
        self.touch()

    def touch(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    # Who is there.

    async def from_registry(self, registry: Registry) -> None:
        """Follow every pod of a registry until cancelled: its facts say who comes and goes, and a look now and then who is dead."""
        async with trio.open_nursery() as nursery, aclosing(registry.follow()) as facts:
            trouble = ""
            while True:
                try:
                    self._seat(await holdings(registry), nursery)
                    with trio.move_on_after(LOOK):
                        await facts.receive()
                    trouble = ""
                except podkit.RegistryError as error:
                    if trouble != str(error):
                        trouble = str(error)
                        self.tell(f"the registry cannot be read: {trouble}")
                    await trio.sleep(LOOK)

    async def from_addresses(self, addresses: Iterable[str]) -> None:
        """Follow the pods at these addresses, and whoever they say is below them, until cancelled."""
        roots = tuple(addresses)
        async with trio.open_nursery() as nursery:
            while True:
                found = {address: (Seat(address, address), address) for address in roots}
                for parent in roots:
                    await self._below(parent, found)
                self._seat(list(found.values()), nursery)
                await trio.sleep(LOOK)

    async def _below(self, address: str, found: dict[str, tuple[Seat, str]]) -> None:
        """Add the children that the pod at `address` has, and theirs."""
        client = self._clients.get(address)
        if client is None or not client.connected:
            return
        try:
            with trio.move_on_after(ANSWER):
                answer = await client.send(ListVisiblePods())
                for name, child in children(answer):
                    if child not in found:
                        found[child] = (Seat(child, name, parent=address), child)
                        await self._below(child, found)
        except (podkit.PodkitError, trio.ClosedResourceError):
            return  # it goes away; the next look tells

    def _seat(self, found: list[tuple[Seat, str]], nursery: trio.Nursery) -> None:
        """Let those who are new in, those who are gone out, and keep what is known of the others."""
        present = {seat.key: (seat, address) for seat, address in found}
        for key in [key for key in self.seats if key not in present]:
            if key in self._tasks:
                self._tasks.pop(key).cancel()
            self._ended(self.seats[key])
            self.tell(f"{self.seats.pop(key).name} is gone")
        before, self.seats = self.seats, {}
        for key, (seat, address) in present.items():
            known = before.get(key)
            if known is None:
                self.seats[key] = self._counted(seat)
                nursery.start_soon(self._attend, key, address)
            else:
                self.seats[key] = replace(
                    known, parent=seat.parent, use=seat.use, grant=seat.grant, state=seat.state, link=self._link(known)
                )
            if seat.state == "dead":
                self._ended(self.seats[key])
                if known is not None and known.state != "dead":
                    self.tell(f"{seat.name} is dead")
        self.looked += 1
        self.touch()

    def _link(self, seat: Seat) -> str:
        client = self._clients.get(seat.key)
        return seat.link if client is None else "" if client.connected else "unreachable"

    def _ended(self, seat: Seat) -> None:
        if seat.incarnation:
            self._gone.setdefault(self._place(seat), set()).add(seat.incarnation)

    def _place(self, seat: Seat) -> tuple[str, str]:
        """What the next life of a pod has in common with this one: its name, and that of the pod above it."""
        parent = self.seats.get(seat.parent or "")
        return seat.name, parent.name if parent else ""

    def _counted(self, seat: Seat) -> Seat:
        """A seat that says which life of its name it is."""
        if not seat.incarnation:
            return seat
        life = 1 + len(self._gone.get(self._place(seat), set()) - {seat.incarnation})
        self.tell(f"{seat.name} is there" + (f" again, as {seat.incarnation[:12]}" if life > 1 else ""))
        return replace(seat, life=life)

    # What they say.

    async def _attend(self, key: str, address: str) -> None:
        """Listen to one pod, over lost connections and its next lives, until it is taken off the list."""
        with trio.CancelScope() as self._tasks[key]:
            while key in self.seats:
                try:
                    async with podkit.connect(address, transport=self._transport, reconnect=COMING_BACK) as client:
                        await self._listen(key, client)
                except (podkit.PodkitError, OSError) as error:
                    self._update(key, link="unreachable" if isinstance(error, podkit.PodUnreachableError) else type(error).__name__)
                await trio.sleep(LOOK)  # nobody was there yet, or it ended in order

    def _greet(self, key: str, client: podkit.Client) -> bool:
        """Whether this is the pod we mean. Where an address is all we know, another incarnation is the same pod in another life."""
        seat = self.seats.get(key)
        if seat is None or (seat.key == seat.incarnation and seat.incarnation != client.incarnation):
            return False  # a successor has its place, and a row of its own
        if seat.incarnation != client.incarnation:
            self._ended(seat)
            counted = self._counted(replace(seat, name=client.name, incarnation=client.incarnation))
            self.seats[key] = replace(counted, transcript=podkit.Transcript())
        return True

    async def _listen(self, key: str, client: podkit.Client) -> None:
        self._clients[key] = client
        try:
            async for event in client:
                if not self._greet(key, client):
                    return
                before = self.seats[key]
                after = podkit.fold_transcript(before.transcript, event)
                for line in news(before.transcript, after):
                    self._say(before, line)
                self._update(key, transcript=after, link="")
        finally:
            if self._clients.get(key) is client:
                del self._clients[key]

    def _say(self, seat: Seat, line: str) -> None:
        """On a screen the transcript shows it; in a log it is a line."""
        if self._tell is not None or line.startswith("alert"):
            self.tell(f"{seat.name}: {line}")

    def _update(self, key: str, **changes: Any) -> None:
        seat = self.seats.get(key)
        if seat is not None:
            self.seats[key] = replace(seat, **changes)
            self.touch()

    # What is asked of them.

    def find(self, name: str) -> Seat | str:
        """The pod of that name, or of that path of names from its root; else a sentence that says why not."""
        found = [seat for seat in self.seats.values() if name in (seat.name, self.path(seat))]
        if len(found) == 1:
            return found[0]
        paths = ", ".join(map(self.path, found or self.seats.values()))
        return f"there are several pods called {name}: {paths}" if found else f"no pod is called {name}; there are: {paths}"

    def path(self, seat: Seat) -> str:
        """A pod's name below those of the pods above it."""
        names, above = [seat.name], self.seats.get(seat.parent or "")
        while above is not None and len(names) < 64:
            names.append(above.name)
            above = self.seats.get(above.parent or "")
        return "/".join(reversed(names))

    async def settled(self) -> None:
        """Return when everybody who is there said who they are, or cannot be reached, and one more look found nobody else."""
        looked: int | None = None
        while True:
            if not all(seat.state or seat.link or seat.transcript.complete for seat in self.seats.values()):
                looked = None
            elif looked is None:
                looked = self.looked
            elif self.looked > looked:
                return
            await self.changed.wait()

    async def command(self, verb: str, seat: Seat, text: str) -> None:
        """Ask a pod for something, and tell what came of it."""
        client = self._clients.get(seat.key)
        if client is None or not client.connected:
            self.tell(f"{verb} {seat.name}: not connected")
            return
        try:
            with trio.fail_after(PATIENCE):
                self.tell(f"{verb} {seat.name}: {await ask(client, verb, text)}")
        except trio.TooSlowError:
            self.tell(f"{verb} {seat.name}: no answer within {PATIENCE:.0f} s")
        except (podkit.PodkitError, trio.ClosedResourceError) as error:
            self.tell(f"{verb} {seat.name}: {error}")


async def ask(client: podkit.Client, verb: str, text: str) -> str:
    """One command; returns what was answered, in a few words."""
    match verb:
        case "run":
            return f"run {await client.run(text)} has begun"
        case "resume":
            return f"run {await client.resume()} has begun"
        case "notify":
            await client.notify(text)
            return "it will be told"
        case "pause":
            await client.pause()
            return "paused"
        case "cancel":
            await client.cancel()
            return "is being cancelled"
        case _:
            await client.shutdown()
            return "is ending"


async def holdings(registry: Registry) -> list[tuple[Seat, str]]:
    """Every pod of a registry, parents before their children, and where it is reached."""
    found = []
    for held in await podkit.inspect(registry):
        row = held.row
        state = "dead" if not held.alive else "starting" if row.state.value == "reserved" else ""
        grant = None if row.grant == row.scope else row.grant.summary()
        seat = Seat(
            row.incarnation,
            row.name,
            parent=row.parent,
            incarnation=row.incarnation,
            use=held.scope.summary(),
            grant=grant,
            state=state,
        )
        found.append((seat, row.address))
    return found


def children(answer: object) -> list[tuple[str, str]]:
    """Name and address of the children that a pod tells of. What it says is checked: it may say anything."""
    pods = answer.pods if isinstance(answer, VisiblePods) else ()
    found = []
    for pod in pods if isinstance(pods, list | tuple) else ():
        if isinstance(pod, dict) and pod.get("visibility") == "spawned_child":
            name, address = pod.get("pod_name"), pod.get("address")
            if isinstance(name, str) and isinstance(address, str) and address.startswith("unix://"):
                found.append((name, address))
    return found[:100]
