"""Single locks of a repository, on a local path or at a rest-server: elsewhere they cannot be reached one by one."""

import dataclasses
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from agent.config import Config
from agent.errors import ConfigurationError
from agent.http import Transport, Unreachable
from rm.shared.protocol import RepositoryConfig

SECONDS = 20.0


def local_path(location: str) -> Path | None:
    """The directory of a repository on this host, None for one that is elsewhere."""
    location = location.removeprefix("local:")
    return Path(location) if location.startswith("/") else None


def are_none(location: str) -> bool:
    """Whether it is certain, without restic, that the repository has no lock."""
    directory = local_path(location)
    if directory is None:
        return False
    try:
        return not os.listdir(directory / "locks")
    except FileNotFoundError:
        return True
    except OSError:
        return False


def remove(repository: RepositoryConfig, config: Config, lock_id: str) -> bool:
    """Remove one lock; False when it is still there or the repository is at another kind of place."""
    directory = local_path(repository.location)
    if directory is not None:
        try:
            (directory / "locks" / lock_id).unlink(missing_ok=True)
        except OSError:
            return False
        return True
    kind, _, url = repository.location.partition(":")
    return kind == "rest" and _remove_at_server(repository, config, url, lock_id)


def _remove_at_server(repository: RepositoryConfig, config: Config, url: str, lock_id: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = (
            repository.username or unquote(parts.username or ""),
            repository.secret or unquote(parts.password or ""),
        )
        base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        if parts.scheme not in ("http", "https"):
            return False
        there = Transport(dataclasses.replace(config, server=base))
        path = f"/locks/{lock_id}"
        answer = there.request("DELETE", path, user=user if any(user) else None, timeout_seconds=SECONDS)
    except (Unreachable, ConfigurationError, ValueError):
        return False
    return answer.status in (200, 204, 404)
