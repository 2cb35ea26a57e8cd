"""Alerts about backups: at most one is open for a source group, and it ends with the next good backup."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rm.domain import alert_rules
from rm.domain.alerts import KINDS
from rm.domain.group_verdict import GroupFacts, GroupVerdict
from rm.domain.health import OFFLINE_AFTER
from rm.events import EventBus
from rm.services import alert_settings, alerts, repository_alerts
from rm.shared import instants
from rm.shared.words import counted
from rm.store import hosts, raising, verdicts
from rm.store.judged import JudgedGroup, JudgedHost

FAILED, LATE, MISSED = verdicts.BACKUP_ALERTS
SILENT_PATIENCE = KINDS[verdicts.OFFLINE_ALERT].patience
"""How long the server listens after its start before it calls anybody silent."""
MOST_AT_ONCE = 200
LOOKED_AT_ONCE = 250

Open = set[tuple[str, str]]
"""What is open about a host's backups: kind and condition."""


@dataclass(frozen=True)
class Judged:
    """A group with what it was judged by, and whether a backup of it runs just now."""

    host: JudgedHost
    group: JudgedGroup
    facts: GroupFacts
    verdict: GroupVerdict
    is_running: bool

    @property
    def condition(self) -> str:
        return f"group:{self.group.id}"

    @property
    def has_new_failure(self) -> bool:
        """Whether the failure came, or the hope for a retry went, since the verdict before."""
        run = self.facts.last_run
        if run is None or not self.verdict.is_failed or self.verdict.code == "missed":
            return False
        return (
            self.group.before is None or self.group.before.last_job_id != run.id or self.group.before.code == "retrying"
        )


def follow(bus: EventBus, judged: Judged, *, are_open: Open, tells_lateness: bool, now: datetime) -> None:
    """Raise and clear what follows from a verdict, in the transaction that keeps it.

    Lateness is told only by the sweep: a host that has just come back may still have reports of good backups to send.
    """
    verdict, at = judged.verdict, judged.condition
    if not judged.facts.is_scheduled or judged.host.revoked_at is not None:
        why = "The host was revoked." if judged.host.revoked_at else "No schedule runs this group any more."
        _clear(bus, are_open, at, (FAILED, LATE, MISSED), note=why, now=now)
        return
    if not judged.facts.has_failed:
        good = judged.facts.last_good_at
        note = f"A good backup ended on {_at(good)}." if good is not None else "The failed run does not count any more."
        _clear(bus, are_open, at, (FAILED,), note=note, now=now)
    if not verdict.is_late:
        _clear(bus, are_open, at, (LATE, MISSED), note=_end_of_lateness(judged), now=now)
    if judged.has_new_failure:
        _raise_failed(bus, judged, now=now)
        _clear(bus, are_open, at, (LATE, MISSED), note="It was run, and failed: that is an alert of its own.", now=now)
    elif tells_lateness and verdict.is_late:
        _tell_lateness(bus, judged, are_open, now=now)


def forget(bus: EventBus, *, are_open: Open, group_ids: set[str], now: datetime) -> None:
    """Clear what is open about groups that are not there any more."""
    for kind, condition in list(are_open):
        if condition.removeprefix("group:") not in group_ids:
            _clear(bus, are_open, condition, (kind,), note="The source group was removed.", now=now)


def tell_silence(bus: EventBus, *, now: datetime) -> None:
    """Raise an alert for each host that should be awake and is silent, and clear those that are over.

    A host whose groups are all intermittent, or that no schedule runs, may be silent. Each is a transaction of its own.
    Hosts that fell silent together are one incident. Of a large fleet some hosts are looked at, then others have a
    turn.
    """
    _tell_end_of_silence(bus, now=now)
    patience = alert_settings.rules().least_patience(verdicts.OFFLINE_ALERT)
    unheard = verdicts.list_unheard(now - patience)
    silent = [one for ids in _some_at_a_time(unheard) for one in verdicts.list_silent(among_hosts=ids)]
    if not silent:
        return
    unheard = verdicts.list_unheard(now - OFFLINE_AFTER)
    others = sorted(at for ids in _some_at_a_time(unheard) for at in verdicts.list_last_seen(among_hosts=ids))
    for _, host_id in sorted(silent)[:MOST_AT_ONCE]:
        host = hosts.find(host_id)
        # it may have come back while others had a turn
        if host is None or host.last_seen_at >= now - patience:
            continue
        together = alert_rules.silent_together(host.last_seen_at, others)
        cause = f"silence:{instants.to_text(together)}" if together is not None else f"host:{host.id}"
        alerts.raise_alert(
            bus, kind=verdicts.OFFLINE_ALERT, condition=f"host:{host.id}", host_id=host.id, now=now, cause=cause,
            since=host.last_seen_at,
            message=f"{host.name} is to be always on, and was last heard of on {_at(host.last_seen_at)}."
            " Its schedules go on without the server, if it runs.",
        )  # fmt: skip
        time.sleep(0)


def _tell_end_of_silence(bus: EventBus, *, now: datetime) -> None:
    told = verdicts.list_told_of_silence()
    over = [one for ids in _some_at_a_time(told) for one in verdicts.list_told_silent(now, among_hosts=ids)]
    for condition, is_connected in over[:MOST_AT_ONCE]:
        note = "It is connected again." if is_connected else "It need not be awake any more."
        alerts.clear(bus, kind=verdicts.OFFLINE_ALERT, condition=condition, note=note, now=now)
        time.sleep(0)


def _some_at_a_time(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """These ids in pieces; between two pieces everybody else has a turn."""
    for start in range(0, len(ids), LOOKED_AT_ONCE):
        yield ids[start : start + LOOKED_AT_ONCE]
        time.sleep(0)


def _tell_lateness(bus: EventBus, judged: Judged, are_open: Open, *, now: datetime) -> None:
    verdict, at = judged.verdict, judged.condition
    if verdict.is_missed:
        # a failure that is told and recent says more than that nothing good came
        if (MISSED, at) not in are_open and not ((FAILED, at) in are_open and verdict.code == "failed"):
            cause = _cause_of_lateness(judged)
            _raise(bus, judged, MISSED, _missed_words(judged), cause=cause, since=verdict.missed_at, now=now)
            note = "Still no good backup: the alert Backup missed goes on from here."
            _clear(bus, are_open, at, (LATE, FAILED), note=note, now=now)
    elif not judged.is_running and not any((kind, at) in are_open for kind in (FAILED, LATE, MISSED)):
        _raise(
            bus, judged, LATE, _late_words(judged), cause=_cause_of_lateness(judged), since=verdict.late_at, now=now
        )  # fmt: skip


def _raise_failed(bus: EventBus, judged: Judged, *, now: datetime) -> None:
    run = judged.facts.last_run
    cause = alert_rules.cause_of_failure(run.reason, run.repository_id) if run is not None else ""
    raised = _raise(bus, judged, FAILED, _failed_words(judged), cause=cause, now=now)
    if run is not None and run.repository_id is not None and cause and not raised.is_cause_told:
        repository_alerts.backup_failed(bus, repository_id=run.repository_id, message=run.message, now=now)


def _cause_of_lateness(judged: Judged) -> str:
    """What nothing good came because of, where that is known: the repository, or the silence of the host."""
    run = judged.facts.last_run
    if run is not None and judged.facts.has_failed:
        return alert_rules.cause_of_failure(run.reason, run.repository_id)
    offline = raising.find_open(verdicts.OFFLINE_ALERT, f"host:{judged.host.id}")
    incident = raising.get_incident(offline.incident_id) if offline is not None and offline.incident_id else None
    return incident.cause if incident is not None else ""


def _raise(
    bus: EventBus, judged: Judged, kind: str, message: str, *, cause: str, now: datetime, since: datetime | None = None
) -> alerts.Raised:
    return alerts.raise_condition(
        bus, kind=kind, condition=judged.condition, message=message, now=now, host_id=judged.host.id, cause=cause,
        since=since,
    )  # fmt: skip


def _clear(bus: EventBus, are_open: Open, condition: str, kinds: tuple[str, ...], *, note: str, now: datetime) -> None:
    for kind in kinds:
        if (kind, condition) in are_open:
            are_open.discard((kind, condition))
            alerts.clear(bus, kind=kind, condition=condition, note=note, now=now)


def _end_of_lateness(judged: Judged) -> str:
    good, before = judged.facts.last_good_at, judged.group.before
    if good is None or (before is not None and before.last_good_at == good):
        return f"What is expected of it was changed; a run is due by {_at(judged.verdict.late_at)}."
    if before is not None and before.late_at is not None and good <= before.late_at:
        return f"It had run in time, on {_at(good)}; only its report came late."
    return f"A good backup ended on {_at(good)}."


def _failed_words(judged: Judged) -> str:
    run = judged.facts.last_run
    said = run.message if run is not None and run.message else "Its log says why."
    tries = f" after {counted(run.attempt, 'try', 'tries')}" if run is not None and run.attempt > 1 else ""
    word = "was lost" if run is not None and run.outcome == "lost" else "failed"
    return f"The backup of {judged.group.name} on {judged.host.name} {word}{tries}: {said} {_last_good(judged)}"


def _late_words(judged: Judged) -> str:
    return (
        f"A backup of {judged.group.name} on {judged.host.name} was expected by {_at(judged.verdict.late_at)}."
        f" {_last_good(judged)}"
    )


def _missed_words(judged: Judged) -> str:
    still = " A run is still under way." if judged.is_running else ""
    return (
        f"{judged.group.name} on {judged.host.name} is late since {_at(judged.verdict.late_at)}, and for as long again"
        f" nothing good came.{still} {_last_good(judged)}"
    )


def _last_good(judged: Judged) -> str:
    good = judged.facts.last_good_at
    return f"The last good one ended on {_at(good)}." if good is not None else "There is no good one yet."


def _at(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d at %H:%M} UTC" if instant is not None else "an unknown day"
