"""Named queries about people."""

from datetime import datetime

from rm.errors import NotFound
from rm.store.models import RecoveryCode, SetupLink, User


def get(user_id: str) -> User:
    """The user; raises NotFound."""
    user = User.get_or_none(User.id == user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def find_by_name(username: str) -> User | None:
    return User.get_or_none(User.username.collate("NOCASE") == username)


def find_enabled(user_id: str) -> User | None:
    return User.get_or_none(User.id == user_id, User.is_enabled)


def count() -> int:
    return User.select().count()


def list_all() -> list[User]:
    """Everybody, by name."""
    return list(User.select().order_by(User.username.collate("NOCASE")))


def count_other_admins(user_id: str) -> int:
    """Enabled administrators with a password, without this one."""
    others = User.select().where(User.role == "admin", User.is_enabled, User.password_hash != "", User.id != user_id)
    return others.count()


def count_recovery_codes(user_id: str) -> int:
    """How many are not used yet."""
    return RecoveryCode.select().where(RecoveryCode.user == user_id, RecoveryCode.used_at.is_null()).count()


def find_setup_link(token_hash: str, now: datetime) -> SetupLink | None:
    return SetupLink.get_or_none(SetupLink.token_hash == token_hash, SetupLink.expires_at > now)
