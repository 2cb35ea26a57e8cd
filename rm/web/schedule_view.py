"""What is shown beside a schedule that is typed: its words, its next runs, and what is odd about it."""

from dataclasses import dataclass, field
from datetime import datetime

from rm.errors import Invalid
from rm.services import schedule_outlook, schedule_sets
from rm.services.schedules import ScheduleForm
from rm.store import schedules, source_groups
from rm.store.models import Host, Schedule
from rm.web import schedule_fields


@dataclass(frozen=True)
class Run:
    """One run: the moment, and what the host's clock shows then."""

    at: datetime
    there: str


@dataclass(frozen=True)
class Beside:
    """What stands beside the form; `problem` is a sentence instead of runs, `warnings` are sentences."""

    words: str = ""
    runs: list[Run] = field(default_factory=list)
    zone: str = "UTC"
    spread: str = ""
    problem: str = ""
    warnings: list[str] = field(default_factory=list)


def beside(host: Host, texts: schedule_fields.Typed, *, schedule_id: str | None, now: datetime) -> Beside:
    """What the schedule that is typed would do on this host."""
    zone = schedule_outlook.zone_words(host)
    try:
        form = schedule_fields.typed(texts)
    except Invalid as error:
        return Beside(zone=zone, problem=next(iter(error.fields.values())))
    seen = schedule_outlook.preview(host, form, now=now)
    if seen.problem:
        return Beside(zone=zone, problem=seen.problem)
    return Beside(
        words=seen.words,
        runs=[Run(run, there(run)) for run in seen.next_runs],
        zone=zone,
        spread=spread_words(form.jitter_seconds),
        warnings=_warnings(host, form, schedule_id, now),
    )


def there(run: datetime) -> str:
    """What the clock shows in the run's own zone: Tue 24 Nov 2026, 03:15 CET."""
    return run.strftime("%a %-d %b %Y, %H:%M %Z")


def spread_words(jitter_seconds: int) -> str:
    """How much later it may start; empty if it starts at once."""
    if not jitter_seconds:
        return ""
    if jitter_seconds < 120:
        return f"up to {jitter_seconds} seconds later"
    if jitter_seconds < 7200:
        return f"up to {round(jitter_seconds / 60)} minutes later"
    return f"up to {round(jitter_seconds / 3600)} hours later"


def cannot_run(host: Host) -> str:
    """Why this host would not run a schedule now, in a sentence; empty if it would."""
    if host.first_hello_at is None:
        return f"{host.name} has not connected yet; it takes its schedules over when it does."
    if schedule_sets.FEATURE not in host.features:
        return f"The agent of {host.name} is too old to run schedules. Update it; until then only you start backups."
    if host.repository_id is None:
        return f"{host.name} has no repository yet; until it has one, nothing runs."
    return ""


def _warnings(host: Host, form: ScheduleForm, schedule_id: str | None, now: datetime) -> list[str]:
    found = [why for why in (cannot_run(host),) if why]
    if not host.timezone and form.cron:
        found.append("The host has not said its time zone yet; these times are UTC.")
    if not form.is_enabled:
        found.append("It is switched off: it runs nothing until it is switched on.")
    groups = {group.id: group for group in source_groups.list_for_host(host.id)}
    chosen = [groups[group_id] for group_id in form.groups if group_id in groups]
    if not chosen:
        found.append("It runs nothing yet: choose a source group.")
    runs = {key: value for key, value in schedules.groups_by_schedule(host.id).items() if key != schedule_id}
    others = [one for one in schedules.list_for_host(host.id) if one.id != schedule_id]
    typed = Schedule(
        id="typed", host=host.id, cron=form.timing.cron, every_minutes=form.every_minutes, is_enabled=form.is_enabled
    )
    hints = schedule_outlook.retention_hints(host, [*others, typed], runs | {"typed": chosen}, now=now)
    return found + [f"{group.name} {hints[group.id]}." for group in chosen if group.id in hints]
