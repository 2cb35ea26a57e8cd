"""What the agent itself remembers of each repository: the id that restic gave it, and when it was last measured."""

import logging
import threading
from datetime import timedelta
from pathlib import Path

from agent import clock, durable
from rm.shared import instants

log = logging.getLogger("agent.known")

MEASURE_EVERY = timedelta(hours=24)


class Known:
    """Kept on the disk, so that runs which no server ordered stop too when another repository is at the place."""

    def __init__(self, path: Path) -> None:
        self._file = durable.KeptFile(path)
        self._lock = threading.Lock()

    def identity(self, repository_id: str) -> str:
        """Restic's id of the repository, empty when none was seen yet."""
        return self._of(repository_id).get("restic_id", "")

    def remember(self, repository_id: str, restic_id: str) -> None:
        """From now on the repository is that one."""
        self._set(repository_id, "restic_id", restic_id)

    def is_measure_due(self, repository_id: str) -> bool:
        """Whether its size was not looked at for a day; after a clock was set back as well."""
        try:
            age = instants.from_text(clock.now()) - instants.from_text(self._of(repository_id).get("measured_at", ""))
        except ValueError:
            return True
        return not timedelta(0) <= age < MEASURE_EVERY

    def measured(self, repository_id: str) -> None:
        """Its size was looked at now, whether that gave one or not."""
        self._set(repository_id, "measured_at", clock.now())

    def _of(self, repository_id: str) -> dict[str, str]:
        with self._lock:
            found = self._file.load().get(repository_id)
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _set(self, repository_id: str, name: str, value: str) -> None:
        with self._lock:
            body = self._file.load()
            found = body.get(repository_id)
            before = found if isinstance(found, dict) else {}
            if before.get(name) == value:
                return
            try:
                self._file.save(body | {repository_id: before | {name: value}})
            except OSError as error:
                log.warning("What is known of repository %s cannot be written: %s", repository_id, error)
