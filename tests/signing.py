"""Releases for tests: keys that are always the same, and manifests and keysets signed with them."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from release_tool.signing import SecretKey
from rm.shared import instants
from tests.cast import NOW

ROOT_KEY = SecretKey(b"rootkey1", b"r" * 32)
SPARE_ROOT_KEY = SecretKey(b"rootkey2", b"s" * 32)
RELEASE_KEY = SecretKey(b"release1", b"k" * 32)
OTHER_KEY = SecretKey(b"stranger", b"x" * 32)
ROOTS = [ROOT_KEY.public.text, SPARE_ROOT_KEY.public.text]


@dataclass(frozen=True)
class SignedRelease:
    """The files of one release as a server holds them."""

    manifest: bytes
    manifest_signature: str
    keyset: bytes
    keyset_signature: str
    artifact: bytes

    def write(self, directory: Path, *, root: SecretKey = ROOT_KEY) -> Path:
        """The directory that is imported; what is there already is replaced."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "manifest.json").write_bytes(self.manifest)
        (directory / "manifest.json.minisig").write_text(self.manifest_signature)
        (directory / "keyset.json").write_bytes(self.keyset)
        (directory / "keyset.json.minisig").write_text(self.keyset_signature)
        (directory / "rm-agent").write_bytes(self.artifact)
        (directory / "root.pub").write_text(f"untrusted comment: root key\n{root.public.text}\n")
        return directory

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.manifest)
        return found

    @property
    def manifest_sha256(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def artifact_sha256(self) -> str:
        return hashlib.sha256(self.artifact).hexdigest()


def signed_keyset(
    *, version: int = 1, keys: tuple[SecretKey, ...] = (RELEASE_KEY,), root: SecretKey = ROOT_KEY, **changed: Any
) -> tuple[bytes, str]:
    """A keyset and its signature; `changed` replaces and adds fields."""
    body: dict[str, Any] = {
        "product": "restic-manager-agent",
        "schema": 1,
        "version": version,
        "release_keys": [key.public.text for key in keys],
    }
    data = json.dumps(body | changed, indent=1).encode()
    return data, root.sign(data, trusted_comment=f"keyset {version}")


def manifest_facts(artifact: bytes, *, seq: int, version: str, now: datetime = NOW, **changed: Any) -> dict[str, Any]:
    """What a manifest says of one artifact for every platform; `changed` replaces fields."""
    found: dict[str, Any] = {
        "product": "restic-manager-agent",
        "schema": 1,
        "channel": "stable",
        "seq": seq,
        "version": version,
        "released_at": instants.to_text(now - timedelta(days=1)),
        "expires_at": instants.to_text(now + timedelta(days=365)),
        "min_from_seq": 0,
        "guard_min": 2,
        "key_id": RELEASE_KEY.public.name,
        "yanked": [],
        "artifacts": [
            {
                "os": "any",
                "arch": "any",
                "name": "rm-agent",
                "size": len(artifact),
                "sha256": hashlib.sha256(artifact).hexdigest(),
            }
        ],
    }
    return found | changed


def signed_release(
    *, seq: int = 2, version: str = "0.2.0", artifact: bytes = b"#!/bin/sh\necho the next agent\n", now: datetime = NOW,
    key: SecretKey = RELEASE_KEY, keyset_version: int = 1, **changed: Any,
) -> SignedRelease:  # fmt: skip
    """A release with everything in order, but for what is `changed` in its manifest."""
    manifest = json.dumps(manifest_facts(artifact, seq=seq, version=version, now=now, **changed), indent=1).encode()
    keyset, keyset_signature = signed_keyset(version=keyset_version)
    return SignedRelease(
        manifest=manifest,
        manifest_signature=key.sign(manifest, trusted_comment=f"release {version} seq {seq}"),
        keyset=keyset,
        keyset_signature=keyset_signature,
        artifact=artifact,
    )
