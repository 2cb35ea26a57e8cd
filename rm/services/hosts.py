"""Hosts: their names and tags, and how they leave."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.errors import Invalid
from rm.events import CredentialRevoked, EventBus, HostChanged, HostRemoved
from rm.services import alert_settings, alerts, audit, enrolments, jobs, verdicts
from rm.store import hosts
from rm.store import jobs as open_jobs
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, HostCredential, HostTag

MODES = ("always_on", "intermittent")


def rename(bus: EventBus, *, host_id: str, name: str, actor: Actor, now: datetime) -> Host:
    """Give a host another name to be shown; snapshots keep the hostname. Raises Invalid."""
    clean = name.strip()
    if not clean or len(clean) > 253 or not clean.isprintable():
        raise Invalid({"name": "Use 1 to 253 printable characters."})
    with changes():
        host = hosts.get(host_id)
        if host.name != clean:
            Host.update(name=clean).where(Host.id == host_id).execute()
            audit.record(actor, "host.renamed", now=now, kind="host", id=host_id, name=clean, before=host.name)
            publish_after_commit(bus, HostChanged(host_id))
        return hosts.get(host_id)


def set_tags(bus: EventBus, *, host_id: str, tags: tuple[str, ...], actor: Actor, now: datetime) -> list[str]:
    """Replace a host's tags; raises Invalid."""
    clean = enrolments.check_tags(tags)
    with changes():
        host = hosts.get(host_id)
        before = hosts.tags_of(host_id)
        if set(before) != set(clean):
            HostTag.delete().where(HostTag.host == host_id).execute()
            for tag in clean:
                HostTag.create(host=host_id, tag=tag)
            alert_settings.retime(host_id)
            audit.record(
                actor, "host.tagged", now=now, kind="host", id=host_id, name=host.name, before=before, after=list(clean)
            )
            publish_after_commit(bus, HostChanged(host_id))
    return list(clean)


def set_mode(bus: EventBus, *, host_id: str, mode: str, actor: Actor, now: datetime) -> Host:
    """Always on, or intermittent: a laptop that may sleep. Raises Invalid."""
    if mode not in MODES:
        raise Invalid({"mode": "Choose always on or intermittent."})
    with changes():
        host = hosts.get(host_id)
        if host.mode != mode:
            Host.update(mode=mode).where(Host.id == host_id).execute()
            audit.record(
                actor, "host.mode_set", now=now, kind="host", id=host_id, name=host.name, before=host.mode, after=mode
            )
            publish_after_commit(bus, HostChanged(host_id))
        return hosts.get(host_id)


def change(
    bus: EventBus, *, host_id: str, name: str | None = None, tags: tuple[str, ...] | None = None,
    mode: str | None = None, actor: Actor, now: datetime,
) -> None:  # fmt: skip
    """Change what is given, all of it or nothing. Raises Invalid, which names each field."""
    wrong: dict[str, str] = {}
    with changes():
        hosts.get(host_id)
        for save in (
            lambda: name is not None and rename(bus, host_id=host_id, name=name, actor=actor, now=now),
            lambda: tags is not None and set_tags(bus, host_id=host_id, tags=tags, actor=actor, now=now),
            lambda: mode is not None and set_mode(bus, host_id=host_id, mode=mode, actor=actor, now=now),
        ):
            try:
                save()
            except Invalid as error:
                wrong |= error.fields
        if wrong:
            raise Invalid(wrong)


def revoke_credential(bus: EventBus, *, host_id: str, actor: Actor, now: datetime) -> None:
    """The host can no longer connect, and an open connection closes at once; its history stays."""
    with changes():
        host = hosts.get(host_id)
        revoked = (
            Host.update(revoked_at=now, connected_at=None)
            .where(Host.id == host_id, Host.revoked_at.is_null())
            .execute()
        )
        HostCredential.update(revoked_at=now, plain_sealed=None).where(
            HostCredential.host == host_id, HostCredential.revoked_at.is_null()
        ).execute()
        if revoked:
            audit.record(actor, "host.revoked", now=now, kind="host", id=host_id, name=host.name)
            verdicts.refresh(bus, host_id=host_id, now=now)
            publish_after_commit(bus, CredentialRevoked(host_id), HostChanged(host_id))


def remove(bus: EventBus, *, host_id: str, typed_name: str, actor: Actor, now: datetime) -> None:
    """Forget a host with its jobs and logs; its snapshots stay in the repository. Raises Invalid for a wrong name."""
    with changes():
        host = hosts.get(host_id)
        if typed_name.strip() != host.name:
            raise Invalid({"typed_name": f"Type {host.name} exactly to remove this host."})
        audit.record(actor, "host.removed", now=now, kind="host", id=host_id, name=host.name)
        left = [job.repository_id for job in open_jobs.open_for_host(host_id) if job.repository_id]
        alerts.clear_of_host(bus, host_id=host_id, note=f"{host.name} was removed.", now=now)
        Host.delete().where(Host.id == host_id).execute()
        jobs.wake_repositories(bus, repository_ids=left, but_host_id=host_id)
        publish_after_commit(bus, CredentialRevoked(host_id), HostRemoved(host_id))
