"""Named queries about enrolment tokens and the hosts they let in."""

from datetime import datetime

from rm.errors import NotFound
from rm.store.models import Enrolment, EnrolmentToken, Host, HostCredential


def get_token(token_id: str) -> EnrolmentToken:
    """The token's row; raises NotFound."""
    token = EnrolmentToken.get_or_none(EnrolmentToken.id == token_id)
    if token is None:
        raise NotFound("There is no such enrolment token.", help="Mint a new one on the page Add host.")
    return token


def find_by_hash(token_hash: str) -> EnrolmentToken | None:
    return EnrolmentToken.get_or_none(EnrolmentToken.token_hash == token_hash)


def hosts_of_token(token_id: str) -> list[Host]:
    """The hosts that the token let in, newest first."""
    query = Host.select().join(Enrolment).where(Enrolment.token == token_id)
    return list(query.order_by(Enrolment.enrolled_at.desc()))


def find_unused(token_id: str, machine_id: str, *, since: datetime) -> Host | None:
    """The host that this machine enrolled with this token since then and that has not connected yet."""
    return (
        Host.select()
        .join(Enrolment)
        .where(
            Enrolment.token == token_id,
            Enrolment.machine_id == machine_id,
            Enrolment.enrolled_at >= since,
            Host.first_hello_at.is_null(),
        )
        .first()
    )


def tokens_of_host(host_id: str) -> list[str]:
    return [found.token_id for found in Enrolment.select().where(Enrolment.host == host_id)]


def active_credentials(host_id: str) -> list[HostCredential]:
    return list(HostCredential.select().where(HostCredential.host == host_id, HostCredential.revoked_at.is_null()))
