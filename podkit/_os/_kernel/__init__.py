"""What the Linux kernel offers for confining a process, one file a facility; standard library only, and no policy.

This package imports nothing of podkit, and inside it only its own files, because it has two lives: as `podkit._os._kernel`,
and as the top-level package `_kernel` of the scripts beside it, which a bare interpreter runs by path. Everything here takes
plain values and acts on the calling thread or process at once, so it belongs into a forked child with one thread, between
fork and exec. Whatever cannot be done is a `KernelError`: nothing is ever done in part and called done.
"""
