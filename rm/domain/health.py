"""Whether hosts are protected, in words that a person can act on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

OFFLINE_AFTER = timedelta(seconds=90)
PROTECTED_FOR = timedelta(hours=26)
DAYS_SHOWN = 30


@dataclass(frozen=True)
class HostFacts:
    """What the rules need to know of a host; instants are in UTC."""

    name: str
    mode: str
    is_connected: bool
    is_revoked: bool
    has_said_hello: bool
    has_repository: bool
    has_sources: bool
    last_seen_at: datetime | None
    last_good_at: datetime | None
    last_backup_outcome: str | None
    last_backup_message: str
    running_kind: str | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostHealth:
    """`code` is ok, late, failed, running, never, offline or revoked; `word` and `why` say it to a person."""

    code: str
    word: str
    why: str
    is_protected: bool


@dataclass(frozen=True)
class Verdict:
    """One sentence about the whole fleet: text before, the names that matter, text after, and what more to say."""

    kind: str
    text: str
    names: tuple[str, ...] = ()
    tail: str = ""
    more: str = ""


def is_online(*, is_connected: bool, last_seen_at: datetime | None, now: datetime) -> bool:
    """Whether a host's socket is open and it gave a sign of life within 90 s."""
    return is_connected and last_seen_at is not None and now - last_seen_at <= OFFLINE_AFTER


def is_protected(last_good_at: datetime | None, now: datetime) -> bool:
    """Whether the last good backup is young enough."""
    return last_good_at is not None and now - last_good_at <= PROTECTED_FOR


def host_health(facts: HostFacts, now: datetime) -> HostHealth:
    """What to say about one host: the worst thing that a person can do something about comes first."""
    protected = is_protected(facts.last_good_at, now)
    online = is_online(is_connected=facts.is_connected, last_seen_at=facts.last_seen_at, now=now)

    def say(code: str, word: str, why: str) -> HostHealth:
        return HostHealth(code=code, word=word, why=why, is_protected=protected and not facts.is_revoked)

    if facts.is_revoked:
        return say("revoked", "Revoked", "its credential no longer opens a connection")
    if not facts.has_said_hello:
        return say("never", "Waiting", "enrolled, not connected yet")
    if facts.running_kind is not None:
        return say(
            "running", _RUNNING.get(facts.running_kind, "Working"), "running now" if online else "no sign of life"
        )
    if facts.problems and not protected:
        return say("failed", "Not protected", facts.problems[0])
    if facts.last_backup_outcome == "failed":
        word = "Last run failed" if protected else "Not protected"
        return say("failed", word, facts.last_backup_message or "the last backup failed")
    if facts.last_good_at is None:
        return say("never", "Not protected yet", _what_is_missing(facts))
    if not protected:
        return say("late", "Late", f"no good backup for {_hours(now - facts.last_good_at)}")
    if not online:
        return say("offline", "Offline", f"silent, backed up {_hours(now - facts.last_good_at)} ago")
    return say("ok", "Protected", "within 26 h")


def fleet_verdict(counts: dict[str, int], unprotected: tuple[str, ...]) -> Verdict:
    """The dashboard's sentence; `counts` has `all` and `protected`, `unprotected` the first names that are not."""
    total, protected = counts["all"], counts["protected"]
    if total == 0:
        return Verdict(kind="running", text="No hosts yet.", more="Add the first machine: one command enrols it.")
    if protected == total:
        text = "The only host is protected." if total == 1 else f"All {total:,} hosts are protected."
        return Verdict(
            kind="ok",
            text=text,
            more=f"{'It' if total == 1 else 'Each'} has a good backup that is younger than 26 hours.",
        )
    missing = total - protected
    shown = unprotected[:3]
    rest = missing - len(shown)
    tail = (
        f"and {rest:,} more {'has' if rest == 1 else 'have'} no backup of the last 26 hours."
        if rest > 0
        else _have(len(shown))
    )
    kind = "failed" if protected == 0 else "warning"
    text = f"{protected:,} of {total:,} hosts {'is' if protected == 1 else 'are'} protected."
    return Verdict(kind=kind, text=text, names=shown, tail=tail)


def _have(count: int) -> str:
    return f"{'has' if count == 1 else 'have'} no backup of the last 26 hours."


def _what_is_missing(facts: HostFacts) -> str:
    if not facts.has_repository:
        return "no repository yet"
    if not facts.has_sources:
        return "nothing chosen to back up"
    return "no backup yet"


def _hours(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    if hours < 1:
        return f"{max(1, int(span.total_seconds() // 60))} min"
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


_RUNNING = {
    "backup": "Backing up",
    "init": "Creating repository",
    "snapshots": "Listing snapshots",
    "update": "Updating agent",
}
