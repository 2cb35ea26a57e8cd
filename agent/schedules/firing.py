"""The thread that keeps this host's schedules: it looks, decides, makes that durable, and then fires."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from agent.outbox import Outbox
from agent.schedules import orders, showing
from agent.schedules.planning import fired, plan
from agent.schedules.record import Record, RecordFile, Run
from agent.schedules.stored import StoredSchedules
from agent.schedules.view import Known, Plan, View
from agent.schedules.waking import FULL, BeatFile, Clocks, Gap, Moment, gap_between, join
from rm.shared import ids, instants
from rm.shared.protocol import CommandRun, FiredRun, GroupState, JobFinished, NextRun, ScheduleSet

log = logging.getLogger("agent.schedules")

LOOK_SECONDS = 30.0
TELL_SET_BACK = timedelta(days=1)
RECORD_IS_THERE = timedelta(minutes=1)
BOOKMARK = "schedules"


class TakesRuns(Protocol):
    """What fires need of the jobs."""

    def accept(self, order: CommandRun) -> None: ...
    def result_of(self, job_id: str) -> JobFinished | None: ...
    def stage_of(self, job_id: str) -> str: ...
    def backups(self) -> dict[str, list[str]]: ...
    def waits_for(self, job_id: str) -> str: ...


@dataclass(frozen=True)
class Told:
    """What heartbeats and the status file show of the schedules."""

    version: int = 0
    next_runs: tuple[NextRun, ...] = ()
    groups: tuple[GroupState, ...] = ()
    lines: tuple[str, ...] = ()


class Schedules:
    """Everything about the schedules that this host runs by itself."""

    def __init__(
        self,
        *,
        stored: StoredSchedules,
        record: RecordFile,
        beat: BeatFile,
        jobs: TakesRuns,
        outbox: Outbox,
        hostname: str,
        host: str,
        clocks: Clocks | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.stored = stored
        self.told = Told()
        self._record_file = record
        self._beat = beat
        self._jobs = jobs
        self._outbox = outbox
        self._hostname = hostname
        self._host = host
        self._clocks = clocks or Clocks()
        self._changed = changed
        self._lock = threading.Lock()
        self._record: Record | None = None
        self._is_new = False
        self._last, self._gaps = beat.load()
        self._first = self._last
        self._refused: datetime | None = None
        self._trouble = ""
        self._set_back: tuple[datetime, str] | None = None
        self._look_now = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._work, name="schedules", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self, *, seconds: float) -> None:
        """Look no more; what was fired goes on."""
        self._is_stopping = True
        self._look_now.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def ring(self) -> None:
        """Something has changed: a job, the set, or a clock in a test."""
        self._look_now.set()

    def set(self, wanted: ScheduleSet) -> None:
        """Take over a set, durably; raises SetRefused or OSError, and then the one before goes on."""
        self.stored.save(wanted, at=self._clocks.moment().wall)
        self.ring()

    def problems(self) -> list[str]:
        """What is wrong, in sentences for people."""
        found = [self.stored.problem, self._record_file.problem, self._trouble]
        if self._set_back and abs(self._clocks.moment().wall - self._set_back[0]) < TELL_SET_BACK:
            found.append(self._set_back[1])
        return [text for text in found if text]

    def run_of(self, job_id: str) -> CommandRun | None:
        """What was ordered as that job, as far as the record knows it; for one whose own files are damaged."""
        found = [run for run in self._open().runs.values() if run.job_id == job_id]
        return self._order(found[0]) if found else None

    def look(self) -> datetime | None:
        """Do what is due now; when to look again at the latest, None when nothing is planned."""
        with self._lock:
            return self._look()

    # ---- one look -----------------------------------------------------------------------------------

    def _look(self) -> datetime | None:
        moment = self._clocks.moment()
        self._notice(moment)
        stored = self.stored.load()
        if stored is None:
            self._show(Told())
            return None
        record = self._open()
        view = View(
            stored=stored,
            record=record,
            now=moment.wall,
            zone=self._clocks.zone(),
            host=self._host,
            is_new=self._is_new,
            gaps=self._with_refusal(moment.wall),
            known=self._known(record),
        )
        decided = plan(view)
        for note in decided.notes:
            log.info("%s", note)
        if decided.was_set_back:
            log.warning("%s", decided.was_set_back)
            self._set_back = (moment.wall, decided.was_set_back)
        if not self._keep(self._with_reports(decided), moment.wall):
            return None
        self._tell()
        for run in decided.fire:
            self._fire(run, moment.wall)
        self._show_plan(replace(view, record=self._open(), known=self._known(self._open())))
        return decided.wake_at

    def _notice(self, moment: Moment) -> None:
        """Find out whether anybody looked since the last time."""
        gap = gap_between(self._last, moment)
        kept = tuple(known for known in self._gaps if known.until <= moment.wall + timedelta(minutes=1))
        if gap is not None:
            log.info("Runs that were due meanwhile are late: %s.", gap.words(self._clocks.zone()))
            kept = join(kept, gap)
        self._gaps, self._last = kept, moment
        self._beat.save(moment, kept)

    def _open(self) -> Record:
        if self._record is None:
            found = self._record_file.load(is_expected=self._has_looked_before())
            self._is_new = found is None and self._record_file.problem != ""
            self._record = found or Record()
            if self._record.untold and self._outbox.bookmark(BOOKMARK) == self._record.batch:
                self._record = replace(self._record, untold=())
            self._tell()
        return self._record

    def _has_looked_before(self) -> bool:
        """Whether this set was looked at by an agent before this one, which then left a record."""
        stored = self.stored.load()
        return stored is not None and self._first is not None and self._first.wall - stored.applied_at > RECORD_IS_THERE

    def _known(self, record: Record) -> Known:
        stages: dict[str, str] = {}
        ended: dict[str, JobFinished] = {}
        waits_for: dict[str, str] = {}
        mine = {run.group: run.job_id for run in record.runs.values()}
        for job_id in mine.values():
            # First the stage: a job that ends between the two questions has a result then.
            stage = self._jobs.stage_of(job_id)
            result = self._jobs.result_of(job_id)
            if result is not None:
                ended[job_id] = result
            elif stage:
                stages[job_id] = stage
                waits_for[job_id] = self._jobs.waits_for(job_id)
        ordered = {}
        for group, found in self._jobs.backups().items():
            others = [job_id for job_id in found if job_id != mine.get(group)]
            if others:
                ordered[group] = others[0]
        return Known(stages=stages, ended=ended, ordered=ordered, waits_for=waits_for)

    def _with_reports(self, decided: Plan) -> Record:
        if not decided.skipped:
            return decided.record
        return replace(decided.record, untold=tuple(decided.skipped), batch=ids.new_ulid())

    def _keep(self, record: Record, now: datetime) -> bool:
        """Make the record durable if it has changed; without that nothing may be fired."""
        if record != self._record or self._is_new:
            try:
                self._record_file.save(record)
            except OSError as error:
                self._refused = self._refused or now
                self._trouble = (
                    f"The agent cannot write down its scheduled runs ({error.strerror}); none is started until that"
                    " works again. Free some space on the host."
                )
                if self._refused == now:
                    log.error("%s", self._trouble)
                return False
            self._record, self._is_new = record, False
        self._gaps = self._with_refusal(now)
        self._refused, self._trouble = None, ""
        return True

    def _with_refusal(self, now: datetime) -> tuple[Gap, ...]:
        """The gaps with the time in which the disk took nothing."""
        if self._refused is None:
            return self._gaps
        return join(self._gaps, Gap(kind=FULL, since=self._refused, until=now))

    def _tell(self) -> None:
        """Give the reports to the outbox once: the bookmark tells, after a crash, whether it has them."""
        record = self._record
        if record is None or not record.untold:
            return
        self._outbox.add_all(list(record.untold), bookmark=(BOOKMARK, record.batch))
        self._record = replace(record, untold=())

    def _fire(self, run: Run, now: datetime) -> None:
        order = self._order(run)
        if order is None:
            return
        if not self._jobs.stage_of(run.job_id) and self._jobs.result_of(run.job_id) is None:
            log.info("Group %s: job %s is fired, due %s.", run.group, run.job_id, instants.to_text(run.due_at))
            self._jobs.accept(order)
        self._keep(fired(self._open(), run, now=now), now)

    def _order(self, run: Run) -> CommandRun | None:
        group = self.stored.group(run.group)
        if group is None:
            return None
        told = FiredRun(
            schedule_id=run.schedule_id,
            due_at=instants.to_text(run.due_at),
            why_late=run.why_late[:500],
            attempt=run.attempt,
        )
        return orders.backup(job_id=run.job_id, group=group, hostname=self._hostname, fired=told)

    # ---- shown --------------------------------------------------------------------------------------

    def _show_plan(self, view: View) -> None:
        following = showing.next_runs(view)
        groups = showing.group_states(view, following)
        wanted = view.stored.wanted
        self._show(
            Told(
                version=wanted.version,
                next_runs=tuple(following),
                groups=tuple(groups),
                lines=tuple(showing.lines(wanted, groups, view.zone)),
            )
        )

    def _show(self, told: Told) -> None:
        if told != self.told:
            self.told = told
            self._changed()

    def _work(self) -> None:
        while not self._is_stopping:
            self._look_now.clear()
            wake_at = None
            try:
                wake_at = self.look()
            except Exception:
                log.exception("The schedules could not be looked at; they will be in %d s", LOOK_SECONDS)
            seconds = LOOK_SECONDS
            if wake_at is not None:
                left = (wake_at - self._clocks.moment().wall).total_seconds()
                seconds = min(seconds, max(0.5, left + 0.05))
            self._look_now.wait(seconds)
