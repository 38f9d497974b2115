"""What is said: methods, events, pod events, segments, items and scope rules, and the codec between them and bytes."""

from ._names import check_name as check_name
from ._rules import Permission as Permission
from ._rules import ScopeRule as ScopeRule
from ._rules import check_path as check_path
