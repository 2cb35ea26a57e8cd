"""The stored sentence of each source group: what is, why, and what comes next."""

import dataclasses
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from rm.domain.group_verdict import GOOD, GroupFacts, LastRun, Said, Skip, judge, worst
from rm.domain.staleness import Expectations, expected_interval
from rm.events import EventBus, HostChanged
from rm.services import backup_alerts, general_settings
from rm.services.backup_alerts import Judged
from rm.shared import instants
from rm.shared.protocol import GroupState
from rm.store import jobs, judged, verdicts
from rm.store.database import changes, publish_after_commit
from rm.store.judged import EndedRun, JudgedGroup, JudgedHost, Kept, Plan, Skipped
from rm.store.models import BackupDay, GroupVerdict, Host

SETTLING = timedelta(minutes=10)
"""How long a lateness may be news before it is told: reports of runs that took place may be on their way."""
HOSTS_PER_SWEEP = 300
NOTHING_CHOSEN = "Nothing is chosen to be backed up."


def refresh(bus: EventBus, *, host_id: str, now: datetime) -> None:
    """Judge the host's groups anew; call it inside the transaction of what changed."""
    _judge_host(bus, host_id=host_id, is_sweep=False, now=now)


def reported(bus: EventBus, *, host_id: str, groups: list[GroupState], now: datetime) -> None:
    """Keep what an agent says its schedules do about its groups; what it said before changes nothing."""
    said = {group.source_group: dataclasses.asdict(group) for group in groups}
    with changes():
        host = judged.find_host(host_id)
        if host is None:
            return
        known = judged.list_groups(host_id)
        if any(group.before is None for group in known):
            _judge(bus, host, known, is_sweep=False, now=now)
            host, known = judged.find_host(host_id) or host, judged.list_groups(host_id)
        told = [_told(group, said.get(group.name, {}), now) for group in known]
        if told != known:
            _judge(bus, host, told, is_sweep=False, now=now)


def _told(group: JudgedGroup, said: dict[str, Any], now: datetime) -> JudgedGroup:
    """The group with what its agent says now, which is kept."""
    if group.before is None or group.before.reported == said:
        return group
    GroupVerdict.update(reported=said, reported_at=now).where(GroupVerdict.group == group.id).execute()
    return dataclasses.replace(group, before=dataclasses.replace(group.before, reported=said))


def sweep(bus: EventBus, *, now: datetime, is_settled: bool = True) -> int:
    """Judge what time alone has changed, and hosts that were never judged; returns how many hosts.

    While the server has only just begun to listen (`is_settled` false) nobody is called late or silent: their reports
    may be on their way.
    """
    unjudged = verdicts.list_unjudged(limit=HOSTS_PER_SWEEP)
    for host_id in unjudged:
        _judge_alone(bus, host_id=host_id, is_sweep=False, now=now)
    unjudged += _judge_anew(bus, now=now)
    if not is_settled:
        return len(unjudged)
    # Silence first: it is what the lateness of the same host is due to.
    backup_alerts.tell_silence(bus, now=now)
    turning = verdicts.list_turning(now, limit=HOSTS_PER_SWEEP)
    for host_id in turning:
        _judge_alone(bus, host_id=host_id, is_sweep=True, now=now)
    return len(unjudged) + len(turning)


def _judge_anew(bus: EventBus, *, now: datetime) -> list[str]:
    """Judge the next hosts by changed settings; where it stands is kept, so that a restart goes on there."""
    after, mark = verdicts.anew_after(), verdicts.anew_mark()
    if after is None:
        return []
    found = verdicts.list_hosts_after(after, limit=HOSTS_PER_SWEEP)
    for host_id in found:
        _judge_alone(bus, host_id=host_id, is_sweep=False, now=now)
    with changes():
        # unless the settings were changed again meanwhile: then it begins anew
        if verdicts.anew_mark() == mark:
            verdicts.keep_anew_after(found[-1] if len(found) == HOSTS_PER_SWEEP else None, mark=mark)
    return found


def _judge_alone(bus: EventBus, *, host_id: str, is_sweep: bool, now: datetime) -> None:
    with changes():
        _judge_host(bus, host_id=host_id, is_sweep=is_sweep, now=now)
    # A thousand hosts may turn late at once: between two of them everybody else has a turn.
    time.sleep(0)


def _judge_host(bus: EventBus, *, host_id: str, is_sweep: bool, now: datetime) -> None:
    host = judged.find_host(host_id)
    if host is not None:
        _judge(bus, host, judged.list_groups(host_id), is_sweep=is_sweep, now=now)


def _judge(bus: EventBus, host: JudgedHost, groups: list[JudgedGroup], *, is_sweep: bool, now: datetime) -> None:
    are_open = judged.open_alerts(host.id)
    backup_alerts.forget(bus, are_open=are_open, group_ids={group.id for group in groups}, now=now)
    found = _judged(host, groups, now) if groups else []
    changed = False
    for one in found:
        backup_alerts.follow(bus, one, are_open=are_open, tells_lateness=is_sweep, now=now)
        changed |= _keep(one, is_sweep=is_sweep, now=now)
    changed |= _keep_for_host(host, found)
    if changed:
        publish_after_commit(bus, HostChanged(host.id))


def _judged(host: JudgedHost, groups: list[JudgedGroup], now: datetime) -> list[Judged]:
    plans = judged.plans_by_group(host.id)
    skipped = judged.last_skipped(host.id)
    known = [group.before.last_job_id for group in groups if group.before is not None and group.before.last_job_id]
    runs = judged.list_runs(host.id, but_also=known)
    # only for a group that was never judged: all its runs are read once
    ever_good = jobs.last_good_by_group(host.id) if any(group.before is None for group in groups) else {}
    running = judged.running_groups(host.id)
    expected = general_settings.current().expectations
    found = []
    for group in groups:
        facts = _facts(
            host, group, plans=plans.get(group.id, []), skip=skipped.get(group.name),
            runs=[run for run in runs if run.source_group == group.name], ever_good=ever_good.get(group.name),
            expected=expected, now=now,
        )  # fmt: skip
        found.append(Judged(host, group, facts, judge(facts, now), is_running=group.name in running))
    return found


def _facts(
    host: JudgedHost, group: JudgedGroup, *, plans: list[Plan], skip: Skipped | None, runs: list[EndedRun],
    ever_good: datetime | None, expected: Expectations, now: datetime,
) -> GroupFacts:  # fmt: skip
    before = group.before
    last = max(runs, key=lambda run: run.finished_at, default=None)
    good = [run.finished_at for run in runs if run.outcome in GOOD]
    good += [at for at in (ever_good, before.last_good_at if before is not None else None) if at is not None]
    return GroupFacts(
        mode=group.mode,
        created_at=group.created_at,
        interval=expected_interval(tuple(plan.timing for plan in plans), zone_name=host.timezone, now=now),
        jitter=max((plan.jitter for plan in plans), default=timedelta(0)),
        scheduled_since=min((plan.changed_at for plan in plans), default=None),
        stale_after_hours=group.stale_after_hours,
        expected=expected,
        retries=group.retries,
        retry_minutes=group.retry_minutes,
        last_good_at=max(good, default=None),
        last_run=_last_run(last) if last is not None else None,
        said=_said(before) if before is not None and "schedules" in host.features else None,
        skip=Skip(reason=skip.reason, message=skip.message, due_to=skip.due_to) if skip is not None else None,
    )


def _last_run(run: EndedRun) -> LastRun:
    return LastRun(
        id=run.id, outcome=run.outcome, ended_at=run.finished_at, message=run.message, attempt=run.attempt,
        is_fired=run.is_fired, reason=run.reason, repository_id=run.repository_id,
    )  # fmt: skip


def _said(before: Kept) -> Said | None:
    said = before.reported
    if not said or said.get("code") not in ("idle", "waiting", "running", "retrying"):
        return None
    return Said(
        code=said["code"], why=said.get("why") or "", since=_instant(said.get("since")),
        next_at=_instant(said.get("next_at")),
    )  # fmt: skip


def _instant(text: str | None) -> datetime | None:
    return instants.from_text(text) if text else None


def _keep(one: Judged, *, is_sweep: bool, now: datetime) -> bool:
    """Store one verdict and the day of its lateness; whether anything of it is new to a reader."""
    verdict, before = one.verdict, one.group.before
    run = one.facts.last_run
    values: dict[str, Any] = {
        "code": verdict.code,
        "text": verdict.text,
        "since": verdict.since,
        "next_at": verdict.next_at,
        "last_job_id": run.id if run is not None else None,
        "last_good_at": one.facts.last_good_at,
        "late_at": verdict.late_at,
        "protected_until": verdict.protected_until,
    }
    is_new = before is None or any(getattr(before, name) != value for name, value in values.items())
    values |= {
        "turns_at": _turns_at(one, is_sweep=is_sweep, now=now),
        "missed_on": _missed_on(one, is_sweep=is_sweep),
    }
    if before is None:
        GroupVerdict.create(group=one.group.id, host=one.host.id, changed_at=now, **values)
        return True
    if is_new or any(getattr(before, name) != values[name] for name in ("turns_at", "missed_on")):
        changed_at = now if is_new else before.changed_at
        GroupVerdict.update(changed_at=changed_at, **values).where(GroupVerdict.group == one.group.id).execute()
    return is_new


def _turns_at(one: Judged, *, is_sweep: bool, now: datetime) -> datetime | None:
    """When the sweep looks again: when time changes the verdict, and soon while a lateness waits to be told."""
    verdict, before = one.verdict, one.group.before
    following = verdict.turns_at
    if not verdict.is_late or not one.facts.is_scheduled or one.host.revoked_at is not None:
        return following
    if is_sweep:
        soon = now + SETTLING if one.is_running and not verdict.is_missed else None
    elif before is not None and before.late_at == verdict.late_at and before.code in ("late", "missed", "failed"):
        soon = before.turns_at
    else:
        soon = now + SETTLING
    return min((at for at in (soon, following) if at is not None), default=None)


def _missed_on(one: Judged, *, is_sweep: bool) -> str | None:
    """The day on which this lateness is counted in the strip; a run that was in time after all takes it back."""
    verdict, before = one.verdict, one.group.before
    counted = before.missed_on if before is not None else None
    good, host_id = one.facts.last_good_at, one.host.id
    if counted is not None and before is not None and before.late_at != verdict.late_at:
        if good is not None and before.late_at is not None and before.last_good_at != good and good <= before.late_at:
            _count_missed(host_id, counted, -1)
        counted = None
    if not verdict.is_late:
        return None
    if counted is None and is_sweep and verdict.late_at and one.facts.is_scheduled and not one.is_running:
        counted = verdict.late_at.strftime("%Y-%m-%d")
        _count_missed(host_id, counted, 1)
    return counted


def _count_missed(host_id: str, day: str, by: int) -> None:
    BackupDay.insert(host=host_id, day=day).on_conflict_ignore().execute()
    BackupDay.update(missed=BackupDay.missed + by).where(BackupDay.host == host_id, BackupDay.day == day).execute()


def _keep_for_host(host: JudgedHost, found: list[Judged]) -> bool:
    until, code, text = _of_all(found)
    if (host.protected_until, host.verdict_code, host.verdict_text) == (until, code, text):
        return False
    Host.update(protected_until=until, verdict_code=code, verdict_text=text).where(Host.id == host.id).execute()
    return True


def _of_all(found: Iterable[Judged]) -> tuple[datetime | None, str, str]:
    """Until when all groups of a host are protected, and the verdict of the worst."""
    every = list(found)
    if not every:
        return None, "never", NOTHING_CHOSEN
    ends = [one.verdict.protected_until for one in every]
    until = None if None in ends else min(at for at in ends if at is not None)
    gravest: Judged = every[worst([one.verdict.code for one in every])]
    text = gravest.verdict.text if len(every) == 1 else f"{gravest.group.name}: {gravest.verdict.text}"
    return until, gravest.verdict.code, text
