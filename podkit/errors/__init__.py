"""The error tree. Fields first, the message from `__str__`: who catches an error reads its fields and never parses text."""

# What is said, and the way to a pod.
from ._authority import AccessDeniedError as AccessDeniedError
from ._authority import AdoptionRefusedError as AdoptionRefusedError
from ._authority import CorruptRegistryError as CorruptRegistryError
from ._authority import DuplicatePodError as DuplicatePodError

# What a pod may do, and who holds what.
from ._authority import InvalidNameError as InvalidNameError
from ._authority import InvalidRuleError as InvalidRuleError
from ._authority import NotSubsetError as NotSubsetError
from ._authority import PathRefusedError as PathRefusedError
from ._authority import RegistryBusyError as RegistryBusyError
from ._authority import RegistryError as RegistryError
from ._authority import ScopeError as ScopeError
from ._authority import StaleIncarnationError as StaleIncarnationError
from ._authority import UnknownPodError as UnknownPodError
from ._authority import WriteConflictError as WriteConflictError
from ._lives import ConfinementError as ConfinementError
from ._lives import CorruptLogError as CorruptLogError
from ._lives import DeliveryError as DeliveryError
from ._lives import ExecutionFailedError as ExecutionFailedError
from ._lives import InvalidArgumentError as InvalidArgumentError
from ._lives import LaunchFailedError as LaunchFailedError
from ._lives import LimitExceededError as LimitExceededError
from ._lives import ModelError as ModelError
from ._lives import NeverReadyError as NeverReadyError
from ._lives import NotBornError as NotBornError
from ._lives import SessionBusyError as SessionBusyError
from ._lives import SessionError as SessionError

# Births, deaths, sessions, confinement, models, tools.
from ._lives import SpawnError as SpawnError
from ._lives import StopFailedError as StopFailedError
from ._lives import ToolError as ToolError
from ._lives import UnknownSessionError as UnknownSessionError
from ._lives import UnknownTurnError as UnknownTurnError

# The root, and text from outside made safe to show.
from ._root import PodkitError as PodkitError
from ._root import shown as shown
from ._wire import AuthenticationError as AuthenticationError
from ._wire import LocalProtocolError as LocalProtocolError
from ._wire import MethodRejectedError as MethodRejectedError
from ._wire import PodUnreachableError as PodUnreachableError
from ._wire import ProtocolError as ProtocolError
from ._wire import RemoteProtocolError as RemoteProtocolError
from ._wire import TransportError as TransportError
from ._wire import UnknownSchemeError as UnknownSchemeError
