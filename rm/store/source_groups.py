"""Named queries about source groups."""

from rm.errors import NotFound
from rm.store.models import Host, SourceGroup


def list_for_host(host_id: str) -> list[SourceGroup]:
    return list(SourceGroup.select().where(SourceGroup.host == host_id).order_by(SourceGroup.name))


def get(group_id: str, *, host_id: str) -> SourceGroup:
    """The group, if it is this host's; raises NotFound."""
    group = SourceGroup.get_or_none(SourceGroup.id == group_id, SourceGroup.host == host_id)
    if group is None:
        raise NotFound("This host has no such source group.")
    return group


def find_by_name(name: str, *, host_id: str) -> SourceGroup | None:
    return SourceGroup.get_or_none(SourceGroup.host == host_id, SourceGroup.name == name)


def list_held(repository_id: str, *, limit: int) -> list[SourceGroup]:
    """The groups whose first forget in this repository waits, with their hosts."""
    query = SourceGroup.select(SourceGroup, Host).join(Host).where(
        Host.repository == repository_id, Host.revoked_at.is_null(), SourceGroup.retention_hold != ""
    )  # fmt: skip
    return list(query.order_by(SourceGroup.id).limit(limit))


def has_hooks(group: SourceGroup) -> bool:
    """Whether something is to run before or after a backup of it."""
    return bool(group.pre_hook or group.post_hook or group.pre_shell_sealed or group.post_shell_sealed)
