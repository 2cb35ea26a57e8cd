"""Every message by its name, and which are repeated until they are answered."""

from rm.shared.protocol.connection import Ack, Error, Heartbeat, Hello, Welcome
from rm.shared.protocol.jobs import CommandCancel, CommandRun, JobFinished, JobLog, JobProgress, JobStarted
from rm.shared.protocol.repositories import BrowseResult, CommandBrowse, ConfigSet, RepositoryStats, SnapshotsReport
from rm.shared.protocol.schedules import RunsSkipped, ScheduleAck, ScheduleSet
from rm.shared.protocol.updates import CommandRollback, CommandUpdate, CommandUpdateCancel, UpdateProgress, UpdateResult

FROM_AGENT: dict[str, type] = {
    "hello": Hello,
    "heartbeat": Heartbeat,
    "job.started": JobStarted,
    "job.progress": JobProgress,
    "job.log": JobLog,
    "job.finished": JobFinished,
    "schedule.ack": ScheduleAck,
    "schedule.skipped": RunsSkipped,
    "repository.stats": RepositoryStats,
    "snapshots.report": SnapshotsReport,
    "browse.result": BrowseResult,
    "update.progress": UpdateProgress,
    "update.result": UpdateResult,
}
FROM_SERVER: dict[str, type] = {
    "welcome": Welcome,
    "ack": Ack,
    "error": Error,
    "config.set": ConfigSet,
    "schedule.set": ScheduleSet,
    "command.run": CommandRun,
    "command.cancel": CommandCancel,
    "command.browse": CommandBrowse,
    "command.update": CommandUpdate,
    "command.rollback": CommandRollback,
    "command.update_cancel": CommandUpdateCancel,
}
REPEATED = frozenset(
    {
        "job.started", "job.log", "job.finished", "update.result", "schedule.ack", "schedule.skipped",
        "snapshots.report", "repository.stats",
    }
)  # fmt: skip
