"""Running a program inside a ward, confined to what a scope says: the one way in which the corpus does it."""

import os
from contextlib import AsyncExitStack

import trio

from podkit._os._wards import Order, Wards
from podkit.confinement._environment import clean_environment, device_set, host_secrets, read_set
from podkit.confinement._kernel_form import kernel_form


async def run_confined(argv, *, scope, cwd, level, namespaces, unix_sockets=False, network=True, **more):
    """Run one program in a ward of a nanny of its own: (status, stdout, stderr)."""
    async with Confined() as confined:
        options = {"scope": scope, "cwd": cwd, "level": level, "namespaces": namespaces}
        return await confined.run(argv, unix_sockets=unix_sockets, network=network, **options, **more)


class Confined:
    """A nanny for several runs. `run` returns when no process of the run is left."""

    async def __aenter__(self):
        self.wards = Wards()
        return self

    async def __aexit__(self, *_):
        await self.wards.aclose()

    async def facts(self):
        return await self.wards.facts()

    def order(
        self, argv, *, scope, cwd, level, namespaces, unix_sockets=False, network=True, tmp=None, env=None, read=(), control=()
    ):
        """The order for one run; `tmp` is a directory of the scope for HOME and scratch, `read` what may be read besides."""
        form = rules = mounts = binds = ()
        if level != "advisory":
            form = kernel_form(
                scope,
                namespaces=namespaces,
                control=control,
                read=(*read_set(), *read),
                write=device_set(),
                hide=host_secrets(),
                empty=("/dev/shm",),
                private_root=level == "strict" and namespaces,
            )
            rules = [(rule.path, rule.access, rule.pin) for rule in form.rules]
            mounts = [(mount.path, mount.how) for mount in form.mounts]
            binds = form.binds
        return Order(
            argv=argv,
            env=clean_environment(os.environ, home=tmp or cwd, tmp=tmp or cwd, extra=env or {}),
            cwd=cwd,
            level=level,
            rules=rules,
            mounts=mounts,
            binds=binds,
            unix_sockets=unix_sockets,
            network=network,
            namespaces=namespaces,
        )

    async def run(self, argv, **options):
        """(status, stdout, stderr) of one program."""
        said = {"stdout": b"", "stderr": b""}
        async with AsyncExitStack() as stack:
            ward = await stack.enter_async_context(await self.wards.open(self.order(argv, **options)))
            async with trio.open_nursery() as nursery:

                async def keep(name):
                    async for chunk in getattr(ward, name):
                        said[name] += chunk

                nursery.start_soon(keep, "stdout")
                nursery.start_soon(keep, "stderr")
                status = await ward.wait()
                ward.end()
        return status, said["stdout"], said["stderr"]
