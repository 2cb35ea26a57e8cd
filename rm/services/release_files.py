"""What lies in a release's directory, checked to the last byte before anything of it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rm.shared import release
from rm.shared.minisign import MAX_SIGNATURE_BYTES, PublicKey, SignatureError
from rm.shared.release import Keyset, Manifest, ReleaseError
from rm.store import artifacts
from rm.store.artifacts import ArtifactDiffers

SIGNATURE_CODES = frozenset(
    {
        "bad_signature",
        "bad_comment",
        "bad_signature_file",
        "not_prehashed",
        "unknown_key",
        "unknown_root",
        "wrong_key_id",
    }
)


@dataclass(frozen=True)
class Signed:
    """A release whose signatures and files hold; `root_keys` are to be pinned, `pinned` were when it was checked."""

    directory: Path
    pinned: tuple[PublicKey, ...]
    root_keys: tuple[PublicKey, ...]
    keyset: Keyset
    keyset_bytes: bytes
    keyset_signature: str
    manifest: Manifest
    manifest_bytes: bytes
    manifest_signature: str

    @property
    def is_new_root(self) -> bool:
        return self.root_keys != self.pinned


def check(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is the key's."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def verified(directory: Path, *, pinned: Sequence[PublicKey], new_trust: bool, now: datetime) -> Signed:
    """The release in this directory; raises ReleaseError with what is wrong, in the order in which hosts look.

    Without pinned root keys, and with `new_trust`, the directory's own root key is taken.
    """
    keyset_bytes, keyset_signature = _signed(directory, "keyset.json")
    manifest_bytes, manifest_signature = _signed(directory, "manifest.json")
    keyset, root_keys = _keyset(directory, keyset_bytes, keyset_signature, pinned, new_trust)
    manifest = release.verify_manifest(manifest_bytes, manifest_signature, keyset, check)
    if manifest.expires_at <= now:
        raise ReleaseError(
            "expired", f"Release {manifest.version} expired at {manifest.expires_at:%Y-%m-%d %H:%M} UTC. Build it anew."
        )
    if any(seq >= manifest.seq for seq in manifest.yanked):
        raise ReleaseError("bad_manifest", "The manifest withdraws itself or a later release.")
    for artifact in manifest.artifacts:
        try:
            artifacts.check(directory / artifact.name, size=artifact.size, sha256=artifact.sha256)
        except ArtifactDiffers as error:
            raise ReleaseError("wrong_artifact", str(error)) from error
        except OSError as error:
            raise ReleaseError("no_artifact", f"{artifact.name} cannot be read in {directory}.") from error
    return Signed(
        directory=directory, pinned=tuple(pinned), root_keys=root_keys, keyset=keyset, keyset_bytes=keyset_bytes,
        keyset_signature=keyset_signature, manifest=manifest, manifest_bytes=manifest_bytes,
        manifest_signature=manifest_signature,
    )  # fmt: skip


def _keyset(
    directory: Path, data: bytes, signature: str, pinned: Sequence[PublicKey], new_trust: bool
) -> tuple[Keyset, tuple[PublicKey, ...]]:
    if pinned:
        try:
            return release.verify_keyset(data, signature, pinned, check), tuple(pinned)
        except ReleaseError as error:
            if error.code != "unknown_key":
                raise
            if not new_trust:
                names = " or ".join(key.name for key in pinned)
                raise ReleaseError(
                    "unknown_root",
                    f"{error} This server and its hosts trust the root key {names} and no other. If the root key "
                    "was lost and replaced, import with --new-trust: every host must then be installed again.",
                ) from error
    root = _root_key(directory)
    keyset = release.verify_keyset(data, signature, (root,), check)
    if keyset.root_keys and root not in keyset.root_keys:
        raise ReleaseError("bad_keyset", f"The keyset does not list the root key {root.name} that signed it.")
    return keyset, keyset.root_keys or (root,)


def _root_key(directory: Path) -> PublicKey:
    try:
        return PublicKey.parse(_bounded(directory / "root.pub", MAX_SIGNATURE_BYTES).decode("ascii"))
    except (SignatureError, UnicodeDecodeError) as error:
        raise ReleaseError("bad_root_key", f"root.pub: {error}") from error


def _signed(directory: Path, name: str) -> tuple[bytes, str]:
    data = _bounded(directory / name, release.MAX_MANIFEST_BYTES)
    signature = _bounded(directory / f"{name}.minisig", MAX_SIGNATURE_BYTES)
    try:
        return data, signature.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReleaseError("bad_signature_file", f"{name}.minisig is no text.") from error


def _bounded(path: Path, most: int) -> bytes:
    """A file's bytes; one byte over the limit is enough to be refused by who checks it."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(most + 1)
    except OSError:
        pass
    raise ReleaseError("missing_file", f"{path} cannot be read. A release's directory is what `make release` writes.")
