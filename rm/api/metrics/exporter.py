"""Puts all figures together, a few milliseconds of work at a time, so that heartbeats pass in between."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import Metric

from rm.api.metrics.counts import AlertFigures, JobFigures, UpdateFigures
from rm.api.metrics.fleet import FleetFigures, RepositoryFigures
from rm.api.metrics.lines import END, Encode, encoded
from rm.api.metrics.server import ServerFigures
from rm.offload import give_way
from rm.runtime import Runtime


class Collector(Protocol):
    """As prometheus-client has them."""

    def collect(self) -> Iterator[Metric]: ...


def collectors(parts: Runtime, *, version: str) -> list[Collector]:
    """All that read figures, in the order of the page that explains them."""
    return [
        FleetFigures(parts.clock(), give_way), JobFigures(), RepositoryFigures(give_way), AlertFigures(),
        UpdateFigures(), ServerFigures(parts, version=version),
    ]  # fmt: skip


def render(parts: Runtime, encode: Encode, *, version: str, content_type: str) -> list[bytes]:
    """All figures in the format that was asked for."""
    found: list[bytes] = []
    for collector in collectors(parts, version=version):
        for metric in collector.collect():
            found.extend(encoded(metric, encode))
        give_way()
    if content_type.startswith("application/openmetrics-text"):
        found.append(END)
    return found
