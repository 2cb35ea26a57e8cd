"""What the schedules do, for people: each group's state, the next runs, the lines of `rm-agent status`."""

from datetime import datetime, tzinfo

from agent.schedules import dues
from agent.schedules.record import FIRED, PLANNED, Record, Run
from agent.schedules.view import RUNNING, Known, View
from agent.schedules.waking import shown
from rm.shared import instants
from rm.shared.protocol import GroupState, NextRun, ScheduleSet
from rm.shared.schedule import describe

MOST_NEXT_RUNS = 100


def next_runs(view: View) -> list[NextRun]:
    """The next due time of each group of each schedule, soonest first."""
    found = []
    for schedule in view.stored.wanted.schedules:
        for group in schedule.source_groups:
            entry = view.record.entries.get((schedule.id, group))
            if entry is None or not schedule.is_enabled:
                continue
            due = dues.following(schedule, handled=entry.handled, now=view.now, zone=view.zone)
            if due is not None:
                found.append(NextRun(schedule_id=schedule.id, source_group=group, due_at=instants.to_text(due)))
    return sorted(found, key=lambda run: (run.due_at, run.schedule_id, run.source_group))[:MOST_NEXT_RUNS]


def group_states(view: View, following: list[NextRun]) -> list[GroupState]:
    """What each group's schedules do now, in a text that changes only when the state does."""
    next_of: dict[str, str] = {}
    for found in following:
        next_of.setdefault(found.source_group, found.due_at)
    return [
        _state(group.name, view.record, view.known, next_of.get(group.name), view.zone)
        for group in view.stored.wanted.groups
    ]


def lines(wanted: ScheduleSet, groups: list[GroupState], zone: tzinfo) -> list[str]:
    """The schedules as `rm-agent status` shows them."""
    found = []
    for schedule in wanted.schedules:
        when = schedule.cron or describe(dues.timing(schedule))
        off = "" if schedule.is_enabled else ", disabled"
        found.append(f"Schedule: {when}{off}: {', '.join(schedule.source_groups)}")
    for group in groups:
        next_at = f", next {shown(instants.from_text(group.next_at), zone)}" if group.next_at else ", nothing planned"
        why = f" ({group.why})" if group.why else ""
        found.append(f"Group {group.source_group}: {group.code}{why}{next_at}")
    return found


def _state(group: str, record: Record, known: Known, next_at: str | None, zone: tzinfo) -> GroupState:
    run = record.runs.get(group)
    if run is None:
        why = "" if next_at else "No schedule runs this group."
        ordered = known.ordered.get(group)
        if ordered is None:
            return GroupState(source_group=group, code="idle", why=why, next_at=next_at)
        return GroupState(source_group=group, code="idle", why="A backup was ordered by hand.", next_at=next_at)
    if run.stage == FIRED:
        is_running = known.stages.get(run.job_id) == RUNNING
        why = run.why_late if is_running else known.waits_for.get(run.job_id, "waits for its turn on this host")
        return _told(run, "running" if is_running else "waiting", _sentence(why), next_at)
    if run.stage == PLANNED:
        start = shown(run.start_at, zone)
        why = f"{run.why_late.replace('ran late', 'late')}; starts at {start}" if run.why_late else f"starts at {start}"
        return _told(run, "waiting", _sentence(why), _text(run.start_at))
    return _told(run, "retrying", run.why, _text(run.start_at))


def _told(run: Run, code: str, why: str, next_at: str | None) -> GroupState:
    return GroupState(
        source_group=run.group,
        code=code,
        why=why[:500],
        since=_text(run.since),
        due_at=_text(run.due_at),
        next_at=next_at,
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _text(instant: datetime) -> str:
    return instants.to_text(instant)
