"""The decisions about scheduled runs: what to fire now, what to explain, when to look again; no clock and no disk."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from agent.schedules import dues, entries, orders
from agent.schedules.entries import Key
from agent.schedules.record import FIRED, PLANNED, RETRYING, Record, Run
from agent.schedules.view import ENDING, Plan, View
from agent.schedules.waking import Gap
from rm.shared import instants
from rm.shared.protocol import JobFinished, RunsSkipped, ScheduleSpec, SourceGroupSpec

ON_TIME = timedelta(minutes=2)
SETTLE = timedelta(seconds=20)
CATCH_UP_SECONDS = 300
LONGEST_RETRY = timedelta(days=1)
CLOCK_IS_SET = datetime(2026, 1, 1, tzinfo=timezone.utc)
CANNOT_HEAL = frozenset({"wrong_password", "repository_changed", "append_only", "unsupported"})
STILL_RUNNING = ("still_running", "The run before had not ended.")
STILL_WAITING = ("still_waiting", "The run before had not begun.")
SUPERSEDED = ("superseded", "A newer run stands for this one.")


def plan(view: View) -> Plan:
    """What to do at this moment."""
    return _Planner(view).plan()


def fired(record: Record, run: Run, *, now: datetime) -> Record:
    """The record after the jobs have taken the run."""
    return replace(record, runs=record.runs | {run.group: replace(run, stage=FIRED, since=now, why="")})


def gap_of(gaps: tuple[Gap, ...], instant: datetime) -> Gap | None:
    """The latest stretch in which nothing could be started at that instant."""
    return next((gap for gap in reversed(gaps) if gap.covers(instant)), None)


class _Planner:
    def __init__(self, view: View) -> None:
        self._view = view
        self._now = view.now
        self._schedules = {s.id: s for s in view.stored.wanted.schedules if s.is_enabled}
        self._groups = {g.name: g for g in view.stored.wanted.groups}
        self._entries, self._was_set_back = entries.current(view)
        self._notes: list[str] = []
        self._runs = dict(view.record.runs)
        self._skipped: list[RunsSkipped] = []
        self._is_undecided = False

    def plan(self) -> Plan:
        if self._now < CLOCK_IS_SET:
            return Plan(record=self._view.record, skipped=[], fire=[], wake_at=None, notes=[])
        for run in list(self._runs.values()):
            self._follow(run)
        for group in sorted({group for _, group in self._entries}):
            self._decide(group)
        for run in list(self._runs.values()):
            self._be_late(run)
        fire = [run for run in list(self._runs.values()) if self._is_to_fire(run)]
        record = replace(self._view.record, entries=self._entries, runs=self._runs)
        return Plan(
            record=record,
            skipped=self._skipped,
            fire=fire,
            wake_at=self._wake_at(),
            notes=self._notes,
            was_set_back=self._was_set_back,
        )

    # ---- pending runs -------------------------------------------------------------------------------

    def _follow(self, run: Run) -> None:
        is_wanted = (run.schedule_id, run.group) in self._entries
        if run.stage != FIRED and (run.job_id in self._view.known.stages or run.job_id in self._view.known.ended):
            # The jobs have it, though that could not be written down: a crash, or a full disk.
            run = self._runs[run.group] = replace(run, stage=FIRED, why="")
        if run.stage == FIRED:
            result = self._view.known.ended.get(run.job_id)
            if result is not None:
                self._ended(run, result, is_wanted=is_wanted)
            elif run.job_id not in self._view.known.stages:
                del self._runs[run.group]
                self._skip(run.schedule_id, run.group, [run.due_at], "record_lost", "The record of this run was lost.")
        elif not is_wanted:
            del self._runs[run.group]
            if run.stage == PLANNED:
                text = "The schedule was changed before this run began."
                self._skip(run.schedule_id, run.group, [run.due_at], "disabled", text)
        elif run.stage == RETRYING:
            latest = self._now + _retry_delay(self._groups[run.group], run.attempt - 1)
            self._runs[run.group] = replace(run, start_at=min(run.start_at, latest))
        else:
            seconds = max(self._schedules[run.schedule_id].jitter_seconds, CATCH_UP_SECONDS)
            latest = self._now + SETTLE + timedelta(seconds=seconds)
            self._runs[run.group] = replace(run, start_at=min(run.start_at, latest))

    def _ended(self, run: Run, result: JobFinished, *, is_wanted: bool) -> None:
        del self._runs[run.group]
        group = self._groups.get(run.group)
        if not is_wanted or group is None or result.outcome != "failed" or result.reason in CANNOT_HEAL:
            return
        if run.attempt > group.retries:
            return
        start = self._now + _retry_delay(group, run.attempt)
        following = self._next_of(run.group)
        if self._passed(run.group) or (following is not None and start >= following):
            self._notes.append(f"{run.group}: no further try, the next run is due before it.")
            return
        attempt = run.attempt + 1
        self._runs[run.group] = replace(
            run,
            stage=RETRYING,
            attempt=attempt,
            job_id=self._job_id(run.schedule_id, run.group, run.due_at, attempt=attempt, era=run.era),
            start_at=start,
            since=self._now,
            why=f"Try {run.attempt} of {group.retries + 1} failed: {result.message or result.reason}"[:400],
        )

    # ---- due runs -----------------------------------------------------------------------------------

    def _passed(self, group: str) -> list[tuple[datetime, str]]:
        found = []
        for (schedule_id, name), entry in self._entries.items():
            if name == group:
                schedule = self._schedules[schedule_id]
                times = dues.passed(schedule, handled=entry.handled, now=self._now, zone=self._view.zone)
                found += [(due, schedule_id) for due in times]
        return sorted(found)

    def _decide(self, group: str) -> None:
        found = self._passed(group)
        if not found:
            return
        run = self._runs.get(group)
        if run is not None and run.stage == FIRED:
            if self._view.known.stages.get(run.job_id) == ENDING:
                self._is_undecided = True
                return
            self._pass_over(group, found, run.job_id)
        elif group in self._view.known.ordered:
            if run is not None and run.stage == RETRYING:
                del self._runs[group]
            self._pass_over(group, found, self._view.known.ordered[group])
        else:
            self._take(group, found, run)

    def _pass_over(
        self, group: str, found: list[tuple[datetime, str]], job_id: str, why: tuple[str, str] = STILL_RUNNING
    ) -> None:
        """Due while another run of the group is pending: that one stands for them."""
        for schedule_id in dict.fromkeys(schedule_id for _, schedule_id in found):
            times = [due for due, owner in found if owner == schedule_id]
            if why == STILL_RUNNING:
                self._skip(schedule_id, group, times, *why, job_id=job_id)
            else:
                self._explain(schedule_id, group, times, job_id, why=why)
            is_late = self._now - times[-1] > ON_TIME
            self._handled(schedule_id, group, times[-1], started=self._now, is_late=is_late)

    def _take(self, group: str, found: list[tuple[datetime, str]], before: Run | None) -> None:
        """Plan the newest; the others, and one that was planned for a moment that was missed, are explained by it."""
        if (
            before is not None
            and before.stage == PLANNED
            and (before.why_late or before.start_at >= self._now - ON_TIME)
        ):
            self._pass_over(group, found, before.job_id, STILL_WAITING)
            return
        due, schedule_id = found[-1]
        schedule = self._schedules[schedule_id]
        start = due + dues.spread(schedule, host=self._view.host, due=due)
        why_late = ""
        if start < self._now - ON_TIME:
            why_late = self._why_late(start)
            start = self._late_start(schedule, due)
        era = self._entries[(schedule_id, group)].era
        run = Run(
            schedule_id=schedule_id,
            group=group,
            due_at=due,
            era=era,
            job_id=self._job_id(schedule_id, group, due, era=era),
            stage=PLANNED,
            start_at=start,
            since=self._now,
            why_late=why_late,
        )
        self._runs[group] = run
        for owner in dict.fromkeys(owner for _, owner in found):
            mine = [at for at, whose in found[:-1] if whose == owner]
            self._explain(owner, group, mine, run.job_id)
            latest = max(at for at, whose in found if whose == owner)
            is_late = bool(why_late) or self._now - latest > ON_TIME
            self._handled(owner, group, latest, started=start, is_late=is_late)
        if before is not None and before.stage == PLANNED:
            self._explain(before.schedule_id, group, [before.due_at], run.job_id, at=before.start_at)

    def _explain(
        self, schedule_id: str, group: str, times: list[datetime], job_id: str, *,
        why: tuple[str, str] = SUPERSEDED, at: datetime | None = None,
    ) -> None:  # fmt: skip
        """Report due times that another run stands for, those with one reason together; `why` where none is known."""
        parts: list[tuple[Gap | None, list[datetime]]] = []
        for due in times:
            gap = gap_of(self._view.gaps, at or due)
            if parts and parts[-1][0] == gap:
                parts[-1][1].append(due)
            else:
                parts.append((gap, [due]))
        for gap, some in parts:
            if gap is None:
                self._skip(schedule_id, group, some, *why, job_id=job_id)
                continue
            words = gap.words(self._view.zone)
            text = f"{words[0].upper()}{words[1:]}. One run stands for all that was missed."
            self._skip(schedule_id, group, some, gap.kind, text, job_id=job_id)

    def _be_late(self, run: Run) -> None:
        """A run that was planned for a moment at which nobody was there is made up for, once and soon."""
        if run.stage != PLANNED or run.why_late or run.start_at >= self._now - ON_TIME:
            return
        schedule = self._schedules[run.schedule_id]
        self._runs[run.group] = replace(
            run, why_late=self._why_late(run.start_at), start_at=self._late_start(schedule, run.due_at)
        )

    def _late_start(self, schedule: ScheduleSpec, due: datetime) -> datetime:
        return self._now + SETTLE + dues.spread(schedule, host=self._view.host, due=due, most=CATCH_UP_SECONDS)

    def _why_late(self, start: datetime) -> str:
        gap = gap_of(self._view.gaps, start)
        return f"ran late because {gap.words(self._view.zone) if gap else 'the agent could not start it in time'}"

    def _is_to_fire(self, run: Run) -> bool:
        if run.stage == FIRED or run.start_at > self._now:
            return False
        other = self._view.known.ordered.get(run.group)
        if other is None:
            return True
        if run.stage == PLANNED:
            del self._runs[run.group]
            self._skip(run.schedule_id, run.group, [run.due_at], *STILL_RUNNING, job_id=other)
        return False

    # ---- the record ---------------------------------------------------------------------------------

    def _handled(self, schedule_id: str, group: str, due: datetime, *, started: datetime, is_late: bool) -> None:
        key = (schedule_id, group)
        until = dues.handled_by(self._schedules[schedule_id], due, started=started, is_late=is_late)
        self._entries[key] = replace(self._entries[key], handled=until)

    def _skip(
        self, schedule_id: str, group: str, times: list[datetime], reason: str, text: str, *, job_id: str | None = None
    ) -> None:
        if times:
            self._skipped.append(
                RunsSkipped(
                    source_group=group,
                    schedule_id=schedule_id,
                    due_from=instants.to_text(times[0]),
                    due_to=instants.to_text(times[-1]),
                    count=len(times),
                    reason=reason,
                    message=text,
                    job_id=job_id,
                )
            )

    def _job_id(self, schedule_id: str, group: str, due: datetime, *, attempt: int = 1, era: int = 0) -> str:
        return orders.job_id(schedule_id=schedule_id, group=group, due_at=due, attempt=attempt, era=era)

    def _next_of(self, group: str) -> datetime | None:
        return min(filter(None, (self._following(key) for key in self._entries if key[1] == group)), default=None)

    def _following(self, key: Key) -> datetime | None:
        handled = self._entries[key].handled
        return dues.following(self._schedules[key[0]], handled=handled, now=self._now, zone=self._view.zone)

    def _wake_at(self) -> datetime | None:
        moments = [self._following(key) for key in self._entries]
        # What waits for a backup that somebody ordered is looked at when that ends.
        moments += [run.start_at for run in self._runs.values() if run.stage != FIRED and run.start_at > self._now]
        if self._is_undecided:
            moments.append(self._now + timedelta(seconds=2))
        return min(filter(None, moments), default=None)


def _retry_delay(group: SourceGroupSpec, attempt: int) -> timedelta:
    minutes = group.retry_minutes * 2.0 ** max(0, attempt - 1)
    return min(timedelta(minutes=minutes), LONGEST_RETRY)
