"""Which hosts are connected, and what they say of themselves."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.errors import Unauthorised
from rm.events import EventBus, HostChanged
from rm.services import audit, credentials, tokens
from rm.shared.protocol import Hello
from rm.store import hosts
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host


def admit(*, credential: str) -> Host:
    """The host that a credential belongs to; raises Unauthorised (credential_refused)."""
    found = hosts.find_by_credential(tokens.hashed(credential)) if credential else None
    if found is None:
        raise Unauthorised(
            "This credential is not valid here.",
            code="credential_refused",
            help="It was revoked, or belongs to another server. Enrol the host again from its page.",
        )
    return found[0]


def hello(bus: EventBus, *, host_id: str, credential_hash: str, hello: Hello, address: str, now: datetime) -> Host:
    """Note a new connection and what the agent says of itself; raises Unauthorised if it was revoked meanwhile."""
    with changes():
        if hosts.find_by_credential(credential_hash) is None:
            raise Unauthorised("This credential was revoked.", code="credential_refused")
        before = hosts.get(host_id)
        Host.update(
            hostname=hello.hostname or before.hostname,
            os=hello.os or before.os,
            os_name=hello.os_name,
            arch=hello.arch or before.arch,
            init=hello.init,
            timezone=hello.timezone,
            machine_id=hello.machine_id or before.machine_id,
            agent_version=hello.agent_version,
            agent_seq=hello.agent_seq,
            running_sha256=hello.running_sha256,
            guard_version=hello.guard_version,
            restic_version=hello.restic_version,
            restic_features=hello.restic_features,
            boot_id=hello.boot_id,
            is_pinned=hello.pinned,
            problems=hello.problems,
            config_applied=hello.config_version,
            first_hello_at=before.first_hello_at or now,
            connected_at=now,
            last_seen_at=now,
            last_address=address,
        ).where(Host.id == host_id).execute()
        credentials.taken_into_use(bus, host_id=host_id, credential_hash=credential_hash, now=now)
        if before.first_hello_at is None:
            actor = Actor(kind="host", name=before.name, id=host_id, address=address)
            audit.record(actor, "host.connected_first", now=now, kind="host", id=host_id, name=before.name)
        publish_after_commit(bus, HostChanged(host_id))
        return hosts.get(host_id)


def gone(bus: EventBus, *, host_id: str, connected_at: datetime, now: datetime) -> None:
    """Note that a connection ended, unless a newer one took its place."""
    with changes():
        ended = Host.update(connected_at=None).where(Host.id == host_id, Host.connected_at == connected_at).execute()
        if ended:
            publish_after_commit(bus, HostChanged(host_id))


def nobody_is_connected() -> None:
    """At start no socket is open, whatever the last run left behind."""
    with changes():
        Host.update(connected_at=None).where(Host.connected_at.is_null(False)).execute()


def config_applied(bus: EventBus, *, host_id: str, version: int, problem: str, now: datetime) -> None:
    """Note which configuration the agent applied."""
    with changes():
        host = hosts.get(host_id)
        if problem:
            actor = Actor(kind="host", name=host.name, id=host_id)
            audit.record(
                actor, "host.config_refused", now=now, kind="host", id=host_id, name=host.name, problem=problem
            )
        if host.config_applied != version:
            Host.update(config_applied=version).where(Host.id == host_id).execute()
            publish_after_commit(bus, HostChanged(host_id))
