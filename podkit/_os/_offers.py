"""What this kernel offers for confining programs, asked without confining anybody."""

from __future__ import annotations

from functools import cache


@cache
def kernel_offers() -> tuple[int, bool]:
    """The version of Landlock here (0 for none), and whether our filter of system calls works. Asked once."""
    from podkit._os._kernel import _landlock, _seccomp  # late: a program that confines nobody need not load ctypes for it

    return _landlock.abi(), _seccomp.supported()
