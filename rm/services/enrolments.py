"""Letting hosts in: tokens that are shown once, and the credential a host gets for one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain.actors import Actor
from rm.errors import Gone, Invalid, Unauthorised
from rm.events import EventBus, HostChanged, HostEnrolled
from rm.services import audit, tokens
from rm.shared.ids import new_ulid
from rm.store import enrolments
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
) -> tuple[EnrolmentToken, str]:
    """A fresh token and its plain text, which is not stored; raises Invalid."""
    wrong = {}
    if not 1 <= max_uses <= MAX_USES:
        wrong["max_uses"] = f"Choose a number from 1 to {MAX_USES}."
    if not timedelta(minutes=1) <= lifetime <= MAX_LIFETIME:
        wrong["expires_in_seconds"] = "Choose between one minute and 30 days."
    if wrong:
        raise Invalid(wrong)
    clean = check_tags(tags)
    plain = tokens.make("rme")
    with changes():
        token = EnrolmentToken.create(
            id=new_ulid(),
            token_hash=tokens.hashed(plain),
            max_uses=max_uses,
            tags=list(clean),
            created_by=actor.name,
            created_at=now,
            expires_at=now + lifetime,
        )
        audit.record(
            actor, "enrolment_token.minted", now=now, kind="enrolment_token", id=token.id, max_uses=max_uses, tags=clean
        )
    return token, plain


def revoke_token(bus: EventBus, *, token_id: str, actor: Actor, now: datetime) -> None:
    """The token lets nobody in any more; hosts that are in stay in."""
    with changes():
        token = enrolments.get_token(token_id)
        if (
            EnrolmentToken.update(revoked_at=now)
            .where(EnrolmentToken.id == token_id, EnrolmentToken.revoked_at.is_null())
            .execute()
        ):
            audit.record(actor, "enrolment_token.revoked", now=now, kind="enrolment_token", id=token.id)


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
            credential = _new_credential(repeated.id, now)
            publish_after_commit(bus, HostEnrolled(repeated.id, row.id), HostChanged(repeated.id))
            return Admission(repeated.id, credential)
        _check_usable(row, now)
        taken = EnrolmentToken.update(uses=EnrolmentToken.uses + 1).where(
            EnrolmentToken.id == row.id, EnrolmentToken.uses < EnrolmentToken.max_uses
        )
        if not taken.execute():
            raise _used_up()
        host = _create_host(row, applicant, address, now)
        credential = _new_credential(host.id, now)
        actor = Actor(kind="host", name=host.name, id=host.id, address=address)
        audit.record(
            actor, "host.enrolled", now=now, kind="host", id=host.id, name=host.name, token_id=row.id, by=row.created_by
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
    return enrolments.find_unused(row.id, applicant.machine_id, since=now - REPEAT_WITHIN)


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


def _create_host(row: EnrolmentToken, applicant: Applicant, address: str, now: datetime) -> Host:
    host = Host.create(
        id=new_ulid(),
        name=applicant.hostname,
        hostname=applicant.hostname,
        os=applicant.os,
        arch=applicant.arch,
        machine_id=applicant.machine_id,
        agent_version=applicant.agent_version,
        agent_seq=applicant.agent_seq,
        enrolled_at=now,
        enrolled_by=row.created_by,
        last_address=address,
    )
    Enrolment.create(token=row.id, host=host.id, machine_id=applicant.machine_id, address=address, enrolled_at=now)
    for tag in row.tags:
        HostTag.create(host=host.id, tag=tag)
    return host


def _new_credential(host_id: str, now: datetime) -> str:
    HostCredential.update(revoked_at=now).where(
        HostCredential.host == host_id, HostCredential.revoked_at.is_null()
    ).execute()
    credential = tokens.make("rmh")
    HostCredential.create(credential_hash=tokens.hashed(credential), host=host_id, created_at=now)
    return credential


def install_command(*, base_url: str, token: str) -> str:
    """The line that fetches the agent, enrols the host and starts it; the token is in no argument list."""
    return (
        f"export RM_TOKEN={token}\n"
        f"printf 'Authorization: Bearer %s' \"$RM_TOKEN\" |"
        f" curl -fsSL -H @- '{base_url}/agent/binary?os=linux&arch=any' -o rm-agent\n"
        f"python3 rm-agent enroll --server {base_url} && python3 rm-agent run"
    )
