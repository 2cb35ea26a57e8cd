-- Releases, update attempts, fleet updates.

CREATE TABLE keysets (
  version INTEGER NOT NULL PRIMARY KEY,
  bytes BLOB NOT NULL,
  signature BLOB NOT NULL,
  imported_at TEXT NOT NULL
) STRICT;

CREATE TABLE releases (
  id TEXT NOT NULL PRIMARY KEY,
  version TEXT NOT NULL,
  seq INTEGER NOT NULL,
  channel TEXT NOT NULL,
  manifest BLOB NOT NULL,
  signature BLOB NOT NULL,
  keyset_version INTEGER NOT NULL REFERENCES keysets (version),
  artifacts TEXT NOT NULL,
  guard_min INTEGER NOT NULL DEFAULT 0,
  min_from_seq INTEGER NOT NULL DEFAULT 0,
  key_id TEXT NOT NULL DEFAULT '',
  released_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  imported_at TEXT NOT NULL,
  imported_by TEXT NOT NULL,
  promoted_at TEXT,
  is_current INTEGER NOT NULL DEFAULT 0,
  withdrawn_at TEXT,
  withdrawn_why TEXT NOT NULL DEFAULT '' CHECK (withdrawn_why IN ('', 'yanked', 'key_retired', 'new_trust'))
) STRICT;
CREATE UNIQUE INDEX releases_current ON releases (is_current) WHERE is_current = 1;
CREATE INDEX releases_seq ON releases (seq);

CREATE TABLE fleet_updates (
  id TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('planned', 'running', 'paused', 'halted', 'cancelling', 'cancelled',
    'completed', 'completed_with_exceptions')),
  release_id TEXT NOT NULL REFERENCES releases (id),
  to_version TEXT NOT NULL,
  to_seq INTEGER NOT NULL,
  options TEXT NOT NULL DEFAULT '{}',
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  ended_at TEXT,
  estimate_seconds INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',
  halted_host_id TEXT
) STRICT;
CREATE UNIQUE INDEX fleet_updates_open ON fleet_updates ((1))
  WHERE state IN ('running', 'paused', 'halted', 'cancelling');

CREATE TABLE fleet_update_hosts (
  fleet_update_id TEXT NOT NULL REFERENCES fleet_updates (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  wave INTEGER NOT NULL DEFAULT 0,
  verdict TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL CHECK (state IN ('waiting', 'updating', 'soaking', 'passed_over', 'succeeded', 'failed',
    'skipped', 'excluded')),
  attempt_id TEXT,
  changed_at TEXT NOT NULL,
  PRIMARY KEY (fleet_update_id, host_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX fleet_update_hosts_host ON fleet_update_hosts (host_id);

CREATE TABLE fleet_update_events (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  fleet_update_id TEXT NOT NULL REFERENCES fleet_updates (id) ON DELETE CASCADE,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  host_id TEXT,
  actor TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL
) STRICT;
CREATE INDEX fleet_update_events_update ON fleet_update_events (fleet_update_id, id);

CREATE TABLE update_attempts (
  job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  is_rollback INTEGER NOT NULL DEFAULT 0,
  fleet_update_id TEXT REFERENCES fleet_updates (id) ON DELETE SET NULL,
  epoch INTEGER NOT NULL,
  release_id TEXT REFERENCES releases (id),
  keyset_version INTEGER NOT NULL DEFAULT 0,
  artifact_sha256 TEXT NOT NULL,
  from_version TEXT NOT NULL,
  from_seq INTEGER NOT NULL,
  from_sha256 TEXT,
  to_version TEXT NOT NULL,
  to_seq INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'dispatched', 'running', 'soaking', 'succeeded', 'failed',
    'rolled_back', 'refused', 'deferred', 'cancelled', 'lost')),
  phase TEXT NOT NULL DEFAULT '',
  phase_since TEXT,
  percent REAL,
  detail TEXT NOT NULL DEFAULT '',
  fenced_at TEXT,
  deadline_at TEXT,
  total_deadline_at TEXT,
  soak_until TEXT,
  retry_at TEXT,
  not_after TEXT NOT NULL,
  timers TEXT NOT NULL DEFAULT '{}',
  is_forced INTEGER NOT NULL DEFAULT 0,
  force_reason TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  failure_class TEXT NOT NULL DEFAULT '' CHECK (failure_class IN ('', 'release', 'integrity', 'infrastructure', 'host')),
  is_provisional INTEGER NOT NULL DEFAULT 0,
  is_late INTEGER NOT NULL DEFAULT 0,
  is_proven INTEGER NOT NULL DEFAULT 0,
  is_revert_failed INTEGER NOT NULL DEFAULT 0,
  cancel_requested_at TEXT,
  last_sign_at TEXT,
  created_at TEXT NOT NULL,
  ended_at TEXT
) STRICT;
CREATE INDEX update_attempts_host ON update_attempts (host_id, job_id DESC);
CREATE INDEX update_attempts_open ON update_attempts (deadline_at)
  WHERE state IN ('queued', 'dispatched', 'running', 'soaking', 'deferred');
CREATE INDEX update_attempts_fleet ON update_attempts (fleet_update_id);
CREATE UNIQUE INDEX update_attempts_one ON update_attempts (host_id)
  WHERE state IN ('queued', 'dispatched', 'running', 'soaking', 'deferred');

CREATE TABLE update_events (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  at TEXT NOT NULL,
  state TEXT NOT NULL,
  phase TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL
) STRICT;
CREATE INDEX update_events_job ON update_events (job_id, id);

CREATE TABLE orphan_results (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  attempt_id TEXT NOT NULL,
  at TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT ''
) STRICT;

ALTER TABLE hosts ADD COLUMN update_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN held_reason TEXT NOT NULL DEFAULT '';
