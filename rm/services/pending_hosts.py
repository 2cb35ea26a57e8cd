"""Hosts that announce themselves: a person compares fingerprints and decides, the host proves its key and comes in."""

import base64
import binascii
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rm.domain.actors import Actor
from rm.errors import Conflict, Forbidden, Gone, Invalid, TooMany, Unauthorised
from rm.events import EventBus, HostChanged, PendingHostsChanged
from rm.services import audit, enrolments
from rm.services.enrolments import Admission, Applicant
from rm.shared import ed25519
from rm.shared.ids import new_ulid
from rm.store import hosts, pending_hosts
from rm.store.database import changes, publish_after_commit
from rm.store.models import PendingHost, Setting

LIFETIME = timedelta(hours=1)
KEPT_FOR = timedelta(days=30)
MOST_WAITING = 100
# So that one address cannot keep all others out.
MOST_WAITING_OF_ONE = 50
RETRY_SECONDS = 5


@dataclass(frozen=True)
class Undecided:
    """Nobody has decided yet; ask again after `retry_after_seconds`."""

    retry_after_seconds: int = RETRY_SECONDS


def announce(bus: EventBus, *, applicant: Applicant, public_key: str, address: str, now: datetime) -> PendingHost:
    """A host waits for a person from now on, for an hour; the same announcement again gives the same row.

    Raises Forbidden while announcing is off, Invalid for a key that cannot be trusted, TooMany when 100 wait, or 50
    from one address.
    """
    if not pending_hosts.is_announcing_enabled():
        raise Forbidden(
            "This server does not let hosts announce themselves.",
            code="announcing_off",
            help="Enrol with a token from the page Add host, or have an administrator switch announcing on there.",
        )
    raw = _key(public_key)
    canonical = base64.b64encode(raw).decode()
    with changes():
        _forget_old(now)
        for waiting in pending_hosts.find_waiting(canonical, now=now):
            if _applicant(waiting) == applicant:
                return waiting
        if pending_hosts.count_waiting(now) >= MOST_WAITING:
            raise _too_many(MOST_WAITING, now)
        if pending_hosts.count_waiting(now, address=address) >= MOST_WAITING_OF_ONE:
            raise _too_many(MOST_WAITING_OF_ONE, now, address=address)
        found = PendingHost.create(
            id=new_ulid(),
            hostname=applicant.hostname,
            os=applicant.os,
            arch=applicant.arch,
            agent_version=applicant.agent_version,
            agent_seq=applicant.agent_seq,
            machine_id=applicant.machine_id,
            public_key=canonical,
            fingerprint=ed25519.fingerprint(raw),
            nonce=secrets.token_urlsafe(24),
            address=address,
            announced_at=now,
            expires_at=now + LIFETIME,
        )
        actor = Actor(kind="host", name=applicant.hostname, address=address)
        _record(actor, "host.announced", found, now)
        publish_after_commit(bus, PendingHostsChanged(found.id))
    return found


def approve(bus: EventBus, *, pending_id: str, actor: Actor, now: datetime) -> PendingHost:
    """Let the holder of this key in: it has an hour to come and prove it. Again: nothing changes.

    Raises Conflict after a rejection and Gone for one that lapsed.
    """
    with changes():
        found = pending_hosts.get(pending_id)
        if found.state == "rejected":
            raise Conflict(
                "This host was rejected already.",
                code="rejected",
                help="Run rm-agent announce there again: it makes a new key.",
            )
        if found.state == "approved":
            return found
        if found.expires_at <= now:
            raise _expired(found)
        _decide(found, "approved", actor, now, expires_at=now + LIFETIME)
        _record(actor, "pending_host.approved", found, now)
        publish_after_commit(bus, PendingHostsChanged(pending_id))
        return pending_hosts.get(pending_id)


def reject(bus: EventBus, *, pending_id: str, actor: Actor, now: datetime) -> PendingHost:
    """Refuse this key; an approval that was not used yet is taken back. Again: nothing changes.

    Raises Conflict once the host is in.
    """
    with changes():
        found = pending_hosts.get(pending_id)
        if found.claimed_at is not None:
            raise Conflict(
                "This host is in already.", code="claimed", help="Revoke its credential on the host's own page."
            )
        if found.state != "rejected":
            _decide(found, "rejected", actor, now, expires_at=found.expires_at)
            _record(actor, "pending_host.rejected", found, now)
            publish_after_commit(bus, PendingHostsChanged(pending_id))
        return pending_hosts.get(pending_id)


def claim(
    bus: EventBus,
    *,
    pending_id: str,
    signature: str,
    base_url: str,
    seen_urls: Iterable[str],
    address: str,
    now: datetime,
) -> Admission | Undecided:
    """The credential for an approved host that proves its key, or Undecided.

    Until the first hello it may be repeated, and voids the credential before. `seen_urls` are addresses under which
    this request may have been dialled: they explain a refusal, and never admit anybody.

    Raises Unauthorised for a wrong signature (the row is unharmed), Forbidden once rejected, Gone when it is over.
    """
    found = pending_hosts.get(pending_id)
    _check_signature(found, signature, base_url, seen_urls)
    with changes():
        found = pending_hosts.get(pending_id)
        if found.state == "rejected":
            raise Forbidden(
                "An administrator rejected this host.",
                code="rejected",
                help="If that was a mistake, announce it again: it makes a new key, to be compared anew.",
            )
        if found.claimed_at is not None:
            return _claim_again(bus, found, now)
        if found.expires_at <= now:
            raise _expired(found)
        if found.state == "waiting":
            return Undecided()
        host = enrolments.create_host(applicant=_applicant(found), by=found.decided_by, address=address, now=now)
        PendingHost.update(host=host.id, claimed_at=now).where(PendingHost.id == pending_id).execute()
        credential = enrolments.new_credential(host.id, now)
        actor = Actor(kind="host", name=host.name, id=host.id, address=address)
        audit.record(
            actor, "host.enrolled", now=now, kind="host", id=host.id, name=host.name,
            fingerprint=found.fingerprint, by=found.decided_by,
        )  # fmt: skip
        publish_after_commit(bus, PendingHostsChanged(pending_id), HostChanged(host.id))
        return Admission(host.id, credential)


def set_announcing(bus: EventBus, *, is_enabled: bool, actor: Actor, now: datetime) -> None:
    """Whether hosts may announce themselves; those that wait already may still be decided."""
    with changes():
        if pending_hosts.is_announcing_enabled() == is_enabled:
            return
        word = "on" if is_enabled else "off"
        Setting.insert(name=pending_hosts.ANNOUNCING, value=word).on_conflict_replace().execute()
        audit.record(actor, "announcing.switched", now=now, kind="setting", name=word)
        publish_after_commit(bus, PendingHostsChanged(""))


def message_to_sign(*, base_url: str, pending_id: str, nonce: str) -> bytes:
    """What the agent signs: it binds the claim to this server's address, so that nobody can pass it on."""
    return f"restic-manager-announce-v1\n{base_url}\n{pending_id}\n{nonce}".encode()


def _claim_again(bus: EventBus, found: PendingHost, now: datetime) -> Admission:
    host = hosts.find(found.host_id or "")
    if host is None or host.first_hello_at is not None or host.revoked_at is not None:
        raise Gone(
            "This announcement was used: the host is in, or was removed since.",
            code="claimed",
            help="Is its credential lost? Enrol it again from the host's own page, or announce it anew with --force.",
        )
    credential = enrolments.new_credential(host.id, now)
    publish_after_commit(bus, HostChanged(host.id))
    return Admission(host.id, credential)


def _check_signature(found: PendingHost, signature: str, base_url: str, seen_urls: Iterable[str]) -> None:
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(found.public_key))
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        raw = b""

    def is_signed_for(url: str) -> bool:
        try:
            key.verify(raw, message_to_sign(base_url=url, pending_id=found.id, nonce=found.nonce))
        except InvalidSignature:
            return False
        return True

    if is_signed_for(base_url):
        return
    dialled = next((url for url in seen_urls if url != base_url and is_signed_for(url)), None)
    if dialled is not None:
        raise Unauthorised(
            f"The agent dialled {dialled}, but this server is known as {base_url}.",
            code="wrong_url",
            help=f"Run rm-agent announce --server {base_url}, or start the server with RM_BASE_URL={dialled}.",
        )
    raise Unauthorised(
        "The signature does not fit this announcement.",
        code="bad_signature",
        help=f"The agent must dial {base_url}: the signature is bound to the address. Or the key is another one.",
    )


def _decide(found: PendingHost, state: str, actor: Actor, now: datetime, *, expires_at: datetime) -> None:
    PendingHost.update(state=state, decided_at=now, decided_by=actor.name, expires_at=expires_at).where(
        PendingHost.id == found.id
    ).execute()


def _record(actor: Actor, action: str, found: PendingHost, now: datetime) -> None:
    audit.record(
        actor, action, now=now, kind="pending_host", id=found.id, name=found.hostname, fingerprint=found.fingerprint
    )


def _applicant(found: PendingHost) -> Applicant:
    return Applicant(
        hostname=found.hostname,
        os=found.os,
        arch=found.arch,
        agent_version=found.agent_version,
        agent_seq=found.agent_seq,
        machine_id=found.machine_id,
    )


def _key(public_key: str) -> bytes:
    try:
        raw = base64.b64decode(public_key, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Invalid({"public_key": "must be base64"}, "public_key must be base64 of 32 bytes.") from error
    problem = ed25519.key_problem(raw)
    if problem:
        raise Invalid({"public_key": problem}, f"public_key {problem}.")
    return raw


def _forget_old(now: datetime) -> None:
    PendingHost.delete().where(PendingHost.expires_at < now - KEPT_FOR).execute()


def _too_many(count: int, now: datetime, *, address: str = "") -> TooMany:
    first = pending_hosts.next_expiry(now, address=address) or now
    whose = f" from {address}" if address else ""
    return TooMany(
        f"{count} announced hosts{whose} wait for a decision already. Approve or reject some first.",
        retry_after_seconds=max(1, int((first - now).total_seconds()) + 1),
    )


def _expired(found: PendingHost) -> Gone:
    return Gone(
        f"This announcement lapsed at {found.expires_at:%Y-%m-%d %H:%M} UTC.",
        code="expired",
        help="Run rm-agent announce on the host again; its fingerprint stays the same.",
    )
