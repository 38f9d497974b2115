"""Confinement: what of a scope is enforced, where, and how strongly."""

from podkit.confinement._files import Files as Files
from podkit.confinement._gate import Gate as Gate
from podkit.confinement._judge import ControlPlane as ControlPlane
from podkit.confinement._judge import ScopeJudge as ScopeJudge
from podkit.confinement._level import Level as Level
from podkit.confinement._level import available as available
from podkit.confinement._level import choose as choose
