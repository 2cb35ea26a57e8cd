"""The entries of a record: one for each group of each schedule, never in a future that a wrong clock had shown."""

from dataclasses import replace
from datetime import datetime, timedelta

from agent.schedules import dues
from agent.schedules.record import Entry
from agent.schedules.view import View
from agent.schedules.waking import OFF, Gap, shown

SET_BACK = timedelta(hours=1)

Key = tuple[str, str]


def current(view: View) -> tuple[dict[Key, Entry], str]:
    """The entries that count now, and a sentence when some had to be planned anew since the clock was set back.

    One that is new, or has another timing than before, starts at the moment at which the set was applied.
    """
    found: dict[Key, Entry] = {}
    was_set_back = ""
    applied = view.now if view.is_new else min(view.stored.applied_at, view.now)
    groups = {group.name for group in view.stored.wanted.groups}
    for schedule in view.stored.wanted.schedules:
        for group in schedule.source_groups if schedule.is_enabled else []:
            if group not in groups:
                continue
            entry = view.record.entries.get((schedule.id, group))
            if entry is None or entry.timing != dues.fingerprint(schedule):
                entry = Entry(timing=dues.fingerprint(schedule), handled=applied)
            if entry.handled - view.now > SET_BACK:
                until, now = shown(entry.handled, view.zone), shown(view.now, view.zone)
                was_set_back = (
                    f"This host's clock was set back: what had been handled up to {until} is planned anew from {now}."
                )
            found[(schedule.id, group)] = set_right(entry, view)
    return found, was_set_back


def set_right(entry: Entry, view: View) -> Entry:
    """The entry as it counts when the clock was set back, or back and forth again."""
    if entry.handled - view.now > SET_BACK:
        return replace(
            entry, handled=view.now, before=max(entry.handled, entry.before or entry.handled), era=entry.era + 1
        )
    if entry.before is None:
        return entry
    if entry.handled >= entry.before:
        return replace(entry, before=None)
    if any(_leaps_over(gap, entry.before, view.now) for gap in view.gaps):
        # What had been handled before the clock went wrong is not due a second time.
        return replace(entry, handled=entry.before, before=None)
    return entry


def _leaps_over(gap: Gap, instant: datetime, now: datetime) -> bool:
    """Whether the clock came past that instant at once: it was set forward, or came back right from a reboot."""
    began = gap.stepped_from or (gap.since if gap.kind == OFF else None)
    return began is not None and began <= instant <= min(gap.until, now)
