"""What a notification says: one incident at one moment, as a subject, as a text, and as JSON."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from rm.shared.instants import to_text
from rm.shared.words import counted

EVENTS = ("raised", "worsened", "acknowledged", "resolved")
"""What of an incident's timeline is told."""
FAILURES = ("raised", "worsened")
HOSTS_NAMED = 5
SCHEMA = 1
PRODUCT = "restic-manager"

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
_CALLS = re.compile(r"@(?=(everyone|here|channel|all|room)\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Notice:
    """`title` says what and where; `actor` who acknowledged or resolved, empty for the server itself, which people call
    `server`.
    """

    event: str
    severity: str
    title: str
    message: str = ""
    advice: str = ""
    actor: str = ""
    kinds: tuple[str, ...] = ()
    host_count: int = 0
    hosts: tuple[str, ...] = ()
    since: datetime | None = None
    at: datetime | None = None
    link: str = ""
    incident_id: str = ""
    server: str = PRODUCT


def clean(text: str) -> str:
    """A text of one line, without what hides, turns directions, or ends a header."""
    return " ".join(_HIDDEN.sub(" ", text).split())


def subject(notice: Notice) -> str:
    """What stands out in a list of messages: how grave, what, where."""
    if notice.event == "test":
        return _harmless(f"[test] {clean(notice.server)} can reach you here")
    mark = {
        "raised": notice.severity, "worsened": "worse", "acknowledged": "acknowledged", "resolved": "resolved",
    }[notice.event]  # fmt: skip
    many = f", {counted(notice.host_count, 'host')}" if notice.host_count > 1 else ""
    # Who has several servers named them; with one there is nothing to tell apart.
    of = f" · {clean(notice.server)}" if notice.server != PRODUCT else ""
    return _harmless(f"[{mark}] {clean(notice.title)[:160]}{many}{of}")


def text(notice: Notice) -> str:
    """What happened, since when, how many hosts, what to do now, and where to look."""
    if notice.event == "test":
        lines = ["This is a test that somebody asked for. Nothing is wrong.", notice.link]
        return "\n".join(line for line in lines if line)
    lines = [{
        "raised": f"{'Critical' if notice.severity == 'critical' else 'Warning'}: {notice.message or notice.title}",
        "worsened": f"It is worse now: {notice.message or notice.title}",
        "acknowledged": f"{notice.actor or 'Somebody'} knows of it and it is being looked at. It is not over yet.",
        "resolved": f"It is over{f', says {notice.actor}' if notice.actor else ''}. {notice.message}".rstrip(),
    }[notice.event]]  # fmt: skip
    if notice.since is not None:
        lines.append(f"Since: {moment(notice.since)}{_lasted(notice)}")
    if notice.host_count:
        named = ", ".join(notice.hosts[:HOSTS_NAMED])
        rest = notice.host_count - min(len(notice.hosts), HOSTS_NAMED)
        more = f" and {rest:,} more" if rest > 0 else ""
        lines.append(f"Hosts: {notice.host_count:,}{f' ({named}{more})' if named else ''}")
    if notice.advice and notice.event in FAILURES:
        lines.append(f"Next: {notice.advice}")
    return "\n".join([*(_harmless(line)[:1000] for line in lines), *([notice.link] if notice.link else [])])


def as_json(notice: Notice, *, delivery_id: str) -> dict[str, Any]:
    """The body of a webhook; fields are only ever added."""
    return {
        "schema": SCHEMA,
        "id": delivery_id,
        "event": notice.event,
        "severity": notice.severity,
        "subject": subject(notice),
        "title": clean(notice.title),
        "message": clean(notice.message),
        "next_step": clean(notice.advice) if notice.event in FAILURES else "",
        "actor": clean(notice.actor),
        "kinds": list(notice.kinds),
        "hosts": {"count": notice.host_count, "names": [clean(name) for name in notice.hosts[:HOSTS_NAMED]]},
        "since": _iso(notice.since),
        "at": _iso(notice.at),
        "server": clean(notice.server),
        "incident": {"id": notice.incident_id, "url": notice.link} if notice.incident_id else None,
    }


def apprise_kind(notice: Notice) -> str:
    """How Apprise is to colour and rank it."""
    if notice.event in FAILURES:
        return "failure" if notice.severity == "critical" else "warning"
    return "success" if notice.event == "resolved" else "info"


def moment(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _lasted(notice: Notice) -> str:
    if notice.event != "resolved" or notice.since is None or notice.at is None:
        return ""
    minutes = int(max(notice.at - notice.since, timedelta(0)).total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "d"), (hours, "h"), (minutes % 60, "min")]
    words = " ".join(f"{number} {unit}" for number, unit in parts if number)[:40] or "less than a minute"
    return f", for {words}"


def _harmless(line: str) -> str:
    """Names come from hosts: what a chat would take for markup, a link or a call to everybody becomes plain."""
    line = clean(line).replace("<", "‹").replace(">", "›").replace("](", "] (")
    return _CALLS.sub("@\u2060", line)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else to_text(at)
