"""What a model may call. `pod_tools(launcher)` are the five tools with which a model runs pods of its own."""

from podkit.tools._pods import ListPods as ListPods
from podkit.tools._pods import ReadPodOutput as ReadPodOutput
from podkit.tools._pods import SendToPod as SendToPod
from podkit.tools._pods import SpawnPod as SpawnPod
from podkit.tools._pods import StopPod as StopPod
from podkit.tools._pods import pod_tools as pod_tools
