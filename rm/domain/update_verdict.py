"""Whether a host is to be updated to a release, and if not, why not; and what a failure counts against."""

from dataclasses import dataclass
from datetime import datetime

WILL_UPDATE = "will_update"
CURRENT = "current"
AHEAD = "ahead"
OFFLINE = "offline"
PINNED = "pinned"
HELD = "held"
NO_ARTIFACT = "no_artifact"
KNOWN_BAD = "known_bad"
GUARD_TOO_OLD = "guard_too_old"
REVOKED = "revoked"
NO_RELEASE = "no_release"
ORDERABLE = frozenset({WILL_UPDATE, OFFLINE})
"""The verdicts with which an update may be ordered; one for a host that is offline waits for it."""

RELEASE = "release"
INTEGRITY = "integrity"
INFRASTRUCTURE = "infrastructure"
HOST = "host"


@dataclass(frozen=True)
class ReleaseFacts:
    """What the rules need to know of a release and of its artifact for this host."""

    version: str
    seq: int
    expires_at: datetime
    guard_min: int = 0
    min_from_seq: int = 0
    has_artifact: bool = True


@dataclass(frozen=True)
class HostFacts:
    """What the rules need to know of a host; `bad_since`: when it came back from this very artifact."""

    name: str
    agent_version: str
    agent_seq: int
    platform: str = "linux/amd64"
    guard_version: str | None = None
    is_online: bool = True
    is_pinned: bool = False
    is_revoked: bool = False
    held_reason: str = ""
    bad_since: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """`word` is for programs, `reason` one sentence for people, `help` what to do about it."""

    word: str
    reason: str
    help: str = ""

    @property
    def is_orderable(self) -> bool:
        return self.word in ORDERABLE


def verdict_for_host(host: HostFacts, release: ReleaseFacts | None, now: datetime) -> Verdict:
    """What an update of this host to this release would met with; the reason that lasts longest comes first."""
    name = host.name
    if release is None:
        return Verdict(NO_RELEASE, "No release is current.", "Import one and make it current in Settings → Updates.")
    new = release.version
    if host.is_revoked:
        return Verdict(REVOKED, f"The credential of {name} is revoked.", "Enrol it again from its page.")
    if host.agent_seq == release.seq:
        return Verdict(CURRENT, f"{name} runs {new} already.")
    if host.agent_seq > release.seq:
        return Verdict(
            AHEAD, f"{name} runs {host.agent_version} (sequence {host.agent_seq}), newer than {new} ({release.seq}).",
            "It is never downgraded silently. “Roll back” on its page takes back its last update.",
        )  # fmt: skip
    if host.is_pinned:
        return Verdict(
            PINNED, f"{name} is pinned to {host.agent_version} by its owner.", "Only rm-agent unpin there ends that."
        )
    if host.held_reason:
        return Verdict(HELD, f"{name} is held: {host.held_reason}", "An administrator can release it on its page.")
    if release.expires_at <= now:
        return Verdict(
            NO_RELEASE, f"The release {new} expired on {release.expires_at:%Y-%m-%d}; no agent takes it.",
            "Import a newer one and make it current in Settings → Updates.",
        )  # fmt: skip
    if not release.has_artifact:
        return Verdict(NO_ARTIFACT, f"The release {new} has nothing for {host.platform}.", "Import one that has.")
    if host.agent_seq < release.min_from_seq:
        return Verdict(
            NO_ARTIFACT, f"{new} installs over sequence {release.min_from_seq} or later; {name} has {host.agent_seq}.",
            "Make an older release current first, and update over it.",
        )  # fmt: skip
    guard = _number(host.guard_version)
    # A guard that is not named is judged by the host's own preflight.
    if guard is not None and guard < release.guard_min:
        return Verdict(
            GUARD_TOO_OLD, f"{new} needs guard {release.guard_min}; {name} has {guard}.",
            "Repair the host: its page has the line.",
        )  # fmt: skip
    if host.bad_since is not None:
        return Verdict(
            KNOWN_BAD, f"{name} came back from this very file on {host.bad_since:%Y-%m-%d %H:%M} UTC.",
            "An administrator can force it, with a reason.",
        )  # fmt: skip
    if not host.is_online:
        return Verdict(OFFLINE, f"{name} is not connected; the order waits for it, up to 24 hours.")
    return Verdict(WILL_UPDATE, f"{name} goes from {host.agent_version} to {new}.")


def failure_class(outcome: str, reason: str, phase: str) -> str:
    """What an end that is no success counts against: release, integrity, infrastructure or host."""
    if reason in _CLASS_OF_REASON:
        return _CLASS_OF_REASON[reason]
    if outcome == "revert_failed":
        return RELEASE
    if outcome == "refused" and phase != "verifying":
        return HOST
    return _CLASS_OF_PHASE.get(phase, RELEASE if outcome == "rolled_back" else HOST)


_CLASS_OF_PHASE = {
    "accepted": HOST,
    "preflight": HOST,
    "draining": HOST,
    "downloading": INFRASTRUCTURE,
    "verifying": INTEGRITY,
    "selftest": RELEASE,
    "swapping": HOST,
    "restarting": RELEASE,
    "trial": RELEASE,
    "soaking": RELEASE,
    "committed": RELEASE,
}
_CLASS_OF_REASON = {
    reason: kind
    for kind, reasons in {
        RELEASE: (
            "no_hello", "came_back_old", "no_result", "boots", "expired", "unrecorded", "release", "health", "asked",
            "yanked", "manifest_expired",
        ),
        INTEGRITY: ("wrong_hash", "wrong_size", "same_seq_other_hash"),
        INFRASTRUCTURE: ("unreachable", "credential", "too_long", "download_timeout", "not_served"),
        HOST: (
            "no_sign", "silent", "connection_lost", "counter", "damaged", "disk_full", "io_error", "agent_error",
            "agent_restarts", "state_damaged", "order_expired", "stale_order", "known_bad", "below_floor", "pinned",
            "no_artifact", "too_far", "busy", "too_many_swaps", "no_previous", "previous_too_old",
        ),
    }.items()
    for reason in reasons
}  # fmt: skip
"""Where the reason says more than the phase: reasons of agents, of the guard, and of this server."""


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None
