import trio

import podkit
from podkit.testing import check_transport


class Counting(podkit.abc.Transport):
    """Another transport, and how many connections it made."""

    scheme = "counting"

    def __init__(self, inner: podkit.abc.Transport) -> None:
        self.inner, self.made = inner, 0

    async def connect(self, address: str) -> trio.abc.Channel[bytes]:
        channel = await self.inner.connect(address)
        self.made += 1
        return channel

    async def listen(self, address: str) -> trio.abc.Listener[trio.abc.Channel[bytes]]:
        return await self.inner.listen(address)


trio.run(check_transport, lambda: Counting(podkit.MemoryTransport()))
