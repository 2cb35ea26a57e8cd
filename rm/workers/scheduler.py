"""The APScheduler of the process: every job of it in one table, each a call into a service."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from rm.domain.update_timing import drifted
from rm.errors import RmError
from rm.runtime import Runtime
from rm.services import (
    alert_sweep,
    backup_alerts,
    dead_man,
    disk_space,
    fleet_updates,
    idempotency,
    jobs,
    maintenance,
    pruning,
    releases,
    server_backups,
    server_health,
    sessions,
    updates,
    user_links,
    verdicts,
)
from rm.store import database
from rm.workers.deliver import DeliveryDriver
from rm.workers.fleet_update import FleetDriver

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
        self._releases_seen = ("", "")
        self._last_sweep: tuple[datetime, float] | None = None
        self._looked_at = ""
        self._last_verdicts: datetime | None = None
        self._listening_since = runtime.clock()
        self._pruned = pruning.Progress()
        self._fleet = FleetDriver(runtime, wake=self.drive_fleet_update_soon)
        self._deliveries = DeliveryDriver(runtime)
        # misfire_grace_time: the default of 1 s skips a job silently when the process was busy for a moment
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(8)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for seconds, job in (
            (PULSE_SECONDS, self.pulse),
            (1, self.sweep_updates),
            (1, self.drive_fleet_update),
            (5, self.look_for_imported_releases),
            (5, self.cut_stuck_connections),
            (30, self.ask_about_silent_jobs),
            (60, self.give_up_waiting_jobs),
            (15, self.sweep_verdicts),
            (30, self.keep_repositories_in_order),
            (60, self.close_surplus_connections),
            (3600, self.forget_expired_sessions),
            (3600, self.forget_kept_answers),
            (2, self.deliver),
            (20, self.send_sign_of_life),
            (10, self.look_at_the_disk),
            (60, self.back_up_the_server),
            (900, self.prune_history),
        ):
            self._scheduler.add_job(job, "interval", seconds=seconds, id=job.__name__)

    def start(self) -> None:
        with database.connection():
            self._releases_seen = releases.mark()
        self._scheduler.start()

    def stop(self) -> None:
        """Start nothing more; what runs is short."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._deliveries.stop()

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

    def close_surplus_connections(self) -> None:
        database.close_surplus()

    def look_for_imported_releases(self) -> None:
        """The command line imports and promotes in a process of its own, whose events nobody hears here."""
        with database.connection():
            self._releases_seen = releases.tell_changes(self._runtime.bus, seen=self._releases_seen)

    def sweep_updates(self) -> None:
        """Take the exits of update attempts whose deadline has passed; first set them anew if the clock was changed."""
        now, monotonic = self._runtime.clock(), time.monotonic()
        last, self._last_sweep = self._last_sweep, (now, monotonic)
        with database.connection():
            if last is not None and drifted(last, (now, monotonic)):
                log.warning("the clock was changed, or this machine slept: deadlines of updates are set anew")
                updates.rearm(self._runtime.bus, now=now)
                fleet_updates.rearm(self._runtime.bus, now=now)
            updates.sweep(self._runtime.bus, now=now)

    def drive_fleet_update(self) -> None:
        self._fleet.drive()

    def drive_fleet_update_soon(self) -> None:
        """Bring the next run forward to now; harmless while one is under way, for the next comes within a second."""
        if self._scheduler.running:
            self._scheduler.modify_job("drive_fleet_update", next_run_time=datetime.now(timezone.utc))

    def ask_about_silent_jobs(self) -> None:
        with database.connection():
            silent = jobs.list_to_ask_again(now=self._runtime.clock(), after=ASK_AGAIN_AFTER)
        for host_id, job_id in silent:
            self._ask_again(host_id, job_id)

    def give_up_waiting_jobs(self) -> None:
        with database.connection():
            jobs.give_up_waiting(self._runtime.bus, now=self._runtime.clock())

    def sweep_verdicts(self) -> None:
        """Call late what is late; not before agents had time to reach a server that was away, or asleep, itself."""
        now = self._runtime.clock()
        last, self._last_verdicts = self._last_verdicts, now
        if last is None or not now - last < verdicts.SETTLING:
            self._listening_since = now
        with database.connection():
            is_settled = now - self._listening_since >= backup_alerts.SILENT_PATIENCE
            verdicts.sweep(self._runtime.bus, now=now, is_settled=is_settled)
            alert_sweep.sweep(self._runtime.bus, now=now, is_settled=is_settled)

    def keep_repositories_in_order(self) -> None:
        """Order what repositories need, and end what keeps their backups waiting."""
        self._looked_at = maintenance.sweep(self._runtime.bus, now=self._runtime.clock(), after=self._looked_at)

    def forget_expired_sessions(self) -> None:
        with database.connection():
            sessions.forget_expired(now=self._runtime.clock())
            user_links.forget_expired(now=self._runtime.clock())

    def look_at_the_disk(self) -> None:
        with database.connection():
            disk_space.look(self._runtime.bus, data_dir=self._runtime.settings.data_dir, now=self._runtime.clock())

    def back_up_the_server(self) -> None:
        """Copy the database when that is due, and tell when the last good copy is too old."""
        parts = self._runtime
        with database.connection():
            is_due = server_backups.is_due(parts.clock())
        if is_due:
            try:
                server_backups.run(
                    parts.bus, database_file=parts.settings.database_file, data_dir=parts.settings.data_dir,
                    actor=None, clock=parts.clock, offload=parts.offload,
                )  # fmt: skip
            except RmError as error:
                log.warning("the server backup was not made: %s", error.message)
        with database.connection():
            server_backups.watch(parts.bus, now=parts.clock())

    def prune_history(self) -> None:
        pruning.run(now=self._runtime.clock(), progress=self._pruned)

    def deliver(self) -> None:
        """Start what is to be told; the sending itself has threads of its own."""
        self._deliveries.drive()

    def send_sign_of_life(self) -> None:
        """Tell the watchdog elsewhere that this server is well; nothing is sent when it is not."""
        parts = self._runtime
        with database.connection():
            if not dead_man.read().is_due(parts.clock()):
                return
            troubles = server_health.troubles(
                writer=parts.writer.trouble(), scheduler=self.trouble(), is_stopping=parts.is_stopping
            )
            if any(troubles.values()):
                return
            url = dead_man.url_to_ping(parts.vault)
        outcome = dead_man.ping(url)
        with database.connection():
            dead_man.keep(outcome, now=parts.clock())

    def forget_kept_answers(self) -> None:
        """Answers to repeated orders are kept for a day."""
        with database.connection():
            idempotency.forget_old(now=self._runtime.clock())
