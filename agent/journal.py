"""The journal of jobs: what was ordered and how it ended, one directory per job."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.job_directory import JobDirectory
from rm.shared import ids
from rm.shared.protocol import JobFinished

log = logging.getLogger("agent.journal")

KEEP_FINISHED = 200
FUTURE_SECONDS = 60.0


@dataclass
class Journal:
    """All job directories; those that ended are kept for questions, the newest 200."""

    root: Path
    unsaved: dict[str, JobFinished] = field(default_factory=dict)

    def of(self, job_id: str) -> JobDirectory:
        return JobDirectory(self.root / job_id)

    def knows(self, job_id: str) -> bool:
        directory = self.of(job_id)
        return job_id in self.unsaved or (directory.path / "order.json").exists() or directory.result() is not None

    def result(self, job_id: str) -> JobFinished | None:
        return self.unsaved.get(job_id) or self.of(job_id).result()

    def finish(self, result: JobFinished) -> None:
        """Keep the result, in memory if the disk refuses it."""
        try:
            self.of(result.job_id).finish(result)
        except OSError as error:
            log.error("The result of job %s cannot be written: %s", result.job_id, error)
            self.unsaved[result.job_id] = result

    def retry(self) -> None:
        """Write the results that a full disk refused."""
        for job_id, result in list(self.unsaved.items()):
            try:
                self.of(job_id).finish(result)
            except OSError:
                return
            del self.unsaved[job_id]
            self.of(job_id).reported()

    def directories(self) -> list[JobDirectory]:
        """All jobs in the order in which they were accepted."""
        found = [JobDirectory(path) for path in self.root.iterdir() if ids.is_ulid(path.name) and path.is_dir()]
        return sorted(found, key=lambda d: (d.accepted_at(), d.job_id))

    def prune(self) -> None:
        """Forget the oldest results beyond the newest 200, never one that is not in the outbox yet."""
        ended = [d for d in self.directories() if d.is_reported() and d.job_id not in self.unsaved]
        now = time.time()
        ended.sort(key=lambda directory: _age_mark(directory.path / "result.json", now))
        for directory in ended[:-KEEP_FINISHED]:
            directory.remove()


def _age_mark(file: Path, now: float) -> float:
    """When the file was written; what a clock that was ahead had written is older than all that came since."""
    try:
        written = file.stat().st_mtime
    except OSError:
        return 0.0
    return written if written <= now + FUTURE_SECONDS else 0.0
