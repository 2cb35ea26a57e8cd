"""Waiting for something that will happen, with a limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DemoFailed(Exception):
    """Something that the demo shows did not hold; the text says what."""


def until(condition: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """The first true value of `condition`; raises DemoFailed when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.1)


def check(holds: object, what: str) -> None:
    """Raises DemoFailed with `what` was expected, unless it holds."""
    if not holds:
        raise DemoFailed(what)
