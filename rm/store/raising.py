"""What is read and written when a condition becomes an alert. Ten thousand may come at once.

So it is plain SQL, and the classes are not frozen: that would make each four times as slow to fill.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.shared import instants
from rm.store.database import db


@dataclass(slots=True)
class OpenAlert:
    """An alert that is not resolved."""

    id: str
    kind: str
    state: str
    count: int
    incident_id: str | None


@dataclass(slots=True)
class OpenIncident:
    """An incident that is open, or of which the end was not told yet."""

    id: str
    cause: str
    kind: str
    severity: str
    state: str
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str
    snoozed_until: datetime | None
    snoozed_by: str
    alert_count: int


@dataclass(slots=True)
class NewAlert:
    """What is known of a condition that is to be an alert."""

    id: str
    kind: str
    severity: str
    condition: str
    message: str
    host_id: str | None
    repository_id: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    count: int = 1


@dataclass(slots=True)
class Wait:
    """A condition that holds, but not yet for long enough."""

    since: datetime
    count: int


@dataclass(slots=True)
class Known:
    """All that is known of a condition and of its cause before it is raised."""

    alert: OpenAlert | None
    wait: Wait | None
    incident: OpenIncident | None
    settings: str
    is_cause_told: bool


def look(kind: str, condition: str, *, cause: str, cause_kind: str, settings: str) -> Known:
    """What is open or waits of this condition, the open incident of the cause, and what is set under that name.

    And whether an alert of `cause_kind` is open about the cause itself.
    """
    row = db.execute_sql(
        "SELECT a.id, a.kind, a.state, a.count, a.incident_id, w.since, w.count, s.value, i.id, i.cause, i.kind,"
        " i.severity, i.state, i.opened_at, i.acknowledged_at, i.acknowledged_by, i.snoozed_until, i.snoozed_by,"
        " i.alert_count,"
        " EXISTS (SELECT 1 FROM alerts c WHERE c.kind = ?5 AND c.condition = ?3 AND c.state <> 'resolved')"
        " FROM (SELECT 1)"
        " LEFT JOIN alerts a ON a.kind = ?1 AND a.condition = ?2 AND a.state <> 'resolved'"
        " LEFT JOIN alert_waits w ON w.kind = ?1 AND w.condition = ?2"
        " LEFT JOIN incidents i ON i.cause = ?3 AND i.state <> 'resolved'"
        " LEFT JOIN settings s ON s.name = ?4",
        (kind, condition, cause, settings, cause_kind),
    ).fetchone()
    return Known(
        alert=OpenAlert(*row[:5]) if row[0] is not None else None,
        wait=Wait(instants.from_text(row[5]), row[6]) if row[5] is not None else None,
        incident=_incident(row[8:19]) if row[8] is not None else None,
        settings=row[7] or "",
        is_cause_told=bool(row[19]),
    )


def settings_text(name: str) -> str:
    """What was set under this name, as it is kept; empty where nothing was."""
    row = db.execute_sql("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row is not None else ""


def find_open(kind: str, condition: str) -> OpenAlert | None:
    row = db.execute_sql(
        "SELECT id, kind, state, count, incident_id FROM alerts"
        " WHERE kind = ? AND condition = ? AND state <> 'resolved'",
        (kind, condition),
    ).fetchone()
    return OpenAlert(*row) if row is not None else None


def count_up(alert_id: str, message: str, now: datetime) -> None:
    db.execute_sql(
        "UPDATE alerts SET count = count + 1, last_seen_at = ?, message = ? WHERE id = ?",
        (instants.to_text(now), message, alert_id),
    )


def insert_alert(
    new: NewAlert, incident_id: str, *, acknowledged_at: datetime | None, acknowledged_by: str,
    snoozed_until: datetime | None, snoozed_by: str,
) -> None:  # fmt: skip
    db.execute_sql(
        "INSERT INTO alerts (id, kind, severity, state, condition, host_id, repository_id, message, first_seen_at,"
        " last_seen_at, count, incident_id, acknowledged_at, acknowledged_by, snoozed_until, snoozed_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.id, new.kind, new.severity, "raised" if acknowledged_at is None else "acknowledged", new.condition,
            new.host_id, new.repository_id, new.message, instants.to_text(new.first_seen_at),
            instants.to_text(new.last_seen_at), new.count, incident_id, _text(acknowledged_at), acknowledged_by,
            _text(snoozed_until), snoozed_by,
        ),
    )  # fmt: skip


def reopen_alert(new: NewAlert, incident_id: str) -> str | None:
    """Take up again the alert that this incident had about the condition; its id, or None if it had none."""
    row = db.execute_sql(
        "UPDATE alerts SET state = 'raised', count = count + 1, last_seen_at = ?, message = ?, resolved_at = NULL,"
        " resolved_by = '', note = '', acknowledged_at = NULL, acknowledged_by = '', snoozed_until = NULL,"
        " snoozed_by = '' WHERE id = (SELECT id FROM alerts WHERE incident_id = ? AND kind = ? AND condition = ?"
        " ORDER BY id DESC LIMIT 1) RETURNING id",
        (instants.to_text(new.last_seen_at), new.message, incident_id, new.kind, new.condition),
    ).fetchone()
    return str(row[0]) if row is not None else None


def move_alert(alert_id: str, incident_id: str) -> None:
    db.execute_sql("UPDATE alerts SET incident_id = ? WHERE id = ?", (incident_id, alert_id))


def close_alert(alert_id: str, *, by: str, note: str, now: datetime) -> bool:
    """Resolve it; False when it was."""
    found = db.execute_sql(
        "UPDATE alerts SET state = 'resolved', resolved_at = ?, resolved_by = ?, note = ?, snoozed_until = NULL"
        " WHERE id = ? AND state <> 'resolved'",
        (instants.to_text(now), by, note, alert_id),
    )
    return bool(found.rowcount)


def host_of(alert_id: str) -> str | None:
    row = db.execute_sql("SELECT host_id FROM alerts WHERE id = ?", (alert_id,)).fetchone()
    return row[0] if row is not None else None


_INCIDENT = (
    "SELECT id, cause, kind, severity, state, opened_at, acknowledged_at, acknowledged_by, snoozed_until, snoozed_by,"
    " alert_count FROM incidents "
)


def find_open_incident(cause: str) -> OpenIncident | None:
    return _incident(db.execute_sql(_INCIDENT + "WHERE cause = ? AND state <> 'resolved'", (cause,)).fetchone())


def find_untold_incident(cause: str, now: datetime) -> OpenIncident | None:
    """One that is over, and of which the end is still to be told."""
    where = "WHERE end_told_at > ? AND cause = ? ORDER BY end_told_at DESC LIMIT 1"
    return _incident(db.execute_sql(_INCIDENT + where, (instants.to_text(now), cause)).fetchone())


def get_incident(incident_id: str) -> OpenIncident | None:
    return _incident(db.execute_sql(_INCIDENT + "WHERE id = ?", (incident_id,)).fetchone())


def has_raised(incident_id: str) -> bool:
    """Whether an alert of it waits for somebody to look."""
    where = "SELECT 1 FROM alerts WHERE incident_id = ? AND state = 'raised' LIMIT 1"
    return db.execute_sql(where, (incident_id,)).fetchone() is not None


def count_in(incident_id: str, *, is_new: bool, now: datetime) -> None:
    """One more open alert belongs to it; `is_new` if it never did before."""
    db.execute_sql(
        "UPDATE incidents SET alert_count = alert_count + ?, open_count = open_count + 1, last_seen_at = ?"
        " WHERE id = ?",
        (1 if is_new else 0, instants.to_text(now), incident_id),
    )


def count_out(incident_id: str) -> int:
    """One open alert fewer belongs to it; how many are left."""
    row = db.execute_sql(
        "UPDATE incidents SET open_count = max(0, open_count - 1) WHERE id = ? RETURNING open_count", (incident_id,)
    ).fetchone()
    return int(row[0]) if row is not None else 0


def seen_again(incident_id: str, now: datetime) -> None:
    db.execute_sql("UPDATE incidents SET last_seen_at = ? WHERE id = ?", (instants.to_text(now), incident_id))


def insert_event(incident_id: str, kind: str, text: str, *, alert_id: str | None, actor: str, now: datetime) -> int:
    """One line of its timeline; the line's number."""
    found = db.execute_sql(
        "INSERT INTO alert_events (incident_id, alert_id, at, kind, actor, text) VALUES (?, ?, ?, ?, ?, ?)",
        (incident_id, alert_id, instants.to_text(now), kind, actor, text),
    )
    return int(found.lastrowid or 0)


def keep_wait(new: NewAlert, *, cause: str, due_at: datetime) -> None:
    """Note that the condition holds; it is raised when due."""
    db.execute_sql(
        "INSERT INTO alert_waits (kind, condition, host_id, repository_id, cause, message, since, due_at, last_seen_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, condition) DO UPDATE SET count = count + 1,"
        " message = excluded.message, cause = excluded.cause, due_at = excluded.due_at,"
        " last_seen_at = excluded.last_seen_at",
        (
            new.kind, new.condition, new.host_id, new.repository_id, cause, new.message,
            instants.to_text(new.first_seen_at), instants.to_text(due_at), instants.to_text(new.last_seen_at),
        ),
    )  # fmt: skip


def drop_wait(kind: str, condition: str) -> None:
    db.execute_sql("DELETE FROM alert_waits WHERE kind = ? AND condition = ?", (kind, condition))


def tags_of(host_id: str | None) -> list[str]:
    if host_id is None:
        return []
    return [tag for (tag,) in db.execute_sql("SELECT tag FROM host_tags WHERE host_id = ?", (host_id,)).fetchall()]


def _incident(row: tuple[Any, ...] | None) -> OpenIncident | None:
    if row is None:
        return None
    found, cause, kind, severity, state, opened_at, acknowledged_at, acknowledged_by, until, snoozed_by, count = row
    return OpenIncident(
        found, cause, kind, severity, state, instants.from_text(opened_at), _at(acknowledged_at), acknowledged_by,
        _at(until), snoozed_by, count,
    )  # fmt: skip


def _at(text: str | None) -> datetime | None:
    return instants.from_text(text) if text is not None else None


def _text(instant: datetime | None) -> str | None:
    return instants.to_text(instant) if instant is not None else None
