"""Which jobs a connected host is told now, and why the others wait."""

from datetime import datetime, timedelta

from rm.domain import dispatch
from rm.domain import jobs as rules
from rm.events import EventBus, JobChanged, JobQueued
from rm.services import schedule_sets
from rm.shared.protocol import CommandCancel, CommandRun
from rm.store import hosts, jobs, repositories, source_groups
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Job


def next_orders(*, host_id: str, now: datetime, bus: EventBus | None = None) -> list[CommandRun | CommandCancel]:
    """What a connected host should be told now: its open jobs, cancellations, and at most one new job.

    Why the others wait is noted with them; see rm.domain.dispatch for who is next.

    A job that is handed out for the first time is marked as sent before the order leaves: if the order is
    lost with its connection, it is repeated under the same id.
    """
    orders: list[CommandRun | CommandCancel] = []
    if not jobs.has_open(host_id):
        # Asked before the writer's turn is taken; a job that comes now is told by an event of its own.
        return orders
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
                    wake_waiting(bus, chosen)
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


def wake_waiting(bus: EventBus, job: Job) -> None:
    """Have the hosts looked at again whose jobs wait at the repository of this job."""
    if job.repository_id:
        wake_repositories(bus, repository_ids=[job.repository_id], but_host_id=job.host_id)


def list_to_ask_again(*, now: datetime, after: timedelta) -> list[tuple[str, str]]:
    """(host, job) of jobs that were sent and then silent for so long; a connected host is asked about them again."""
    return [(job.host_id, job.id) for job in jobs.list_silent_since(now - after)]


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
    box = timedelta(seconds=int(row.parameters.get("time_box_seconds", 0)))
    return dispatch.OpenJob(
        id=row.id,
        host_id=row.host_id,
        repository_id=row.repository_id or "",
        kind=row.kind,
        created_at=row.created_at,
        is_sent=row.dispatched_at is not None,
        last_sign_at=row.last_sign_at,
        is_host_connected=row.host.connected_at is not None and row.host.revoked_at is None,
        frees_at=dispatch.frees_at(row.dispatched_at, box) if row.dispatched_at is not None else None,
    )


def _run_order(job: Job, host: Host) -> CommandRun:
    repository = repositories.find(job.repository_id)
    known = repository.restic_repository_id if repository is not None else None
    own_fields = ("includes", "excludes", "time_box_seconds", "snapshots_of", "group_id")
    parameters = {name: value for name, value in job.parameters.items() if name not in own_fields}
    group = source_groups.find_by_name(job.source_group, host_id=host.id) if job.kind == "backup" else None
    return CommandRun(
        job_id=job.id,
        kind=job.kind,
        repository_id=job.repository_id or "",
        source_group=job.source_group,
        includes=job.parameters.get("includes", []),
        excludes=job.parameters.get("excludes", []),
        # A forget may run on another host than the one whose snapshots it thins out.
        hostname=job.parameters.get("snapshots_of", host.hostname),
        already_started=job.state == "running",
        parameters=parameters | ({"restic_repository_id": known} if known else {}),
        group=schedule_sets.spec(group, repository=repository) if group is not None else None,
        time_box_seconds=job.parameters.get("time_box_seconds", 0),
    )
