"""Named queries about source groups."""

from rm.errors import NotFound
from rm.store.models import SourceGroup


def list_for_host(host_id: str) -> list[SourceGroup]:
    return list(SourceGroup.select().where(SourceGroup.host == host_id).order_by(SourceGroup.name))


def get(group_id: str, *, host_id: str) -> SourceGroup:
    """The group, if it is this host's; raises NotFound."""
    group = SourceGroup.get_or_none(SourceGroup.id == group_id, SourceGroup.host == host_id)
    if group is None:
        raise NotFound("This host has no such source group.")
    return group
