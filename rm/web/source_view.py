"""The card "What and when" of a host: its groups, the schedules that run them, and whether the host has them."""

from dataclasses import dataclass
from datetime import datetime

from rm.services import schedule_outlook, schedule_sets, templates
from rm.services.schedule_outlook import Outlook
from rm.services.templates import Drift
from rm.store import source_groups
from rm.store.hosts import HostRow
from rm.store.models import Host, Schedule, SourceGroup
from rm.web import retention_form, schedule_view

DRIFT_SHOWN = 5


@dataclass(frozen=True)
class GroupLine:
    """A source group: what runs it, when next, what is kept, and when it last worked."""

    group: SourceGroup
    when: list[Outlook]
    next_at: datetime | None
    kept: str
    last_good_at: datetime | None
    hints: list[str]


@dataclass(frozen=True)
class ScheduleLine:
    """A schedule with its next run."""

    seen: Outlook
    next_there: str
    next_at: datetime | None
    spread: str

    @property
    def schedule(self) -> Schedule:
        return self.seen.schedule


@dataclass(frozen=True)
class Delivery:
    """Whether the host runs the wanted groups and schedules; `kind` is that of a status."""

    kind: str
    word: str
    text: str
    since: datetime | None = None


@dataclass(frozen=True)
class Card:
    """Everything on it."""

    groups: list[GroupLine]
    schedules: list[ScheduleLine]
    delivery: Delivery | None
    drift: list[Drift]
    more_drift: int


def card(row: HostRow, now: datetime) -> Card:
    """What the card of this host shows."""
    host = row.host
    outlooks = schedule_outlook.list_for_host(host.id, now=now)
    groups = source_groups.list_for_host(host.id)
    last_good = {one.kept.name: one.kept.last_good_at for one in row.groups if one.kept.last_good_at is not None}
    hints = schedule_outlook.hints_of_groups(host.id, now=now)
    reported = {one.kept.id: one.now.next_at for one in row.groups}
    drift = templates.drift(host.id)
    is_run = not host.revoked_at and not schedule_view.cannot_run(host)
    return Card(
        groups=[_group(one, outlooks, reported, last_good, hints, is_run=is_run) for one in groups],
        schedules=[_schedule(one, is_run=is_run) for one in outlooks],
        delivery=delivery(host, groups, [one.schedule for one in outlooks], is_online=row.is_online),
        drift=drift[:DRIFT_SHOWN],
        more_drift=max(0, len(drift) - DRIFT_SHOWN),
    )


def delivery(host: Host, groups: list[SourceGroup], planned: list[Schedule], *, is_online: bool) -> Delivery | None:
    """What is to be said about a host that does not run what is wanted; None when it does, or has nothing to run."""
    if not planned or host.revoked_at is not None:
        return None
    if host.first_hello_at is None or schedule_sets.FEATURE not in host.features:
        return Delivery("warning", "Not run yet", schedule_view.cannot_run(host))
    wanted, runs = host.schedule_version, host.schedule_applied
    since = max([one.changed_at for one in (*groups, *planned)])
    if host.schedule_problem:
        text = f"{host.name} could not take over version {wanted}: {host.schedule_problem} {_as_before(runs)}"
        return Delivery("failed", "Not taken over", text, since)
    if wanted == runs:
        return None
    if is_online:
        return Delivery("queue", "On its way", f"Version {wanted} is wanted. {_as_before(runs)}", since)
    text = f"Version {wanted} is wanted; the host takes it over when it connects. {_as_before(runs)}"
    return Delivery("queue", "Waits for the host", text, since)


def _as_before(version: int) -> str:
    return f"The host runs version {version} as before." if version else "Until then the host runs no schedules."


def _group(
    group: SourceGroup, outlooks: list[Outlook], reported: dict[str, datetime | None],
    last_good: dict[str, datetime], hints: dict[str, list[str]], *, is_run: bool,
) -> GroupLine:  # fmt: skip
    when = [one for one in outlooks if group.id in {run.id for run in one.groups}]
    planned = [one.next_runs[0] for one in when if one.next_runs]
    return GroupLine(
        group=group,
        when=[one for one in when if one.schedule.is_enabled],
        next_at=(reported.get(group.id) or min(planned, default=None)) if planned and is_run else None,
        kept=retention_form.words(group.retention),
        last_good_at=last_good.get(group.name),
        hints=[f"{hint[:1].upper()}{hint[1:]}" for hint in hints.get(group.id, [])],
    )


def _schedule(one: Outlook, *, is_run: bool) -> ScheduleLine:
    first = one.next_runs[0] if one.next_runs and is_run else None
    return ScheduleLine(
        seen=one,
        next_there=schedule_view.there(first) if first is not None else "",
        next_at=first,
        spread=schedule_view.spread_words(one.schedule.jitter_seconds),
    )
