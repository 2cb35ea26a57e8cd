"""What Settings → Server shows."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rm.domain import disk_space as disk_rules
from rm.domain import pruning as pruning_rules
from rm.runtime import Runtime
from rm.services import disk_space, pruning, server_backups, server_restore
from rm.shared import instants
from rm.store import database_facts
from rm.store import server_backups as stored
from rm.store.database_facts import Facts
from rm.store.models import ServerBackup

FACTS_SECONDS = 30.0
"""Counting takes a while, and many may look."""
SHOWN = 60

_counted: tuple[float, Path, Facts] | None = None


def values(parts: Runtime, *, now: datetime) -> dict[str, Any]:
    """Everything on the page."""
    plan, data_dir = server_backups.plan(), parts.settings.data_dir
    kept = stored.list_kept(limit=SHOWN)
    facts = _facts(parts)
    limits, seen = disk_space.limits(), disk_space.seen()
    if seen.free_bytes is None:
        seen = disk_space.look(parts.bus, data_dir=data_dir, now=now)
    restored = server_restore.last()
    days = pruning.limits()
    return {
        "backups": [_backup(one) for one in kept],
        "running": stored.find_running(),
        "last_good": stored.last_good(),
        "next_at": server_backups.next_at(now),
        "directory": str(server_backups.directory(plan, data_dir)),
        "key_file": str(parts.settings.secret_key_file),
        "is_key_beside": parts.settings.secret_key_file is not None
        and parts.settings.secret_key_file.parent == data_dir,
        "database_file": str(parts.settings.database_file),
        "facts": facts,
        "disk": seen,
        "disk_effect": disk_rules.effect(seen.level),
        "kinds": [_kind(kind, facts) for kind in pruning_rules.KINDS],
        "audit": _held(facts, "audit"),
        "restored": {name: instants.from_text(restored[name]) for name in ("at", "taken_at")} if restored else None,
        "texts": {
            "plan": {name: str(value) for name, value in vars(plan).items()},
            "disk": {name: str(value) for name, value in vars(limits).items()},
            "history": {name: str(value) for name, value in days.items()},
        },
    }


def _backup(row: ServerBackup) -> dict[str, Any]:
    file = Path(row.file)
    is_there = bool(row.is_ok) and file.is_file()
    return {
        "id": row.id, "name": file.name, "file": row.file, "started_at": row.started_at, "size": row.size_bytes,
        "sha256": row.sha256, "message": row.message, "by": row.requested_by, "is_there": is_there,
        "state": "running" if row.is_ok is None else "failed" if not row.is_ok else "ok" if is_there else "gone",
    }  # fmt: skip


def _kind(kind: pruning_rules.Kind, facts: Facts) -> dict[str, Any]:
    return {"name": kind.name, "title": kind.title, "text": kind.text, "least": kind.least, **_held(facts, kind.name)}


def _held(facts: Facts, name: str) -> dict[str, Any]:
    held = facts.held.get(name)
    oldest = held.oldest if held is not None else None
    return {
        "rows": held.rows if held is not None else None,
        "oldest": instants.from_text(oldest) if oldest else None,
    }


def _facts(parts: Runtime) -> Facts:
    global _counted
    file, moment = parts.settings.database_file, time.monotonic()
    if _counted is not None and _counted[1] == file and moment - _counted[0] < FACTS_SECONDS:
        return _counted[2]
    found: Facts = parts.offload(database_facts.read, file)
    _counted = (moment, file, found)
    return found
