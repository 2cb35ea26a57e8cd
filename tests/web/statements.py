"""The SQL that a piece of code runs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that is run inside the block."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(str(record.msg))

    log, collector = logging.getLogger("peewee"), Collector()
    level = log.level
    log.addHandler(collector)
    log.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        log.setLevel(level)
        log.removeHandler(collector)
