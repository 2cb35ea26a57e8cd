"""Releases: brought to the server with everything checked, and made the one that hosts are to run."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rm.domain.actors import Actor
from rm.errors import Conflict, Invalid
from rm.events import EventBus, HostConfigChanged, ReleasesChanged
from rm.services import alerts, audit
from rm.services.release_files import SIGNATURE_CODES, Signed, verified
from rm.shared.minisign import PublicKey
from rm.shared.release import ReleaseError, parse_manifest
from rm.store import artifacts, releases
from rm.store.artifacts import ArtifactDiffers
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Keyset, Release, Setting

MAX_REASON = 500
_CONDITION = "import"


@dataclass(frozen=True)
class Imported:
    """What an import did; with replaced trust, `hosts_to_reinstall` counts those that trust other root keys."""

    release: Release
    is_new: bool
    root_keys: tuple[PublicKey, ...]
    is_first_trust: bool
    is_trust_replaced: bool
    hosts_to_reinstall: int


def import_release(
    bus: EventBus, *, directory: Path, data_dir: Path, actor: Actor, now: datetime, new_trust: bool = False
) -> Imported:
    """Keep a signed release, or nothing of it; again: no change. Never makes it the current one. Raises Conflict."""
    try:
        signed = verified(directory, pinned=releases.root_keys(), new_trust=new_trust, now=now)
        _check_history(signed)
        brought = _keep_files(signed, data_dir)
        try:
            with changes():
                _check_history(signed)
                return _keep(bus, signed, actor, now)
        except BaseException:
            for sha256 in brought:
                artifacts.forget(data_dir, sha256)
            raise
    except ReleaseError as error:
        _note_refusal(bus, error, directory, actor, now)
        raise Conflict(
            str(error), code=error.code, help="Nothing was stored. Get the release's directory again from who made it."
        ) from error


def promote(
    bus: EventBus, *, release_id: str, actor: Actor, now: datetime, force: bool = False, reason: str = ""
) -> Release:
    """Make a release the one that hosts are to run; again: no change.

    An older one than hosts were ever to run needs `force` and a reason. Raises Conflict or Invalid.
    """
    reason = reason.strip()
    if len(reason) > MAX_REASON or (reason and not reason.isprintable()):
        raise Invalid({"reason": f"Use at most {MAX_REASON} printable characters."})
    with changes():
        found = releases.get(release_id)
        if found.is_current and found.withdrawn_at is None:
            return found
        _check_promotable(found, now)
        highest = releases.highest_promoted_seq()
        is_older = found.seq < highest
        if is_older and not force:
            raise Conflict(
                f"Release {found.version} (sequence {found.seq}) is older than {highest}, which hosts were to run.",
                code="older_release",
                help="Hosts that run something newer keep it. To make it current all the same, force it and say why.",
            )
        if is_older and not reason:
            raise Invalid({"reason": "Say why an older release is made the current one."})
        Release.update(is_current=False).where(Release.is_current).execute()
        Release.update(is_current=True, promoted_at=now).where(Release.id == found.id).execute()
        extra = {"is_older": True, "reason": reason} if is_older else {}
        _record(actor, "release.promoted", found, now, **extra)
        _tell(bus)
        return releases.get(release_id)


def mark() -> tuple[str, str]:
    """What `tell_changes` compares: different after each change of releases, and of the root keys."""
    return releases.mark()


def tell_changes(bus: EventBus, *, seen: tuple[str, str]) -> tuple[str, str]:
    """Announce what another process, the command line, changed since `seen`; gives what is to be seen next time."""
    mark = releases.mark()
    if mark == seen:
        return mark
    bus.publish(ReleasesChanged())
    if mark[1] != seen[1]:
        for host_id in releases.list_connected_host_ids():
            bus.publish(HostConfigChanged(host_id))
    return mark


def _check_history(signed: Signed) -> None:
    """Raises ReleaseError for what would go back behind something that is kept already."""
    if releases.root_keys() != signed.pinned:
        raise ReleaseError("changed_meanwhile", "Somebody else imported a release at this moment. Import it again.")
    newest, keyset, manifest = releases.newest_keyset(), signed.keyset, signed.manifest
    if newest is not None:
        if keyset.version < newest.version or (signed.is_new_root and keyset.version == newest.version):
            raise ReleaseError(
                "keyset_old",
                f"The keyset has version {keyset.version}, but {newest.version} was seen here already. "
                + (
                    f"Make the new keys with: rm-release keys --keyset-version {newest.version + 1}"
                    if signed.is_new_root
                    else "Sign the release again, beside the newest keyset."
                ),
            )
        if keyset.version == newest.version and bytes(newest.bytes) != signed.keyset_bytes:
            raise ReleaseError(
                "keyset_differs", f"Another keyset of version {keyset.version} is stored here. Make the next version."
            )
    release_id = hashlib.sha256(signed.manifest_bytes).hexdigest()
    other = releases.find_by_seq(manifest.seq)
    if other is not None and other.id != release_id:
        raise ReleaseError(
            "seq_taken",
            f"Sequence {manifest.seq} is taken by another release here: version {other.version}, {other.id[:12]}. "
            "Build it with a higher sequence.",
        )
    for later in releases.list_above(manifest.seq):
        if manifest.seq in parse_manifest(bytes(later.manifest)).yanked:
            raise ReleaseError(
                "yanked", f"Sequence {manifest.seq} was withdrawn by release {later.version} (sequence {later.seq})."
            )


def _keep_files(signed: Signed, data_dir: Path) -> list[str]:
    """The sha256 of each file that was not there before."""
    brought: list[str] = []
    try:
        for one in signed.manifest.artifacts:
            if artifacts.keep(signed.directory / one.name, data_dir, size=one.size, sha256=one.sha256):
                brought.append(one.sha256)
    except (ArtifactDiffers, OSError) as error:
        for sha256 in brought:
            artifacts.forget(data_dir, sha256)
        if isinstance(error, ArtifactDiffers):
            raise ReleaseError("wrong_artifact", f"{error} It changed while it was read.") from error
        raise ReleaseError(
            "disk", f"The artifacts cannot be kept in {artifacts.directory(data_dir)}: {error.strerror}."
        ) from error
    return brought


def _keep(bus: EventBus, signed: Signed, actor: Actor, now: datetime) -> Imported:
    is_first = not releases.root_keys()
    to_reinstall = 0
    changed = False
    if signed.is_new_root:
        to_reinstall = 0 if is_first else releases.count_hosts_to_reinstall()
        _pin(bus, signed, is_first, actor, now)
        changed = True
    newest = releases.newest_keyset()
    if newest is None or signed.keyset.version > newest.version:
        _keep_keyset(signed, actor, now)
        changed = True
    release_id = hashlib.sha256(signed.manifest_bytes).hexdigest()
    found = releases.find(release_id)
    is_new = found is None
    if found is None:
        found = _create(signed, release_id, actor, now)
        changed = True
    _withdraw(Release.seq.in_(list(signed.manifest.yanked)), "yanked", actor, now)
    alerts.clear(
        bus,
        kind="release_signature_invalid",
        condition=_CONDITION,
        note="A release with good signatures came.",
        now=now,
    )
    if changed:
        _tell(bus)
    return Imported(
        release=releases.get(release_id), is_new=is_new, root_keys=signed.root_keys, is_first_trust=is_first,
        is_trust_replaced=signed.is_new_root and not is_first, hosts_to_reinstall=to_reinstall,
    )  # fmt: skip


def _create(signed: Signed, release_id: str, actor: Actor, now: datetime) -> Release:
    manifest = signed.manifest
    found = Release.create(
        id=release_id, version=manifest.version, seq=manifest.seq, channel=manifest.channel,
        manifest=signed.manifest_bytes, signature=signed.manifest_signature.encode(), keyset=signed.keyset.version,
        artifacts=[asdict(artifact) for artifact in manifest.artifacts], guard_min=manifest.guard_min,
        min_from_seq=manifest.min_from_seq, key_id=manifest.key_id, released_at=manifest.released_at,
        expires_at=manifest.expires_at, imported_at=now, imported_by=actor.name,
    )  # fmt: skip
    _record(actor, "release.imported", found, now, key_id=manifest.key_id, yanked=list(manifest.yanked))
    return found


def _pin(bus: EventBus, signed: Signed, is_first: bool, actor: Actor, now: datetime) -> None:
    names = [key.name for key in signed.root_keys]
    value = json.dumps([key.text for key in signed.root_keys])
    Setting.insert(name=releases.ROOT_KEYS, value=value).on_conflict_replace().execute()
    audit.record(
        actor, "trust.pinned" if is_first else "trust.replaced", now=now, kind="trust", name=" and ".join(names)
    )
    if not is_first:
        # No host takes what the old root key stands for together with the new one.
        _withdraw(Release.id.is_null(False), "new_trust", actor, now)
    # Hosts that were enrolled before there was any root key learn it with their next configuration.
    Host.update(config_version=Host.config_version + 1).where(Host.revoked_at.is_null()).execute()
    publish_after_commit(bus, *(HostConfigChanged(host_id) for host_id in releases.list_connected_host_ids()))


def _keep_keyset(signed: Signed, actor: Actor, now: datetime) -> None:
    keyset = signed.keyset
    Keyset.create(
        version=keyset.version, bytes=signed.keyset_bytes, signature=signed.keyset_signature.encode(), imported_at=now
    )
    names = [key.name for key in keyset.release_keys]
    audit.record(
        actor, "keyset.imported", now=now, kind="keyset", id=str(keyset.version), name=f"version {keyset.version}",
        release_keys=names,
    )  # fmt: skip
    _withdraw(Release.key_id.not_in(names), "key_retired", actor, now)


def _withdraw(condition: object, why: str, actor: Actor, now: datetime) -> None:
    for found in Release.select().where(condition, Release.withdrawn_at.is_null()):
        Release.update(withdrawn_at=now, withdrawn_why=why, is_current=False).where(Release.id == found.id).execute()
        _record(actor, "release.withdrawn", found, now, why=why, was_current=found.is_current)


def _check_promotable(found: Release, now: datetime) -> None:
    if found.withdrawn_at is not None:
        raise Conflict(
            f"Release {found.version} was withdrawn at {found.withdrawn_at:%Y-%m-%d %H:%M} UTC.",
            code="release_withdrawn",
            help="Hosts refuse it. Import and promote a later release.",
        )
    if found.expires_at <= now:
        raise Conflict(
            f"Release {found.version} expired at {found.expires_at:%Y-%m-%d %H:%M} UTC.",
            code="release_expired",
            help="Hosts refuse it. Build, sign and import it anew with a higher sequence.",
        )


def _note_refusal(bus: EventBus, error: ReleaseError, directory: Path, actor: Actor, now: datetime) -> None:
    with changes():
        audit.record(
            actor,
            "release.refused",
            now=now,
            kind="release",
            name=directory.name,
            code=error.code,
            why=str(error)[:500],
        )
        if error.code in SIGNATURE_CODES:
            message = f"A release was refused on import: {error} Find out who made it before you try again."
            alerts.raise_alert(
                bus, kind="release_signature_invalid", condition=_CONDITION, message=message, now=now
            )  # fmt: skip


def _record(actor: Actor, action: str, found: Release, now: datetime, **payload: object) -> None:
    audit.record(
        actor, action, now=now, kind="release", id=found.id, name=found.version, seq=found.seq, **payload
    )  # fmt: skip


def _tell(bus: EventBus) -> None:
    stored = Setting.get_or_none(Setting.name == releases.CHANGES)
    count = int(stored.value) + 1 if stored else 1
    Setting.insert(name=releases.CHANGES, value=str(count)).on_conflict_replace().execute()
    publish_after_commit(bus, ReleasesChanged())
