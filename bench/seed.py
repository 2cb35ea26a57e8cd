"""Fleets written straight into a database: hosts, credentials, jobs and history, in seconds instead of hours."""

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rm.services.verdicts import NOTHING_CHOSEN
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.store.database import connection, db, open_database
from rm.store.migrate import migrate
from rm.store.vault import open_vault

SESSION = "bench-session"
ENROLMENT_TOKEN = "rme_bench"
TAGS = ("production", "web", "database", "office", "laptop")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class SeededHost:
    """A host of the fleet as its agent knows it."""

    host_id: str
    name: str
    credential: str
    job_id: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def seed(data_dir: Path, *, hosts: int, job_state: str = "", history: bool = False) -> list[SeededHost]:
    """Hosts, an administrator with a session, and an enrolment token, in a new database.

    `job_state` gives each host one open backup ("running", or "queued" and sent); `history` gives it tags, a
    repository, sources, thirty days of backups, and the troubles of a real fleet.
    """
    now = datetime.now(timezone.utc)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = data_dir / "restic-manager.db"
    migrate(file, now=now)
    repositories = _repositories(file, data_dir / "secret.key", hosts)
    fleet = [
        SeededHost(
            host_id=new_ulid(),
            name=f"host-{number:05}",
            credential=f"rmh_bench_{number}",
            job_id=new_ulid() if job_state else "",
        )
        for number in range(hosts)
    ]
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA foreign_keys = on")
        _people(database, now)
        _hosts(database, fleet, now)
        if job_state:
            _open_jobs(database, fleet, job_state, now)
        if history:
            _history(database, fleet, repositories, now)
    return fleet


def mark_online(data_dir: Path, *, but_every: int) -> None:
    """Pretend that all hosts but every so-manyth are connected; a starting server has just said that none is."""
    now = instants.to_text(datetime.now(timezone.utc))
    with closing(sqlite3.connect(data_dir / "restic-manager.db", timeout=5)) as database, database:
        database.execute(
            "UPDATE hosts SET connected_at = ?1, last_seen_at = ?1, first_hello_at = coalesce(first_hello_at, ?1)"
            " WHERE rowid % ?2 <> 0",
            (now, but_every),
        )


def _repositories(file: Path, key_file: Path, hosts: int) -> list[tuple[str, bytes]]:
    """The id of one repository for ten hosts, and its password as the server's key file opens it."""
    found = [new_ulid() for _ in range(max(1, hosts // 10))]
    open_database(file)
    with connection():
        vault = open_vault(key_file)
        sealed = [(one, vault.seal("bench", place=f"repositories:{one}:password")) for one in found]
    db.close()
    return sealed


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _people(database: sqlite3.Connection, now: datetime) -> None:
    at, later = instants.to_text(now), instants.to_text(now + DAY)
    user_id = new_ulid()
    database.execute(
        "INSERT INTO users (id, username, role, password_hash, created_at) VALUES (?, 'bench', 'admin', 'none', ?)",
        (user_id, at),
    )
    database.execute(
        "INSERT INTO sessions (token_hash, user_id, address, created_at, expires_at) VALUES (?, ?, '127.0.0.1', ?, ?)",
        (_hash(SESSION), user_id, at, later),
    )
    database.execute(
        "INSERT INTO enrolment_tokens (id, token_hash, max_uses, created_by, created_at, expires_at)"
        " VALUES (?, ?, 100, 'bench', ?, ?)",
        (new_ulid(), _hash(ENROLMENT_TOKEN), at, later),
    )


def _hosts(database: sqlite3.Connection, fleet: list[SeededHost], now: datetime) -> None:
    at = instants.to_text(now - 40 * DAY)
    database.executemany(
        "INSERT INTO hosts (id, name, hostname, os, os_name, arch, init, agent_version, agent_seq, restic_version,"
        " enrolled_at, enrolled_by, last_address, verdict_code, verdict_text)"
        " VALUES (?1, ?2, ?2, 'linux', 'Debian GNU/Linux 12 (bookworm)', 'amd64', 'systemd', '0.1.0', 1, '0.14.0',"
        " ?3, 'bench', '127.0.0.1', 'never', ?4)",
        # judged, as every host is within a minute of its enrolment
        [(host.host_id, host.name, at, NOTHING_CHOSEN) for host in fleet],
    )
    # a credential that was used before: its first use would be told in the audit log
    database.executemany(
        "INSERT INTO host_credentials (credential_hash, host_id, created_at, first_used_at) VALUES (?1, ?2, ?3, ?3)",
        [(_hash(host.credential), host.host_id, at) for host in fleet],
    )
    database.execute("UPDATE hosts SET first_hello_at = enrolled_at")


def _open_jobs(database: sqlite3.Connection, fleet: list[SeededHost], state: str, now: datetime) -> None:
    at = instants.to_text(now)
    database.executemany(
        "INSERT INTO jobs (id, host_id, kind, state, created_at, expires_at, dispatched_at, started_at, last_sign_at)"
        " VALUES (?1, ?2, 'backup', ?3, ?4, ?5, ?4, ?6, ?4)",
        [
            (host.job_id, host.host_id, state, at, instants.to_text(now + DAY), at if state == "running" else None)
            for host in fleet
        ],
    )


def _history(
    database: sqlite3.Connection, fleet: list[SeededHost], sealed: list[tuple[str, bytes]], now: datetime
) -> None:
    at = instants.to_text(now - 40 * DAY)
    repositories = [(one, f"repository {number}", password) for number, (one, password) in enumerate(sealed)]
    database.executemany(
        "INSERT INTO repositories (id, name, location, password_sealed, total_bytes, snapshot_count, stats_at,"
        " created_at, changed_at) VALUES (?1, ?2, 'rest:https://backup.example.net/' || ?2, ?4, 734003200, 30,"
        " ?3, ?3, ?3)",
        [(repository_id, name, at, password) for repository_id, name, password in repositories],
    )
    database.executemany(
        "UPDATE hosts SET repository_id = ? WHERE id = ?",
        [(repositories[number % len(repositories)][0], host.host_id) for number, host in enumerate(fleet)],
    )
    database.executemany(
        "INSERT INTO host_tags (host_id, tag) VALUES (?, ?)",
        [(host.host_id, TAGS[(number + more) % len(TAGS)]) for number, host in enumerate(fleet) for more in (0, 2)],
    )
    database.executemany(
        "INSERT INTO source_groups (id, host_id, name, includes, created_at, changed_at)"
        " VALUES (?1, ?2, 'files', '[\"/etc\",\"/home\"]', ?3, ?3)",
        [(new_ulid(), host.host_id, at) for host in fleet],
    )
    database.executemany(
        "INSERT INTO backup_days (host_id, day, succeeded, warnings, failed) VALUES (?, ?, ?, ?, ?)",
        [
            (host.host_id, (now - back * DAY).strftime("%Y-%m-%d"), *_day(number, back))
            for number, host in enumerate(fleet)
            for back in range(30)
        ],
    )
    jobs = [(new_ulid(), host.host_id, *_last_backup(number, now)) for number, host in enumerate(fleet)]
    summary = json.dumps({"files_new": 12, "files_changed": 40, "bytes_added": 48_234_123, "bytes_done": 734_003_200})
    database.executemany(
        "INSERT INTO jobs (id, host_id, outcome, kind, state, source_group, created_at, expires_at, dispatched_at,"
        " started_at, finished_at, last_sign_at, message, summary)"
        " VALUES (?1, ?2, ?3, 'backup', 'finished', 'files', ?4, ?4, ?4, ?4, ?5, ?5, ?6, ?7)",
        [(*job, summary) for job in jobs],
    )
    database.executemany(
        "UPDATE hosts SET last_backup_id = ?1, last_good_at = ?2 WHERE id = ?3",
        [(job_id, ended if outcome == "succeeded" else at, host_id) for job_id, host_id, outcome, _, ended, _ in jobs],
    )
    _schedules(database, now)


def _schedules(database: sqlite3.Connection, now: datetime) -> None:
    """A nightly schedule for each group, and the verdicts that the services would have come to."""
    at = instants.to_text(now - 40 * DAY)
    database.execute(
        "INSERT INTO schedules (id, host_id, name, cron, jitter_seconds, created_at, changed_at)"
        " SELECT 'S' || substr(id, 2), host_id, 'nightly', '15 3 * * *', 1800, ?1, ?1 FROM source_groups",
        (at,),
    )
    database.execute(
        "INSERT INTO schedule_groups (schedule_id, group_id) SELECT 'S' || substr(id, 2), id FROM source_groups"
    )
    database.execute(
        "INSERT INTO group_verdicts (group_id, host_id, code, text, since, next_at, last_job_id, last_good_at, late_at,"
        " protected_until, changed_at)"
        " SELECT g.id, h.id, iif(j.outcome = 'failed', 'failed', 'ok'),"
        " iif(j.outcome = 'failed', 'The last run failed: ' || j.message, 'Backed up.'), j.finished_at, ?2, j.id,"
        " h.last_good_at, strftime('%Y-%m-%dT%H:%M:%f000Z', h.last_good_at, '+2190 minutes'),"
        " strftime('%Y-%m-%dT%H:%M:%f000Z', h.last_good_at, '+2190 minutes'), ?1"
        " FROM source_groups g JOIN hosts h ON h.id = g.host_id JOIN jobs j ON j.id = h.last_backup_id",
        (at, instants.to_text(now + DAY / 2)),
    )
    database.execute(
        "UPDATE group_verdicts SET code = 'late',"
        " text = 'No good backup, although the expected time of 36.5 h is over.' WHERE late_at < ?1 AND code = 'ok'",
        (instants.to_text(now),),
    )
    database.execute(
        "UPDATE hosts SET features = '[\"schedules\"]', verdict_code = v.code, verdict_text = v.text,"
        " protected_until = v.protected_until FROM group_verdicts v WHERE v.host_id = hosts.id"
    )


def _day(number: int, back: int) -> tuple[int, int, int]:
    if number % 50 == 0 and back < 3:
        return (0, 0, 1)
    return (0, 1, 0) if (number + back) % 17 == 0 else (1, 0, 0)


def _last_backup(number: int, now: datetime) -> tuple[str, str, str, str]:
    """Outcome, start, end and message: one host in fifty failed, and one in a hundred stopped five days ago."""
    begun = now - timedelta(minutes=30 + number % 600) - (5 * DAY if number % 100 == 1 else 0 * DAY)
    ended = begun + timedelta(seconds=90)
    texts = instants.to_text(begun), instants.to_text(ended)
    if number % 50 == 0:
        return ("failed", *texts, "The repository could not be reached: connection refused.")
    return ("succeeded", *texts, "")
