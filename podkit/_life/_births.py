"""Births as a parent asks for them: planned, delivered, told to those above, and set to work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from podkit.errors import DeliveryError, DuplicatePodError, PodkitError, SpawnError, UnknownPodError
from podkit.logic import BirthRequest, BirthStep, plan_birth
from podkit.protocol import PodScopeSubDelegated

from ._delivery import Delivery

if TYPE_CHECKING:
    from podkit.abc import Launcher
    from podkit.logic import BirthPlan, Scope

    from ._child import Child
    from ._pod import Pod


async def spawn(
    pod: Pod,
    name: str,
    *,
    scope: Scope,
    launcher: Launcher,
    task: str | None,
    grant: Scope | None,
    cwd: str | None,
    on_parent_death: str,
    ready_timeout: float,
    restore: bool = False,
) -> Child:
    """See `Pod.spawn` and, with `restore`, `Pod.restore_child`. A birth is cancelled when its pod begins to stop."""
    if on_parent_death not in ("stop", "keep"):
        raise ValueError("on_parent_death is 'stop' or 'keep'")
    if pod.actor.stopping:
        raise SpawnError(name, "its parent is stopping")
    request = BirthRequest(name=name, scope=scope, grant=grant, task=task, cwd=cwd)
    with trio.CancelScope() as under_way:
        pod.births.add(under_way)  # from here a pod that begins to stop waits for no birth: it cancels it
        try:
            plan = await _plan(pod, request)
            child = await Delivery(pod, request, launcher, on_parent_death, ready_timeout, restore=restore).perform(plan)
        finally:
            pod.births.discard(under_way)
    if under_way.cancelled_caught:
        raise SpawnError(name, "its parent is stopping")
    try:
        _announce(pod, child, request.grant)
        if BirthStep.DELIVER in plan.steps:
            await _deliver(child, task or "", ready_timeout)
    finally:
        await child.hang_up()
    return child


async def restore(pod: Pod, name: str, *, launcher: Launcher, ready_timeout: float) -> Child:
    """See `Pod.restore_child`."""
    record = pod.members.get(name)
    if record is None or pod.setting.kept.sessions is None:
        raise UnknownPodError(name)
    if name in pod.children and not pod.children[name].gone.is_set():
        raise DuplicatePodError(name)
    return await spawn(
        pod,
        name,
        scope=record.scope,
        launcher=launcher,
        task=None,
        grant=record.grant,
        cwd=record.cwd,
        on_parent_death=record.on_parent_death,
        ready_timeout=ready_timeout,
        restore=True,
    )


async def _plan(pod: Pod, request: BirthRequest) -> BirthPlan:
    table = await pod.authority.refresh()
    pod.authority.check_live()
    return plan_birth(
        request,
        own_name=pod.name,
        ancestors=tuple(row.name for row in table.ancestors(pod.incarnation)),
        family=pod.children.family.living,
        grant=pod.grant,
        depth=table.depth(pod.incarnation),
        limits=pod.limits,
    )


def _announce(pod: Pod, child: Child, grant: Scope | None) -> None:
    """Tell those above us what we handed on."""
    if pod.setting.upward is None:
        return
    event_id = f"{child.incarnation}.delegated"
    pod.setting.upward.tell(
        PodScopeSubDelegated(
            pod.name,
            child.name,
            child.address,
            child.scope.allow,
            grant=None if grant is None else grant.allow,
            id=event_id,
            incarnation=pod.incarnation,
        )
    )


async def _deliver(child: Child, task: str, seconds: float) -> None:
    """Give the child its task. A caller that is cancelled meanwhile has a child at work, not one that waits for nobody."""
    try:
        with trio.fail_after(seconds, shield=True):
            await child.run(task)
    except (PodkitError, OSError, trio.TooSlowError) as error:
        reason = str(error) or f"no answer in {seconds:.0f} s"
        raise DeliveryError(child.name, f"lives, but did not accept its task: {reason}") from error
