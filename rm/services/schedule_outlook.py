"""What a schedule will do, for showing: its words, its next runs in the host's zone, and what is odd about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from rm.domain.retention import unsatisfiable_by
from rm.services.schedules import ScheduleForm, timing_problem
from rm.shared.schedule import Timing, describe, upcoming, zone_named
from rm.store import hosts, maintenance, schedules, source_groups
from rm.store.models import Host, Schedule, SourceGroup

RUNS_SHOWN = 5


@dataclass(frozen=True)
class Outlook:
    """One schedule; `next_runs` are aware and in the zone called `zone`, without the jitter."""

    schedule: Schedule
    groups: list[SourceGroup]
    words: str
    next_runs: list[datetime]
    zone: str
    hints: list[str]


@dataclass(frozen=True)
class Preview:
    """What a timing that is being typed would do; `problem` is a sentence, empty when it can be run."""

    words: str
    next_runs: list[datetime]
    zone: str
    problem: str


def list_for_host(host_id: str, *, now: datetime) -> list[Outlook]:
    """Every schedule of a host; raises NotFound."""
    host = hosts.get(host_id)
    runs = schedules.groups_by_schedule(host_id)
    last = schedules.last_due(host_id)
    found = schedules.list_for_host(host_id)
    hints = retention_hints(host, found, runs, now=now)
    return [_outlook(host, one, runs.get(one.id, []), last.get(one.id), hints, now) for one in found]


def of(schedule: Schedule, *, now: datetime) -> Outlook:
    """One schedule; raises NotFound when its host is gone."""
    return next(one for one in list_for_host(schedule.host_id, now=now) if one.schedule.id == schedule.id)


def preview(host: Host, form: ScheduleForm, *, now: datetime) -> Preview:
    """What is being typed, before it is saved."""
    zone = zone_named(host.timezone)
    problem = timing_problem(form)
    if problem:
        return Preview(words="", next_runs=[], zone=zone_words(host), problem=problem)
    return Preview(
        words=describe(form.timing), next_runs=_next(form.timing, zone, None, now), zone=zone_words(host), problem=""
    )


def retention_hints(
    host: Host, found: Sequence[Schedule], runs: dict[str, list[SourceGroup]], *, now: datetime
) -> dict[str, str]:
    """By group id: why its retention can never be filled by the schedules that run it."""
    zone = zone_named(host.timezone)
    timings: dict[str, list[Timing]] = {}
    for schedule in found:
        for group in runs.get(schedule.id, []) if schedule.is_enabled else []:
            timings.setdefault(group.id, []).append(_timing(schedule))
    retention = {group.id: group.retention for groups in runs.values() for group in groups}
    hints = {
        group_id: unsatisfiable_by(retention[group_id], its_own, now=now, zone=zone)
        for group_id, its_own in timings.items()
        if retention[group_id]
    }
    return {group_id: hint for group_id, hint in hints.items() if hint}


def hints_of_groups(host_id: str, *, now: datetime) -> dict[str, list[str]]:
    """By group id: that nothing runs it, that its retention can never be filled or is not applied; raises NotFound."""
    host = hosts.get(host_id)
    runs, found = schedules.groups_by_schedule(host_id), schedules.list_for_host(host_id)
    retention = retention_hints(host, found, runs, now=now)
    planned = {group.id for one in found if one.is_enabled for group in runs.get(one.id, [])}
    contested = maintenance.list_contested(host.repository_id, hostname=host.hostname) if host.repository_id else {}
    hints: dict[str, list[str]] = {}
    for group in source_groups.list_for_host(host_id):
        hints[group.id] = [] if group.id in planned else ["No schedule runs it: it is backed up only when asked."]
        hints[group.id] += [retention[group.id]] if group.id in retention else []
        if group.retention and group.id in contested:
            hints[group.id].append(
                f"Nothing of it is forgotten: {contested[group.id][0]} has the hostname {host.hostname} too and uses"
                " the same name in this repository."
            )
        if group.retention and group.retention_hold:
            hints[group.id].append(f"Its retention waits: {group.retention_hold}.")
    return hints


def zone_words(host: Host) -> str:
    """The name of the zone that the host's schedules go by, as far as it is known."""
    return host.timezone if host.timezone and str(zone_named(host.timezone)) == host.timezone else "UTC"


def _outlook(
    host: Host, schedule: Schedule, groups: list[SourceGroup], last: datetime | None, retention: dict[str, str],
    now: datetime,
) -> Outlook:  # fmt: skip
    timing = _timing(schedule)
    hints = []
    if not groups:
        hints.append("It runs nothing: choose a source group.")
    if not schedule.is_enabled:
        hints.append("It is switched off.")
    elif host.repository_id is None:
        hints.append("The host has no repository yet; until it has one, nothing runs.")
    if not host.timezone and schedule.cron:
        hints.append("The host has not said its time zone yet; these times are UTC.")
    hints += [f"{group.name}: {retention[group.id]}" for group in groups if group.id in retention]
    is_live = schedule.is_enabled and groups
    return Outlook(
        schedule=schedule,
        groups=groups,
        words=describe(timing),
        next_runs=_next(timing, zone_named(host.timezone), last, now) if is_live else [],
        zone=zone_words(host),
        hints=hints,
    )


def _next(timing: Timing, zone: tzinfo, last: datetime | None, now: datetime) -> list[datetime]:
    return [run.astimezone(zone) for run in upcoming(timing, after=now, zone=zone, count=RUNS_SHOWN, last=last)]


def _timing(schedule: Schedule) -> Timing:
    return Timing(cron=schedule.cron, every_minutes=schedule.every_minutes)
