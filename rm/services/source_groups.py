"""Source groups: what a host backs up, and how."""

from datetime import datetime
from typing import Any

from rm.domain import retention
from rm.domain.actors import SERVER, Actor
from rm.domain.permissions import is_allowed
from rm.errors import Forbidden, Invalid
from rm.events import EventBus, HostChanged
from rm.services import alerts, audit, jobs, maintenance_ends, retention_changes, schedule_sets, verdicts
from rm.services.source_group_forms import HOOKS, SourceGroupForm, check, cleaned, form_of
from rm.shared.ids import new_ulid
from rm.store import hosts, maintenance, schedules, source_groups
from rm.store import jobs as stored_jobs
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Job, Schedule, SourceGroup
from rm.store.vault import Vault

MAX_GROUPS = 50


def save(
    bus: EventBus, vault: Vault, *, host_id: str, group_id: str | None, form: SourceGroupForm, typed_name: str = "",
    actor: Actor, now: datetime,
) -> SourceGroup:  # fmt: skip
    """A group made (group_id None) or changed; raises Invalid, NotFound, or Forbidden for hooks.

    A retention by which more than half of its snapshots would go wants the group's name typed.
    """
    with changes():
        host = hosts.get(host_id)
        existing = source_groups.get(group_id, host_id=host_id) if group_id is not None else None
        if not may_edit_hooks(actor) and touches_hooks(form, existing):
            raise Forbidden("Only an administrator changes what runs before and after a backup.")
        group = put(bus, vault, host=host, existing=existing, form=form, typed_name=typed_name, actor=actor, now=now)
        schedule_sets.settle(bus, vault, host_id=host_id, field="includes", now=now)
        return group


def put(
    bus: EventBus, vault: Vault, *, host: Host, existing: SourceGroup | None, form: SourceGroupForm,
    typed_name: str = "", actor: Actor, now: datetime, **more: Any,
) -> SourceGroup:  # fmt: skip
    """Write one group inside the caller's transaction, who calls schedule_sets.settle at its end. Raises Invalid."""
    form = cleaned(form)
    check(form, host=host, existing=existing)
    if existing is None and len(source_groups.list_for_host(host.id)) >= MAX_GROUPS:
        raise Invalid({"name": f"A host can have {MAX_GROUPS} source groups."})
    # A group that is new, or renamed, takes over the snapshots that carry its name already.
    is_same = existing is not None and existing.name == form.name
    known = existing.retention if existing is not None and is_same else {}
    retention_changes.confirm(
        host=host, group_name=form.name, before=retention_changes.looked_at(existing) if is_same else {},
        retention=form.retention, typed_name=typed_name, now=now,
    )  # fmt: skip
    if typed_name.strip() == form.name:
        more["retention_hold"] = ""
    elif retention.normal(form.retention) != retention.normal(known):
        more["retention_hold"] = retention_changes.hold(
            host=host, group_name=form.name, retention=form.retention, now=now
        )
    before = form_of(existing) if existing is not None else SourceGroupForm()
    group_id = existing.id if existing is not None else new_ulid()
    plain = {name: value for name, value in vars(form).items() if name in vars(before) and "shell" not in name}
    plain |= {name: getattr(before, name) for name in HOOKS if plain[name] is None}
    plain = {name: value for name, value in plain.items() if value is not None or name == "stale_after_hours"}
    plain["retention"] = retention.normal(form.retention)
    changed = [name for name, value in plain.items() if value != getattr(before, name)]
    values = plain | _sealed(vault, group_id, form) | more | {"changed_at": now}
    if existing is None:
        SourceGroup.create(id=group_id, host=host.id, created_at=now, **values)
    else:
        SourceGroup.update(values).where(SourceGroup.id == group_id).execute()
        if {"retention", "name"} & set(changed):
            _end_forgets(bus, host, group_id, why="The retention was changed.", actor=actor, now=now)
        if not is_same:
            _end_waiting_backups(bus, existing, actor=actor, now=now)
    audit.record(
        actor,
        "source_group.created" if existing is None else "source_group.changed",
        now=now,
        kind="source_group",
        id=group_id,
        name=form.name,
        host=host.name,
        includes=form.includes,
        excludes=form.excludes,
        changed=changed,
        shell_changed=form.touches_shell,
    )
    return source_groups.get(group_id, host_id=host.id)


def remove(bus: EventBus, *, host_id: str, group_id: str, actor: Actor, now: datetime) -> None:
    """Forget a group; its snapshots stay, and a schedule that ran only it is switched off. Raises NotFound."""
    with changes():
        host = hosts.get(host_id)
        group = source_groups.get(group_id, host_id=host_id)
        for schedule in schedules.list_running_only(group_id):
            Schedule.update(is_enabled=False, changed_at=now).where(Schedule.id == schedule.id).execute()
            audit.record(
                actor, "schedule.disabled", now=now, kind="schedule", id=schedule.id, name=schedule.name,
                host=host.name, reason=f"the only group that it ran, {group.name}, was removed",
            )  # fmt: skip
        _end_forgets(bus, host, group_id, why="The source group was removed.", actor=actor, now=now)
        _end_waiting_backups(bus, group, actor=actor, now=now)
        group.delete_instance()
        audit.record(
            actor, "source_group.removed", now=now, kind="source_group", id=group_id, name=group.name, host=host.name
        )
        schedule_sets.changed(bus, host_id=host_id, now=now)
        verdicts.refresh(bus, host_id=host_id, now=now)
        publish_after_commit(bus, HostChanged(host_id))


def _end_forgets(bus: EventBus, host: Host, group_id: str, *, why: str, actor: Actor, now: datetime) -> None:
    """End what was ordered by a retention that does not hold any more, and what was told of it."""
    condition = maintenance_ends.condition_of(host.repository_id or "", group_id)
    alerts.clear(bus, kind="forget_failed", condition=condition, note=why, now=now)
    for job in maintenance.list_open_forgets(group_id):
        if job.dispatched_at is None:
            Job.update(cancel_requested_by=SERVER.name).where(Job.id == job.id).execute()
        jobs.cancel(bus, job_id=job.id, actor=actor, now=now)


def _end_waiting_backups(bus: EventBus, group: SourceGroup, *, actor: Actor, now: datetime) -> None:
    """End what was ordered under a name that goes, if the group has hooks: it would be backed up without them."""
    for job in stored_jobs.open_for_host(group.host_id) if source_groups.has_hooks(group) else []:
        if job.kind == "backup" and job.source_group == group.name and job.dispatched_at is None:
            jobs.cancel(bus, job_id=job.id, actor=actor, now=now)


def may_edit_hooks(actor: Actor) -> bool:
    """Whether this person may say what runs before and after a backup."""
    return actor.kind == SERVER.kind or is_allowed(actor.role, "hooks.edit")


def touches_hooks(form: SourceGroupForm, existing: SourceGroup | None) -> bool:
    """Whether this changes what runs before and after a backup of the group, or for how long it may."""
    before = form_of(existing) if existing is not None else SourceGroupForm(pre_hook="", post_hook="", hook_seconds=600)
    is_other = any(getattr(form, name) not in (None, getattr(before, name)) for name in HOOKS)
    return is_other or form.touches_shell


def _sealed(vault: Vault, group_id: str, form: SourceGroupForm) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for column in ("pre_shell", "post_shell"):
        text = getattr(form, column)
        if text:
            found[f"{column}_sealed"] = vault.seal(text, place=schedule_sets.shell_place(group_id, column))
        elif getattr(form, f"remove_{column}"):
            found[f"{column}_sealed"] = None
    return found
