"""What alerts cost over a whole fleet: python -m bench.alert_passes DATA_DIR prints milliseconds and counts as JSON.

In a process of its own, so that nothing but the alerts is timed: no sockets, no agents.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from bench import seed
from rm.config import Settings
from rm.events import EventBus
from rm.factory import create_app
from rm.runtime import runtime
from rm.services import alert_sweep, alerts, repository_alerts, verdicts
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.store import database
from rm.store.database import changes, db

CHUNK = 50
PASSES = 20
LOSSES = 3
PAGES = 20
MESSAGE = "The repository cannot be reached from this host. Check address, network, proxy and credentials."
Group = tuple[str, str]


def main(data_dir: Path) -> dict[str, Any]:
    """Every figure of the row."""
    app = create_app(Settings(data_dir=data_dir, log_level="warning").checked())
    app.config["RM_KEEP_CONNECTION"] = True
    bus, now = runtime(app).bus, datetime.now(timezone.utc)
    with database.connection():
        repository_id, groups = _healthy(now)
        found: dict[str, Any] = {"hosts": len(groups), "healthy": [_pass(bus, now) for _ in range(PASSES)]}
        if _one("SELECT count(*) FROM alerts"):
            raise SystemExit("the fleet was not healthy")
        found["bare"] = _chunked(groups, _bare(repository_id, now))
        losses = []
        for round_number in range(LOSSES):
            if round_number:
                _as_before()
            losses.append(_chunked(groups, lambda chunk: _lose(bus, repository_id, chunk, now)))
        found |= {
            "losses": losses,
            "incidents": _one("SELECT count(*) FROM incidents WHERE state <> 'resolved'"),
            "deliveries": _one("SELECT count(*) FROM deliveries"),
            "alerts": _one("SELECT count(*) FROM alerts WHERE state <> 'resolved'"),
            "lost_pass": [_pass(bus, now) for _ in range(PASSES)],
        }
        client = app.test_client()
        client.set_cookie("rm_session", seed.SESSION, domain="127.0.0.1")
        incident_id = _one("SELECT id FROM incidents WHERE state <> 'resolved'")
        for name, path in (("list", "/alerts"), ("incident", f"/alerts/{incident_id}"), ("login", "/login")):
            found[f"page_{name}"] = [_page(client, path) for _ in range(PAGES)][2:]
        found["found"] = _chunked(groups, lambda chunk: _find(bus, chunk, now))
        found["left"] = _one("SELECT count(*) FROM alerts WHERE state <> 'resolved' AND kind = 'backup_failed'")
    return found


def _healthy(now: datetime) -> tuple[str, list[Group]]:
    """Make every host protected and heard of, all with one repository, and a channel that listens; their groups."""
    text, later = instants.to_text(now), instants.to_text(now + timedelta(days=1))
    repository_id = _one("SELECT id FROM repositories ORDER BY id LIMIT 1")
    with changes():
        db.execute_sql(
            "UPDATE hosts SET repository_id = ?, verdict_code = 'ok', protected_until = ?, connected_at = ?,"
            " last_seen_at = ?, first_hello_at = ?",
            (repository_id, later, text, text, text),
        )
        db.execute_sql(
            "UPDATE group_verdicts SET code = 'ok', late_at = ?, turns_at = ?, protected_until = ?",
            (later, later, later),
        )
        db.execute_sql(
            "INSERT INTO channels (id, name, kind, url_sealed, url_shown, created_at, changed_at)"
            " VALUES (?, 'bench', 'webhook', x'00', 'https://example.net', ?, ?)",
            (new_ulid(), text, text),
        )
    return str(repository_id), db.execute_sql("SELECT id, host_id FROM source_groups ORDER BY id").fetchall()


def _as_before() -> None:
    """As if the repository had never been lost."""
    with changes():
        for table in ("deliveries", "alerts", "incidents"):
            db.execute_sql(f"DELETE FROM {table}")  # noqa: S608 - the three names above


def _pass(bus: EventBus, now: datetime) -> float:
    begun = time.perf_counter()
    verdicts.sweep(bus, now=now)
    alert_sweep.sweep(bus, now=now)
    return (time.perf_counter() - begun) * 1000


def _chunked(groups: Sequence[Group], act: Callable[[Sequence[Group]], None]) -> dict[str, float]:
    """Do it for all, a transaction for each chunk: all of the time, and the longest chunk."""
    longest, begun = 0.0, time.perf_counter()
    cpu = time.process_time()
    for start in range(0, len(groups), CHUNK):
        at = time.perf_counter()
        with changes():
            act(groups[start : start + CHUNK])
        longest = max(longest, time.perf_counter() - at)
    return {
        "ms": (time.perf_counter() - begun) * 1000, "cpu_ms": (time.process_time() - cpu) * 1000,
        "longest_ms": longest * 1000,
    }  # fmt: skip


def _lose(bus: EventBus, repository_id: str, chunk: Sequence[Group], now: datetime) -> None:
    for group_id, host_id in chunk:
        raised = alerts.raise_condition(
            bus, kind="backup_failed", condition=f"group:{group_id}", message=MESSAGE, now=now, host_id=host_id,
            cause=f"repository:{repository_id}",
        )  # fmt: skip
        if not raised.is_cause_told:
            repository_alerts.backup_failed(bus, repository_id=repository_id, message=MESSAGE, now=now)


def _find(bus: EventBus, chunk: Sequence[Group], now: datetime) -> None:
    for group_id, _ in chunk:
        alerts.clear(bus, kind="backup_failed", condition=f"group:{group_id}", note="A good backup ended.", now=now)


def _bare(repository_id: str, now: datetime) -> Callable[[Sequence[Group]], None]:
    """What no server could do without: the row of the alert, and its line in a timeline, in tables of their own."""
    db.execute_sql("CREATE TEMP TABLE bare_alerts AS SELECT * FROM alerts")
    db.execute_sql("CREATE TEMP TABLE bare_events AS SELECT * FROM alert_events")
    db.execute_sql("CREATE UNIQUE INDEX temp.bare_open ON bare_alerts (kind, condition) WHERE state <> 'resolved'")
    text = instants.to_text(now)

    def act(chunk: Sequence[Group]) -> None:
        for group_id, host_id in chunk:
            alert_id = new_ulid()
            db.execute_sql(
                "INSERT INTO bare_alerts (id, kind, severity, state, condition, host_id, message, first_seen_at,"
                " last_seen_at, incident_id) VALUES (?, 'backup_failed', 'critical', 'raised', ?, ?, ?, ?, ?, ?)",
                (alert_id, f"group:{group_id}", host_id, MESSAGE, text, text, repository_id),
            )
            db.execute_sql(
                "INSERT INTO bare_events (incident_id, alert_id, at, kind, actor, text)"
                " VALUES (?, ?, ?, 'joined', '', ?)",
                (repository_id, alert_id, text, MESSAGE),
            )

    return act


def _page(client: Any, path: str) -> float:
    begun = time.perf_counter()
    answer = client.get(path, base_url="http://127.0.0.1:8080")
    if answer.status_code not in (200, 303, 302):
        raise SystemExit(f"{path} answered {answer.status_code}")
    return (time.perf_counter() - begun) * 1000


def _one(sql: str) -> Any:
    return db.execute_sql(sql).fetchone()[0]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
