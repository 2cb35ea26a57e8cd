"""The sentence on top of a host's page."""

from dataclasses import dataclass
from datetime import datetime

from rm.store.hosts import HostRow
from rm.web import filters


@dataclass(frozen=True)
class Sentence:
    """What to say about a host: so it is, the part that matters, and what to do."""

    text: str
    emphasis: str = ""
    more: str = ""


def sentence(row: HostRow, now: datetime) -> Sentence:
    """The page's verdict about one host."""
    host, code, why = row.host, row.health.code, row.health.why
    last_good = row.last_good_at
    ago = f"{filters.duration(now - last_good)} ago" if last_good else ""
    if code == "revoked":
        return Sentence(
            "This host is revoked: it cannot connect.",
            more="Its history stays until you remove it. To bring it back, enrol it again from its settings.",
        )
    if host.first_hello_at is None:
        return Sentence(
            "Enrolled, but its agent has not connected yet.",
            more="Start it there with rm-agent run; it connects within seconds. If not, ask rm-agent doctor there.",
        )
    if code == "running":
        return _running(row, ago)
    if code == "failed":
        what = "No good backup yet." if not last_good else f"Last good backup {ago}."
        return Sentence(
            what if not row.health.is_protected else f"Protected, but the last run failed. {what}",
            why,
            "Open the last job below for its log and what to do.",
        )
    if code in ("late", "missed"):
        return Sentence(
            f"{why[:1].upper()}{why[1:].rstrip('.')}.",
            "" if row.is_online else "The host is silent.",
            "How long a good backup counts, and since when one is overdue, is said under Why."
            + ("" if row.is_online else " Switch it on, or look at the agent there with rm-agent doctor."),
        )
    if code == "never":
        missing = (
            "No restic was found on the host: install it there, for example with apt install restic."
            if host.restic_version is None
            else ""
        )
        return Sentence("Not protected yet.", f"{why[:1].upper()}{why[1:].rstrip('.')}.", missing)
    heard = f"Last heard of {filters.duration(now - host.last_seen_at)} ago." if host.last_seen_at else ""
    if code == "offline":
        return Sentence(f"Protected: last good backup {ago}.", "The host is silent now.", heard)
    protected = f"Protected: last good backup {ago}." if row.health.is_protected else "Not protected."
    if code == "asleep":
        return Sentence(protected, "The host is asleep.", heard)
    if code in ("retrying", "waits", "skipped"):
        return Sentence(protected, why)
    return Sentence(f"Protected: last good backup {ago}." if ago else "Protected.")


def _running(row: HostRow, ago: str) -> Sentence:
    doing = row.health.word
    if row.is_online:
        return Sentence(
            f"{doing} now.",
            more=f"Last good backup {ago}." if ago else "This is its first good backup, if it ends well.",
        )
    return Sentence(
        f"{doing}, as far as known.",
        "Its connection is lost.",
        "The job goes on without the server; its result arrives when the host is back.",
    )
