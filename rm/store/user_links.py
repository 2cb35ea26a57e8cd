"""Named queries about the links with which people choose a password."""

from datetime import datetime

from rm.store.models import User, UserLink


def find(token_hash: str, now: datetime) -> UserLink | None:
    """The open link with its enabled user."""
    return (
        UserLink.select(UserLink, User)
        .join(User)
        .where(
            UserLink.token_hash == token_hash, UserLink.used_at.is_null(), UserLink.expires_at > now, User.is_enabled
        )
        .first()
    )


def open_of(user_id: str, now: datetime) -> UserLink | None:
    return UserLink.get_or_none(UserLink.user == user_id, UserLink.used_at.is_null(), UserLink.expires_at > now)


def open_by_user(now: datetime) -> dict[str, UserLink]:
    """The open link of each user that has one."""
    found = UserLink.select().where(UserLink.used_at.is_null(), UserLink.expires_at > now)
    return {link.user_id: link for link in found}
