"""What the server finds at a pod: methods go to the actor, questions are answered at once, and what children report is checked."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from podkit.logic import Phase, rewind_targets
from podkit.protocol import (
    AttachOrRestorePod,
    Compact,
    Error,
    ErrorCode,
    GetHistory,
    Greeting,
    History,
    InspectPod,
    ListCompletions,
    ListRewindTargets,
    ListVisiblePods,
    PodAttachRestore,
    PodEventMethod,
    PodInspection,
    PodScopeSubDelegated,
    RewindTo,
    Snapshot,
    Status,
    VisiblePods,
    history_items,
)

from ._completions import Completer
from ._reports import take_report
from ._rewinding import take_rewind

if TYPE_CHECKING:
    from podkit._net import Ask, Hub
    from podkit.logic import Limits
    from podkit.protocol import BirthCredential, PodEvent

    from ._child import Child
    from ._pod import Pod

_QUESTIONS = (
    GetHistory | ListVisiblePods | InspectPod | AttachOrRestorePod | ListCompletions | ListRewindTargets | Compact | RewindTo
)
_NO_COMPACTION = "the worker of this pod does not compact its log"
_NOBODY = "no such pod is visible here"
_GONE = "that pod is gone; only the program of its parent can start it again"


class PodDesk:
    """The pod as `podkit._net` sees it. Everything is synchronous."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self.name: str = pod.name
        self.incarnation: str = pod.incarnation
        self.confinement: str = pod.confinement
        self.hub: Hub = pod.hub
        self.limits: Limits = pod.limits
        self._completer = Completer(pod)

    def status(self) -> Status:
        return self._pod.actor.status

    def snapshot(self) -> Snapshot:
        """The log, the greeting and what is in flight, as of the hub's sequence number."""
        in_flight = self.hub.in_flight.data()
        return Snapshot(tuple(self._pod.log.data), self.greeting(), status=self.status(), in_flight=in_flight)

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
        if isinstance(ask.method, _QUESTIONS) and self._pod.actor.life.phase is Phase.STOPPED:
            ask.answer(Error(ErrorCode.STOPPING, "the pod is stopping"))
            return
        match ask.method:
            case PodEventMethod(event=event):
                self._reported(ask, event)
            case GetHistory():
                ask.answer(History(history_items(self._pod.log.data), self.greeting()))
            case ListVisiblePods():
                ask.answer(VisiblePods(self._visible()))
            case InspectPod(name=name):
                found = self._found(name)
                ask.answer(Error(ErrorCode.INVALID_REQUEST, _NOBODY) if found is None else PodInspection(found))
            case AttachOrRestorePod(name=name):
                found = self._found(name)
                if found is None or not found["reachable"]:
                    ask.answer(Error(ErrorCode.INVALID_REQUEST, _NOBODY if found is None else _GONE))
                else:
                    ask.answer(PodAttachRestore(found | {"result": "attached"}))
            case ListCompletions():
                self._completer.complete(ask, ask.method)
            case ListRewindTargets():
                ask.answer(rewind_targets(self._pod.log.data, segment_id=self._pod.log.segment))
            case RewindTo():
                take_rewind(self._pod, ask, ask.method)
            case Compact():
                ask.answer(Error(ErrorCode.INVALID_REQUEST, _NO_COMPACTION))
            case _:
                self._pod.actor.submit(ask)

    def _found(self, name: str) -> dict[str, Any] | None:
        return next((item for item in self._visible() if item["pod_name"] == name), None)

    def _visible(self) -> list[dict[str, Any]]:
        pod = self._pod
        own = {"pod_name": pod.name, "visibility": "self_pod", "address": pod.address, "reachable": True}
        return [own | {"status": pod.status.value}, *map(self._seen, pod.children.values())]

    def _seen(self, child: Child) -> dict[str, Any]:
        """A child that is gone belongs to us until it is stopped; it has no status and no address."""
        item: dict[str, Any] = {"pod_name": child.name, "visibility": "spawned_child"}
        if child.gone.is_set():
            return item | {"reachable": False, "restorable": self._pod.members.knows(child)}
        return item | {"address": child.address, "reachable": True, "status": child.status.value}

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
        take_report(pod, ask, event, speaker)
