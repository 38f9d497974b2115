"""Trees of agents with delegated, exclusive, returned authority over files, on trio.

The names here are the ones for daily use. `podkit.protocol` holds what is said, `podkit.abc` what you may plug in, `podkit.tools`
what a model may call, `podkit.testing` what tests need; transports over sockets are in `podkit_transports`.
"""

import sys as _sys

if _sys.platform == "win32":
    raise ImportError("podkit needs Unix sockets, FIFOs and process groups: it runs on Linux and macOS, not on Windows")

# Ports and values.
from podkit import abc as abc
from podkit import errors as errors
from podkit import protocol as protocol

# Pods: open one, become one, talk to one.
from podkit._life import Child as Child
from podkit._life import Fork as Fork
from podkit._life import Pod as Pod
from podkit._life import adopt_pod as adopt_pod
from podkit._life import fork_session as fork_session
from podkit._life import open_pod as open_pod
from podkit._life import restore_pod as restore_pod
from podkit._net import Client as Client
from podkit._net import Reconnect as Reconnect
from podkit._net import connect as connect
from podkit.abc import Completed as Completed
from podkit.abc import Outcome as Outcome
from podkit.abc import StopReport as StopReport

# What they may do.
from podkit.logic import Explanation as Explanation
from podkit.logic import Limits as Limits
from podkit.logic import Scope as Scope
from podkit.protocol import Permission as Permission
from podkit.protocol import ScopeRule as ScopeRule

# What a front end shows of a pod.
from podkit.logic import Transcript as Transcript
from podkit.logic import TranscriptLimits as TranscriptLimits
from podkit.logic import fold_transcript as fold_transcript

# Drivers.
from podkit._life import ProcessLauncher as ProcessLauncher
from podkit._life import TaskLauncher as TaskLauncher
from podkit._net import MemoryTransport as MemoryTransport
from podkit._store import FileRegistry as FileRegistry
from podkit._store import FileSessionStore as FileSessionStore
from podkit._store import MemoryRegistry as MemoryRegistry
from podkit._store import MemorySessionStore as MemorySessionStore
from podkit._store import SessionInfo as SessionInfo
from podkit._store import VerifiedSession as VerifiedSession
from podkit._store import inspect as inspect

# Errors: the whole tree, each with its fields.
from podkit.errors import AccessDeniedError as AccessDeniedError
from podkit.errors import AdoptionRefusedError as AdoptionRefusedError
from podkit.errors import AuthenticationError as AuthenticationError
from podkit.errors import ConfinementError as ConfinementError
from podkit.errors import CorruptLogError as CorruptLogError
from podkit.errors import CorruptRegistryError as CorruptRegistryError
from podkit.errors import DeliveryError as DeliveryError
from podkit.errors import DuplicatePodError as DuplicatePodError
from podkit.errors import ExecutionFailedError as ExecutionFailedError
from podkit.errors import InvalidArgumentError as InvalidArgumentError
from podkit.errors import InvalidNameError as InvalidNameError
from podkit.errors import InvalidRuleError as InvalidRuleError
from podkit.errors import LaunchFailedError as LaunchFailedError
from podkit.errors import LimitExceededError as LimitExceededError
from podkit.errors import LocalProtocolError as LocalProtocolError
from podkit.errors import MethodRejectedError as MethodRejectedError
from podkit.errors import ModelError as ModelError
from podkit.errors import NeverReadyError as NeverReadyError
from podkit.errors import NotBornError as NotBornError
from podkit.errors import NotSubsetError as NotSubsetError
from podkit.errors import PathRefusedError as PathRefusedError
from podkit.errors import PodUnreachableError as PodUnreachableError
from podkit.errors import PodkitError as PodkitError
from podkit.errors import ProtocolError as ProtocolError
from podkit.errors import RegistryBusyError as RegistryBusyError
from podkit.errors import RegistryError as RegistryError
from podkit.errors import RemoteProtocolError as RemoteProtocolError
from podkit.errors import ScopeError as ScopeError
from podkit.errors import SessionBusyError as SessionBusyError
from podkit.errors import SessionError as SessionError
from podkit.errors import SpawnError as SpawnError
from podkit.errors import StaleIncarnationError as StaleIncarnationError
from podkit.errors import StopFailedError as StopFailedError
from podkit.errors import ToolError as ToolError
from podkit.errors import TransportError as TransportError
from podkit.errors import UnknownPodError as UnknownPodError
from podkit.errors import UnknownSchemeError as UnknownSchemeError
from podkit.errors import UnknownSessionError as UnknownSessionError
from podkit.errors import UnknownTurnError as UnknownTurnError
from podkit.errors import WriteConflictError as WriteConflictError
