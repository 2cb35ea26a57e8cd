"""What a release is: a signed manifest of artifacts, and the keyset that says whose signature counts.

Bytes are verified first and parsed after. A root key, pinned when a host is enrolled, signs keysets; a key of the
keyset signs manifests.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.shared import instants, minisign
from rm.shared.fields import FieldError, Instant, Listing, Text, Whole
from rm.shared.minisign import Check, PublicKey, SignatureError

PRODUCT = "restic-manager-agent"
SCHEMA = 1
CHANNELS = ("stable",)
MAX_MANIFEST_BYTES = 64 * 1024
MAX_ARTIFACT_BYTES = 64 * 1024 * 1024
MAX_RELEASE_KEYS = 16
MAX_ROOT_KEYS = 4
MAX_SEQ = 2**31
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,62}")


class ReleaseError(ValueError):
    """A manifest or keyset that cannot be taken; `code` is one short word for programs, the text is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Artifact:
    """One file of a release; `os` and `arch` may be "any"; `size` in bytes."""

    os: str
    arch: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What one release consists of, and from where one may come to it."""

    channel: str
    seq: int
    version: str
    released_at: datetime
    expires_at: datetime
    min_from_seq: int
    guard_min: int
    key_id: str
    yanked: tuple[int, ...]
    artifacts: tuple[Artifact, ...]

    def artifact_for(self, os: str, arch: str) -> Artifact | None:
        """The artifact for a platform: its own, else the one for any."""
        return pick(self.artifacts, os, arch)


@dataclass(frozen=True)
class Keyset:
    """Whose signature under a manifest counts; a higher version replaces a lower one.

    `root_keys` are all root keys that its owner made; they count only where nobody has pinned any yet.
    """

    version: int
    release_keys: tuple[PublicKey, ...]
    root_keys: tuple[PublicKey, ...] = ()


def verify_keyset(data: bytes, signature_text: str, root_keys: Sequence[PublicKey], check: Check) -> Keyset:
    """The keyset in these bytes, which one of the root keys has signed; raises ReleaseError."""
    _verify("keyset", data, signature_text, root_keys, check)
    return parse_keyset(data)


def verify_manifest(data: bytes, signature_text: str, keyset: Keyset, check: Check) -> Manifest:
    """The manifest in these bytes, signed by the key of the keyset that it names; raises ReleaseError."""
    key = _verify("manifest", data, signature_text, keyset.release_keys, check)
    manifest = parse_manifest(data)
    if manifest.key_id != key.name:
        raise ReleaseError(
            "wrong_key_id", f"The manifest names the key {manifest.key_id[:20]}, but {key.name} signed it."
        )
    return manifest


def parse_keyset(data: bytes) -> Keyset:
    """The keyset in these bytes, unverified; raises ReleaseError."""
    raw = _object("keyset", data)
    try:
        version = Whole(1, MAX_SEQ).check(raw.get("version"))
        texts = Listing(Text(200), MAX_RELEASE_KEYS).check(raw.get("release_keys"))
        keys = tuple(PublicKey.parse(text) for text in texts)
        root_texts = Listing(Text(200), MAX_ROOT_KEYS).check(raw.get("root_keys", []))
        root_keys = tuple(PublicKey.parse(text) for text in root_texts)
    except (FieldError, SignatureError) as error:
        raise ReleaseError("bad_keyset", f"The keyset cannot be understood: {error}") from error
    if not keys or len({key.key_id for key in keys}) != len(keys):
        raise ReleaseError("bad_keyset", "The keyset must name at least one release key, and each only once.")
    return Keyset(version, keys, root_keys)


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes, unverified; raises ReleaseError."""
    raw = _object("manifest", data)
    if raw.get("channel") not in CHANNELS:
        raise ReleaseError("wrong_channel", f"The manifest is of the channel {str(raw.get('channel'))[:40]!r}.")
    try:
        found = Manifest(
            channel=raw["channel"],
            seq=Whole(1, MAX_SEQ).check(raw.get("seq")),
            version=_matching(raw.get("version"), _VERSION, "version"),
            released_at=instants.from_text(Instant().check(raw.get("released_at"))),
            expires_at=instants.from_text(Instant().check(raw.get("expires_at"))),
            min_from_seq=Whole(0, MAX_SEQ).check(raw.get("min_from_seq", 0)),
            guard_min=Whole(0, 1_000_000).check(raw.get("guard_min", 0)),
            key_id=Text(16).check(raw.get("key_id")),
            yanked=tuple(Listing(Whole(1, MAX_SEQ), 1000).check(raw.get("yanked", []))),
            artifacts=tuple(_artifact(one) for one in _list(raw.get("artifacts"))),
        )
    except FieldError as error:
        raise ReleaseError("bad_manifest", f"The manifest cannot be understood: {error}") from error
    platforms = {(artifact.os, artifact.arch) for artifact in found.artifacts}
    if not found.artifacts or len(platforms) != len(found.artifacts):
        raise ReleaseError("bad_manifest", "The manifest must name one artifact for each platform.")
    return found


def pick(artifacts: Sequence[Artifact], os: str, arch: str) -> Artifact | None:
    """The one of these for a platform: its own, else the one for any."""
    for wanted in ((os, arch), (os, "any"), ("any", "any")):
        for artifact in artifacts:
            if (artifact.os, artifact.arch) == wanted:
                return artifact
    return None


def platform_of(artifact: Artifact) -> str:
    """How the platform of an artifact is called: linux/amd64, any."""
    return "any" if (artifact.os, artifact.arch) == ("any", "any") else f"{artifact.os}/{artifact.arch}"


def _verify(what: str, data: bytes, signature_text: str, keys: Sequence[PublicKey], check: Check) -> PublicKey:
    if len(data) > MAX_MANIFEST_BYTES:
        raise ReleaseError("too_large", f"The {what} is over {MAX_MANIFEST_BYTES // 1024} KiB.")
    try:
        return minisign.verify(data, signature_text, keys, check)
    except SignatureError as error:
        raise ReleaseError(error.code, f"The {what} is not trusted: {error}") from error


def _object(what: str, data: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"bad_{what}", f"The {what} is not JSON.") from error
    if not isinstance(raw, dict):
        raise ReleaseError(f"bad_{what}", f"The {what} is not a JSON object.")
    if raw.get("product") != PRODUCT:
        raise ReleaseError("wrong_product", f"The {what} is of the product {str(raw.get('product'))[:40]!r}.")
    if type(raw.get("schema")) is not int or raw["schema"] != SCHEMA:
        raise ReleaseError("wrong_schema", f"The {what} has the schema {str(raw.get('schema'))[:20]}, not {SCHEMA}.")
    return raw


def _list(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > 64 or not all(isinstance(one, dict) for one in value):
        raise FieldError("artifacts must be a list of at most 64 objects")
    return value


def _artifact(raw: dict[str, Any]) -> Artifact:
    return Artifact(
        os=Text(32, ("any", "linux", "windows", "darwin")).check(raw.get("os")),
        arch=Text(32, ("any", "amd64", "arm64")).check(raw.get("arch")),
        name=_matching(raw.get("name"), _NAME, "name"),
        size=Whole(1, MAX_ARTIFACT_BYTES).check(raw.get("size")),
        sha256=_matching(raw.get("sha256"), _SHA256, "sha256"),
    )


def _matching(value: Any, pattern: re.Pattern[str], name: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise FieldError(f"{name} is not written as it must be")
    return value
