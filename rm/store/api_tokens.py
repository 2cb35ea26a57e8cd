"""Named queries about the tokens of programs."""

from datetime import datetime, timedelta

from peewee import Expression

from rm.errors import NotFound
from rm.store.models import ApiToken, User


def get(token_id: str) -> ApiToken:
    """The token; raises NotFound."""
    found = ApiToken.get_or_none(ApiToken.id == token_id)
    if found is None:
        raise NotFound("There is no such token.", help="Settings → Tokens lists those that are there.")
    return found


def find_good(token_hash: str, now: datetime) -> tuple[ApiToken, User | None] | None:
    """The token of this hash with the person whose it is, unless it has ended or they are disabled."""
    found = ApiToken.get_or_none(ApiToken.token_hash == token_hash, ApiToken.revoked_at.is_null())
    if found is None or (found.expires_at is not None and found.expires_at <= now):
        return None
    if found.user_id is None:
        return found, None
    owner = User.get_or_none(User.id == found.user_id, User.is_enabled)
    return None if owner is None else (found, owner)


def list_page(*, user_id: str | None, limit: int, offset: int = 0) -> list[ApiToken]:
    """The newest tokens first: one person's, or with None everybody's and the command line's."""
    query = ApiToken.select()
    if user_id is not None:
        query = query.where(ApiToken.user == user_id)
    return list(query.order_by(ApiToken.id.desc()).limit(limit).offset(offset))


def count_good(user_id: str | None, now: datetime) -> int:
    """How many tokens of a person, or of the command line, can be used now."""
    is_theirs = ApiToken.user.is_null() if user_id is None else ApiToken.user == user_id
    return ApiToken.select().where(is_theirs, _is_good(now)).count()


def list_good(user_id: str, now: datetime) -> list[ApiToken]:
    """The tokens of a person that can be used now, the oldest first."""
    return list(ApiToken.select().where(ApiToken.user == user_id, _is_good(now)).order_by(ApiToken.id))


def names_of_owners() -> dict[str, str]:
    """The names of those who have tokens, by id."""
    query = User.select(User.id, User.username).where(User.id.in_(ApiToken.select(ApiToken.user).distinct()))
    return {user.id: user.username for user in query}


def note_use(token_id: str, *, address: str, now: datetime, at_most_every: timedelta) -> None:
    """Keep when and from where a token was used last, unless that was kept a moment ago."""
    is_old = ApiToken.last_used_at.is_null() | (ApiToken.last_used_at <= now - at_most_every)
    ApiToken.update(last_used_at=now, last_address=address).where(ApiToken.id == token_id, is_old).execute()


def _is_good(now: datetime) -> Expression:
    return ApiToken.revoked_at.is_null() & (ApiToken.expires_at.is_null() | (ApiToken.expires_at > now))
