"""Write a transport and hold it to the contract."""

import trio

import podkit
from podkit.testing import check_transport


class Tap(trio.abc.Channel):
    """Another channel, with everything that is sent or received put into a log."""

    def __init__(self, inner, log): self.inner, self.log = inner, log

    async def send(self, frame):
        await self.inner.send(frame); self.log.append(frame)

    async def receive(self):
        frame = await self.inner.receive(); self.log.append(frame)
        return frame

    async def aclose(self): await self.inner.aclose()


# --- as in the page ---
class Tapped(podkit.abc.Transport):                  # a transport reads what follows "://" and never checks the scheme
    scheme = "tapped"
    def __init__(self, inner): self.inner, self.log = inner, []
    async def connect(self, address): return Tap(await self.inner.connect(address), self.log)   # trio.abc.Channel[bytes]: one item, one frame
    async def listen(self, address): return await self.inner.listen(address)                    # trio.abc.Listener
trio.run(check_transport, lambda: Tapped(podkit.MemoryTransport()))
