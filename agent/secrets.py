"""The secrets file: the host's credential and the repositories' passwords, 0600, replaced as a whole."""

import contextlib
import dataclasses
import json
import stat
import threading
from dataclasses import dataclass, field
from typing import Any

from agent import durable
from agent.config import Paths
from agent.errors import ConfigurationError
from rm.shared.fields import FieldError, build
from rm.shared.protocol import RepositoryConfig

FORMAT = 1


class SecretsMissing(ConfigurationError):
    """The host is not enrolled."""


class SecretsCorrupt(ConfigurationError):
    """The secrets file cannot be understood; it is left as it is."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """All that the server entrusted to this host."""

    server: str
    host_id: str
    credential: str
    config_version: int = 0
    repositories: dict[str, RepositoryConfig] = field(default_factory=dict)
    trust: dict[str, Any] = field(default_factory=dict)
    previous_credential: str = ""


class SecretsFile:
    """The one way to the secrets; every reader sees what is on the disk now."""

    def __init__(self, paths: Paths) -> None:
        self.path = paths.secrets_file
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._secrets: Secrets | None = None

    def load(self) -> Secrets:
        """The secrets; raises SecretsMissing or SecretsCorrupt, and changes nothing on the disk."""
        with self._lock:
            return self._load()

    def save(self, secrets: Secrets) -> None:
        """Replace the secrets; refuses, with SecretsCorrupt, to write over a file it cannot understand."""
        with self._lock:
            with contextlib.suppress(SecretsMissing):
                self._load()
            self._write(secrets)

    def set_config(self, *, version: int, repositories: list[RepositoryConfig], credential: str = "") -> bool:
        """Take over the full desired configuration in one write; True when it brought a new credential.

        The credential before is kept: a server that lost its last moments, or was restored, knows only that one.
        """
        with self._lock:
            secrets = self._load()
            found = {repository.id: repository for repository in repositories}
            wanted = dataclasses.replace(secrets, config_version=version, repositories=found)
            is_new = credential not in ("", secrets.credential)
            if is_new:
                wanted = dataclasses.replace(wanted, credential=credential, previous_credential=secrets.credential)
            self._write(wanted)
            return is_new

    def go_back_to_previous_credential(self) -> None:
        """The server knows the credential before and not the newest: that one counts again."""
        with self._lock:
            secrets = self._load()
            if secrets.previous_credential:
                self._write(
                    dataclasses.replace(secrets, credential=secrets.previous_credential, previous_credential="")
                )

    def tighten(self) -> bool:
        """Take the file from other users if they could read it; True when that was needed."""
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o077:
            self.path.chmod(0o600)
            return True
        return False

    def _write(self, secrets: Secrets) -> None:
        body = {"format": FORMAT} | dataclasses.asdict(secrets)
        durable.write(self.path, json.dumps(body, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        self._seen = None

    def _load(self) -> Secrets:
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._secrets is not None and seen == self._seen:
                return self._secrets
            data = self.path.read_bytes()
        except FileNotFoundError as error:
            raise SecretsMissing("This host is not enrolled. Run: rm-agent enroll --server URL") from error
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from error
        self._secrets, self._seen = self._parse(data), seen
        return self._secrets

    def _parse(self, data: bytes) -> Secrets:
        try:
            raw = json.loads(data)
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']!r} is not known to this version")
            if not all(isinstance(raw[name], str) and raw[name] for name in ("server", "host_id", "credential")):
                raise ValueError("server, host_id or credential is empty")
            if type(raw["config_version"]) is not int or not isinstance(raw["trust"], dict):
                raise ValueError("config_version or trust is of the wrong kind")
            return Secrets(
                server=raw["server"],
                host_id=raw["host_id"],
                credential=raw["credential"],
                config_version=raw["config_version"],
                repositories={key: build(RepositoryConfig, value) for key, value in raw["repositories"].items()},
                trust=raw["trust"],
                previous_credential=str(raw.get("previous_credential") or ""),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FieldError) as error:
            raise SecretsCorrupt(
                f"{self.path} is damaged and was left untouched. Put a good copy back, or move it away and enrol"
                " this host again from its page (its history is kept)."
            ) from error
