"""Jobs: ordered by people, carried out by agents, ended exactly once."""

from datetime import datetime, timedelta
from typing import Any

from rm.domain import dispatch
from rm.domain import jobs as rules
from rm.domain.actors import SERVER, Actor
from rm.errors import Conflict, Forbidden, Invalid, NotFound
from rm.events import CancelRequested, EventBus, HostChanged, JobChanged, JobQueued, RepositoryChanged
from rm.services import audit, updates
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandCancel, CommandRun, JobFinished, JobStarted
from rm.shared.words import counted
from rm.store import hosts, jobs, repositories, source_groups
from rm.store.database import changes, publish_after_commit
from rm.store.models import BackupDay, Host, Job, Repository

MAX_OPEN_PER_HOST = 20


def order(
    bus: EventBus, *, host_id: str, kind: str, source_group_id: str | None = None, subset: str = "", actor: Actor,
    now: datetime,
) -> Job:  # fmt: skip
    """A queued job; pressing twice gives the job that is open already. Raises Invalid, Conflict or NotFound.

    `subset` is for `check`: n/t reads part n of t of the data, empty reads none of it.
    """
    if kind not in rules.ORDERABLE:
        raise Invalid({"kind": f"Choose one of {', '.join(rules.ORDERABLE)}."})
    problem = rules.subset_problem(subset) if kind == "check" else "Only a check reads a part." if subset else None
    if problem:
        raise Invalid({"subset": problem})
    with changes():
        host = hosts.get(host_id)
        if host.revoked_at is not None:
            raise Conflict(f"{host.name} was revoked; it cannot run jobs.", code="host_revoked")
        if host.repository_id is None:
            raise Conflict(
                f"{host.name} has no repository yet.", code="no_repository", help="Set one on the host's page first."
            )
        _refuse_for_repository(host.repository_id, kind)
        group_name, parameters = "", {}
        if subset:
            parameters = {"subset": subset}
        if kind == "backup":
            group = source_groups.get(_required(source_group_id), host_id=host_id)
            group_name = group.name
            parameters = {"includes": group.includes, "excludes": group.excludes}
        open_jobs = jobs.open_for_host(host_id)
        for job in open_jobs:
            is_same = (job.kind, job.source_group) == (kind, group_name)
            if is_same and job.parameters.get("subset", "") == subset and job.cancel_requested_at is None:
                return job
        return queue(bus, host=host, kind=kind, source_group=group_name, parameters=parameters, actor=actor, now=now)


def queue(
    bus: EventBus, *, host: Host, kind: str, source_group: str = "", parameters: dict[str, Any] | None = None,
    time_box_seconds: int = 0, actor: Actor, now: datetime,
) -> Job:  # fmt: skip
    """A new job in the host's queue; what it carries was checked by the caller, in whose transaction this belongs.

    The agent ends it after `time_box_seconds`, if any. Raises Conflict when too many wait.
    """
    with changes():
        open_count = len(jobs.open_for_host(host.id))
        if open_count >= MAX_OPEN_PER_HOST:
            raise Conflict(f"{host.name} has {counted(open_count, 'job')} waiting already.", code="too_many_jobs")
        carried = (parameters or {}) | ({"time_box_seconds": time_box_seconds} if time_box_seconds else {})
        job = Job.create(
            id=new_ulid(),
            host=host.id,
            kind=kind,
            state="queued",
            repository=host.repository_id,
            source_group=source_group,
            parameters=carried,
            requested_by=actor.name,
            created_at=now,
            expires_at=rules.expires_at(now),
        )
        audit.record(
            actor, "job.ordered", now=now, kind="job", id=job.id, name=kind, host=host.name, source_group=source_group
        )
        publish_after_commit(bus, JobChanged(job.id, host.id), JobQueued(job.id, host.id), HostChanged(host.id))
        return job


def cancel(bus: EventBus, *, job_id: str, actor: Actor, now: datetime) -> Job:
    """End a job that waits, or ask the host to end it; raises Conflict when it has ended already."""
    with changes():
        job = jobs.get(job_id)
        if job.kind == rules.UPDATE:
            updates.cancel(bus, job_id=job_id, actor=actor, now=now)
            return jobs.get(job_id)
        what = rules.on_cancel(_facts(job))
        if what == "over":
            raise Conflict(f"This job has ended already: {job.outcome}.", code="job_over")
        if what == "now":
            _end(
                bus,
                job,
                outcome="cancelled",
                now=now,
                reason="cancelled",
                message=f"Cancelled by {actor.name} before it was sent to the host.",
            )
        elif what == "ask":
            Job.update(cancel_requested_at=now, cancel_requested_by=actor.name).where(Job.id == job_id).execute()
            publish_after_commit(bus, CancelRequested(job_id, job.host_id), JobChanged(job_id, job.host_id))
        if what != "asked":
            audit.record(actor, "job.cancel_requested", now=now, kind="job", id=job_id, name=job.kind)
        return jobs.get(job_id)


def next_orders(*, host_id: str, now: datetime, bus: EventBus | None = None) -> list[CommandRun | CommandCancel]:
    """What a connected host should be told now: its open jobs, cancellations, and at most one new job.

    Why the others wait is noted with them; see rm.domain.dispatch for who is next.

    A job that is handed out for the first time is marked as sent before the order leaves: if the order is
    lost with its connection, it is repeated under the same id.
    """
    orders: list[CommandRun | CommandCancel] = []
    with changes():
        host = hosts.get(host_id)
        open_jobs = jobs.open_for_host(host_id)
        for job in open_jobs:
            if job.dispatched_at is not None and job.kind != rules.UPDATE:
                orders.append(_run_order(job, host))
                if job.cancel_requested_at is not None:
                    orders.append(CommandCancel(job_id=job.id))
        if any(job.dispatched_at is None and job.kind != rules.UPDATE for job in open_jobs):
            chosen = _decide(bus, host_id=host_id, now=now)
            if chosen is not None:
                Job.update(dispatched_at=now, last_sign_at=now, waits_for="").where(Job.id == chosen.id).execute()
                orders.append(_run_order(chosen, host))
                if bus is not None:
                    _wake_waiting(bus, chosen)
    return orders


def blocker_of(job: Job, *, now: datetime) -> tuple[dispatch.Hold, Job] | None:
    """Why a queued job waits, and for which one; None if nothing but its own host is missing."""
    if job.state != "queued" or job.dispatched_at is not None or job.kind == rules.UPDATE:
        return None
    rows = jobs.list_for_dispatch(job.host_id)
    _, holds = dispatch.next_job(job.host_id, [_open_job(row) for row in rows], now)
    hold = holds.get(job.id)
    blocker = next((row for row in rows if hold is not None and row.id == hold.blocker_id), None)
    return (hold, blocker) if hold is not None and blocker is not None else None


def wake_repositories(bus: EventBus, *, repository_ids: list[str], but_host_id: str) -> None:
    """Have the hosts looked at again whose jobs wait at these repositories; after the commit, if one is open."""
    for waiting in jobs.list_waiting(repository_ids):
        if waiting.host_id != but_host_id:
            publish_after_commit(bus, JobQueued(waiting.id, waiting.host_id))


def _wake_waiting(bus: EventBus, job: Job) -> None:
    if job.repository_id:
        wake_repositories(bus, repository_ids=[job.repository_id], but_host_id=job.host_id)


def _decide(bus: EventBus | None, *, host_id: str, now: datetime) -> Job | None:
    """The job that is next on this host; the reasons of those that wait are kept."""
    rows = {row.id: row for row in jobs.list_for_dispatch(host_id)}
    chosen, holds = dispatch.next_job(host_id, [_open_job(row) for row in rows.values()], now)
    for row in rows.values():
        if row.host_id != host_id or row.dispatched_at is not None or row.kind == rules.UPDATE:
            continue
        hold = holds.get(row.id)
        words = _wait_words(hold, rows[hold.blocker_id]) if hold is not None else ""
        if words != row.waits_for:
            Job.update(waits_for=words).where(Job.id == row.id).execute()
            if bus is not None:
                publish_after_commit(bus, JobChanged(row.id, host_id))
    return rows[chosen] if chosen is not None else None


def _wait_words(hold: dispatch.Hold, blocker: Job) -> str:
    what = f"the {blocker.kind} of {blocker.host.name}"
    if blocker.started_at is not None:
        return f"waits for {what}, running since {blocker.started_at:%Y-%m-%d %H:%M} UTC"
    if blocker.dispatched_at is not None:
        return f"waits for {what}, which is about to start"
    if hold.code == dispatch.BACKUPS_FIRST:
        return f"waits for {what}: backups go first"
    return f"waits for {what}, which is next"


def _open_job(row: Job) -> dispatch.OpenJob:
    return dispatch.OpenJob(
        id=row.id,
        host_id=row.host_id,
        repository_id=row.repository_id or "",
        kind=row.kind,
        created_at=row.created_at,
        is_sent=row.dispatched_at is not None,
        last_sign_at=row.last_sign_at,
        is_host_connected=row.host.connected_at is not None and row.host.revoked_at is None,
    )


def _refuse_for_repository(repository_id: str, kind: str) -> None:
    repository = repositories.get(repository_id)
    if repository.restic_id_seen and kind not in ("unlock", "snapshots"):
        raise Conflict(
            f"Another repository is at the place of {repository.name}.", code="repository_changed",
            help="Look at its page: accept the one that is there now, or correct the location.",
        )  # fmt: skip
    if kind == "prune" and repository.is_append_only and not _has_maintenance(repository_id):
        raise Conflict(
            f"{repository.name} is append-only: its everyday credential cannot delete.", code="append_only",
            help="Give it a maintenance credential on the repository's page first.",
        )  # fmt: skip


def owner_of(job_id: str) -> str | None:
    """The host whose job this is, or None for a job nobody knows."""
    job = jobs.find(job_id)
    return job.host_id if job else None


def started(bus: EventBus, *, host_id: str, report: JobStarted, now: datetime) -> None:
    """Take a report of a start; raises NotFound or Forbidden. Repeating it changes nothing."""
    with changes():
        job = _own(report.job_id, host_id)
        if rules.on_started(_facts(job)) != rules.APPLY:
            Job.update(last_sign_at=now).where(Job.id == job.id, Job.state == "running").execute()
            return
        changed = (
            Job.update(
                state="running",
                started_at=_not_later(report.started_at, now),
                dispatched_at=job.dispatched_at or now,
                last_sign_at=now,
                command=report.command,
            )
            .where(Job.id == job.id, Job.state == "queued")
            .execute()
        )
        if changed:
            publish_after_commit(bus, JobChanged(job.id, host_id), HostChanged(host_id))
            _wake_waiting(bus, job)


def finished(bus: EventBus, *, host_id: str, report: JobFinished, now: datetime) -> None:
    """Take the end of a job, once. Raises NotFound, Forbidden, or Conflict for an end that contradicts a known one."""
    with changes():
        job = _own(report.job_id, host_id)
        what = rules.on_finished(_facts(job), report.outcome)
        if what == rules.REPEAT:
            return
        if what == rules.CONFLICT:
            raise Conflict(f"This job ended as {job.outcome} already.")
        if job.outcome == "lost":
            audit.record(
                SERVER,
                "job.corrected",
                now=now,
                kind="job",
                id=job.id,
                name=job.kind,
                was="lost",
                now_is=report.outcome,
            )
        _end(
            bus,
            job,
            outcome=report.outcome,
            now=_not_later(report.finished_at, now),
            reason=report.reason,
            message=report.message,
            exit_code=report.exit_code,
            summary=report.summary,
            started_at=job.started_at or (_not_later(report.started_at, now) if report.started_at else None),
        )


def give_up_waiting(bus: EventBus, *, now: datetime) -> int:
    """End what waited too long: jobs that never left the queue, and jobs of which there was no sign for a day.

    The latter end as `lost`, a guess that a later report corrects. Returns how many ended.
    """
    count = 0
    with changes():
        for job in jobs.list_queued_until(now):
            _end(
                bus,
                job,
                outcome="cancelled",
                now=now,
                reason="expired",
                message=_expiry_words(job),
            )
            count += 1
        for job in jobs.list_silent_since(now - rules.SILENCE_UNTIL_LOST):
            _end(
                bus,
                job,
                outcome="lost",
                now=now,
                reason="silent",
                message="There was no sign of this job for 24 hours. If the host reports its end later, that counts.",
            )
            count += 1
        # A turn comes by time alone, without an event that would tell.
        for job in jobs.list_waiting():
            publish_after_commit(bus, JobQueued(job.id, job.host_id))
    return count


def _has_maintenance(repository_id: str) -> bool:
    return repositories.credential(repository_id, repositories.MAINTENANCE) is not None


def _expiry_words(job: Job) -> str:
    if job.waits_for:
        return f"Within 24 hours its turn did not come: it {job.waits_for}. It was given up; nothing ran."
    return "The host did not connect within 24 hours, so this job was given up. Nothing ran."


def list_to_ask_again(*, now: datetime, after: timedelta) -> list[tuple[str, str]]:
    """(host, job) of jobs that were sent and then silent for so long; a connected host is asked about them again."""
    return [(job.host_id, job.id) for job in jobs.list_silent_since(now - after)]


def _run_order(job: Job, host: Host) -> CommandRun:
    repository = repositories.find(job.repository_id)
    known = repository.restic_repository_id if repository is not None else None
    own_fields = ("includes", "excludes", "time_box_seconds")
    parameters = {name: value for name, value in job.parameters.items() if name not in own_fields}
    return CommandRun(
        job_id=job.id,
        kind=job.kind,
        repository_id=job.repository_id or "",
        source_group=job.source_group,
        includes=job.parameters.get("includes", []),
        excludes=job.parameters.get("excludes", []),
        hostname=host.hostname,
        already_started=job.state == "running",
        parameters=parameters | ({"restic_repository_id": known} if known else {}),
        time_box_seconds=job.parameters.get("time_box_seconds", 0),
    )


def _end(
    bus: EventBus,
    job: Job,
    *,
    outcome: str,
    now: datetime,
    reason: str,
    message: str,
    exit_code: int | None = None,
    summary: dict[str, object] | None = None,
    started_at: datetime | None = None,
) -> None:
    before = job.outcome
    changed = (
        Job.update(
            state="finished",
            outcome=outcome,
            finished_at=now,
            reason=reason,
            message=message,
            exit_code=exit_code,
            summary=summary or {},
            started_at=started_at or job.started_at,
            waits_for="",
        )
        .where(Job.id == job.id, (Job.state != "finished") | (Job.outcome == "lost"))
        .execute()
    )
    if not changed:
        return
    if reason == "append_only" and job.repository_id and not _has_maintenance(job.repository_id):
        Repository.update(is_append_only=True).where(Repository.id == job.repository_id).execute()
        publish_after_commit(bus, RepositoryChanged(job.repository_id))
    _wake_waiting(bus, job)
    if job.kind == "backup":
        _roll_up(job, outcome=outcome, before=before, ended_at=now)
    publish_after_commit(bus, JobChanged(job.id, job.host_id), JobQueued(job.id, job.host_id), HostChanged(job.host_id))


_COLUMN = {"succeeded": "succeeded", "warnings": "warnings", "failed": "failed", "lost": "failed"}


def _roll_up(job: Job, *, outcome: str, before: str | None, ended_at: datetime) -> None:
    day = ended_at.strftime("%Y-%m-%d")
    if before in _COLUMN and job.finished_at is not None:
        _count_day(job.host_id, job.finished_at.strftime("%Y-%m-%d"), _COLUMN[before], -1)
    if outcome in _COLUMN:
        _count_day(job.host_id, day, _COLUMN[outcome], 1)
        Host.update(last_backup_id=job.id).where(
            Host.id == job.host_id, Host.last_backup_id.is_null() | (Host.last_backup_id <= job.id)
        ).execute()
    if outcome in ("succeeded", "warnings"):
        Host.update(last_good_at=ended_at).where(
            Host.id == job.host_id, Host.last_good_at.is_null() | (Host.last_good_at < ended_at)
        ).execute()


def _count_day(host_id: str, day: str, column: str, by: int) -> None:
    BackupDay.insert(host=host_id, day=day).on_conflict_ignore().execute()
    counter = getattr(BackupDay, column)
    BackupDay.update({counter: counter + by}).where(BackupDay.host == host_id, BackupDay.day == day).execute()


def _own(job_id: str, host_id: str) -> Job:
    job = jobs.find(job_id)
    if job is None:
        raise NotFound("This server does not know that job.", code="unknown_job")
    if job.host_id != host_id:
        raise Forbidden("That job belongs to another host.", code="not_yours")
    if job.kind == rules.UPDATE:
        raise Conflict("An update is reported by update.progress and update.result.")
    return job


def _facts(job: Job) -> rules.JobFacts:
    return rules.JobFacts(
        state=job.state,
        outcome=job.outcome,
        is_dispatched=job.dispatched_at is not None,
        is_cancel_requested=job.cancel_requested_at is not None,
    )


def _not_later(text: str | None, now: datetime) -> datetime:
    # A host whose clock is ahead must not end jobs in the future.
    return min(instants.from_text(text), now) if text else now


def _required(source_group_id: str | None) -> str:
    if not source_group_id:
        raise Invalid({"source_group_id": "Choose what to back up."})
    return source_group_id
