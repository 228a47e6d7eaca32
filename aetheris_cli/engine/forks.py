"""What a tool or an agent forks off: a copy of the worker, with its loop and all its jobs.

The copy owns nothing. Its loop would run every job a second time, so it ends as soon as the
code that forked gives it back to the loop. A copy that runs a program of its own or leaves by
itself, as those of multiprocessing do, never comes so far.
"""

import asyncio
import os
import weakref
from typing import Final

_loops: Final = weakref.WeakSet[asyncio.AbstractEventLoop]()


def guard(loop: asyncio.AbstractEventLoop) -> None:
    """Let no copy of this process run the loop."""
    _loops.add(loop)


def _in_the_copy() -> None:
    for loop in list(_loops):
        # There is no public way to put something in front of what a loop is about to run.
        ready = getattr(loop, "_ready", None)
        if ready is None:
            os._exit(0)
        ready.clear()
        loop.call_soon(os._exit, 0)


os.register_at_fork(after_in_child=_in_the_copy)
