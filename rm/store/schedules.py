"""Named queries about schedules and the source groups that they run."""

from datetime import datetime

from peewee import fn

from rm.errors import NotFound
from rm.store.models import Job, Schedule, ScheduleGroup, SourceGroup


def list_for_host(host_id: str) -> list[Schedule]:
    return list(Schedule.select().where(Schedule.host == host_id).order_by(Schedule.name))


def get(schedule_id: str, *, host_id: str) -> Schedule:
    """The schedule, if it is this host's; raises NotFound."""
    found = Schedule.get_or_none(Schedule.id == schedule_id, Schedule.host == host_id)
    if found is None:
        raise NotFound("This host has no such schedule.")
    return found


def count_for_host(host_id: str) -> int:
    return Schedule.select().where(Schedule.host == host_id).count()


def groups_by_schedule(host_id: str) -> dict[str, list[SourceGroup]]:
    """The groups that each schedule of a host runs, by name; a schedule that runs none is not in it."""
    query = (
        ScheduleGroup.select(ScheduleGroup.schedule, SourceGroup)
        .join(SourceGroup)
        .where(SourceGroup.host == host_id)
        .order_by(SourceGroup.name)
    )
    found: dict[str, list[SourceGroup]] = {}
    for row in query:
        found.setdefault(row.schedule_id, []).append(row.group)
    return found


def list_running_only(group_id: str) -> list[Schedule]:
    """The schedules that run this group and no other."""
    alone = ScheduleGroup.select(ScheduleGroup.schedule).group_by(ScheduleGroup.schedule).having(fn.COUNT("*") == 1)
    query = (
        Schedule.select()
        .join(ScheduleGroup)
        .where(ScheduleGroup.group == group_id, ScheduleGroup.schedule.in_(alone))
        .order_by(Schedule.name)
    )
    return list(query)


def last_due(host_id: str) -> dict[str, datetime]:
    """When the latest known run of each schedule of a host was due."""
    query = (
        Job.select(Job.schedule_id, Job.due_at)
        .where(Job.host == host_id, Job.due_at.is_null(False))
        .order_by(Job.id.desc())
        .limit(500)
    )
    found: dict[str, datetime] = {}
    for job in query:
        found.setdefault(job.schedule_id, job.due_at)
    return found
