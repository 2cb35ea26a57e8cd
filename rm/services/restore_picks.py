"""What a person picks in a snapshot before the restore is ordered."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from rm.domain import snapshots as rules
from rm.errors import Conflict, Invalid
from rm.store import restore_picks
from rm.store.database import changes
from rm.store.models import RestorePick

SNAPSHOTS_KEPT = 5


def change(
    *, user_id: str, repository_id: str, snapshot_id: str, add: Mapping[str, bool], remove: Iterable[str], now: datetime
) -> list[RestorePick]:
    """What is picked then; `add` says of each path whether it is a folder. Raises Invalid, or Conflict beyond 200."""
    problem = next((found for path in add if (found := rules.path_problem(path))), "")
    if problem:
        raise Invalid({"pick": problem}, problem)
    with changes():
        known = {pick.path for pick in restore_picks.list_for(user_id, repository_id, snapshot_id)}
        gone = set(remove) & known - set(add)
        new = {path: is_folder for path, is_folder in add.items() if path not in known}
        if problem := rules.paths_problem((known - gone) | set(new)):
            raise Conflict(problem, code="too_many_picks")
        mine = (RestorePick.user == user_id) & (RestorePick.repository == repository_id)
        mine &= RestorePick.snapshot_id == snapshot_id
        for path in gone:
            RestorePick.delete().where(mine, RestorePick.path == path).execute()
        if new:
            RestorePick.insert_many(
                {
                    "user": user_id, "repository": repository_id, "snapshot_id": snapshot_id, "path": path,
                    "is_folder": is_folder, "picked_at": now,
                }
                for path, is_folder in new.items()
            ).execute()  # fmt: skip
            _forget_old(user_id)
        return restore_picks.list_for(user_id, repository_id, snapshot_id)


def clear(*, user_id: str, repository_id: str, snapshot_id: str) -> None:
    """Forget what is picked in a snapshot."""
    with changes():
        RestorePick.delete().where(
            RestorePick.user == user_id, RestorePick.repository == repository_id,
            RestorePick.snapshot_id == snapshot_id,
        ).execute()  # fmt: skip


def _forget_old(user_id: str) -> None:
    """Keep a person's picks in the snapshots that were picked in last."""
    for repository_id, snapshot_id in restore_picks.snapshots_of(user_id)[SNAPSHOTS_KEPT:]:
        clear(user_id=user_id, repository_id=repository_id, snapshot_id=snapshot_id)
