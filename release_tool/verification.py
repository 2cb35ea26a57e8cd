"""`rm-release verify`: everything that a server and a host check, each signature by two implementations."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from release_tool import building
from release_tool.checks import IMPLEMENTATIONS
from release_tool.errors import ToolError
from rm.shared import release
from rm.shared.minisign import PublicKey, SignatureError


def verify(directory: Path, *, now: datetime, roots: Sequence[PublicKey] = ()) -> Iterator[str]:
    """One sentence for each thing that holds; raises ToolError at the first that does not.

    Without `roots` the directory's own root key is taken, which proves only that its files belong together.
    """
    if not roots:
        roots = (root_key(directory / "root.pub"),)
        yield f"the root key is {roots[0].name}, taken from {directory / 'root.pub'}: compare it with yours"
    keyset_bytes, keyset_signature = _signed(directory, "keyset.json")
    manifest_bytes, manifest_signature = _signed(directory, building.MANIFEST)
    found = []
    for name, check in IMPLEMENTATIONS.items():
        try:
            keyset = release.verify_keyset(keyset_bytes, keyset_signature, roots, check)
            manifest = release.verify_manifest(manifest_bytes, manifest_signature, keyset, check)
        except release.ReleaseError as error:
            raise ToolError(f"{error} (checked with {name})") from error
        found.append((keyset, manifest))
        yield f"keyset {keyset.version} and the manifest of {manifest.version} are signed (checked with {name})"
    keyset, manifest = found[0]
    if any(other != found[0] for other in found):
        raise ToolError("The two implementations do not agree on what is signed.")
    if manifest.expires_at <= now:
        raise ToolError(f"The release expired at {manifest.expires_at:%Y-%m-%d %H:%M} UTC.")
    if any(seq >= manifest.seq for seq in manifest.yanked):
        raise ToolError("The manifest withdraws itself or a later release.")
    yield f"release {manifest.version}, sequence {manifest.seq}, is good until {manifest.expires_at:%Y-%m-%d %H:%M} UTC"
    for artifact in manifest.artifacts:
        path = directory / artifact.name
        size = path.stat().st_size if path.is_file() else 0
        if size != artifact.size:
            raise ToolError(f"{artifact.name} has {size} bytes; the manifest says {artifact.size}.")
        if building.sha256_of(path) != artifact.sha256:
            raise ToolError(f"{artifact.name} does not have the sha256 that the manifest says.")
        yield f"{artifact.name} for {release.platform_of(artifact)}: {artifact.size} bytes, sha256 {artifact.sha256}"


def root_key(file: Path) -> PublicKey:
    """A public key file of minisign; raises ToolError."""
    try:
        return PublicKey.parse(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"{file} cannot be read.") from error
    except SignatureError as error:
        raise ToolError(f"{file}: {error}") from error


def _signed(directory: Path, name: str) -> tuple[bytes, str]:
    try:
        with (directory / name).open("rb") as file:
            data = file.read(release.MAX_MANIFEST_BYTES + 1)
        return data, (directory / f"{name}.minisig").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"{directory} does not hold {name} with its signature {name}.minisig.") from error
