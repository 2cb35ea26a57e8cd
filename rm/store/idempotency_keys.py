"""Named queries about the answers that are kept for orders that may be repeated."""

from datetime import datetime

from rm.store.models import IdempotencyKey


def find(owner: str, key: str) -> IdempotencyKey | None:
    return IdempotencyKey.get_or_none(IdempotencyKey.owner == owner, IdempotencyKey.key == key)


def count(owner: str) -> int:
    """How many are kept for one caller."""
    return IdempotencyKey.select().where(IdempotencyKey.owner == owner).count()


def forget(owner: str, key: str) -> None:
    IdempotencyKey.delete().where(IdempotencyKey.owner == owner, IdempotencyKey.key == key).execute()


def forget_before(instant: datetime, *, owner: str | None = None) -> int:
    """Forget what was kept before an instant, of one caller or of all; how many went."""
    query = IdempotencyKey.delete().where(IdempotencyKey.created_at <= instant)
    if owner is not None:
        query = query.where(IdempotencyKey.owner == owner)
    return int(query.execute())
