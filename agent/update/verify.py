"""Whether a release may run here: every check in its order, and the first that fails ends the attempt."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ecdsa import BadSignatureError, Ed25519, VerifyingKey
from ecdsa.errors import MalformedPointError

from agent.platform import linux
from agent.platform.replace import sha256
from agent.update.ending import Failed
from agent.update.trust import Floor, Trust, TrustFile
from rm.shared import release
from rm.shared.protocol import CommandUpdate
from rm.shared.release import Artifact, Keyset, Manifest, ReleaseError


@dataclass(frozen=True)
class Papers:
    """What a server hands out beside an artifact, nothing of it believed yet."""

    keyset: bytes
    keyset_signature: bytes
    manifest: bytes
    manifest_signature: bytes


def check_signature(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is the key's."""
    try:
        return bool(VerifyingKey.from_string(key, curve=Ed25519).verify(signature, message))
    except (BadSignatureError, MalformedPointError, ValueError, AssertionError):
        return False


@dataclass
class Verifier:
    """One order and what this host knows; `now` is the server's time."""

    order: CommandUpdate
    trust_file: TrustFile
    floor: Floor
    running_seq: int
    may_go_below: bool

    def papers(self, papers: Papers, *, now: datetime, not_after: datetime) -> tuple[Manifest, Artifact]:
        """What the manifest says of this host's artifact; raises Failed, or OSError when it cannot be noted."""
        if now > not_after:
            raise _failed("order_expired", f"The order ended at {self.order.not_after}. Order the update again.")
        trust = self.trust_file.load()
        keyset, trust = self._keyset(papers, trust)
        manifest = self._manifest(papers, keyset)
        self._sequence(manifest)
        yanked = sorted({*trust.yanked, *manifest.yanked})[-1000:]
        if manifest.seq in yanked:
            raise _failed("yanked", f"Release {manifest.version} ({manifest.seq}) was withdrawn by whoever made it.")
        if manifest.expires_at < now:
            text = f"The manifest of {manifest.version} ended at {manifest.expires_at:%Y-%m-%d}. Sign it anew."
            raise _failed("manifest_expired", text)
        artifact = manifest.artifact_for(linux.OS, linux.arch())
        if artifact is None:
            raise _failed("no_artifact", f"The release has nothing for {linux.OS}/{linux.arch()}.")
        if artifact.sha256 != self.order.artifact_sha256:
            raise _failed("wrong_artifact", "The order names another artifact than the signed manifest does.")
        seen = replace(trust, highest_seq=max(trust.highest_seq, manifest.seq), yanked=yanked)
        if seen != self.trust_file.load():
            self.trust_file.save(seen)
        return manifest, artifact

    def file(self, path: Path, artifact: Artifact) -> None:
        """The bytes on the disk are those that were signed; raises Failed."""
        size = path.stat().st_size
        if size != artifact.size:
            raise _failed("wrong_size", f"The artifact has {size} bytes, the manifest says {artifact.size}.")
        if sha256(path, from_disk=True) != artifact.sha256:
            raise _failed("wrong_hash", "The artifact is not the one that was signed: its sha256 is another.")

    def _keyset(self, papers: Papers, trust: Trust) -> tuple[Keyset, Trust]:
        if not trust.root_keys:
            raise _failed("no_trust", "This host trusts no root key. Enrol it again from its page.")
        try:
            keyset = release.verify_keyset(papers.keyset, _text(papers.keyset_signature), trust.keys, check_signature)
        except ReleaseError as error:
            raise _failed(f"keyset_{error.code}", str(error)) from error
        found = hashlib.sha256(papers.keyset).hexdigest()
        if keyset.version < max(trust.keyset_version, self.order.keyset_version):
            wanted = max(trust.keyset_version, self.order.keyset_version)
            raise _failed("keyset_too_old", f"The keyset has version {keyset.version}; {wanted} was seen before.")
        if keyset.version == trust.keyset_version and trust.keyset_sha256 not in ("", found):
            raise _failed("keyset_changed", f"There are two keysets of version {keyset.version}; only one can be true.")
        return keyset, replace(trust, keyset_version=keyset.version, keyset_sha256=found)

    def _manifest(self, papers: Papers, keyset: Keyset) -> Manifest:
        try:
            if len(papers.manifest) > release.MAX_MANIFEST_BYTES:
                raise ReleaseError("too_large", f"The manifest is over {release.MAX_MANIFEST_BYTES // 1024} KiB.")
            if hashlib.sha256(papers.manifest).hexdigest() != self.order.manifest_sha256:
                raise ReleaseError("not_ordered", "The manifest is not the one that was ordered.")
            found = release.verify_manifest(papers.manifest, _text(papers.manifest_signature), keyset, check_signature)
        except ReleaseError as error:
            raise _failed(f"manifest_{error.code}", str(error)) from error
        if (found.seq, found.version) != (self.order.seq, self.order.version):
            text = (
                f"The order says {self.order.version} ({self.order.seq}), the manifest {found.version} ({found.seq})."
            )
            raise _failed("manifest_not_ordered", text)
        return found

    def _sequence(self, manifest: Manifest) -> None:
        if manifest.seq < self.floor.seq and not self.may_go_below:
            text = (
                f"Release {manifest.version} ({manifest.seq}) is older than {self.floor.version} ({self.floor.seq}),"
                " which ran here. On the host: rm-agent allow-downgrade"
            )
            raise _failed("below_floor", text)
        if manifest.seq == self.floor.seq and self.floor.sha256 not in ("", self.order.artifact_sha256):
            raise _failed("same_seq_other_hash", f"There are two artifacts of sequence {manifest.seq}.")
        if self.running_seq < manifest.min_from_seq:
            text = f"One can come to this release only from {manifest.min_from_seq} on; {self.running_seq} runs here."
            raise _failed("too_far", f"{text} Update to a release between them first.")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _failed(reason: str, detail: str) -> Failed:
    return Failed(reason, detail, phase="verifying")
