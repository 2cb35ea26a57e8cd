"""Heavy work away from the event loop: the one place of the server that knows gevent by name."""

import sys
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


def is_green() -> bool:
    """Whether threads are gevent's greenlets in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")
