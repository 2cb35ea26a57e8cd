"""Where the agent's files are and what its host's owner has set in agent.toml."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent import durable
from agent.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


LIBRARY = Path("/usr/local/lib/restic-manager")


@dataclass(frozen=True)
class Paths:
    """The files of one agent; all below one directory when it runs with --root."""

    config_file: Path
    state: Path
    restore: Path
    bin: Path | None

    @classmethod
    def of(cls, root: str | None) -> "Paths":
        if root is None:
            return cls(
                config_file=Path("/etc/restic-manager/agent.toml"),
                state=Path("/var/lib/restic-manager-agent"),
                restore=Path("/var/restic-manager/restore"),
                bin=None,
            )
        base = Path(root).absolute()
        return cls(
            config_file=base / "etc" / "agent.toml", state=base / "state", restore=base / "restore", bin=base / "bin"
        )

    @property
    def secrets_file(self) -> Path:
        return self.state / "secrets.json"

    @property
    def outbox_file(self) -> Path:
        return self.state / "outbox.db"

    @property
    def update(self) -> Path:
        return self.state / "update"

    @property
    def program(self) -> Path:
        """The one file that the guard starts."""
        return (self.bin or LIBRARY) / "rm-agent"

    @property
    def jobs(self) -> Path:
        return self.state / "jobs"

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    @property
    def temporary(self) -> Path:
        return self.state / "tmp"

    @property
    def status_file(self) -> Path:
        return self.state / "status.json"

    @property
    def hooks(self) -> Path:
        """The executables that may run before and after a backup."""
        return self.config_file.parent / "hooks.d"

    @property
    def lock_file(self) -> Path:
        return self.state / "lock"

    def make(self) -> None:
        """Make the directories the agent needs; raises ConfigurationError when it may not."""
        try:
            self.config_file.parent.mkdir(parents=True, exist_ok=True)
            for directory in (self.state, self.jobs, self.cache, self.temporary, self.update):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                directory.chmod(0o700)
        except OSError as error:
            raise ConfigurationError(
                f"Cannot make {error.filename or self.state}: {error.strerror}. Run as root, or choose --root DIR."
            ) from error


@dataclass(frozen=True)
class Limits:
    """How much the agent may use."""

    upload_kib_per_second: int = 0
    download_kib_per_second: int = 0
    outbox_reports: int = 20_000
    outbox_mib: int = 64


@dataclass(frozen=True)
class Config:
    """What agent.toml says; everything but `server` has a default."""

    server: str
    ca_file: str = ""
    proxy: str = ""
    no_proxy: str = ""
    restic: str = ""
    hostname: str = ""
    hooks: str = "local"
    restore_in_place: bool = False
    limits: Limits = field(default_factory=Limits)


def check_server(url: str) -> str:
    """The server's base URL without a trailing slash; raises ConfigurationError for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"server: {url!r} is not a URL ({error}).") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigurationError(f"server: {url!r} must look like https://backup.example.org or http://10.0.0.5:8080.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError("server: give only scheme, host, port and path; no user, password or query.")
    return url.rstrip("/")


def check_proxy(url: str) -> str:
    """The proxy's URL; raises ConfigurationError unless it is an http:// URL, the kind that is understood."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"proxy: not a URL ({error}).") from error
    if parts.scheme != "http" or not parts.hostname or port == 0:
        raise ConfigurationError("proxy: must look like http://proxy.example.org:3128 (user:password@ may precede).")
    return url.rstrip("/")


def load(paths: Paths) -> Config:
    """The host's configuration; raises ConfigurationError that names the setting that is wrong."""
    raw = _read(paths.config_file)
    found: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        if name in raw:
            if type(raw[name]) is not kind:
                raise ConfigurationError(f"{paths.config_file}: {name} must be a {_WORDS[kind]}.")
            found[name] = raw[name]
    if "server" not in found:
        raise ConfigurationError(f"{paths.config_file}: server is missing. Run: rm-agent enroll --server URL")
    try:
        found["server"] = check_server(found["server"])
        found["proxy"] = check_proxy(found.get("proxy", ""))
    except ConfigurationError as error:
        raise ConfigurationError(f"{paths.config_file}: {error}") from error
    if found.get("hooks", "local") not in ("local", "server", "off"):
        raise ConfigurationError(f'{paths.config_file}: hooks must be "local", "server" or "off".')
    if found.get("ca_file") and not Path(found["ca_file"]).is_file():
        raise ConfigurationError(f"{paths.config_file}: ca_file {found['ca_file']} does not exist.")
    return Config(**found, limits=_limits(raw.get("limits", {}), paths.config_file))


_KINDS: dict[str, type] = {
    "server": str,
    "ca_file": str,
    "proxy": str,
    "no_proxy": str,
    "restic": str,
    "hostname": str,
    "hooks": str,
    "restore_in_place": bool,
}
_WORDS = {str: "text in quotes", bool: "boolean (true or false)"}


def _limits(raw: Any, source: Path) -> Limits:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{source}: limits must be a table: [limits]")
    known = {name: raw[name] for name in Limits.__dataclass_fields__ if name in raw}
    for name, value in known.items():
        if type(value) is not int or value < 0:
            raise ConfigurationError(f"{source}: limits.{name} must be a whole number, 0 or more.")
    return Limits(**known)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} does not exist. Run: rm-agent enroll --server URL") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error


def write_settings(paths: Paths, settings: dict[str, str]) -> None:
    """Set top-level text settings in agent.toml; every other line stays as the owner wrote it."""
    lines: list[str] = []
    if paths.config_file.exists():
        _read(paths.config_file)
        lines = paths.config_file.read_text("utf-8").splitlines()
    table_at = next((i for i, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    for name, value in settings.items():
        written = f"{name} = {json.dumps(value, ensure_ascii=False)}"
        at = next((i for i in range(table_at) if lines[i].partition("=")[0].strip() == name), None)
        if at is not None:
            lines[at] = written
        else:
            lines.insert(table_at, written)
            table_at += 1
    durable.write(paths.config_file, ("\n".join(lines) + "\n").encode(), mode=0o600)
