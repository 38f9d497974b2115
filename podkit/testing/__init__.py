"""What users test with: contract checks, scripted workers and a world without disk or clock. Imports no test framework."""

from ._check_transport import CLAUSES as CLAUSES
from ._check_transport import check_transport as check_transport
from ._script import CallTool as CallTool
from ._script import Fail as Fail
from ._script import Say as Say
from ._script import ScriptedWorker as ScriptedWorker
from ._script import Sleep as Sleep
from ._script import Spawn as Spawn
from ._world import World as World
from ._world import open_world as open_world
