"""`rm-release sign`: the signature under a manifest, and beside it all that is needed to check it."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from release_tool import building, files, gate
from release_tool.errors import ToolError
from release_tool.keys import ROOT, KeyDirectory, LastSigned
from rm.shared import minisign, release
from rm.shared.release import Manifest

SIGNATURE = f"{building.MANIFEST}.minisig"


def sign(directory: Path, keys: KeyDirectory, *, now: datetime, passed: frozenset[str] | None) -> Manifest:
    """Sign the release in this directory; raises ToolError, and then no signature is there.

    `passed` holds the contents of agents that passed the gate; None asks for none, for keys that nobody trusts.
    """
    try:
        data = (directory / building.MANIFEST).read_bytes()
        manifest = release.parse_manifest(data)
    except FileNotFoundError as error:
        raise ToolError(f"There is no manifest in {directory}. Build first: scripts/rm-release build") from error
    except release.ReleaseError as error:
        raise ToolError(str(error)) from error
    for check in CHECKS_BEFORE_SIGNING:
        check(directory, data, manifest, keys, now)
    if passed is not None:
        refuse_ungated(directory, manifest, passed)
    key = keys.release_key(manifest.key_id)
    comment = f"{release.PRODUCT} {manifest.version} seq {manifest.seq} channel {manifest.channel}"
    signature = key.sign(data, trusted_comment=comment)
    keyset, keyset_signature = keys.keyset_files()
    # Noted before the signature exists: a crash must not leave one that nobody remembers.
    keys.remember_signed(LastSigned(manifest.seq, manifest.version, hashlib.sha256(data).hexdigest()))
    files.replace(directory / "keyset.json", keyset, mode=0o644)
    files.replace(directory / "keyset.json.minisig", keyset_signature.encode(), mode=0o644)
    root = keys.public(ROOT)
    text = f"{minisign.UNTRUSTED}restic-manager root key {root.name}\n{root.text}\n"
    files.replace(directory / "root.pub", text.encode(), mode=0o644)
    files.replace(directory / SIGNATURE, signature.encode(), mode=0o644)
    return manifest


def refuse_other_artifacts(directory: Path, data: bytes, manifest: Manifest, keys: KeyDirectory, now: datetime) -> None:
    """Raises ToolError unless the files are those that the manifest names."""
    for artifact in manifest.artifacts:
        path = directory / artifact.name
        if not path.is_file() or path.stat().st_size != artifact.size or building.sha256_of(path) != artifact.sha256:
            raise ToolError(f"{path} is not the file that the manifest names. Build again: scripts/rm-release build")


def refuse_backwards(directory: Path, data: bytes, manifest: Manifest, keys: KeyDirectory, now: datetime) -> None:
    """Raises ToolError for a sequence that was signed already with other bytes, or passed."""
    last = keys.last_signed()
    is_again = (manifest.seq, hashlib.sha256(data).hexdigest()) == (last.seq, last.manifest_sha256)
    if manifest.seq <= last.seq and not is_again:
        raise ToolError(
            f"Sequence {manifest.seq} cannot be signed: {last.seq} (version {last.version}) was signed already, and "
            f"sequences never go backwards. Build with --seq {last.seq + 1}."
        )


def refuse_expired(directory: Path, data: bytes, manifest: Manifest, keys: KeyDirectory, now: datetime) -> None:
    """Raises ToolError for a manifest that no host would take."""
    if manifest.expires_at <= now:
        raise ToolError(f"The manifest expired at {manifest.expires_at:%Y-%m-%d %H:%M} UTC. Build again.")


def refuse_ungated(directory: Path, manifest: Manifest, passed: frozenset[str]) -> None:
    """Raises ToolError for an agent that did not pass the gate."""
    if any(gate.contents_of(directory / artifact.name) not in passed for artifact in manifest.artifacts):
        raise ToolError(
            f"This agent did not pass the gate ({gate.LEGS}), so it is not signed. Run it: scripts/rm-release gate"
        )


# What has to hold before a release is signed, each raising ToolError.
CHECKS_BEFORE_SIGNING: tuple[Callable[[Path, bytes, Manifest, KeyDirectory, datetime], None], ...] = (
    refuse_other_artifacts,
    refuse_backwards,
    refuse_expired,
)
