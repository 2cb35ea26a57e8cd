"""Named queries about sign-ins through the provider, and the people who came that way."""

from datetime import datetime

from rm.store.models import OidcLogin, User


def find(state_hash: str, now: datetime) -> OidcLogin | None:
    """A sign-in that began and is not back yet."""
    return OidcLogin.get_or_none(OidcLogin.state_hash == state_hash, OidcLogin.expires_at > now)


def take(login: OidcLogin) -> bool:
    """End a sign-in; whether it was still there, so that only one of many at once goes on."""
    return bool(OidcLogin.delete().where(OidcLogin.state_hash == login.state_hash).execute())


def delete_old(now: datetime, *, keep: int) -> None:
    """Delete those that took too long, and the oldest beyond `keep`."""
    newest = OidcLogin.select(OidcLogin.state_hash).order_by(OidcLogin.created_at.desc()).limit(keep)
    OidcLogin.delete().where((OidcLogin.expires_at <= now) | OidcLogin.state_hash.not_in(newest)).execute()


def find_user(issuer: str, subject: str) -> User | None:
    """Whose account this identity is."""
    return User.get_or_none(User.oidc_issuer == issuer, User.oidc_subject == subject)
