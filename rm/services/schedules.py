"""Schedules: when a host backs up which of its groups; its agent keeps and runs them."""

from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

from rm.domain.actors import Actor
from rm.errors import Conflict, Invalid
from rm.events import EventBus
from rm.services import audit, schedule_sets
from rm.shared.ids import new_ulid
from rm.shared.protocol import MAX_SCHEDULES
from rm.shared.schedule import ScheduleError, Timing, describe, upcoming
from rm.store import hosts, schedules
from rm.store import source_groups as stored_groups
from rm.store.database import changes
from rm.store.models import Host, Schedule, ScheduleGroup
from rm.store.vault import Vault

MAX_JITTER = 86_400


@dataclass(frozen=True, kw_only=True)
class ScheduleForm:
    """What a person says of a schedule; `groups` are the ids of the host's groups that it runs."""

    name: str = ""
    cron: str = ""
    every_minutes: int = 0
    jitter_seconds: int = 0
    is_enabled: bool = True
    groups: list[str] = field(default_factory=list)

    @property
    def timing(self) -> Timing:
        return Timing(cron=" ".join(self.cron.split()), every_minutes=self.every_minutes)


def save(
    bus: EventBus, vault: Vault, *, host_id: str, schedule_id: str | None, form: ScheduleForm, actor: Actor,
    now: datetime,
) -> Schedule:  # fmt: skip
    """A schedule made (schedule_id None) or changed; raises Invalid or NotFound."""
    with changes():
        host = hosts.get(host_id)
        existing = schedules.get(schedule_id, host_id=host_id) if schedule_id is not None else None
        found = put(bus, host=host, existing=existing, form=form, actor=actor, now=now)
        schedule_sets.settle(bus, vault, host_id=host_id, field="groups", now=now)
        return found


def put(
    bus: EventBus, *, host: Host, existing: Schedule | None, form: ScheduleForm, actor: Actor, now: datetime,
    **more: Any,
) -> Schedule:  # fmt: skip
    """Write one schedule inside the caller's transaction, who calls schedule_sets.settle at its end. Raises Invalid."""
    _check(form, host, existing)
    if existing is None and schedules.count_for_host(host.id) >= MAX_SCHEDULES:
        raise Invalid({"name": f"A host can have {MAX_SCHEDULES} schedules."})
    schedule_id = existing.id if existing is not None else new_ulid()
    values = more | {
        "name": form.name.strip(),
        "cron": form.timing.cron,
        "every_minutes": form.every_minutes,
        "jitter_seconds": form.jitter_seconds,
        "is_enabled": form.is_enabled,
        "changed_at": now,
    }
    if existing is None:
        Schedule.create(id=schedule_id, host=host.id, created_at=now, **values)
    else:
        Schedule.update(values).where(Schedule.id == schedule_id).execute()
        ScheduleGroup.delete().where(ScheduleGroup.schedule == schedule_id).execute()
    for group_id in dict.fromkeys(form.groups):
        ScheduleGroup.create(schedule=schedule_id, group=group_id)
    audit.record(
        actor,
        "schedule.created" if existing is None else "schedule.changed",
        now=now,
        kind="schedule",
        id=schedule_id,
        name=form.name.strip(),
        host=host.name,
        when=describe(form.timing),
        is_enabled=form.is_enabled,
    )
    return schedules.get(schedule_id, host_id=host.id)


def enable(
    bus: EventBus, vault: Vault, *, host_id: str, schedule_id: str, is_enabled: bool, actor: Actor, now: datetime
) -> Schedule:
    """Switch a schedule on or off; doing it twice changes nothing. Raises NotFound, or Conflict if it runs nothing."""
    with changes():
        host = hosts.get(host_id)
        found = schedules.get(schedule_id, host_id=host_id)
        if found.is_enabled == is_enabled:
            return found
        if is_enabled and schedule_id not in schedules.groups_by_schedule(host_id):
            raise Conflict(
                f"{found.name} runs no source group.", code="schedule_empty", help="Choose what it backs up first."
            )
        Schedule.update(is_enabled=is_enabled, changed_at=now).where(Schedule.id == schedule_id).execute()
        audit.record(
            actor, "schedule.enabled" if is_enabled else "schedule.disabled", now=now, kind="schedule",
            id=schedule_id, name=found.name, host=host.name,
        )  # fmt: skip
        schedule_sets.settle(bus, vault, host_id=host_id, field="groups", now=now)
        return schedules.get(schedule_id, host_id=host_id)


def remove(bus: EventBus, vault: Vault, *, host_id: str, schedule_id: str, actor: Actor, now: datetime) -> None:
    """Forget a schedule; nothing that ran is lost. Raises NotFound."""
    with changes():
        host = hosts.get(host_id)
        found = schedules.get(schedule_id, host_id=host_id)
        found.delete_instance()
        audit.record(
            actor, "schedule.removed", now=now, kind="schedule", id=schedule_id, name=found.name, host=host.name
        )
        schedule_sets.settle(bus, vault, host_id=host_id, field="groups", now=now)


def timing_problem(form: ScheduleForm) -> str | None:
    """What is wrong with when it runs, in a sentence; None if it can be run."""
    try:
        form.timing.check()
    except ScheduleError as error:
        return str(error)
    return None


def problems(form: ScheduleForm) -> dict[str, str]:
    """What is wrong with a schedule whatever the host, by field."""
    wrong = {}
    name = form.name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        wrong["name"] = "Use 1 to 100 printable characters."
    problem = timing_problem(form)
    if problem:
        wrong["every_minutes" if form.every_minutes and not form.cron.strip() else "cron"] = problem
    if not 0 <= form.jitter_seconds <= MAX_JITTER:
        wrong["jitter_seconds"] = "Spread the start over 0 to 86,400 seconds."
    elif problem is None and form.jitter_seconds >= (gap := shortest_gap_seconds(form.timing)):
        wrong["jitter_seconds"] = (
            f"Spread the start over less than the time between two runs, which is {gap:,} seconds at the shortest."
        )
    if not form.groups and form.is_enabled:
        wrong["groups"] = "Choose at least one source group."
    return wrong


def _check(form: ScheduleForm, host: Host, existing: Schedule | None) -> None:
    wrong = problems(form)
    others = [one for one in schedules.list_for_host(host.id) if existing is None or one.id != existing.id]
    if any(one.name == form.name.strip() for one in others):
        wrong["name"] = "This host has a schedule of this name already."
    if not set(form.groups) <= {one.id for one in stored_groups.list_for_host(host.id)}:
        wrong["groups"] = "Choose among the groups of this host."
    if wrong:
        raise Invalid(wrong)


def shortest_gap_seconds(timing: Timing) -> int:
    """The shortest time between two runs among the next sixty; the jitter must be less."""
    if not timing.cron:
        return timing.every_minutes * 60
    runs = upcoming(timing, after=_ANY_DAY, zone=timezone.utc, count=60)
    return min((int((later - run).total_seconds()) for run, later in pairwise(runs)), default=MAX_JITTER + 1)


_ANY_DAY = datetime(2026, 1, 1, tzinfo=timezone.utc)
