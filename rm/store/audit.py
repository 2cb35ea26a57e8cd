"""Named queries about the audit log."""

from peewee import fn

from rm.store.models import AuditEntry


def list_page(*, q: str = "", before_id: int | None = None, limit: int = 50) -> list[AuditEntry]:
    """The newest entries first; `q` matches who, what and on what."""
    query = AuditEntry.select()
    if q:
        query = query.where(
            AuditEntry.actor_name.contains(q)
            | AuditEntry.action.contains(q)
            | AuditEntry.target_name.contains(q)
            | AuditEntry.address.contains(q)
        )
    if before_id is not None:
        query = query.where(AuditEntry.id < before_id)
    return list(query.order_by(AuditEntry.id.desc()).limit(limit))


def count() -> int:
    return AuditEntry.select(fn.COUNT(AuditEntry.id)).scalar() or 0
