"""What a template would change on a host: added, changed field by field, the same, and what it leaves alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GROUP = "group"
SCHEDULE = "schedule"
ADDED = "added"
CHANGED = "changed"
SAME = "same"

WORDS = {
    "name": "name", "includes": "include", "excludes": "leave out", "one_file_system": "stay on one file system",
    "exclude_caches": "leave out caches", "tags": "more tags", "mode": "mode", "stale_after_hours": "late after",
    "retention": "what is kept", "retries": "retries", "retry_minutes": "first retry after",
    "upload_kib": "upload at most", "download_kib": "download at most", "pre_hook": "hook before",
    "post_hook": "hook after", "hook_seconds": "time for a hook", "cron": "when", "every_minutes": "every",
    "jitter_seconds": "spread", "is_enabled": "switched on", "groups": "groups",
}  # fmt: skip
"""What pages call the fields of groups and schedules."""


@dataclass(frozen=True)
class FieldChange:
    """One field of a group or schedule, as it is and as it would be."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """What becomes of one group or schedule; `kind` is group or schedule, `what` added, changed or same."""

    kind: str
    name: str
    what: str
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True)
class Differences:
    """Everything a template would do to a host; `beyond` are the (kind, name) that it leaves alone."""

    changes: tuple[Change, ...]
    beyond: tuple[tuple[str, str], ...]

    @property
    def is_same(self) -> bool:
        return all(change.what == SAME for change in self.changes)


def differences(
    wanted: Mapping[str, Sequence[Mapping[str, Any]]], present: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Differences:
    """Compare two sets of `groups` and `schedules`, which are matched by their names."""
    changes: list[Change] = []
    beyond: list[tuple[str, str]] = []
    for kind, key in ((GROUP, "groups"), (SCHEDULE, "schedules")):
        there = {item["name"]: item for item in present.get(key, ())}
        asked = {item["name"]: item for item in wanted.get(key, ())}
        changes += [_change(kind, name, item, there.get(name)) for name, item in asked.items()]
        beyond += [(kind, name) for name in there if name not in asked]
    return Differences(changes=tuple(changes), beyond=tuple(beyond))


def _change(kind: str, name: str, wanted: Mapping[str, Any], present: Mapping[str, Any] | None) -> Change:
    if present is None:
        return Change(kind, name, ADDED, tuple(FieldChange(field, None, new) for field, new in wanted.items()))
    fields = tuple(
        FieldChange(field, present.get(field), new)
        for field, new in wanted.items()
        if _comparable(field, present.get(field)) != _comparable(field, new)
    )
    return Change(kind, name, CHANGED if fields else SAME, fields)


def _comparable(field: str, value: Any) -> Any:
    """Which groups a schedule runs, and which tags snapshots carry, has no order."""
    return sorted(value) if field in ("groups", "tags") and isinstance(value, list) else value
