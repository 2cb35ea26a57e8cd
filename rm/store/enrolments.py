"""Named queries about enrolment tokens and the hosts they let in."""

from datetime import datetime

from peewee import fn

from rm.errors import NotFound
from rm.store import quick_rows
from rm.store.models import Enrolment, EnrolmentToken, Host, HostCredential


def get_token(token_id: str) -> EnrolmentToken:
    """The token's row; raises NotFound."""
    token = EnrolmentToken.get_or_none(EnrolmentToken.id == token_id)
    if token is None:
        raise NotFound("There is no such enrolment token.", help="Mint a new one on the page Add host.")
    return token


def list_open(now: datetime, *, limit: int, offset: int = 0) -> list[EnrolmentToken]:
    """One page of the tokens that still let hosts in, the newest first."""
    query = EnrolmentToken.select().where(
        EnrolmentToken.revoked_at.is_null(), EnrolmentToken.expires_at > now,
        EnrolmentToken.uses < EnrolmentToken.max_uses,
    )  # fmt: skip
    return list(query.order_by(EnrolmentToken.created_at.desc(), EnrolmentToken.id.desc()).limit(limit).offset(offset))


def find_by_hash(token_hash: str) -> EnrolmentToken | None:
    return EnrolmentToken.get_or_none(EnrolmentToken.token_hash == token_hash)


def hosts_of_token(token_id: str) -> list[Host]:
    """The hosts that the token let in, newest first."""
    query = Host.select().join(Enrolment).where(Enrolment.token == token_id)
    return list(query.order_by(Enrolment.enrolled_at.desc()))


def find_unused(token_id: str, machine_id: str, *, since: datetime) -> Host | None:
    """The host that this machine enrolled with this token since then and that has not connected with it yet."""
    used_since = HostCredential.select().where(
        HostCredential.host == Host.id,
        HostCredential.created_at >= Enrolment.enrolled_at,
        HostCredential.first_used_at.is_null(False),
    )
    return (
        Host.select()
        .join(Enrolment)
        .where(
            Enrolment.token == token_id,
            Enrolment.machine_id == machine_id,
            Enrolment.enrolled_at >= since,
            Host.revoked_at.is_null(),
            ~fn.EXISTS(used_since),
        )
        .first()
    )


def has_connected_since(host_id: str, *, since: datetime) -> bool:
    """Whether the credential that the host got since then, and that is still good, was used for a hello."""
    return (
        HostCredential.select()
        .where(
            HostCredential.host == host_id,
            HostCredential.revoked_at.is_null(),
            HostCredential.created_at >= since,
            HostCredential.first_used_at.is_null(False),
        )
        .exists()
    )


def enrolled_at(token_id: str, host_id: str) -> datetime | None:
    """When the token let this host in."""
    found = Enrolment.get_or_none(Enrolment.token == token_id, Enrolment.host == host_id)
    return found.enrolled_at if found else None


def in_use_since(host_id: str) -> datetime | None:
    """When the credential that the host uses was used first."""
    found = (
        HostCredential.select()
        .where(
            HostCredential.host == host_id,
            HostCredential.revoked_at.is_null(),
            HostCredential.first_used_at.is_null(False),
        )
        .order_by(HostCredential.first_used_at.desc())
        .first()
    )
    return found.first_used_at if found else None


def undelivered(host_id: str) -> HostCredential | None:
    """The renewal of the host's credential that it has not used yet."""
    where = "host_id = ? AND revoked_at IS NULL AND first_used_at IS NULL AND plain_sealed IS NOT NULL LIMIT 1"
    return quick_rows.first(HostCredential, where, host_id)
