"""When a repository is tidied and checked, and on which host: what is due, what waits for what, who gives way.

One exclusive job at a time in a repository, whatever the host. Backups go first and nothing runs beside a restore; an
exclusive job that has kept backups waiting is ended and tried again, but not for ever.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rm.domain.dispatch import EXCLUSIVE, PATIENCE
from rm.shared.schedule import zone_named

KINDS = ("forget", "prune", "check")
DELETING = ("forget", "prune")
FEATURES = {"forget": "forget"}
"""What the agent that carries it out must know, by kind; what is not named every agent knows."""

MOST_YIELDS = 3
GIVE_WAY_AFTER = timedelta(minutes=1)
AFTER_GIVING_WAY = timedelta(minutes=10)
AFTER_CANCEL = timedelta(hours=6)
BACK_OFF = timedelta(minutes=15)
BACK_OFF_MOST = timedelta(hours=24)
LEAST_OF_WINDOW = timedelta(minutes=10)
SHORTEST_WINDOW = timedelta(minutes=30)
OVERRUN = timedelta(minutes=5)

DONE, FAILED, CANCELLED, GAVE_WAY = "done", "failed", "cancelled", "gave_way"

RUN, OFF, BLOCKED, OPEN, NOT_DUE, WINDOW = "run", "off", "blocked", "open", "not_due", "window"
BACKING_OFF, RESTORE, LEASE, BACKUPS, NO_HOST, NO_AGENT = (
    "back_off", "restore", "lease", "backups", "no_host", "no_agent",
)  # fmt: skip


@dataclass(frozen=True)
class Last:
    """How it went last: `ending` is done, failed, cancelled or gave_way; `failures` counts those in a row."""

    started_at: datetime
    ended_at: datetime
    ending: str = DONE
    failures: int = 0


@dataclass(frozen=True)
class Plan:
    """How often something is done, when it may start and how long it may take; `since` counts until it first ran."""

    kind: str
    every: timedelta
    box: timedelta
    since: datetime
    is_enabled: bool = True
    window_from: str = ""
    window_to: str = ""
    timezone: str = "UTC"
    last: Last | None = None
    not_before: datetime | None = None


@dataclass(frozen=True)
class Candidate:
    """A host that uses the repository."""

    host_id: str
    name: str
    is_connected: bool
    is_always_on: bool = True
    open_jobs: int = 0
    features: frozenset[str] = frozenset()
    last_seen_at: datetime | None = None


@dataclass(frozen=True)
class AtRepository:
    """A job at the repository that has not ended; `since` is its start, or its order while it was not sent."""

    id: str
    kind: str
    host_name: str
    since: datetime
    is_sent: bool = True
    is_waiting: bool = False

    def __str__(self) -> str:
        return f"the {self.kind} of {self.host_name}"


@dataclass(frozen=True)
class Decision:
    """What comes next of one kind: `run` on `host_id` within `box`, or why not yet; `at` belongs to the words."""

    code: str
    text: str
    at: datetime | None = None
    host_id: str = ""
    box: timedelta = timedelta(0)


def decide(
    plan: Plan,
    *,
    now: datetime,
    candidates: Sequence[Candidate],
    at_repository: Sequence[AtRepository],
    owner_id: str = "",
    blocked: str = "",
) -> Decision:
    """What to do about this plan now; `blocked` is why it cannot be done at all, `owner_id` whose snapshots go."""
    if not plan.is_enabled:
        return Decision(OFF, "is switched off")
    if blocked:
        return Decision(BLOCKED, blocked)
    same = next((job for job in at_repository if job.kind == plan.kind), None)
    if same is not None:
        return Decision(OPEN, f"{'runs' if same.is_sent else 'is queued'} on {same.host_name}", same.since)
    start, code = earliest(plan, now)
    if start > now:
        return Decision(code, _WORDS[code].format(window=plan.window_from, zone=plan.timezone), start)
    held = _held(at_repository, start, now)
    if held is not None:
        return held
    return _placed(plan, now=now, candidates=candidates, owner_id=owner_id)


def _held(at_repository: Sequence[AtRepository], start: datetime, now: datetime) -> Decision | None:
    """Why what is due must wait for other jobs at the repository."""
    restore = next((job for job in at_repository if job.kind == "restore"), None)
    if restore is not None:
        return Decision(RESTORE, f"waits for {restore}: nothing disturbs a restore", restore.since)
    holder = next((job for job in at_repository if job.kind in EXCLUSIVE), None)
    if holder is not None:
        return Decision(LEASE, f"waits for {holder}: one at a time in a repository", holder.since)
    backup = next((job for job in at_repository if job.kind == "backup"), None)
    # Where one backup follows the other it would never come; the queue then gives it its turn.
    if backup is not None and now - start < PATIENCE:
        return Decision(BACKUPS, f"waits for {backup}: backups go first", backup.since)
    return None


def _placed(plan: Plan, *, now: datetime, candidates: Sequence[Candidate], owner_id: str) -> Decision:
    chosen = choose_host(plan.kind, candidates, owner_id=owner_id)
    if chosen is not None:
        return Decision(RUN, f"starts on {chosen.name}", now, chosen.host_id, box_at(plan, now))
    if not candidates:
        return Decision(NO_HOST, "no host uses this repository")
    if any(one.is_connected for one in candidates):
        return Decision(NO_AGENT, f"no connected host's agent can {plan.kind} yet: update the agents")
    seen = [one.last_seen_at for one in candidates if one.last_seen_at is not None]
    return Decision(NO_HOST, "no host that uses it is connected", max(seen, default=None))


def choose_host(kind: str, candidates: Sequence[Candidate], *, owner_id: str = "") -> Candidate | None:
    """The connected host that is to do it: the owner of the snapshots, else one always on with the least to do."""
    needed = FEATURES.get(kind)
    able = [one for one in candidates if one.is_connected and (needed is None or needed in one.features)]
    return min(
        able,
        key=lambda one: (
            one.host_id != owner_id if kind == "forget" else False,
            "time_box" not in one.features,
            not one.is_always_on,
            one.open_jobs,
            one.name,
            one.host_id,
        ),
        default=None,
    )


def due_at(plan: Plan) -> tuple[datetime, str]:
    """When it is due by its cadence alone, and what kind of wait that is."""
    last = plan.last
    if last is None:
        due, code = plan.since + plan.every, NOT_DUE
    elif last.ending == FAILED:
        due, code = last.ended_at + min(back_off(last.failures), plan.every), BACKING_OFF
    elif last.ending == GAVE_WAY:
        due, code = last.ended_at + min(AFTER_GIVING_WAY, plan.every), BACKING_OFF
    elif last.ending == CANCELLED:
        due, code = last.ended_at + min(AFTER_CANCEL, plan.every), BACKING_OFF
    else:
        due, code = last.started_at + plan.every, NOT_DUE
    if plan.not_before is not None and plan.not_before > due:
        return plan.not_before, BACKING_OFF
    return due, code


def back_off(failures: int) -> timedelta:
    """How long to wait after so many failures in a row."""
    return min(BACK_OFF * (1 << min(max(failures - 1, 0), 10)), BACK_OFF_MOST)


def earliest(plan: Plan, now: datetime) -> tuple[datetime, str]:
    """When it may start, and why not before: its cadence, its window, or the wait after a failure."""
    due, code = due_at(plan)
    if not plan.window_from:
        return due, code
    for opens, closes in _windows(plan, max(now, due - timedelta(days=1))):
        last_start = closes - min(LEAST_OF_WINDOW, (closes - opens) / 4)
        was_in_it = plan.last is not None and opens <= plan.last.started_at < closes
        # What falls due later in a window starts when that opens: so a daily run stays at the same time.
        start = opens if code == NOT_DUE and not was_in_it and due < last_start else max(opens, due)
        if max(start, now) < last_start:
            return (start, code) if start != opens else (opens, WINDOW)
    return due, code


def box_at(plan: Plan, now: datetime) -> timedelta:
    """How long it may take if it starts now: its time box, and not beyond its window."""
    if not plan.window_from:
        return plan.box
    closes = next((closes for opens, closes in _windows(plan, now) if opens <= now < closes), None)
    return plan.box if closes is None else min(plan.box, closes - now)


def is_in_window(plan: Plan, now: datetime) -> bool:
    """Whether it may be running now; always without a window."""
    return not plan.window_from or any(opens <= now < closes for opens, closes in _windows(plan, now))


def window_problem(window_from: str, window_to: str, zone: str) -> dict[str, str]:
    """What is wrong with a window, by field; both times empty is no window."""
    if bool(window_from) != bool(window_to):
        return {"window_to" if window_from else "window_from": "Give both times, or none to start at any time."}
    wrong = {
        name: "Write a time of day such as 22:00."
        for name, text in (("window_from", window_from), ("window_to", window_to))
        if text and _clock(text) is None
    }
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        wrong["timezone"] = "Write a time zone such as Europe/Berlin, or UTC."
    opens, closes = _clock(window_from), _clock(window_to)
    if not wrong and opens is not None and closes is not None:
        minutes = (closes.hour * 60 + closes.minute - opens.hour * 60 - opens.minute) % 1440
        if timedelta(minutes=minutes) < SHORTEST_WINDOW:
            wrong["window_to"] = "A window is at least 30 minutes long."
    return wrong


def gives_way(waiting: Sequence[AtRepository], *, yields: int, now: datetime) -> AtRepository | None:
    """For which waiting job a running one is to end: for a restore always, for a backup three times in a row."""
    long_enough = [job for job in waiting if now - job.since >= GIVE_WAY_AFTER]
    restore = next((job for job in long_enough if job.kind == "restore"), None)
    if restore is not None or yields >= MOST_YIELDS:
        return restore
    return next((job for job in long_enough if job.kind == "backup"), None)


def is_overrun(started_at: datetime | None, box: timedelta, now: datetime) -> bool:
    """Whether a job is past its time box although its agent should have ended it."""
    return started_at is not None and box > timedelta(0) and now > started_at + box + OVERRUN


def part_after(part: int, parts: int) -> tuple[int, bool]:
    """The part that the next check reads, and whether a new round over all data begins with it."""
    following = part + 1
    return (1, True) if following > parts else (following, False)


def _windows(plan: Plan, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The windows that have not closed at `after`, in order, as instants; some days' worth."""
    zone = zone_named(plan.timezone)
    opens, closes = _clock(plan.window_from), _clock(plan.window_to)
    if opens is None or closes is None:
        return
    first = after.astimezone(zone).date() - timedelta(days=1)
    for number in range(12):
        day = first + timedelta(days=number)
        begin = _instant(datetime.combine(day, opens), zone)
        end = _instant(datetime.combine(day if closes > opens else day + timedelta(days=1), closes), zone)
        if begin < end and end > after:
            yield begin, end


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(timezone.utc)


def _clock(text: str) -> time | None:
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) == 2 and len(minutes) == 2 and f"{hours}{minutes}".isascii()):
        return None
    if not (hours + minutes).isdigit() or int(hours) > 23 or int(minutes) > 59:
        return None
    return time(int(hours), int(minutes))


_WORDS = {
    NOT_DUE: "is due",
    WINDOW: "waits for its window at {window} ({zone})",
    BACKING_OFF: "is tried again",
}
