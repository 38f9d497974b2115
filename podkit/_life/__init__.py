"""The life of pods: opening, births, deaths, and the actor between them."""

from podkit._life._adopt import adopt_pod as adopt_pod
from podkit._life._adopt import house_of as house_of
from podkit._life._adopt import until_stopped as until_stopped
from podkit._life._birth import Birth as Birth
from podkit._life._child import Child as Child
from podkit._life._fork import Fork as Fork
from podkit._life._fork import fork_session as fork_session
from podkit._life._house import House as House
from podkit._life._launch import ProcessLauncher as ProcessLauncher
from podkit._life._launch_task import TaskLauncher as TaskLauncher
from podkit._life._launch_task import wants_birth as wants_birth
from podkit._life._open import living as living
from podkit._life._open import open_pod as open_pod
from podkit._life._pod import Pod as Pod
from podkit._life._restore import restore_pod as restore_pod
from podkit._life._restore import restored_house as restored_house
