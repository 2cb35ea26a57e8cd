"""Puts all figures together, a few milliseconds of work at a time, so that heartbeats pass in between."""

import time
from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import Metric

from rm.api.metrics.counts import AlertFigures, JobFigures, UpdateFigures
from rm.api.metrics.fleet import FleetFigures, RepositoryFigures
from rm.api.metrics.lines import END, Encode, encoded
from rm.api.metrics.server import ServerFigures
from rm.runtime import Runtime

# Any wait will do but none of zero: that one gives way only to what is ready already, before sockets are looked at.
PAUSE_SECONDS = 0.001


class Collector(Protocol):
    """As prometheus-client has them."""

    def collect(self) -> Iterator[Metric]: ...


def pause() -> None:
    """Let everybody else have a turn."""
    time.sleep(PAUSE_SECONDS)


def collectors(parts: Runtime, *, version: str) -> list[Collector]:
    """All that read figures, in the order of the page that explains them."""
    return [
        FleetFigures(parts.clock(), pause), JobFigures(), RepositoryFigures(pause), AlertFigures(), UpdateFigures(),
        ServerFigures(parts, version=version),
    ]  # fmt: skip


def render(parts: Runtime, encode: Encode, *, version: str, content_type: str) -> list[bytes]:
    """All figures in the format that was asked for."""
    found: list[bytes] = []
    for collector in collectors(parts, version=version):
        for metric in collector.collect():
            found.extend(encoded(metric, encode))
        pause()
    if content_type.startswith("application/openmetrics-text"):
        found.append(END)
    return found
