"""How a pod is reached: its event stream, its server, and clients."""

from ._client import Client as Client
from ._connect import connect as connect
from ._connection import Connection as Connection
from ._controls import Controls as Controls
from ._desk import Ask as Ask
from ._desk import Desk as Desk
from ._desk import Origin as Origin
from ._exchange import Exchange as Exchange
from ._exchange import exchange as exchange
from ._exchange import open_exchange as open_exchange
from ._hub import Hub as Hub
from ._record import Record as Record
from ._memory import MemoryListener as MemoryListener
from ._memory import MemoryTransport as MemoryTransport
from ._memory_channel import MemoryChannel as MemoryChannel
from ._memory_channel import Pipe as Pipe
from ._outbox import Outbox as Outbox
from ._plan_reconnect import Reconnect as Reconnect
from ._receipts import Receipts as Receipts
from ._server import Server as Server
from ._server import serve_pod as serve_pod
from ._view import View as View
