"""trust.json and floor.json: whose signature counts here, and below which release this host does not go.

What the owner of the host sets lies beside them as plain files, so that a command never writes what the agent writes.
"""

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent.errors import ConfigurationError
from agent.platform.replace import Disk
from rm.shared import instants
from rm.shared.minisign import PublicKey, SignatureError

log = logging.getLogger("agent.update")

MAX_ROOT_KEYS = 8
SWAPS_AN_HOUR = 4
ROLLBACK_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The pinned root keys, and what verified files have said so far."""

    root_keys: list[str] = field(default_factory=list)
    keyset_version: int = 0
    keyset_sha256: str = ""
    highest_seq: int = 0
    yanked: list[int] = field(default_factory=list)

    @property
    def keys(self) -> list[PublicKey]:
        return [PublicKey.parse(text) for text in self.root_keys]


@dataclass(frozen=True, kw_only=True)
class Previous:
    """The artifact that `.old` holds since the last commit."""

    sha256: str
    seq: int
    version: str
    committed_at: str


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The highest release that was ever committed here, what was before it, and when this host last swapped."""

    seq: int = 0
    sha256: str = ""
    version: str = ""
    previous: Previous | None = None
    swaps: list[str] = field(default_factory=list)

    def swaps_since(self, moment: datetime) -> int:
        return sum(1 for text in self.swaps if instants.from_text(text) > moment)

    def previous_at(self, now: datetime) -> Previous | None:
        """What may still be gone back to."""
        found = self.previous
        if found is None or now - instants.from_text(found.committed_at) > timedelta(days=ROLLBACK_DAYS):
            return None
        return found


class TrustFile:
    """Pinned at enrolment; a server that is connected may only fill what was left empty."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.path = directory / "trust.json"
        self._disk = disk or Disk()

    def load(self) -> Trust:
        """Raises ConfigurationError for a damaged file: whom to trust is never guessed."""
        raw = _read(self.path)
        if raw is None:
            return Trust()
        try:
            found = Trust(**{name: raw[name] for name in Trust.__dataclass_fields__ if name in raw})
            found.keys  # noqa: B018 - proves that they are keys
            if type(found.keyset_version) is not int or type(found.highest_seq) is not int:
                raise ValueError("a number is none")
            return replace(found, yanked=[int(seq) for seq in found.yanked])
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"{self.path} is damaged; enrol this host again from its page.") from error

    def save(self, trust: Trust) -> None:
        self._disk.write(self.path, json.dumps(asdict(trust), indent=1).encode())

    def pin(self, told: dict[str, Any]) -> bool:
        """Take the root keys a server names, if none are pinned yet; True when they were. Raises OSError."""
        if self.load().root_keys:
            return False
        return self._take(told)

    def pin_anew(self, told: dict[str, Any]) -> bool:
        """The host's owner has enrolled it: the keys of that server count from now on."""
        return self._take(told)

    def _take(self, told: dict[str, Any]) -> bool:
        named = told.get("root_keys")
        texts = [text for text in named if isinstance(text, str)] if isinstance(named, list) else []
        try:
            keys = [PublicKey.parse(text).text for text in texts[:MAX_ROOT_KEYS]]
        except SignatureError as error:
            log.error("The server names a root key that cannot be trusted (%s); none of them is.", error)
            return False
        if not keys:
            return False
        version = told.get("keyset_version")
        is_number = type(version) is int and 0 <= version < 2**31
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.save(Trust(root_keys=keys, keyset_version=version if is_number and version else 0))
        return True


class FloorFile:
    """Only ever rises."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.path = directory / "floor.json"
        self._disk = disk or Disk()

    def load(self) -> Floor | None:
        """None when nothing was ever committed; raises ConfigurationError for a damaged file."""
        raw = _read(self.path)
        if raw is None:
            return None
        try:
            previous = raw.get("previous")
            found = Floor(
                seq=int(raw["seq"]),
                sha256=str(raw["sha256"]),
                version=str(raw.get("version", "")),
                previous=Previous(**{name: previous[name] for name in Previous.__dataclass_fields__})
                if previous
                else None,
                swaps=[instants.to_text(instants.from_text(text)) for text in raw.get("swaps", [])],
            )
            if found.previous:
                instants.from_text(found.previous.committed_at)
            return found
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"{self.path} is damaged. Remove it: the release that runs is then the lowest that is taken."
            raise ConfigurationError(text) from error

    def save(self, floor: Floor) -> None:
        self._disk.write(self.path, json.dumps(asdict(floor), indent=1).encode())

    def begin(self, *, seq: int, sha256: str, version: str) -> Floor:
        """The floor, which begins with the release that runs. Raises OSError or ConfigurationError."""
        found = self.load()
        if found is None:
            found = Floor(seq=seq, sha256=sha256, version=version)
            self.save(found)
        return found

    def count_swap(self, now: datetime) -> None:
        floor = self.load() or Floor()
        self.save(replace(floor, swaps=[*floor.swaps, instants.to_text(now)][-SWAPS_AN_HOUR:]))

    def committed(self, *, seq: int, sha256: str, version: str, previous: Previous | None) -> None:
        """A release has proven itself; going back to an earlier one leaves the floor where it is."""
        floor = self.load() or Floor()
        if seq > floor.seq or not floor.sha256:
            floor = replace(floor, seq=seq, sha256=sha256, version=version)
        self.save(replace(floor, previous=previous))


class Marks:
    """What the owner of this host has said, each as one file."""

    PINNED = "pinned"
    ALLOW_DOWNGRADE = "allow_downgrade"
    ROLLBACK_ASKED = "rollback_asked"

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.directory = directory
        self._disk = disk or Disk()

    def has(self, name: str) -> bool:
        return (self.directory / name).exists()

    def set(self, name: str, text: str = "") -> None:
        """Raises OSError."""
        self._disk.write(self.directory / name, text.encode())

    def clear(self, name: str) -> bool:
        """Whether it was there. Raises OSError."""
        was_there = self.has(name)
        if was_there:
            self._disk.unlink(self.directory / name)
            self._disk.sync_names(self.directory)
        return was_there


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is damaged: it is no JSON.") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path} is damaged: it is no object.")
    return raw
