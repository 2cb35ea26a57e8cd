"""Where the signing keys lie: made once, kept outside of everything that is copied or handed out."""

import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from release_tool import files, signing
from release_tool.errors import ToolError
from release_tool.signing import SecretKey
from rm.shared import minisign, release
from rm.shared.minisign import PublicKey, SignatureError
from rm.shared.release import Keyset

TREE = Path(__file__).resolve().parents[1]
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
ALLOW_IMAGE = "RM_KEYS_ALLOW_IMAGE"
ROOT, RECOVERY = "root", "root-recovery"
LAST_SIGNED = "last-signed.json"
_NUMBERED = re.compile(r"(?:release|keyset)-([1-9][0-9]{0,9})\.")


@dataclass(frozen=True)
class LastSigned:
    """The highest release that was signed with these keys; 0 before the first."""

    seq: int = 0
    version: str = ""
    manifest_sha256: str = ""


def place(environ: Mapping[str, str]) -> Path:
    """The directory of the keys: RM_KEYS_DIR, or the one in the home of who calls."""
    named = environ.get("RM_KEYS_DIR")
    return Path(named).expanduser() if named else Path.home() / ".config" / "restic-manager" / "keys"


def refuse_place(directory: Path, environ: Mapping[str, str]) -> None:
    """Raises ToolError where keys would be copied, committed, handed out or lost together with something else."""
    real = directory.expanduser().resolve()
    for parent in (real, *real.parents):
        if parent == TREE or ((parent / "release_tool").is_dir() and (parent / "schema.sql").is_file()):
            raise ToolError(f"{directory} lies in a source tree ({parent}). {_ELSEWHERE}")
        if (parent / "restic-manager.db").exists():
            raise ToolError(f"{directory} lies in a server's data directory ({parent}). {_ELSEWHERE}")
    data = environ.get("RM_DATA_DIR")
    if data and Path(data).expanduser().resolve() in (real, *real.parents):
        raise ToolError(f"{directory} lies in a server's data directory ({data}). {_ELSEWHERE}")
    if environ.get(ALLOW_IMAGE) != "1" and any(mark.exists() for mark in CONTAINER_MARKS) and _is_own_layer(real):
        raise ToolError(
            f"{directory} lies in this container's own layer: a copy of the image would hold the keys, and removing "
            f"the container loses them. Set RM_KEYS_DIR to a mounted directory; {ALLOW_IMAGE}=1 is for keys that are "
            "thrown away."
        )


_ELSEWHERE = "Set RM_KEYS_DIR to a directory of its own, for example on an encrypted disk."


def _is_own_layer(real: Path) -> bool:
    nearest = next(parent for parent in (real, *real.parents) if parent.exists())
    return nearest.stat().st_dev == Path("/").stat().st_dev


@dataclass(frozen=True)
class KeyDirectory:
    """The keys of one project; holds no secret itself, each is read when it signs."""

    directory: Path

    @classmethod
    def open(cls, environ: Mapping[str, str]) -> "KeyDirectory":
        """The keys that were made before; raises ToolError when there are none or others could read them."""
        directory = place(environ)
        refuse_place(directory, environ)
        if not (directory / f"{ROOT}.pub").is_file():
            raise ToolError(f"There are no keys in {directory}. Make them once: scripts/rm-release keys")
        _refuse_readable(directory, "directory", "700")
        return cls(directory)

    @classmethod
    def create(cls, environ: Mapping[str, str], *, keyset_version: int = 1) -> "KeyDirectory":
        """New keys and a first keyset, all of them or none; raises ToolError where there is anything already."""
        directory = place(environ)
        refuse_place(directory, environ)
        if directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
            raise ToolError(f"{directory} is not empty. Keys are made once and never overwritten.")
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = directory.with_name(f".{directory.name}.{os.getpid()}")
        draft.mkdir(mode=0o700)
        draft.chmod(0o700)
        try:
            found = cls(draft)
            root, recovery, first = (SecretKey.generate() for _ in range(3))
            for name, key in ((ROOT, root), (RECOVERY, recovery), ("release-1", first)):
                found._keep_key(name, key)
            found.remember_signed(LastSigned())
            found._write_keyset(Keyset(keyset_version, (first.public,), (root.public, recovery.public)), root)
            # onto an empty directory only: the kernel refuses every other
            os.rename(draft, directory)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        files.sync_directory(directory.parent)
        return cls(directory)

    # ---- reading ----

    def public(self, name: str) -> PublicKey:
        """A public key by the name of its file; raises ToolError."""
        try:
            return PublicKey.parse((self.directory / f"{name}.pub").read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ToolError(f"{self.directory / name}.pub cannot be read.") from error
        except SignatureError as error:
            raise ToolError(f"{self.directory / name}.pub: {error}") from error

    def secret(self, file: Path) -> SecretKey:
        """A signing key; raises ToolError, which never says what the file holds."""
        _refuse_readable(file, "file", "600")
        try:
            return SecretKey.parse(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            raise ToolError(f"The key {file} cannot be read.") from None
        except SignatureError as error:
            raise ToolError(f"{file}: {error}") from None

    @property
    def root_keys(self) -> tuple[PublicKey, ...]:
        return tuple(
            self.public(name) for name in (ROOT, RECOVERY) if name == ROOT or (self.directory / f"{name}.pub").exists()
        )

    def keyset_files(self) -> tuple[bytes, str]:
        """The newest keyset as it is handed out, and its signature; raises ToolError."""
        newest = max(self.directory.glob("keyset-*.json"), key=_number, default=None)
        if newest is None:
            raise ToolError(f"There is no keyset in {self.directory}. Put it back from a copy of that directory.")
        try:
            return newest.read_bytes(), newest.with_name(f"{newest.name}.minisig").read_text("utf-8", "replace")
        except OSError as error:
            raise ToolError(f"{newest} or its signature cannot be read.") from error

    def keyset(self) -> Keyset:
        """The newest keyset, its signature checked; raises ToolError."""
        try:
            return release.verify_keyset(*self.keyset_files(), self.root_keys, signing.check)
        except release.ReleaseError as error:
            raise ToolError(f"The keyset in {self.directory} is damaged: {error}") from error

    def release_key(self, key_id: str = "") -> SecretKey:
        """The newest release key of the keyset, or the one that is named; raises ToolError."""
        listed = {key.key_id: key for key in self.keyset().release_keys}
        for file in sorted(self.directory.glob("release-*.key"), key=_number, reverse=True):
            public = self.public(file.stem)
            if listed.get(public.key_id) == public and key_id in ("", public.name):
                return self.secret(file)
        wanted = f"the release key {key_id}" if key_id else "a release key of the keyset"
        raise ToolError(f"{self.directory} does not hold {wanted}. Add one: scripts/rm-release keyset --add")

    def last_signed(self) -> LastSigned:
        """What was signed last; raises ToolError when that cannot be read, since sequences never go backwards."""
        try:
            found: dict[str, Any] = json.loads((self.directory / LAST_SIGNED).read_text("utf-8"))
            return LastSigned(int(found["seq"]), str(found["version"]), str(found["manifest_sha256"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ToolError(
                f"{self.directory / LAST_SIGNED} is missing or damaged. Put it back from a copy, or write into it the "
                'highest sequence that was ever released: {"seq": N, "version": "", "manifest_sha256": ""}'
            ) from error

    # ---- changing ----

    def remember_signed(self, signed: LastSigned) -> None:
        body = {"seq": signed.seq, "version": signed.version, "manifest_sha256": signed.manifest_sha256}
        files.replace(self.directory / LAST_SIGNED, json.dumps(body, indent=2).encode() + b"\n", mode=0o600)

    def next_keyset(self, *, is_adding: bool, retired: tuple[str, ...], root_file: Path | None = None) -> Keyset:
        """The keyset after this one: a new release key, and without those that are retired; raises ToolError."""
        before = self.keyset()
        unknown = [key_id for key_id in retired if key_id not in {key.name for key in before.release_keys}]
        if unknown:
            raise ToolError(f"The keyset {before.version} does not list the key {', '.join(unknown)}.")
        if not is_adding and not retired:
            raise ToolError("Say what changes: --add makes a new release key, --retire KEY_ID takes one away.")
        kept = tuple(key for key in before.release_keys if key.name not in retired)
        if not kept and not is_adding:
            raise ToolError("No release key would be left. Add one in the same step: --add --retire KEY_ID")
        if is_adding and len(kept) >= release.MAX_RELEASE_KEYS:
            raise ToolError(f"A keyset lists at most {release.MAX_RELEASE_KEYS} keys. Retire one in the same step.")
        root = self.secret(root_file or self.directory / f"{ROOT}.key")
        if root.public not in self.root_keys:
            raise ToolError(f"The key {root.public.name} is not one of the root keys of {self.directory}.")
        if is_adding:
            fresh = SecretKey.generate()
            numbers = [_number(file) for file in self.directory.glob("release-*.*")]
            self._keep_key(f"release-{max(numbers, default=0) + 1}", fresh)
            kept = (*kept, fresh.public)
        self._write_keyset(Keyset(before.version + 1, kept, self.root_keys), root)
        return self.keyset()

    def _keep_key(self, name: str, key: SecretKey) -> None:
        files.create(self.directory / f"{name}.key", key.text.encode(), mode=0o600)
        text = f"{minisign.UNTRUSTED}restic-manager {name} key {key.public.name}\n{key.public.text}\n"
        files.create(self.directory / f"{name}.pub", text.encode(), mode=0o600)

    def _write_keyset(self, keyset: Keyset, root: SecretKey) -> None:
        body = {
            "product": release.PRODUCT,
            "schema": release.SCHEMA,
            "version": keyset.version,
            "release_keys": [key.text for key in keyset.release_keys],
            "root_keys": [key.text for key in keyset.root_keys],
        }
        data = json.dumps(body, indent=2).encode() + b"\n"
        signature = root.sign(data, trusted_comment=f"{release.PRODUCT} keyset {keyset.version}")
        # The signature first: a crash in between leaves the keyset before this one as the newest.
        name = f"keyset-{keyset.version}.json"
        files.replace(self.directory / f"{name}.minisig", signature.encode(), mode=0o600)
        files.replace(self.directory / name, data, mode=0o600)


def _number(file: Path) -> int:
    found = _NUMBERED.match(file.name)
    return int(found[1]) if found else 0


def _refuse_readable(path: Path, what: str, mode: str) -> None:
    try:
        found = path.lstat()
    except OSError:
        raise ToolError(f"{path} is not there.") from None
    if stat.S_ISLNK(found.st_mode):
        raise ToolError(f"{path} is a symbolic link; the keys must lie where it is said they lie.")
    if found.st_uid != os.geteuid():
        raise ToolError(f"The {what} {path} belongs to another user.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ToolError(f"Others can reach the {what} {path}. Close it: chmod {mode} {path}")
