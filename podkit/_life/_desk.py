"""What the server finds at a pod: methods go to the actor, questions are answered at once, and what children report is checked."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import attrs

from podkit.logic import Inform, PassUp
from podkit.protocol import (
    Accepted,
    Compact,
    Error,
    ErrorCode,
    GetHistory,
    Greeting,
    History,
    InspectPod,
    ListVisiblePods,
    PodEventMethod,
    PodInspection,
    PodScopeSubDelegated,
    RewindTo,
    Snapshot,
    Status,
    VisiblePods,
    history_items,
)

if TYPE_CHECKING:
    from podkit._net import Ask, Hub
    from podkit.logic import Limits
    from podkit.protocol import BirthCredential, PodEvent

    from ._pod import Pod


class PodDesk:
    """The pod as `podkit._net` sees it. Everything is synchronous."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self.name: str = pod.name
        self.incarnation: str = pod.incarnation
        self.confinement: str = pod.confinement
        self.hub: Hub = pod.hub
        self.limits: Limits = pod.limits

    def status(self) -> Status:
        return self._pod.actor.status

    def snapshot(self) -> Snapshot:
        """The log and the greeting, as of the hub's sequence number."""
        return Snapshot(tuple(self._pod.log.data), self.greeting(), status=self.status())

    def greeting(self) -> Greeting:
        """Who we are, computed when asked, so that it is never stale."""
        pod = self._pod
        return Greeting(
            pod_name=pod.name,
            cwd=pod.setting.cwd,
            provider=pod.setting.worker.provider,
            model=pod.setting.worker.model,
            scope_summary=pod.scope.summary(),
            tools=tuple(pod.tools),
            confinement=pod.confinement,
            exclusive=pod.authority.registry.exclusive,
            held=pod.actor.life.held,
            grant_summary=None if pod.authority.row.grant == pod.authority.row.scope else pod.grant.summary(),
        )

    def admits_birth(self, birth: BirthCredential) -> bool:
        """Whether this is our child of that name and incarnation: its row is below ours and has the hash of that secret."""
        row = self._pod.authority.table.get(birth.incarnation)
        if row is None or row.parent != self.incarnation or row.name != birth.pod_name or row.secret_sha256 is None:
            return False
        return hmac.compare_digest(hashlib.sha256(birth.secret.encode()).hexdigest(), row.secret_sha256)

    def submit(self, ask: Ask) -> None:
        """Take in a method; `ask.answer` is called exactly once."""
        match ask.method:
            case PodEventMethod(event=event):
                self._reported(ask, event)
            case GetHistory():
                ask.answer(History(history_items(self._pod.log.data), self.greeting()))
            case ListVisiblePods():
                ask.answer(VisiblePods(self._visible()))
            case InspectPod(name=name):
                found = next((item for item in self._visible() if item["pod_name"] == name), None)
                ask.answer(PodInspection(found) if found else Error(ErrorCode.INVALID_REQUEST, "no such pod is visible here"))
            case Compact() | RewindTo():
                ask.answer(Error(ErrorCode.INVALID_REQUEST, "the log of this pod is in memory and is never rewritten"))
            case _:
                self._pod.actor.submit(ask)

    def _visible(self) -> list[dict[str, Any]]:
        pod = self._pod
        own = {"pod_name": pod.name, "visibility": "self_pod", "address": pod.address, "status": pod.status.value}
        return [own] + [
            {"pod_name": child.name, "visibility": "spawned_child", "address": child.address, "status": child.status.value}
            for child in pod.children.values()
        ]

    def _reported(self, ask: Ask, event: PodEvent) -> None:
        """A hint from a child: it wakes and informs; it frees nothing, changes no registry and opens no connection."""
        pod, speaker = self._pod, ask.origin.child
        about = event.parent_pod if isinstance(event, PodScopeSubDelegated) else event.pod_name
        if speaker is None or about != speaker[0]:
            ask.answer(Error(ErrorCode.FORBIDDEN, "a child may only report about itself"))
            return
        if pod.actor.stopping:
            ask.answer(Error(ErrorCode.STOPPING, "the pod is stopping"))
            return
        ask.answer(Accepted())
        # Who speaks was proved by the birth's secret; what it calls itself in the report does not count.
        for effect in pod.children.reported(attrs.evolve(event, incarnation=speaker[1])):
            match effect:
                case PassUp(event=passed) if pod.setting.upward is not None:
                    pod.setting.upward.tell(attrs.evolve(passed, parent_pod=pod.name, incarnation=pod.incarnation))
                case Inform(text=text, wake=wake) if not self._expected(speaker[0]):
                    pod.actor.hint(event, text, speaker[0], wake=wake)

    def _expected(self, name: str) -> bool:
        """Whether we are stopping that child ourselves: then its end is no news."""
        child = self._pod.children.get(name)
        return child is not None and child.stopping.locked()
