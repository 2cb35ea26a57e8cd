"""The APScheduler of the process: every job of it in one table, each a call into a service."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from rm.runtime import Runtime
from rm.services import accounts, jobs
from rm.store import database

log = logging.getLogger(__name__)

ASK_AGAIN_AFTER = timedelta(seconds=75)
PULSE_SECONDS = 5


class Scheduler:
    """Runs the table below; `trouble` says when it does not."""

    def __init__(
        self, runtime: Runtime, *, cut_stuck: Callable[[], int], ask_again: Callable[[str, str], None]
    ) -> None:
        self._runtime = runtime
        self._cut_stuck = cut_stuck
        self._ask_again = ask_again
        self._last_pulse = time.monotonic()
        self._lock = threading.Lock()
        # misfire_grace_time: the default of 1 s skips a job silently when the process was busy for a moment
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(4)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for seconds, job in (
            (PULSE_SECONDS, self.pulse),
            (2, self.cut_stuck_connections),
            (30, self.ask_about_silent_jobs),
            (60, self.give_up_waiting_jobs),
            (3600, self.forget_expired_sessions),
        ):
            self._scheduler.add_job(job, "interval", seconds=seconds, id=job.__name__)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Start nothing more; what runs is short."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def trouble(self) -> str | None:
        """Why scheduled work does not happen, or None when it does."""
        if not self._scheduler.running:
            return "the scheduler does not run"
        if time.monotonic() - self._last_pulse > 6 * PULSE_SECONDS:
            return "the scheduler hangs"
        return None

    # ---- the table ----

    def pulse(self) -> None:
        self._last_pulse = time.monotonic()

    def cut_stuck_connections(self) -> None:
        self._cut_stuck()

    def ask_about_silent_jobs(self) -> None:
        with database.connection():
            silent = jobs.list_to_ask_again(now=self._runtime.clock(), after=ASK_AGAIN_AFTER)
        for host_id, job_id in silent:
            self._ask_again(host_id, job_id)

    def give_up_waiting_jobs(self) -> None:
        with database.connection():
            jobs.give_up_waiting(self._runtime.bus, now=self._runtime.clock())

    def forget_expired_sessions(self) -> None:
        with database.connection():
            accounts.forget_expired_sessions(now=self._runtime.clock())
