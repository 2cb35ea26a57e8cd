"""Source groups: what a host backs up."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.errors import Invalid
from rm.events import EventBus, HostChanged
from rm.services import audit
from rm.shared.ids import new_ulid
from rm.store import hosts, source_groups
from rm.store.database import IntegrityError, changes, publish_after_commit
from rm.store.models import SourceGroup

MAX_GROUPS = 50


def save(
    bus: EventBus,
    *,
    host_id: str,
    group_id: str | None,
    name: str,
    includes: list[str],
    excludes: list[str],
    actor: Actor,
    now: datetime,
) -> SourceGroup:
    """A group made (group_id None) or changed; raises Invalid or NotFound."""
    name = name.strip()
    includes, excludes = _lines(includes), _lines(excludes)
    _check(name, includes, excludes)
    values = {"name": name, "includes": includes, "excludes": excludes, "changed_at": now}
    with changes():
        host = hosts.get(host_id)
        if group_id is None and len(source_groups.list_for_host(host_id)) >= MAX_GROUPS:
            raise Invalid({"name": f"A host can have {MAX_GROUPS} source groups."})
        try:
            if group_id is None:
                group = SourceGroup.create(id=new_ulid(), host=host_id, created_at=now, **values)
            else:
                group = source_groups.get(group_id, host_id=host_id)
                SourceGroup.update(values).where(SourceGroup.id == group.id).execute()
        except IntegrityError as error:
            raise Invalid({"name": "This host has a group of this name already."}) from error
        audit.record(
            actor,
            "source_group.created" if group_id is None else "source_group.changed",
            now=now,
            kind="source_group",
            id=group.id,
            name=name,
            host=host.name,
            includes=includes,
            excludes=excludes,
        )
        publish_after_commit(bus, HostChanged(host_id))
        return source_groups.get(group.id, host_id=host_id)


def remove(bus: EventBus, *, host_id: str, group_id: str, actor: Actor, now: datetime) -> None:
    """Forget a group; its snapshots stay. Raises NotFound."""
    with changes():
        host = hosts.get(host_id)
        group = source_groups.get(group_id, host_id=host_id)
        group.delete_instance()
        audit.record(
            actor, "source_group.removed", now=now, kind="source_group", id=group_id, name=group.name, host=host.name
        )
        publish_after_commit(bus, HostChanged(host_id))


def _lines(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(text.strip("\r") for text in texts if text.strip()))


def _check(name: str, includes: list[str], excludes: list[str]) -> None:
    wrong = {}
    if not name or len(name) > 100 or not name.isprintable() or "," in name:
        wrong["name"] = "Use 1 to 100 printable characters without a comma: the name is the tag of its snapshots."
    if not includes:
        wrong["includes"] = "Name at least one folder or file, one a line."
    elif len(includes) > 200 or any(len(path) > 4096 or "\0" in path for path in includes):
        wrong["includes"] = "Name at most 200 paths of at most 4,096 characters."
    elif relative := [path for path in includes if not path.startswith("/")]:
        wrong["includes"] = f"Each path starts with /; this one does not: {relative[0][:100]}"
    if len(excludes) > 500 or any(len(pattern) > 4096 or "\0" in pattern for pattern in excludes):
        wrong["excludes"] = "Name at most 500 patterns of at most 4,096 characters."
    if wrong:
        raise Invalid(wrong)
