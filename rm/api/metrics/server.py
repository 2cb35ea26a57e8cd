"""Figures of the server itself: its process, its files and its own backups."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric

from rm.api.metrics.lines import gauge, single
from rm.runtime import Runtime
from rm.store import figures

PAUSE_SECONDS = 0.01


class ServerFigures:
    """The server at this moment."""

    def __init__(self, parts: Runtime, *, version: str) -> None:
        self._parts = parts
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Each figure with its labels, read now."""
        parts = self._parts
        build = gauge("build_info")
        build.add_metric((self._version,), 1)
        yield build
        yield single("agents_connected", parts.agents.count())
        last = figures.last_good_server_backup()
        yield single("server_backup_last_success_timestamp_seconds", last[0] if last else 0)
        if last and last[1] is not None:
            yield single("server_backup_last_size_bytes", last[1])
        yield single("server_backup_failed", figures.is_last_server_backup_bad())
        file = parts.settings.database_file
        for name, path in (
            ("database_size_bytes", file),
            ("database_wal_size_bytes", file.with_name(file.name + "-wal")),
        ):
            # The log goes away with the last connection.
            with suppress(OSError):
                yield single(name, path.stat().st_size)
        with suppress(OSError):
            room = os.statvfs(parts.settings.data_dir)
            yield single("data_directory_free_bytes", room.f_bavail * room.f_frsize)
        yield single("writer_waiting_lines", parts.writer.waiting_lines())
        begun = time.monotonic()
        time.sleep(PAUSE_SECONDS)
        yield single("event_loop_lag_seconds", max(0.0, time.monotonic() - begun - PAUSE_SECONDS))
        yield single("metrics_read_timestamp_seconds", parts.clock().timestamp())
        for make in _PROCESS:
            yield from make(CollectorRegistry(auto_describe=False)).collect()


_PROCESS: tuple[Callable[..., object], ...] = (
    lambda registry: ProcessCollector(registry=registry),
    lambda registry: PlatformCollector(registry=registry),
    lambda registry: GCCollector(registry=registry),
)
