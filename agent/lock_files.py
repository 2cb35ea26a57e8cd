"""Single locks of a repository, on a local path or at a rest-server: elsewhere they cannot be reached one by one."""

import dataclasses
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from agent.config import Config
from agent.errors import ConfigurationError
from agent.http import Transport, Unreachable
from rm.shared.protocol import RepositoryConfig

SECONDS = 20.0
LIST_SECONDS = 5.0
ID_LENGTH = 64


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


def ids(repository: RepositoryConfig, config: Config) -> frozenset[str] | None:
    """The ids of all locks, None where they cannot be listed without a restic."""
    directory = local_path(repository.location)
    if directory is None:
        return _ids_at_server(repository, config)
    try:
        return frozenset(name for name in os.listdir(directory / "locks") if len(name) == ID_LENGTH)
    except OSError:
        return None


def remove(repository: RepositoryConfig, config: Config, lock_id: str) -> bool:
    """Remove one lock; False when it is still there or the repository is at another kind of place."""
    directory = local_path(repository.location)
    if directory is not None:
        try:
            (directory / "locks" / lock_id).unlink(missing_ok=True)
        except OSError:
            return False
        return True
    status = _ask_server(repository, config, "DELETE", f"/locks/{lock_id}", SECONDS)[0]
    return status in (200, 204, 404)


def _ids_at_server(repository: RepositoryConfig, config: Config) -> frozenset[str] | None:
    status, found = _ask_server(repository, config, "GET", "/locks/", LIST_SECONDS)
    return frozenset(str(one) for one in found) if status == 200 else None


def _ask_server(
    repository: RepositoryConfig, config: Config, method: str, path: str, seconds: float
) -> tuple[int, list[Any]]:
    """The status and the list that a rest-server answers with; 0 for another kind of place, or no answer."""
    kind, _, url = repository.location.partition(":")
    if kind != "rest":
        return 0, []
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = (
            repository.username or unquote(parts.username or ""),
            repository.secret or unquote(parts.password or ""),
        )
        base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        if parts.scheme not in ("http", "https"):
            return 0, []
        there = Transport(dataclasses.replace(config, server=base))
        answer = there.request(method, path, user=user if any(user) else None, timeout_seconds=seconds)
    except (Unreachable, ConfigurationError, ValueError):
        return 0, []
    return answer.status, answer.items
