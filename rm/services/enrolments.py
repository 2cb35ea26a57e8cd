"""Letting hosts in: tokens that are shown once, and the credential a host gets for one."""

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rm.domain.actors import Actor
from rm.errors import Gone, Invalid, Unauthorised
from rm.events import CredentialRevoked, EnrolmentTokenRevoked, EventBus, HostChanged, HostEnrolled
from rm.services import audit, tokens
from rm.shared.ids import new_ulid
from rm.store import enrolments, hosts
from rm.store.database import changes, publish_after_commit
from rm.store.models import Enrolment, EnrolmentToken, Host, HostCredential, HostTag

TOKEN_LIFETIME = timedelta(hours=1)
MAX_LIFETIME = timedelta(days=30)
MAX_USES = 10_000
REPEAT_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Applicant:
    """What a host says of itself when it asks to be let in."""

    hostname: str
    os: str
    arch: str
    agent_version: str
    agent_seq: int
    machine_id: str


@dataclass(frozen=True)
class Admission:
    """What a host gets: its id, and a credential that is shown this once."""

    host_id: str
    credential: str


def mint_token(
    bus: EventBus,
    *,
    actor: Actor,
    now: datetime,
    max_uses: int = 1,
    lifetime: timedelta = TOKEN_LIFETIME,
    tags: tuple[str, ...] = (),
    host_id: str | None = None,
) -> tuple[EnrolmentToken, str]:
    """A fresh token and its plain text, which is not stored; raises Invalid.

    With a host it lets that host in again, as itself: its history stays and its old credential ends. Raises NotFound.
    """
    wrong = {}
    if not 1 <= max_uses <= MAX_USES:
        wrong["max_uses"] = f"Choose a number from 1 to {MAX_USES}."
    if host_id is not None and max_uses != 1:
        wrong["max_uses"] = "A token for a host that is known already is good for one use."
    if not timedelta(minutes=1) <= lifetime <= MAX_LIFETIME:
        wrong["expires_in_seconds"] = "Choose between one minute and 30 days."
    if wrong:
        raise Invalid(wrong)
    clean = check_tags(tags)
    plain = tokens.make("rme")
    with changes():
        host = hosts.get(host_id) if host_id is not None else None
        token = EnrolmentToken.create(
            id=new_ulid(),
            token_hash=tokens.hashed(plain),
            max_uses=max_uses,
            tags=list(clean),
            created_by=actor.name,
            created_at=now,
            expires_at=now + lifetime,
            host=host_id,
        )
        audit.record(
            actor, "enrolment_token.minted", now=now, kind="enrolment_token", id=token.id,
            name=host.name if host else "", max_uses=max_uses, tags=clean,
        )  # fmt: skip
    return token, plain


def revoke_token(bus: EventBus, *, token_id: str, actor: Actor, now: datetime) -> None:
    """The token lets nobody in any more; hosts that are in stay in. Again: nothing changes. Raises NotFound."""
    with changes():
        token = enrolments.get_token(token_id)
        if (
            EnrolmentToken.update(revoked_at=now)
            .where(EnrolmentToken.id == token_id, EnrolmentToken.revoked_at.is_null())
            .execute()
        ):
            audit.record(
                actor, "enrolment_token.revoked", now=now, kind="enrolment_token", id=token.id,
                uses=f"{token.uses} of {token.max_uses}", tags=token.tags,
            )  # fmt: skip
            publish_after_commit(bus, EnrolmentTokenRevoked(token_id))


def enrol(bus: EventBus, *, token: str, applicant: Applicant, address: str, now: datetime) -> Admission:
    """Let a host in. Repeating it with the same token and machine within 10 min, before the first hello,
    gives the same host a new credential: a lost answer strands nobody.

    Raises Unauthorised for an unknown token and Gone for one that is used up, expired or revoked.
    """
    with changes():
        row = enrolments.find_by_hash(tokens.hashed(token))
        if row is None:
            raise Unauthorised(
                "This enrolment token is not known here.",
                code="token_unknown",
                help="Copy the whole line from the page Add host of this very server.",
            )
        repeated = _repeated(row, applicant, now)
        if repeated is not None:
            credential = new_credential(repeated.id, now)
            publish_after_commit(bus, HostEnrolled(repeated.id, row.id), HostChanged(repeated.id))
            return Admission(repeated.id, credential)
        _check_usable(row, now)
        taken = EnrolmentToken.update(uses=EnrolmentToken.uses + 1).where(
            EnrolmentToken.id == row.id, EnrolmentToken.uses < EnrolmentToken.max_uses
        )
        if not taken.execute():
            raise _used_up()
        if row.host_id is None:
            host = create_host(applicant=applicant, by=row.created_by, address=address, now=now)
            for tag in row.tags:
                HostTag.create(host=host.id, tag=tag)
        else:
            host = _take_in_again(bus, row.host_id, applicant, address)
        Enrolment.create(token=row.id, host=host.id, machine_id=applicant.machine_id, address=address, enrolled_at=now)
        credential = new_credential(host.id, now)
        actor = Actor(kind="host", name=host.name, id=host.id, address=address)
        action = "host.enrolled" if row.host_id is None else "host.reenrolled"
        audit.record(
            actor, action, now=now, kind="host", id=host.id, name=host.name, token_id=row.id, by=row.created_by
        )
        publish_after_commit(bus, HostEnrolled(host.id, row.id), HostChanged(host.id))
    return Admission(host.id, credential)


def opens_downloads(token: str, now: datetime) -> bool:
    """Whether a token may fetch the agent; a download does not use it up."""
    row = enrolments.find_by_hash(tokens.hashed(token))
    return row is not None and row.revoked_at is None and row.expires_at > now


def check_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Tags without doubles and blanks, in order; raises Invalid."""
    clean = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(clean) > 20 or any(len(tag) > 50 or not tag.isprintable() or "," in tag for tag in clean):
        raise Invalid({"tags": "Use at most 20 tags of at most 50 characters, without commas."})
    return clean


def _repeated(row: EnrolmentToken, applicant: Applicant, now: datetime) -> Host | None:
    if not applicant.machine_id or row.revoked_at is not None:
        return None
    found = enrolments.find_unused(row.id, applicant.machine_id, since=now - REPEAT_WITHIN)
    # A host that is enrolled again has said hello in its earlier life.
    return found if found is not None and (row.host_id or found.first_hello_at is None) else None


def _check_usable(row: EnrolmentToken, now: datetime) -> None:
    if row.revoked_at is not None:
        raise Gone("This enrolment token was revoked.", code="token_revoked", help="Mint a new one on Add host.")
    if row.expires_at <= now:
        raise Gone(
            f"This enrolment token expired at {row.expires_at:%Y-%m-%d %H:%M} UTC.",
            code="token_expired",
            help="Mint a new one on the page Add host.",
        )
    if row.uses >= row.max_uses:
        raise _used_up()


def _used_up() -> Gone:
    return Gone(
        "This enrolment token was used already.", code="token_used", help="Mint a new one on the page Add host."
    )


def create_host(*, applicant: Applicant, by: str, address: str, now: datetime) -> Host:
    """A host as it first describes itself; call it inside the transaction that lets it in."""
    host: Host = Host.create(
        id=new_ulid(),
        name=applicant.hostname,
        **_described(applicant),
        enrolled_at=now,
        enrolled_by=by,
        last_address=address,
    )
    return host


def _described(applicant: Applicant) -> dict[str, Any]:
    """What a machine says of itself, as columns of its host."""
    return {
        "hostname": applicant.hostname,
        "os": applicant.os,
        "arch": applicant.arch,
        "machine_id": applicant.machine_id,
        "agent_version": applicant.agent_version,
        "agent_seq": applicant.agent_seq,
    }


def _take_in_again(bus: EventBus, host_id: str, applicant: Applicant, address: str) -> Host:
    """The known host with what this machine says of itself; whoever still holds its old credential is out at once."""
    Host.update(
        **_described(applicant),
        last_address=address,
        connected_at=None,
        config_applied=0,
        schedule_applied=0,
        schedule_problem="",
        revoked_at=None,
    ).where(Host.id == host_id).execute()
    publish_after_commit(bus, CredentialRevoked(host_id))
    return hosts.get(host_id)


def new_credential(host_id: str, now: datetime) -> str:
    """A fresh credential, shown this once; those before it end. Call it inside a transaction."""
    HostCredential.update(revoked_at=now, plain_sealed=None).where(
        HostCredential.host == host_id, HostCredential.revoked_at.is_null()
    ).execute()
    credential = tokens.make("rmh")
    HostCredential.create(credential_hash=tokens.hashed(credential), host=host_id, created_at=now)
    return credential


def reenrol_command(base_url: str, token: str) -> str:
    """The lines that give an installed agent a new credential; the token is in no argument list."""
    return (
        f"export RM_TOKEN={token}\n"
        f"sudo --preserve-env=RM_TOKEN rm-agent enroll --server {shlex.quote(base_url)} --force &&\n"
        "sudo systemctl restart rm-agent; unset RM_TOKEN"
    )


def install_command(*, base_url: str, token: str, again: bool = False) -> str:
    """The line that installs the agent and enrols the host; the token is an argument of printf only, a builtin.

    It fails where the script cannot be fetched. `again`: the token replaces a credential, even one that is still good.
    """
    script = shlex.quote(f"{base_url}/install.sh")
    fetch = f"printf 'RM_TOKEN=%s\\n' {token}; curl -fsSL {script} || echo exit 1"
    return f"{{ {fetch}; }} | sudo sh{' -s -- --repair' if again else ''}"
