"""Named queries about templates and what was made from them."""

from collections import defaultdict
from collections.abc import Sequence

from rm.errors import NotFound
from rm.store.models import Host, HostTag, Schedule, ScheduleGroup, SourceGroup, Template


def list_all() -> list[Template]:
    return list(Template.select().order_by(Template.name))


def find(template_id: str) -> Template | None:
    return Template.get_or_none(Template.id == template_id)


def get(template_id: str) -> Template:
    """The template; raises NotFound."""
    found = find(template_id)
    if found is None:
        raise NotFound("There is no such template.")
    return found


def find_by_name(name: str) -> Template | None:
    return Template.get_or_none(Template.name == name)


def count() -> int:
    return Template.select().count()


def host_ids_using(template_id: str) -> list[str]:
    """The hosts with a group or a schedule that was made from this template."""
    groups = SourceGroup.select(SourceGroup.host).where(SourceGroup.template == template_id)
    planned = Schedule.select(Schedule.host).where(Schedule.template == template_id)
    query = Host.select(Host.id).where(Host.id.in_(groups) | Host.id.in_(planned)).order_by(Host.name)
    return [host_id for (host_id,) in query.tuples()]


def hosts_to_apply(*, tags: Sequence[str], host_ids: Sequence[str], limit: int) -> list[Host]:
    """The hosts that carry one of the tags, or have one of these ids, by name; revoked ones are left out."""
    tagged = HostTag.select(HostTag.host).where(HostTag.tag.in_(list(tags)))
    query = Host.select().where(Host.revoked_at.is_null(), Host.id.in_(tagged) | Host.id.in_(list(host_ids)))
    return list(query.order_by(Host.name, Host.id).limit(limit))


def groups_of_hosts(host_ids: Sequence[str]) -> dict[str, list[SourceGroup]]:
    """The source groups of many hosts at once, by host."""
    found: dict[str, list[SourceGroup]] = defaultdict(list)
    for group in SourceGroup.select().where(SourceGroup.host.in_(list(host_ids))).order_by(SourceGroup.name):
        found[group.host_id].append(group)
    return found


def schedules_of_hosts(host_ids: Sequence[str]) -> dict[str, list[tuple[Schedule, list[str]]]]:
    """The schedules of many hosts at once, by host, each with the names of its groups."""
    names: dict[str, list[str]] = defaultdict(list)
    runs = (
        ScheduleGroup.select(ScheduleGroup.schedule, SourceGroup.name)
        .join(SourceGroup)
        .where(SourceGroup.host.in_(list(host_ids)))
        .order_by(SourceGroup.name)
    )
    for schedule_id, name in runs.tuples():
        names[schedule_id].append(name)
    found: dict[str, list[tuple[Schedule, list[str]]]] = defaultdict(list)
    for schedule in Schedule.select().where(Schedule.host.in_(list(host_ids))).order_by(Schedule.name):
        found[schedule.host_id].append((schedule, names[schedule.id]))
    return found
