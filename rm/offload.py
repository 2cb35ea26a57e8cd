"""Heavy work away from the event loop, or in pieces: the one place of the server that knows gevent by name."""

import sys
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def offload(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The function's result, computed in a real thread while other requests go on; no database inside."""
    if not is_green():
        return function(*args, **kwargs)
    import gevent

    result: R = gevent.get_hub().threadpool.apply(function, args, kwargs)
    return result


def give_way() -> None:
    """Let every other request and connection have its turn; a transaction is not to be open."""
    # Any wait will do but none of zero: that one gives way only to what is ready already, before sockets are looked at.
    time.sleep(0.001)


def is_green() -> bool:
    """Whether threads are gevent's greenlets in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")
