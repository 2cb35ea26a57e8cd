"""Repositories: where hosts back up to, their sealed secrets, and whether a host can open them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain.actors import Actor
from rm.errors import HostOffline, Invalid, NotFound
from rm.events import EventBus, RepositoryChanged
from rm.services import (
    audit,
    maintenance_policies,
    repository_alerts,
    repository_hosts,
    repository_identity,
    retention_changes,
    schedule_sets,
)
from rm.services.agents import Agents
from rm.services.repository_forms import MaintenanceForm, RepositoryForm, check, check_maintenance
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandBrowse, ConfigSet, RepositoryConfig, RepositoryStats
from rm.store import hosts, releases, repositories
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Repository, RepositoryCredential, RepositoryDay
from rm.store.vault import Vault

TEST_SECONDS = 20
DAYS_KEPT = timedelta(days=800)


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
        check(form, existing)
        if existing is None:
            repository_id = _create(vault, form, now)
            Host.update(repository=repository_id).where(Host.id == host_id).execute()
            retention_changes.hold_host(hosts.get(host_id), now=now)
            schedule_sets.changed(bus, host_id=host_id, now=now)
        else:
            repository_id = existing.id
            _change(vault, existing, form, now)
            repository_alerts.changed(bus, repository_id=repository_id, now=now)
        _audit_form(actor, form, now=now, repository_id=repository_id, is_new=existing is None, host=host.name)
        repository_hosts.tell(bus, repository_id)
        return repositories.get(repository_id)


def create(bus: EventBus, vault: Vault, *, form: RepositoryForm, actor: Actor, now: datetime) -> Repository:
    """A repository that no host uses yet. Raises Invalid."""
    with changes():
        check(form, None)
        repository_id = _create(vault, form, now)
        _audit_form(actor, form, now=now, repository_id=repository_id, is_new=True)
        publish_after_commit(bus, RepositoryChanged(repository_id))
        return repositories.get(repository_id)


def change(
    bus: EventBus, vault: Vault, *, repository_id: str, form: RepositoryForm, typed_name: str = "",
    is_same: bool = True, actor: Actor, now: datetime,
) -> Repository:  # fmt: skip
    """Change name, location and everyday secrets; every host that uses it is told. Raises Invalid.

    Another location wants the repository's name typed. Unless `is_same`, what is there is taken for another
    repository: its id is learned anew.
    """
    with changes():
        existing = repositories.get(repository_id)
        check(form, existing)
        is_moved = form.location.strip() != existing.location
        if is_moved and typed_name.strip() != existing.name:
            raise Invalid({"typed_name": f"Type {existing.name} exactly to change the location."})
        _change(vault, existing, form, now)
        repository_alerts.changed(bus, repository_id=repository_id, now=now)
        if is_moved and not is_same:
            repository_identity.forget(repository_id)
            schedule_sets.changed_at_repository(bus, repository_id=repository_id, now=now)
        _audit_form(actor, form, now=now, repository_id=repository_id, is_new=False, moved_from=existing.location)
        repository_hosts.tell(bus, repository_id)
        return repositories.get(repository_id)


def set_maintenance(
    bus: EventBus, vault: Vault, *, repository_id: str, form: MaintenanceForm, is_append_only: bool, actor: Actor,
    now: datetime,
) -> Repository:  # fmt: skip
    """Set or forget the credential that may delete, and say whether the everyday one may not. Raises Invalid."""
    with changes():
        repository = repositories.get(repository_id)
        check_maintenance(form)
        username, location = form.username.strip(), form.location.strip()
        stored = repositories.credential(repository_id, repositories.MAINTENANCE)
        if not username and not location:
            if stored is not None:
                stored.delete_instance()
        else:
            place = _secret_place(repository_id, repositories.MAINTENANCE)
            is_kept = stored is not None and not form.secret and stored.username == username
            sealed = bytes(stored.secret_sealed) if stored and is_kept else vault.seal(form.secret, place=place)
            RepositoryCredential.insert(
                repository=repository_id, slot=repositories.MAINTENANCE, username=username, secret_sealed=sealed,
                location=location, changed_at=now,
            ).on_conflict_replace().execute()  # fmt: skip
        Repository.update(is_append_only=is_append_only, changed_at=now).where(Repository.id == repository_id).execute()
        audit.record(
            actor, "repository.maintenance_set", now=now, kind="repository", id=repository_id, name=repository.name,
            username=username, location=location, secret_changed=bool(form.secret), is_append_only=is_append_only,
        )  # fmt: skip
        repository_hosts.tell(bus, repository_id)
        return repositories.get(repository_id)


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
    ok, reason, message = answer.ok, answer.reason, answer.message
    with changes():
        repository = repositories.get(host.repository_id)
        restic_id = answer.data.get("restic_repository_id")
        if answer.ok and isinstance(restic_id, str) and not repository_identity.learn(bus, repository, restic_id, now):
            ok, reason, message = False, "repository_changed", repository_identity.difference(repository, restic_id)
        Repository.update(tested_at=now, test_ok=ok, test_reason=reason, test_message=message).where(
            Repository.id == repository.id
        ).execute()
        audit.record(
            actor, "repository.tested", now=now, kind="repository", id=repository.id, name=repository.name,
            host=host.name, ok=ok, restic_repository_id=restic_id,
        )  # fmt: skip
        repository_alerts.tested(
            bus, repository=repository, host_name=host.name, ok=ok, reason=reason, message=message, now=now
        )
        publish_after_commit(bus, RepositoryChanged(repository.id))
    return TestResult(ok=ok, reason=reason, message=message)


def keep_stats(bus: EventBus, *, host_id: str, stats: RepositoryStats, now: datetime) -> None:
    """Keep what a host says of its own repository; raises NotFound for another one."""
    with changes():
        host = hosts.get(host_id)
        if host.repository_id is None or host.repository_id != stats.repository_id:
            raise NotFound("This host does not use that repository.")
        known = {
            name: value
            for name, value in {
                "total_bytes": stats.total_bytes,
                "snapshot_count": stats.snapshot_count,
            }.items()
            if value is not None
        }
        repository = repositories.get(stats.repository_id)
        if stats.restic_repository_id and not repository_identity.learn(
            bus, repository, stats.restic_repository_id, now
        ):
            # Figures of another repository say nothing about this one.
            known = {}
        Repository.update(stats_at=now, **known).where(Repository.id == stats.repository_id).execute()
        if known:
            _keep_day(stats.repository_id, known, now)
        publish_after_commit(bus, RepositoryChanged(stats.repository_id))


def _keep_day(repository_id: str, known: dict[str, int], now: datetime) -> None:
    """Keep the figures as the last of their day; what is older than DAYS_KEPT goes."""
    day = now.strftime("%Y-%m-%d")
    is_its_row = (RepositoryDay.repository == repository_id) & (RepositoryDay.day == day)
    RepositoryDay.insert(repository=repository_id, day=day).on_conflict_ignore().execute()
    RepositoryDay.update(known).where(is_its_row).execute()
    oldest = (now - DAYS_KEPT).strftime("%Y-%m-%d")
    RepositoryDay.delete().where(RepositoryDay.repository == repository_id, RepositoryDay.day < oldest).execute()


def config_for_host(vault: Vault, *, host_id: str) -> ConfigSet:
    """The full configuration of a host with its secrets opened; raises UnsealError."""
    host = hosts.get(host_id)
    repository = repositories.find(host.repository_id)
    if repository is None:
        return ConfigSet(version=host.config_version, trust=releases.trust())
    credential = repositories.credential(repository.id)
    upkeep = repositories.credential(repository.id, repositories.MAINTENANCE)
    upkeep_place = _secret_place(repository.id, repositories.MAINTENANCE)
    config = RepositoryConfig(
        id=repository.id,
        name=repository.name,
        location=repository.location,
        password=vault.unseal(repository.password_sealed, place=_password_place(repository.id)),
        username=credential.username if credential else "",
        secret=vault.unseal(credential.secret_sealed, place=_secret_place(repository.id)) if credential else "",
        maintenance_username=upkeep.username if upkeep else "",
        maintenance_secret=vault.unseal(upkeep.secret_sealed, place=upkeep_place) if upkeep else "",
        maintenance_location=upkeep.location if upkeep else "",
    )
    return ConfigSet(version=host.config_version, repositories=[config], trust=releases.trust())


def _create(vault: Vault, form: RepositoryForm, now: datetime) -> str:
    repository_id = new_ulid()
    Repository.create(
        id=repository_id,
        name=form.name.strip(),
        location=form.location.strip(),
        password_sealed=vault.seal(form.password, place=_password_place(repository_id)),
        created_at=now,
        changed_at=now,
    )
    _save_credential(vault, repository_id, form, now)
    maintenance_policies.ensure(repository_id=repository_id, now=now)
    return repository_id


def _change(vault: Vault, existing: Repository, form: RepositoryForm, now: datetime) -> None:
    values: dict[str, object] = {"name": form.name.strip(), "location": form.location.strip(), "changed_at": now}
    if form.password:
        values["password_sealed"] = vault.seal(form.password, place=_password_place(existing.id))
    if form.location.strip() != existing.location or form.password:
        # What was true of the old place says nothing about the new one.
        values |= {"tested_at": None, "test_ok": None, "test_reason": "", "test_message": "", "restic_id_seen": None}
    Repository.update(values).where(Repository.id == existing.id).execute()
    _save_credential(vault, existing.id, form, now)


def _audit_form(
    actor: Actor, form: RepositoryForm, *, now: datetime, repository_id: str, is_new: bool, **more: object
) -> None:
    audit.record(
        actor,
        "repository.created" if is_new else "repository.changed",
        now=now,
        kind="repository",
        id=repository_id,
        name=form.name.strip(),
        location=form.location.strip(),
        password_changed=bool(form.password),
        username=form.username.strip(),
        secret_changed=bool(form.secret),
        **more,
    )


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


def _password_place(repository_id: str) -> str:
    return f"repositories:{repository_id}:password"


def _secret_place(repository_id: str, slot: str = repositories.EVERYDAY) -> str:
    return f"repository_credentials:{repository_id}:{slot}"
