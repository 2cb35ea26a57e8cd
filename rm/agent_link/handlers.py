"""What each report of an agent does: one service call, then the answer."""

import logging
from collections.abc import Callable
from typing import Any

from rm.agent_link.session import AgentSession
from rm.errors import Conflict, Forbidden, NotFound, RmError, Unavailable
from rm.services import jobs, presence, repositories, skipped_runs, snapshots, updates, verdicts
from rm.services.update_reports import FENCE
from rm.shared.protocol import (
    BrowseResult,
    Heartbeat,
    JobFinished,
    JobLog,
    JobProgress,
    JobStarted,
    Message,
    RepositoryStats,
    RunsSkipped,
    ScheduleAck,
    SnapshotsReport,
    UpdateProgress,
    UpdateResult,
)
from rm.store import database

log = logging.getLogger(__name__)


def handle(session: AgentSession, message: Message) -> None:
    """Take one report: `ack` once it is kept, `error` when it never can be, no answer to have it repeated."""
    handler = _HANDLERS.get(message.type)
    if handler is None:
        session.answer_error(message.id, "unknown_type", f"{message.type} is not expected now.")
        return
    try:
        handler(session, message)
    except (NotFound, Forbidden, Conflict) as error:
        session.answer_error(message.id, _CODES.get(error.code, _BY_TYPE[type(error)]), error.message, error.help)
    except (Unavailable, database.DatabaseError) as error:
        # Not answered: the agent keeps the report and repeats it when the database can be written again.
        log.error("a %s of host %s could not be kept: %s", message.type, session.host_id, error)
    except RmError as error:
        session.answer_error(message.id, "internal", error.message, error.help)


_CODES = {"unknown_job": "unknown_job", "not_yours": "not_yours", "attempt_closed": "attempt_closed"}
_BY_TYPE: dict[type[RmError], str] = {NotFound: "conflict", Forbidden: "not_yours", Conflict: "conflict"}


def _heartbeat(session: AgentSession, message: Message) -> None:
    beat: Heartbeat = message.payload
    session.link.writer.heartbeat(host_id=session.host_id, at=session.link.clock(), beat=beat)
    # most heartbeats say what the one before said, and cost no look into the database
    if beat.groups != session.groups_said:
        _call(session, verdicts.reported, groups=beat.groups)
        session.groups_said = beat.groups
    if beat.timezone and beat.timezone != session.zone_said:
        _call(session, presence.said_zone, timezone=beat.timezone)
        session.zone_said = beat.timezone
    session.ack(message.id)


def _job_started(session: AgentSession, message: Message) -> None:
    report: JobStarted = message.payload
    _call(session, jobs.started, report=report)
    session.ack(message.id)


def _job_progress(session: AgentSession, message: Message) -> None:
    report: JobProgress = message.payload
    if _is_own(session, message, report.job_id):
        session.link.writer.progress(
            job_id=report.job_id, host_id=session.host_id, at=session.link.clock(), progress=report
        )


def _job_log(session: AgentSession, message: Message) -> None:
    report: JobLog = message.payload
    if not _is_own(session, message, report.job_id):
        return

    def done(stored: bool) -> None:
        if stored:
            session.ack_later(message.id)

    session.link.writer.log_lines(job_id=report.job_id, host_id=session.host_id, lines=report.lines, done=done)


def _job_finished(session: AgentSession, message: Message) -> None:
    report: JobFinished = message.payload
    _call(session, jobs.finished, report=report)
    session.ack(message.id)


def _schedule_ack(session: AgentSession, message: Message) -> None:
    report: ScheduleAck = message.payload
    _call(session, presence.applied, report=report)
    session.ack(message.id)


def _runs_skipped(session: AgentSession, message: Message) -> None:
    report: RunsSkipped = message.payload
    _call(session, skipped_runs.keep, report_id=message.id, report=report)
    session.ack(message.id)


def _repository_stats(session: AgentSession, message: Message) -> None:
    stats: RepositoryStats = message.payload
    _call(session, repositories.keep_stats, stats=stats)
    session.ack(message.id)


def _snapshots_report(session: AgentSession, message: Message) -> None:
    report: SnapshotsReport = message.payload
    _call(session, snapshots.keep_report, report=report)
    session.ack(message.id)


def _browse_result(session: AgentSession, message: Message) -> None:
    result: BrowseResult = message.payload
    session.answered(result)


def _update_progress(session: AgentSession, message: Message) -> None:
    report: UpdateProgress = message.payload
    _call(session, updates.progress, report=report)
    if report.phase == FENCE:
        # The host swaps on this, and only on this; what it agrees to is committed.
        session.ack(message.id)


def _update_result(session: AgentSession, message: Message) -> None:
    report: UpdateResult = message.payload
    _call(session, updates.result, report=report)
    session.ack(message.id)


def _call(session: AgentSession, service: Callable[..., Any], **arguments: Any) -> None:
    with database.connection():
        service(session.link.bus, host_id=session.host_id, now=session.link.clock(), **arguments)


def _is_own(session: AgentSession, message: Message, job_id: str) -> bool:
    owner = session.owner_of(job_id)
    if owner == session.host_id:
        return True
    if owner is None:
        session.answer_error(message.id, "unknown_job", "This server does not know that job.")
    else:
        session.answer_error(message.id, "not_yours", "That job belongs to another host.")
    return False


_HANDLERS: dict[str, Callable[[AgentSession, Message], None]] = {
    "heartbeat": _heartbeat,
    "job.started": _job_started,
    "job.progress": _job_progress,
    "job.log": _job_log,
    "job.finished": _job_finished,
    "schedule.ack": _schedule_ack,
    "schedule.skipped": _runs_skipped,
    "repository.stats": _repository_stats,
    "snapshots.report": _snapshots_report,
    "browse.result": _browse_result,
    "update.progress": _update_progress,
    "update.result": _update_result,
}
