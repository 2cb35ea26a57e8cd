"""Runs that were due and did not take place: what agents say of them, kept once."""

from datetime import datetime, timedelta

from rm.errors import Conflict
from rm.events import EventBus, HostChanged
from rm.services import verdicts
from rm.shared import instants
from rm.shared.protocol import RunsSkipped
from rm.store import hosts, skipped_runs
from rm.store.database import changes, publish_after_commit
from rm.store.models import SkippedRun

MAX_KEPT = 1000
AHEAD = timedelta(days=1)


def keep(bus: EventBus, *, host_id: str, report_id: str, report: RunsSkipped, now: datetime) -> None:
    """Keep a report, once however often it is repeated, and the newest thousand of a host.

    Raises NotFound for a host that is gone, Conflict for times that cannot be.
    """
    due_from, due_to = instants.from_text(report.due_from), instants.from_text(report.due_to)
    if due_to < due_from:
        raise Conflict("The last of these runs was due before the first.")
    if due_to > now + AHEAD:
        raise Conflict("These runs are due more than a day ahead of the server's clock. Check the clock of the host.")
    with changes():
        hosts.get(host_id)
        if skipped_runs.exists(report_id):
            return
        SkippedRun.create(
            id=report_id,
            host=host_id,
            source_group=report.source_group,
            schedule_id=report.schedule_id,
            due_from=due_from,
            due_to=due_to,
            count=report.count,
            reason=report.reason,
            message=report.message,
            job_id=report.job_id,
            at=now,
        )
        skipped_runs.drop_oldest(host_id, keep=MAX_KEPT)
        verdicts.refresh(bus, host_id=host_id, now=now)
        publish_after_commit(bus, HostChanged(host_id))
