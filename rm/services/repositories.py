"""Repositories: where hosts back up to, their sealed secrets, and whether a host can open them."""

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from rm.domain.actors import Actor
from rm.errors import HostOffline, Invalid, NotFound
from rm.events import EventBus, HostChanged, HostConfigChanged, RepositoryChanged
from rm.services import audit
from rm.services.agents import Agents
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandBrowse, ConfigSet, RepositoryConfig, RepositoryStats
from rm.store import hosts, repositories
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Repository, RepositoryCredential
from rm.store.vault import Vault

TEST_SECONDS = 20
BACKENDS = ("rest:", "s3:", "sftp:", "b2:", "azure:", "gs:", "swift:", "rclone:", "local:")


@dataclass(frozen=True)
class RepositoryForm:
    """What a person types; a blank password or secret keeps the stored one."""

    name: str
    location: str
    password: str = ""
    username: str = ""
    secret: str = ""


@dataclass(frozen=True)
class TestResult:
    """Whether a host could open its repository; `reason` is a short code, `message` a sentence."""

    __test__ = False

    ok: bool
    reason: str
    message: str


def save_for_host(
    bus: EventBus, vault: Vault, *, host_id: str, form: RepositoryForm, actor: Actor, now: datetime
) -> Repository:
    """The host's repository made or changed; every host that uses it is told. Raises Invalid."""
    with changes():
        host = hosts.get(host_id)
        existing = repositories.find(host.repository_id)
        _check(form, existing)
        repository_id = existing.id if existing else new_ulid()
        sealed = vault.seal(form.password, place=_password_place(repository_id)) if form.password else None
        if existing is None:
            Repository.create(
                id=repository_id,
                name=form.name.strip(),
                location=form.location.strip(),
                password_sealed=sealed,
                created_at=now,
                changed_at=now,
            )
            Host.update(repository=repository_id).where(Host.id == host_id).execute()
        else:
            _change(existing, form, sealed, now)
        _save_credential(vault, repository_id, form, now)
        audit.record(
            actor,
            "repository.changed" if existing else "repository.created",
            now=now,
            kind="repository",
            id=repository_id,
            name=form.name.strip(),
            host=host.name,
            location=form.location.strip(),
            password_changed=bool(form.password),
            username=form.username.strip(),
            secret_changed=bool(form.secret),
        )
        _tell_hosts(bus, repository_id)
        return repositories.get(repository_id)


def use_existing_for_host(
    bus: EventBus, *, host_id: str, repository_id: str, actor: Actor, now: datetime
) -> Repository:
    """Let a host back up to a repository that other hosts use already."""
    with changes():
        host = hosts.get(host_id)
        repository = repositories.get(repository_id)
        if host.repository_id != repository.id:
            Host.update(repository=repository.id, config_version=Host.config_version + 1).where(
                Host.id == host_id
            ).execute()
            audit.record(
                actor,
                "repository.assigned",
                now=now,
                kind="repository",
                id=repository.id,
                name=repository.name,
                host=host.name,
            )
            publish_after_commit(bus, HostConfigChanged(host_id), HostChanged(host_id))
        return repository


def test_on_host(bus: EventBus, agents: Agents, *, host_id: str, actor: Actor, now: datetime) -> TestResult:
    """Ask the host to open its repository and keep the answer. Raises HostOffline or NotFound; changes nothing then."""
    host = hosts.get(host_id)
    if host.repository_id is None:
        raise NotFound("This host has no repository yet.", help="Set one on the host's page.")
    if not agents.is_connected(host_id):
        raise HostOffline(
            f"{host.name} is not connected, so it cannot try the repository.", help="Try again once it is back."
        )
    question = CommandBrowse(request_id=new_ulid(), query="test", repository_id=host.repository_id)
    answer = agents.ask(host_id, question, timeout_seconds=TEST_SECONDS)
    with changes():
        Repository.update(
            tested_at=now, test_ok=answer.ok, test_reason=answer.reason, test_message=answer.message
        ).where(Repository.id == host.repository_id).execute()
        restic_id = answer.data.get("restic_repository_id")
        if answer.ok and isinstance(restic_id, str):
            Repository.update(restic_repository_id=restic_id[:64]).where(Repository.id == host.repository_id).execute()
        audit.record(
            actor, "repository.tested", now=now, kind="repository", id=host.repository_id, host=host.name, ok=answer.ok
        )
        publish_after_commit(bus, RepositoryChanged(host.repository_id))
    return TestResult(ok=answer.ok, reason=answer.reason, message=answer.message)


def keep_stats(bus: EventBus, *, host_id: str, stats: RepositoryStats, now: datetime) -> None:
    """Keep what a host says of its own repository; raises NotFound for another one."""
    with changes():
        host = hosts.get(host_id)
        if host.repository_id is None or host.repository_id != stats.repository_id:
            raise NotFound("This host does not use that repository.")
        known = {
            name: value
            for name, value in {
                "restic_repository_id": stats.restic_repository_id,
                "total_bytes": stats.total_bytes,
                "snapshot_count": stats.snapshot_count,
            }.items()
            if value is not None
        }
        Repository.update(stats_at=now, **known).where(Repository.id == stats.repository_id).execute()
        publish_after_commit(bus, RepositoryChanged(stats.repository_id))


def config_for_host(vault: Vault, *, host_id: str) -> ConfigSet:
    """The full configuration of a host with its secrets opened; raises UnsealError."""
    host = hosts.get(host_id)
    repository = repositories.find(host.repository_id)
    if repository is None:
        return ConfigSet(version=host.config_version)
    credential = repositories.credential(repository.id)
    config = RepositoryConfig(
        id=repository.id,
        name=repository.name,
        location=repository.location,
        password=vault.unseal(repository.password_sealed, place=_password_place(repository.id)),
        username=credential.username if credential else "",
        secret=vault.unseal(credential.secret_sealed, place=_secret_place(repository.id)) if credential else "",
    )
    return ConfigSet(version=host.config_version, repositories=[config])


def _check(form: RepositoryForm, existing: Repository | None) -> None:
    wrong = {}
    name, location = form.name.strip(), form.location.strip()
    if not name or len(name) > 100 or not name.isprintable():
        wrong["name"] = "Use 1 to 100 printable characters."
    other = repositories.find_by_name(name)
    if other is not None and (existing is None or other.id != existing.id):
        wrong["name"] = "Another repository has this name already."
    problem = _location_problem(location)
    if problem:
        wrong["location"] = problem
    if existing is None and not form.password:
        wrong["password"] = "A repository needs a password. Keep a copy elsewhere: without it nothing can be restored."
    if len(form.password) > 1000 or "\n" in form.password or "\0" in form.password:
        wrong["password"] = "Use at most 1,000 characters on one line."
    if len(form.username) > 300 or not form.username.isprintable():
        wrong["username"] = "Use at most 300 printable characters."
    if len(form.secret) > 1000 or "\n" in form.secret or "\0" in form.secret:
        wrong["secret"] = "Use at most 1,000 characters on one line."
    if wrong:
        raise Invalid(wrong)


def _location_problem(location: str) -> str | None:
    if not location:
        return "Say where the repository is, for example rest:https://backup.example.net/web1 or /srv/backup."
    if len(location) > 2000 or not location.isprintable():
        return "Use at most 2,000 printable characters."
    if not location.startswith(("/", *BACKENDS)):
        return f"Start with / for a directory on the host, or with one of {' '.join(BACKENDS)}"
    if re.match(r"(rest|s3):", location):
        try:
            parts = urlsplit(location.split(":", 1)[1])
        except ValueError:
            return "This is not a URL that restic can read."
        if parts.password is not None or (location.startswith("rest:") and parts.username):
            return "Leave user and password out of the location; they have fields of their own and are kept sealed."
    if location.startswith("rest:") and not re.match(r"rest:https?://[^/]+", location):
        return "A REST server looks like rest:https://backup.example.net/web1."
    return None


def _change(existing: Repository, form: RepositoryForm, sealed: bytes | None, now: datetime) -> None:
    values: dict[str, object] = {"name": form.name.strip(), "location": form.location.strip(), "changed_at": now}
    if sealed is not None:
        values["password_sealed"] = sealed
    if form.location.strip() != existing.location or sealed is not None:
        # What was true of the old place says nothing about the new one.
        values |= {"tested_at": None, "test_ok": None, "test_reason": "", "test_message": ""}
    Repository.update(values).where(Repository.id == existing.id).execute()


def _save_credential(vault: Vault, repository_id: str, form: RepositoryForm, now: datetime) -> None:
    username = form.username.strip()
    stored = repositories.credential(repository_id)
    if not username:
        if stored is not None:
            stored.delete_instance()
        return
    if form.secret or stored is None:
        sealed = vault.seal(form.secret, place=_secret_place(repository_id))
    else:
        sealed = bytes(stored.secret_sealed)
    RepositoryCredential.insert(
        repository=repository_id,
        slot=repositories.EVERYDAY,
        username=username,
        secret_sealed=sealed,
        changed_at=now,
    ).on_conflict_replace().execute()


def _tell_hosts(bus: EventBus, repository_id: str) -> None:
    Host.update(config_version=Host.config_version + 1).where(Host.repository == repository_id).execute()
    publish_after_commit(bus, RepositoryChanged(repository_id))
    for host in hosts.list_for_repository(repository_id):
        publish_after_commit(bus, HostConfigChanged(host.id), HostChanged(host.id))


def _password_place(repository_id: str) -> str:
    return f"repositories:{repository_id}:password"


def _secret_place(repository_id: str) -> str:
    return f"repository_credentials:{repository_id}:everyday"
