"""Errors that nobody catches: in a callback of the event loop they would only be logged.

A callback of ours that raises leaves a job standing still, with nothing to wake it. That stops
the worker instead, so that its jobs go on elsewhere and somebody hears of it. What a library of
an agent lets fall into the loop is logged as ever.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_OURS: Final = __name__.partition(".")[0]


@contextmanager
def caught(
    loop: asyncio.AbstractEventLoop, failed: Callable[[BaseException], None]
) -> Iterator[None]:
    """Tell `failed` of every error that a callback of our own code raises, while this lasts."""
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and _is_ours(context.get("handle")):
            failed(error)
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


def _is_ours(handle: object) -> bool:
    callback = getattr(handle, "_callback", None)  # there is no public way to ask
    module = getattr(callback, "__module__", None) or ""
    return bool(module.partition(".")[0] == _OURS)
