"""Old history: removed in pieces so small that nothing else waits for them."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rm.domain import pruning as rules
from rm.domain.actors import Actor
from rm.events import EventBus
from rm.services import audit
from rm.shared import instants
from rm.store import kept_settings, pruning
from rm.store.database import changes, connection

log = logging.getLogger(__name__)

SETTING = "server_care.pruning"
LINES, JOBS, ROWS = 400, 20, 200
LISTED = 500
PAUSE_SECONDS = 0.02
ROUND_SECONDS = 120.0
"""After so long a round ends; the next one goes on where it was."""


@dataclass
class Progress:
    """How far earlier rounds came, so that each job is looked at once and not in each round."""

    logs: tuple[str, str] = pruning.AT_THE_START
    jobs: tuple[str, str] = pruning.AT_THE_START
    days_on: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def limits() -> dict[str, int]:
    """Days for which each kind is kept."""
    return rules.defaults() | {
        name: days for name, days in kept_settings.get(SETTING, {}).items() if name in rules.BY_NAME
    }


def save_limits(bus: EventBus, *, wanted: dict[str, int], actor: Actor, now: datetime) -> None:
    """Change how long each kind is kept, from the next round on; raises Invalid."""
    checked = rules.checked(wanted)
    with changes():
        before = limits()
        if before == checked:
            return
        kept_settings.put(SETTING, checked)
        audit.record(
            actor, "settings.changed", now=now, kind="settings", id=SETTING, name="history limits",
            before=before, after=checked,
        )  # fmt: skip


def run(
    *, now: datetime, progress: Progress | None = None, pause: Callable[[float], None] = time.sleep,
    seconds: float = ROUND_SECONDS,
) -> dict[str, int]:  # fmt: skip
    """One round: how many rows of each kind were removed. Audit entries are never among them."""
    progress = progress or Progress()
    if not progress.lock.acquire(blocking=False):
        return {}
    try:
        found = _Round(progress, now, pause, time.monotonic() + seconds).run()
    finally:
        progress.lock.release()
    if any(found.values()):
        log.info("removed old history: %s", ", ".join(f"{count} {name}" for name, count in found.items() if count))
    return found


class _Round:
    def __init__(self, progress: Progress, now: datetime, pause: Callable[[float], None], until: float) -> None:
        self._progress = progress
        self._now = now
        self._pause = pause
        self._until = until
        with connection():
            self._days = limits()

    def run(self) -> dict[str, int]:
        gone = {"job_logs": self._logs(), "jobs": self._jobs()}
        for name, delete in (
            ("skipped_runs", pruning.delete_skipped_runs),
            ("incidents", pruning.delete_alerts),
            ("deliveries", pruning.delete_deliveries),
            ("update_events", pruning.delete_update_events),
        ):
            gone[name] = self._all_of(lambda delete=delete, name=name: delete(self._before(name), limit=ROWS))  # type: ignore[misc]
        gone["backup_days"] = self._of_days()
        gone["expired"] = self._expired()
        return gone

    def _before(self, name: str) -> datetime:
        return self._now - timedelta(days=self._days[name])

    def _logs(self) -> int:
        count = 0
        while jobs := self._finished("job_logs", self._progress.logs):
            with connection():
                having = pruning.with_logs([job_id for _, job_id in jobs])
            for mark in jobs:
                if mark[1] in having:
                    count += self._all_of(lambda job_id=mark[1]: pruning.delete_log(job_id, limit=LINES))  # type: ignore[misc]
                if self._is_over():
                    return count
                self._progress.logs = mark
            self._pause(PAUSE_SECONDS)
        return count

    def _jobs(self) -> int:
        count = 0
        while jobs := self._finished("jobs", self._progress.jobs):
            for at in range(0, len(jobs), JOBS):
                some = jobs[at : at + JOBS]
                count += self._once(
                    lambda some=some: pruning.delete_jobs(  # type: ignore[misc]
                        [job_id for _, job_id in some], keep_per_host=rules.KEEP_JOBS_PER_HOST
                    )
                )
                self._progress.jobs = some[-1]
                if self._is_over():
                    return count
        # what was kept because something spoke of it may go another time
        self._progress.jobs = pruning.AT_THE_START
        return count

    def _finished(self, name: str, after: tuple[str, str]) -> list[tuple[str, str]]:
        if self._is_over():
            return []
        with connection():
            return pruning.list_finished(self._before(name), after=after, limit=LISTED)

    def _of_days(self) -> int:
        """Once a day: it looks at each host."""
        today = f"{self._now:%Y-%m-%d}"
        if self._progress.days_on == today:
            return 0
        before, count = self._before("backup_days"), 0
        with connection():
            owners = [("backup_days", "host_id", one) for one in pruning.list_hosts()]
            owners += [("repository_days", "repository_id", one) for one in pruning.list_repositories()]
        for table, column, owner in owners:
            if self._is_over():
                return count
            count += self._once(
                lambda table=table, column=column, owner=owner: pruning.delete_days(table, column, owner, before)  # type: ignore[misc]
            )
        self._progress.days_on = today
        return count

    def _expired(self) -> int:
        spans = {"now": 0, "two_days": 2, "week": 7, "month": 30, "year": 400}
        moments = {name: instants.to_text(self._now - timedelta(days=days)) for name, days in spans.items()}
        return sum(
            self._all_of(lambda table=table: pruning.delete_expired(table, moments=moments, limit=ROWS))  # type: ignore[misc]
            for table, _ in pruning.EXPIRED
        )

    def _all_of(self, delete: Callable[[], int]) -> int:
        count = 0
        while not self._is_over() and (gone := self._once(delete)):
            count += gone
        return count

    def _once(self, delete: Callable[[], int]) -> int:
        with connection(), changes():
            gone = delete()
        if gone:
            self._pause(PAUSE_SECONDS)
        return gone

    def _is_over(self) -> bool:
        return time.monotonic() > self._until
