"""Whether hosts are protected, in words that a person can act on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain.group_verdict import FAILED_PREFIX, worst

OFFLINE_AFTER = timedelta(seconds=90)
DAYS_SHOWN = 30
NAME_SHOWN = 30
INCIDENTS_NAMED = 2
TITLE_SHOWN = 80
NAMES_IN_MORE = 3


@dataclass(frozen=True)
class GroupHealth:
    """A source group as it stands now; `code` is one of rm.domain.group_verdict.CODES, empty before it was judged."""

    name: str
    code: str
    text: str
    last_good_at: datetime | None = None


@dataclass(frozen=True)
class HostFacts:
    """What the rules need to know of a host; instants are in UTC."""

    is_connected: bool
    is_revoked: bool
    has_said_hello: bool
    has_repository: bool
    last_seen_at: datetime | None
    protected_until: datetime | None
    running_kind: str | None
    groups: tuple[GroupHealth, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostHealth:
    """`code` is one of a group's codes, offline or revoked; `word` and `why` say it to a person."""

    code: str
    word: str
    why: str
    is_protected: bool


@dataclass(frozen=True)
class OpenIncident:
    """An incident that asks for somebody; `hosts` is with how many hosts it is open."""

    title: str
    is_critical: bool = False
    hosts: int = 0


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


def is_protected(protected_until: datetime | None, now: datetime) -> bool:
    """Whether every group's good backup still counts."""
    return protected_until is not None and now < protected_until


def host_health(facts: HostFacts, now: datetime) -> HostHealth:
    """What to say about one host: the worst thing that a person can do something about comes first."""
    protected = is_protected(facts.protected_until, now) and not facts.is_revoked
    online = is_online(is_connected=facts.is_connected, last_seen_at=facts.last_seen_at, now=now)

    def say(code: str, word: str, why: str) -> HostHealth:
        return HostHealth(code=code, word=word, why=why, is_protected=protected)

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
    if not facts.groups:
        return say("never", "Not protected yet", _what_is_missing(facts))
    group = facts.groups[worst([one.code for one in facts.groups])]
    if group.code in ("ok", "manual", ""):
        return say(*_calm(group, protected=protected, online=online, now=now))
    word = WORDS[group.code]
    if group.code == "failed" and not protected:
        word = "Not protected"
    # the word says that much already
    why = group.text.removeprefix(FAILED_PREFIX) if group.code == "failed" else group.text
    if group.code in ("late", "missed") and group.last_good_at is not None:
        why = f"no good backup for {_hours(now - group.last_good_at)}"
    if group.code == "never" and not facts.has_repository:
        why = "no repository yet"
    return say(group.code, word, why if len(facts.groups) == 1 else f"{_short(group.name)}: {why}")


def _calm(group: GroupHealth, *, protected: bool, online: bool, now: datetime) -> tuple[str, str, str]:
    ago = _hours(now - group.last_good_at) if group.last_good_at is not None else ""
    if not protected:
        return "late", "Late", f"no good backup for {ago}" if ago else "not judged yet"
    if not online:
        return "offline", "Offline", f"silent, backed up {ago} ago" if ago else "silent"
    return "ok", "Protected", f"backed up {ago} ago" if ago else "backed up"


def fleet_verdict(
    counts: dict[str, int], unprotected: tuple[str, ...], incidents: tuple[OpenIncident, ...] = (), needing: int = 0
) -> Verdict:
    """The dashboard's sentence: whether all is protected, and which incidents ask for somebody.

    `counts` has `all` and `protected`, `unprotected` the first names that are not; `incidents` are the gravest of
    the `needing` ones. Where none asks, the hosts themselves are named.
    """
    total, protected = counts["all"], counts["protected"]
    if incidents and total:
        return _with_incidents(total, protected, unprotected, incidents, max(needing, len(incidents)))
    if total == 0:
        return Verdict(kind="running", text="No hosts yet.", more="Add the first machine: one command enrols it.")
    if protected == total:
        text = _all_protected(total)
        return Verdict(
            kind="ok",
            text=text,
            more=f"{'It' if total == 1 else 'Each'} has a good backup that is young enough for what is expected of it.",
        )
    missing = total - protected
    shown = unprotected[:3]
    rest = missing - len(shown)
    tail = f"and {rest:,} more have no good backup that is young enough." if rest > 0 else _have(len(shown))
    kind = "failed" if protected == 0 else "warning"
    text = f"{protected:,} of {total:,} hosts {'is' if protected == 1 else 'are'} protected."
    return Verdict(kind=kind, text=text, names=shown, tail=tail)


def _with_incidents(
    total: int, protected: int, unprotected: tuple[str, ...], incidents: tuple[OpenIncident, ...], needing: int
) -> Verdict:
    shown = incidents[:INCIDENTS_NAMED]
    rest = needing - len(shown)
    tail = f"and {rest:,} more {'incident needs' if rest == 1 else 'incidents need'} somebody." if rest else ""
    is_failed = protected == 0 or any(one.is_critical for one in incidents)
    if protected == total:
        text, more = f"{_all_protected(total)[:-1]}, but look:", ""
    else:
        text = f"{protected:,} of {total:,} hosts {'is' if protected == 1 else 'are'} protected."
        names, left = unprotected[:NAMES_IN_MORE], total - protected - len(unprotected[:NAMES_IN_MORE])
        if left > 0:
            more = f"Without a good backup that is young enough: {', '.join(map(_short, names))} and {left:,} more."
        else:
            more = f"Without a good backup that is young enough: {', '.join(map(_short, names))}."
    return Verdict(
        kind="failed" if is_failed else "warning", text=text, names=tuple(_named(one) for one in shown), tail=tail,
        more=more,
    )  # fmt: skip


def _named(incident: OpenIncident) -> str:
    title = incident.title if len(incident.title) <= TITLE_SHOWN else f"{incident.title[: TITLE_SHOWN - 1]}…"
    return f"{title} ({incident.hosts:,} hosts)" if incident.hosts > 1 else title


def _all_protected(total: int) -> str:
    return "The only host is protected." if total == 1 else f"All {total:,} hosts are protected."


def _have(count: int) -> str:
    return f"{'has' if count == 1 else 'have'} no good backup that is young enough."


def _what_is_missing(facts: HostFacts) -> str:
    return "nothing chosen to back up" if facts.has_repository else "no repository yet"


def _short(name: str) -> str:
    return name if len(name) <= NAME_SHOWN else f"{name[: NAME_SHOWN - 1]}…"


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

WORDS = {
    "missed": "Missed",
    "failed": "Last run failed",
    "late": "Late",
    "never": "Not protected yet",
    "retrying": "Tries again",
    "skipped": "Skipped",
    "waits": "Waits",
    "running": "Backing up",
    "asleep": "Asleep",
}
