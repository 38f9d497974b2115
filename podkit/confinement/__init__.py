"""Confinement: what of a scope is enforced, where, and how strongly."""

from podkit.confinement._environment import clean_environment as clean_environment
from podkit.confinement._environment import device_set as device_set
from podkit.confinement._environment import host_secrets as host_secrets
from podkit.confinement._environment import read_set as read_set
from podkit.confinement._files import Files as Files
from podkit.confinement._form import KernelForm as KernelForm
from podkit.confinement._form import KernelMount as KernelMount
from podkit.confinement._form import KernelRule as KernelRule
from podkit.confinement._form import Shortfall as Shortfall
from podkit.confinement._gate import Gate as Gate
from podkit.confinement._judge import ControlPlane as ControlPlane
from podkit.confinement._judge import ScopeJudge as ScopeJudge
from podkit.confinement._kernel_form import kernel_form as kernel_form
from podkit.confinement._level import Level as Level
from podkit.confinement._level import LAYERS as LAYERS
from podkit.confinement._level import available as available
from podkit.confinement._level import check_depth as check_depth
from podkit.confinement._level import choose as choose
from podkit.confinement._level import in_force as in_force
from podkit.confinement._look import DiskLook as DiskLook
from podkit.confinement._sensitive import existing_sensitive as existing_sensitive
from podkit.confinement._sensitive import made_sensitive as made_sensitive
from podkit.confinement._sensitive import sensitive as sensitive
from podkit.confinement._targets import Settled as Settled
from podkit.confinement._targets import check_pins as check_pins
from podkit.confinement._targets import settle_targets as settle_targets
