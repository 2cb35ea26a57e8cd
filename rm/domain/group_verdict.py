"""The verdict about one source group: what is, why, since when, and what comes next."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain import staleness

CODES = (
    "missed", "failed", "late", "never", "retrying", "skipped", "waits", "running", "asleep", "manual", "ok",
)  # fmt: skip
"""The worst first."""
CALM = frozenset({"never", "skipped", "waits", "running", "manual", "ok"})
GOOD = ("succeeded", "warnings")
RETRY_GRACE = timedelta(hours=1)
"""So long after its planned time a retry is still believed in."""
TEXT_LIMIT = 400
FAILED_PREFIX = "The last run failed: "

_SKIPPED = {
    "still_running": "the run before it was still under way",
    "asleep": "the host was asleep",
    "off": "the host was off",
    "agent_stopped": "the agent was stopped",
    "clock": "the host's clock was changed",
    "disabled": "its schedule was switched off",
    "still_waiting": "the run before it was still waiting",
    "superseded": "a later run stands for it",
    "record_lost": "the host's record of it was lost",
    "disk_full": "the host's disk was full",
}


@dataclass(frozen=True)
class LastRun:
    """The backup of a group that ended last; cancelled ones are nobody's fault and do not count."""

    id: str
    outcome: str
    ended_at: datetime
    message: str = ""
    attempt: int = 1
    is_fired: bool = False
    reason: str = ""
    repository_id: str | None = None


@dataclass(frozen=True)
class Said:
    """What the host's agent last said of a group; `code` is one of the protocol's GROUP_STATES."""

    code: str
    why: str = ""
    since: datetime | None = None
    next_at: datetime | None = None


@dataclass(frozen=True)
class Skip:
    """Runs that were due and did not take place; the last of them was due at `due_to`."""

    reason: str
    message: str
    due_to: datetime


@dataclass(frozen=True)
class GroupFacts:
    """What the rules need to know. `interval` is None for a group that no schedule runs."""

    mode: str
    created_at: datetime
    interval: timedelta | None = None
    jitter: timedelta = timedelta(0)
    scheduled_since: datetime | None = None
    stale_after_hours: int | None = None
    expected: staleness.Expectations = staleness.USUAL
    retries: int = 0
    retry_minutes: int = 10
    last_good_at: datetime | None = None
    last_run: LastRun | None = None
    said: Said | None = None
    skip: Skip | None = None

    @property
    def is_scheduled(self) -> bool:
        return self.interval is not None

    @property
    def patience(self) -> timedelta:
        """How long a good backup counts."""
        return staleness.stale_after(
            mode=self.mode, interval=self.interval, jitter=self.jitter, override_hours=self.stale_after_hours,
            expected=self.expected,
        )  # fmt: skip

    @property
    def has_failed(self) -> bool:
        """Whether the run that ended last was no good one."""
        run = self.last_run
        return (
            run is not None and run.outcome not in GOOD and (not self.last_good_at or run.ended_at > self.last_good_at)
        )


@dataclass(frozen=True)
class GroupVerdict:
    """`late_at` and `missed_at` are when silence turns it late, and then missed; None: nothing is expected.

    `protected_until` is None when there is no good backup at all. `turns_at`: when time alone changes any of this.
    `is_failed`: the last run failed, and no retry is to come.
    """

    code: str
    text: str
    since: datetime
    next_at: datetime | None
    late_at: datetime | None
    missed_at: datetime | None
    protected_until: datetime | None
    turns_at: datetime | None
    is_late: bool = False
    is_missed: bool = False
    is_failed: bool = False


def judge(facts: GroupFacts, now: datetime) -> GroupVerdict:
    """What holds of a group, apart from what runs this minute and whether its host is awake."""
    patience, good = facts.patience, facts.last_good_at
    protected_until = good + patience if good is not None else None
    late_at = missed_at = None
    if facts.is_scheduled:
        # what was scheduled just now is not late because of the time before
        late_at = max(good or facts.created_at, facts.scheduled_since or facts.created_at) + patience
        missed_at = late_at + patience
    elif good is not None:
        late_at = protected_until
    is_late, is_missed = _passed(late_at, now), _passed(missed_at, now)
    retry_until = _retry_until(facts)
    will_retry = retry_until is not None and now < retry_until
    # where runs are expected, an old failure says little about a host from which nothing came since
    failed_until = facts.last_run.ended_at + patience if facts.has_failed and facts.last_run else None
    code, text, since = _say(
        facts, is_late=is_late, is_missed=is_missed, late_at=late_at, will_retry=will_retry,
        is_failure_old=facts.is_scheduled and is_late and _passed(failed_until, now),
        is_outdated=_passed(protected_until, now),
    )  # fmt: skip
    instants = (late_at, missed_at, protected_until, retry_until, failed_until)
    return GroupVerdict(
        code=code,
        text=_short(text),
        since=since,
        next_at=facts.said.next_at if facts.said is not None and facts.is_scheduled else None,
        late_at=late_at,
        missed_at=missed_at,
        protected_until=protected_until,
        turns_at=min((one for one in instants if one is not None and one > now), default=None),
        is_late=is_late,
        is_missed=is_missed,
        is_failed=facts.has_failed and not will_retry,
    )


def worst(codes: list[str]) -> int:
    """The place of the gravest of these codes; the first of equals."""
    return min(range(len(codes)), key=lambda place: _RANK.get(codes[place], len(CODES)))


_RANK = {code: rank for rank, code in enumerate(CODES)}


def skip_words(reason: str, message: str) -> str:
    """Why a run did not take place, in words."""
    return message or _SKIPPED.get(reason, reason)


def _say(
    facts: GroupFacts, *, is_late: bool, is_missed: bool, late_at: datetime | None, will_retry: bool,
    is_failure_old: bool, is_outdated: bool,
) -> tuple[str, str, datetime]:  # fmt: skip
    run, good, begun = facts.last_run, facts.last_good_at, facts.scheduled_since or facts.created_at
    said = facts.said if facts.said is not None and facts.is_scheduled else None
    if run is not None and facts.has_failed and (will_retry or not is_failure_old):
        if will_retry:
            return "retrying", f"The last run failed, and is tried again: {_reason(run)}", run.ended_at
        words = "The last run is lost: " if run.outcome == "lost" else FAILED_PREFIX
        return "failed", f"{words}{_reason(run)}", run.ended_at
    if is_late and late_at is not None:
        return "missed" if is_missed else "late", _overdue_words(facts, said, is_missed=is_missed), late_at
    if said is not None and said.code == "waiting":
        return "waits", f"A run waits. {_sentence(said.why)}".strip(), said.since or good or begun
    if said is not None and said.code == "running":
        return "running", f"Runs now. {_sentence(said.why)}".strip(), said.since or good or begun
    skip = facts.skip
    if skip is not None and (run is None or skip.due_to > run.ended_at):
        why = _sentence(skip_words(skip.reason, skip.message))
        return "skipped", f"The last run that was due was skipped: {why}", skip.due_to
    if good is None:
        scheduled = "No backup yet: its first run is to come."
        return "never", scheduled if facts.is_scheduled else "No backup yet. No schedule runs it.", begun
    if is_outdated:
        return "never", f"Its good backup is older than {_span(facts.patience)}; its schedule is new.", begun
    words = "Backed up with warnings." if run is not None and run.outcome == "warnings" else "Backed up."
    if not facts.is_scheduled:
        return "manual", f"{words} No schedule runs it: it is backed up by hand only.", good
    return "ok", words, good


def _overdue_words(facts: GroupFacts, said: Said | None, *, is_missed: bool) -> str:
    if not facts.is_scheduled:
        return f"No good backup for more than {_span(facts.patience)}. No schedule runs it."
    what = "No good backup" if facts.last_good_at is not None else "No backup yet"
    twice = "twice the expected time" if is_missed else "the expected time"
    text = f"{what}, although {twice} of {_span(facts.patience)} is over."
    if said is not None and said.code in ("waiting", "running") and said.why:
        text += f" Its agent says: {_sentence(said.why)}"
    elif facts.has_failed and facts.last_run is not None:
        text += f" The last run failed: {_reason(facts.last_run)}"
    return text


def _retry_until(facts: GroupFacts) -> datetime | None:
    """Until when a retry of the failed last run is believed in; None when there is none to come."""
    run = facts.last_run
    if run is None or not facts.has_failed or run.outcome != "failed":
        return None
    if facts.said is not None and facts.said.code == "retrying" and facts.said.next_at is not None:
        return facts.said.next_at + RETRY_GRACE
    if not run.is_fired or run.attempt > facts.retries:
        return None
    pause = timedelta(minutes=facts.retry_minutes) * (1 << min(run.attempt - 1, 10))
    return run.ended_at + pause + RETRY_GRACE


def _passed(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and now >= instant


def _reason(run: LastRun) -> str:
    return _sentence(run.message) or "Its log says why."


def _sentence(text: str) -> str:
    text = text.strip()
    text = f"{text[:1].upper()}{text[1:]}"
    return text if not text or text[-1] in ".!?" else f"{text}."


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    if hours < 48:
        return f"{hours:.0f} h" if hours == int(hours) else f"{hours:.1f} h"
    return f"{hours / 24:.1f} days".replace(".0 days", " days")


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 1]}…"
