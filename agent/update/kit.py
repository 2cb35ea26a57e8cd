"""What every part of an update needs from the agent that it updates."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from agent import redact
from agent.config import Config, Paths
from agent.errors import ConfigurationError
from agent.http import Transport
from agent.joblog import LogBook
from agent.jobs import Jobs
from agent.outbox import Outbox
from agent.platform.replace import Disk
from agent.release_info import Release
from agent.secrets import SecretsFile
from agent.session import Outgoing
from agent.update.journal import UpdateJournal
from agent.update.preflight import Host
from agent.update.records import GuardFiles
from agent.update.swap import Places
from agent.update.trust import FloorFile, Marks, TrustFile
from rm.shared import instants


class ServerClock:
    """The server's time, carried on by this machine's time since boot: its wall clock decides nothing."""

    def __init__(self, since_boot: Callable[[], float] | None = None) -> None:
        self._since_boot = since_boot or (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
        self._known: tuple[datetime, float] | None = None

    def set(self, server_time: str) -> None:
        self._known = (instants.from_text(server_time), self._since_boot())

    def now(self) -> datetime:
        """The server's time, or this machine's own as long as no server was heard."""
        if self._known is None:
            return datetime.now(timezone.utc)
        told, at = self._known
        return told + timedelta(seconds=self._since_boot() - at)


class Connections:
    """How often the server said welcome, and whether the last connection still stands."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self.is_up = False

    @property
    def count(self) -> int:
        with self._lock:
            return self._count

    def began(self) -> None:
        with self._lock:
            self._count += 1
            self.is_up = True

    def ended(self) -> None:
        self.is_up = False


@dataclass(frozen=True)
class Kit:
    """The parts, made once."""

    paths: Paths
    root: str | None
    config: Config
    release: Release
    host: Host
    places: Places
    files: GuardFiles
    journal: UpdateJournal
    trust_file: TrustFile
    floor_file: FloorFile
    marks: Marks
    jobs: Jobs
    outbox: Outbox
    outgoing: Outgoing
    transport: Transport
    secrets: SecretsFile
    wake: Callable[[], None]
    own_checks: Callable[[], dict[str, str]]
    red: Callable[[], list[str]]
    clock: ServerClock = field(default_factory=ServerClock)
    connections: Connections = field(default_factory=Connections)
    disk: Disk = field(default_factory=Disk)

    def log_of(self, attempt_id: str) -> LogBook:
        """The log of an attempt, which is a job's log; no secret gets into it."""
        try:
            redactor = redact.of_secrets(self.secrets.load())
        except ConfigurationError:
            redactor = redact.Redactor([])
        return LogBook(attempt_id, self.outbox, redactor)
