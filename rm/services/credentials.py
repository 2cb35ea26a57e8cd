"""A host's credential in its life: renewed over the open connection, taken into use, seen in two places."""

from datetime import datetime

from rm.domain.actors import SERVER, Actor
from rm.errors import Conflict
from rm.events import EventBus, HostChanged, HostConfigChanged
from rm.services import alerts, audit, tokens
from rm.store import enrolments, hosts
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, HostCredential
from rm.store.vault import Vault

PROBLEM = "certificate_or_key_problem"


def renew(bus: EventBus, vault: Vault, *, host_id: str, actor: Actor, now: datetime) -> HostCredential:
    """A second credential that the host is handed over its connection, now or when it is back.

    The present one stays good until the host says hello with the new one, so a connection that breaks in between
    strands nobody. While one is on its way nothing changes. Raises Conflict for a host that cannot be handed one.
    """
    with changes():
        host = hosts.get(host_id)
        if host.revoked_at is not None or host.first_hello_at is None:
            raise Conflict(
                "This host has no connection over which it could get a new credential.",
                code="not_connected_ever" if host.revoked_at is None else "revoked",
                help="Enrol it again from its page instead.",
            )
        waiting = enrolments.undelivered(host_id)
        if waiting is not None:
            return waiting
        plain = tokens.make("rmh")
        hashed = tokens.hashed(plain)
        created: HostCredential = HostCredential.create(
            credential_hash=hashed,
            host=host_id,
            created_at=now,
            plain_sealed=vault.seal(plain, place=_place(hashed)),
        )
        Host.update(config_version=Host.config_version + 1).where(Host.id == host_id).execute()
        audit.record(actor, "host.credential_renewed", now=now, kind="host", id=host_id, name=host.name)
        publish_after_commit(bus, HostConfigChanged(host_id), HostChanged(host_id))
        return created


def to_deliver(vault: Vault, *, host_id: str, used_hash: str) -> str:
    """The new credential that this connection must be handed; empty when it uses the newest. Raises UnsealError."""
    waiting = enrolments.undelivered(host_id)
    if waiting is None or waiting.credential_hash == used_hash:
        return ""
    return vault.unseal(waiting.plain_sealed, place=_place(waiting.credential_hash))


def taken_into_use(bus: EventBus, *, host_id: str, credential_hash: str, now: datetime) -> None:
    """Note a hello with this credential; at its first one all others of the host end. Call it inside a transaction."""
    is_first = (
        HostCredential.update(first_used_at=now, plain_sealed=None)
        .where(HostCredential.credential_hash == credential_hash, HostCredential.first_used_at.is_null())
        .execute()
    )
    if not is_first:
        return
    ended = (
        HostCredential.update(revoked_at=now, plain_sealed=None)
        .where(
            HostCredential.host == host_id,
            HostCredential.credential_hash != credential_hash,
            HostCredential.revoked_at.is_null(),
        )
        .execute()
    )
    if ended:
        host = hosts.get(host_id)
        audit.record(SERVER, "host.old_credential_ended", now=now, kind="host", id=host_id, name=host.name)
    alerts.clear(bus, kind=PROBLEM, condition=_condition(host_id), note="The host has a new credential.", now=now)


def seen_in_two_places(bus: EventBus, *, host_id: str, addresses: tuple[str, str], now: datetime) -> None:
    """Two agents keep taking one credential's connection from each other: raise the alert."""
    with changes():
        host = hosts.get(host_id)
        before, after = addresses
        where = f"both from {after}" if before == after else f"from {before} and from {after}"
        alerts.raise_alert(
            bus,
            kind=PROBLEM,
            condition=_condition(host_id),
            host_id=host_id,
            now=now,
            message=(
                f"Two agents use the credential of {host.name}, {where}. Most often a machine was cloned together with"
                " its agent. On the copy, delete the agent's state and enrol it as a host of its own; then renew the"
                " credential of this host. If no copy is yours, revoke the credential at once."
            ),
        )


def _condition(host_id: str) -> str:
    return f"host:{host_id}:credential"


def _place(credential_hash: str) -> str:
    return f"host_credentials.plain:{credential_hash}"
