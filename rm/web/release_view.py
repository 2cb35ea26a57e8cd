"""What the page Settings → Updates shows: releases, whom they are trusted from, and what hosts run."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.shared.minisign import PublicKey
from rm.shared.release import Artifact, parse_keyset, parse_manifest
from rm.store import releases
from rm.store.models import Release

WHY_WITHDRAWN = {
    "yanked": "a later release withdrew it",
    "key_retired": "its release key was retired",
    "new_trust": "the root key was replaced",
}
PROMOTE_POINTS = (
    "Hosts that run something older are then behind, and can be updated one by one or together.",
    "No host is updated by this alone.",
    "Each host checks the signature, the sequence and the expiry itself before it takes it.",
)
OLDER_POINT = "It is older than one that hosts were to run before. Hosts that run something newer keep it."


@dataclass(frozen=True)
class ReleaseRow:
    """One release; `hosts` run it, `state` is current, withdrawn, expired, older or ready."""

    release: Release
    artifacts: tuple[Artifact, ...]
    yanked: tuple[int, ...]
    hosts: int
    state: str
    why: str

    @property
    def can_be_promoted(self) -> bool:
        return self.state in ("ready", "older")


@dataclass(frozen=True)
class RunRow:
    """What some hosts run: current, behind, ahead, or not to be judged while nothing is current."""

    version: str
    seq: int
    hosts: int
    state: str


def values(*, now: datetime) -> dict[str, Any]:
    """What the page shows."""
    keyset, current = releases.newest_keyset(), releases.current()
    counts = releases.count_hosts_by_release()
    hosts = {(version, seq): count for version, seq, count in counts}
    highest = releases.highest_promoted_seq()
    release_keys: tuple[PublicKey, ...] = parse_keyset(bytes(keyset.bytes)).release_keys if keyset else ()
    return {
        "current": current,
        "rows": [_row(one, hosts.get((one.version, one.seq), 0), highest, now) for one in releases.list_all()],
        "runs": [RunRow(version, seq, count, _standing(seq, current)) for version, seq, count in counts],
        "root_keys": releases.root_keys(),
        "keyset": keyset,
        "release_keys": release_keys,
        "promote_points": PROMOTE_POINTS,
    }


def promotion(release: Release, *, error: str = "") -> dict[str, Any]:
    """The question before a release is made current."""
    is_older = release.seq < releases.highest_promoted_seq()
    return {
        "title": f"Make {release.version} (sequence {release.seq}) the current release",
        "action": f"/settings/updates/{release.id}/promote",
        "verb": "Make current",
        "points": (*PROMOTE_POINTS, OLDER_POINT) if is_older else PROMOTE_POINTS,
        "ask": {
            "reason": "Why an older release" if is_older else "",
            "reason_error": error,
            "keep": "Leave it",
            "is_harmless": not is_older,
        },
    }


def _row(release: Release, hosts: int, highest: int, now: datetime) -> ReleaseRow:
    why = WHY_WITHDRAWN.get(release.withdrawn_why, "")
    if release.withdrawn_at is not None:
        state = "withdrawn"
    elif release.is_current:
        state = "current"
    elif release.expires_at <= now:
        state = "expired"
    else:
        state = "older" if release.seq < highest else "ready"
    return ReleaseRow(
        release, releases.artifacts_of(release), parse_manifest(bytes(release.manifest)).yanked, hosts, state, why
    )


def _standing(seq: int, current: Release | None) -> str:
    if current is None:
        return "unknown"
    return "current" if seq == current.seq else "behind" if seq < current.seq else "ahead"
