"""Named queries about runs that were due and did not take place."""

from rm.store.models import SkippedRun


def exists(report_id: str) -> bool:
    return SkippedRun.select().where(SkippedRun.id == report_id).exists()


def list_for_host(
    host_id: str, *, source_group: str | None = None, limit: int = 50, offset: int = 0
) -> list[SkippedRun]:
    """The latest that were due first; of one group, or of all."""
    query = SkippedRun.select().where(SkippedRun.host == host_id)
    if source_group is not None:
        query = query.where(SkippedRun.source_group == source_group)
    return list(query.order_by(SkippedRun.due_to.desc(), SkippedRun.id.desc()).limit(limit).offset(offset))


def drop_oldest(host_id: str, *, keep: int) -> None:
    """Forget all but the latest `keep` of a host."""
    latest_first = (SkippedRun.due_to.desc(), SkippedRun.id.desc())
    rest = SkippedRun.select(SkippedRun.id).where(SkippedRun.host == host_id).order_by(*latest_first)
    SkippedRun.delete().where(SkippedRun.id.in_(rest.limit(-1).offset(keep))).execute()
