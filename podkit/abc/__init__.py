"""The ports: what a stranger implements so that podkit runs on it, and what a worker or a tool is given."""

from ._follow import Following as Following
from ._launcher import Birth as Birth
from ._launcher import Launcher as Launcher
from ._launcher import Process as Process
from ._launcher import Program as Program
from ._lease import Lease as Lease
from ._pod import Child as Child
from ._pod import Controls as Controls
from ._pod import Files as Files
from ._pod import FileStat as FileStat
from ._pod import Outcome as Outcome
from ._pod import Pod as Pod
from ._pod import StopReport as StopReport
from ._programs import Completed as Completed
from ._programs import Job as Job
from ._registry import Registry as Registry
from ._tool import Tool as Tool
from ._tool import ToolContext as ToolContext
from ._tool import ToolOutput as ToolOutput
from ._transport import Transport as Transport
from ._transport import address_body as address_body
from ._transport import check_frame as check_frame
from ._worker import Emit as Emit
from ._worker import Run as Run
from ._worker import Worker as Worker
