"""What is kept: the registry of who holds what, and sessions, in files or in memory."""

from ._file_registry import FileRegistry as FileRegistry
from ._file_registry import open_registry as open_registry
from ._file_sessions import FileSessionStore as FileSessionStore
from ._file_sessions import open_sessions as open_sessions
from ._inspect import Holding as Holding
from ._inspect import Inspection as Inspection
from ._inspect import inspect as inspect
from ._memory_registry import MemoryRegistry as MemoryRegistry
from ._memory_sessions import MemorySessionStore as MemorySessionStore
from ._session_look import SessionInfo as SessionInfo
from ._session_look import VerifiedSession as VerifiedSession
from ._anchor_places import PLACES as PLACES
from ._anchor_places import SIZE as SIZE
from ._anchor import decode_anchors as decode_anchors
from ._journal import Journal as Journal
from ._journal_record import DamagedError as DamagedError
from ._session_anchor import decode_session_anchors as decode_session_anchors
from ._registry_log import RegistryLog as RegistryLog
