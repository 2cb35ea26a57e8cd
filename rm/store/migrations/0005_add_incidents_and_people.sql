-- Alerts that wait, incidents, notifications, accounts, API tokens, and the server's own backups.

ALTER TABLE users ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN password_changed_at TEXT;
ALTER TABLE users ADD COLUMN totp_sealed BLOB;
ALTER TABLE users ADD COLUMN totp_confirmed_at TEXT;
ALTER TABLE users ADD COLUMN totp_last_step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN oidc_issuer TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN oidc_subject TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN last_seen_at TEXT;
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password';
-- A session that a page cannot name could not be revoked there.
UPDATE sessions SET id = lower(hex(randomblob(13)));
CREATE UNIQUE INDEX users_oidc ON users (oidc_issuer, oidc_subject) WHERE oidc_subject <> '';

CREATE TABLE user_links (
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  purpose TEXT NOT NULL CHECK (purpose IN ('setup', 'reset')),
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  used_at TEXT
) STRICT;
CREATE INDEX user_links_user ON user_links (user_id);

CREATE TABLE recovery_codes (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  code_hash TEXT NOT NULL,
  used_at TEXT,
  PRIMARY KEY (user_id, code_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_in_steps (
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  address TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sign_in_steps_user ON sign_in_steps (user_id);

CREATE TABLE oidc_logins (
  state_hash TEXT NOT NULL PRIMARY KEY,
  browser_hash TEXT NOT NULL,
  nonce TEXT NOT NULL,
  verifier_sealed BLOB NOT NULL,
  next_path TEXT NOT NULL DEFAULT '/',
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;

CREATE TABLE api_tokens (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,
  role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
  tags TEXT NOT NULL DEFAULT '[]',
  user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT,
  last_used_at TEXT,
  last_address TEXT NOT NULL DEFAULT '',
  revoked_at TEXT
) STRICT;
CREATE INDEX api_tokens_user ON api_tokens (user_id);

CREATE TABLE idempotency_keys (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  request_hash TEXT NOT NULL,
  status INTEGER,
  body TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

CREATE TABLE incidents (
  id TEXT NOT NULL PRIMARY KEY,
  cause TEXT NOT NULL,
  title TEXT NOT NULL,
  severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
  state TEXT NOT NULL DEFAULT 'raised' CHECK (state IN ('raised', 'acknowledged', 'resolved')),
  repository_id TEXT REFERENCES repositories (id) ON DELETE CASCADE,
  host_id TEXT REFERENCES hosts (id) ON DELETE CASCADE,
  opened_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL,
  resolved_at TEXT,
  alert_count INTEGER NOT NULL DEFAULT 0,
  open_count INTEGER NOT NULL DEFAULT 0,
  kind TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  acknowledged_at TEXT,
  acknowledged_by TEXT NOT NULL DEFAULT '',
  resolved_by TEXT NOT NULL DEFAULT '',
  note TEXT NOT NULL DEFAULT '',
  snoozed_until TEXT,
  snoozed_by TEXT NOT NULL DEFAULT '',
  end_told_at TEXT
) STRICT;
CREATE UNIQUE INDEX incidents_open ON incidents (cause) WHERE state <> 'resolved';
CREATE INDEX incidents_snoozed ON incidents (snoozed_until) WHERE snoozed_until IS NOT NULL;
CREATE INDEX incidents_untold ON incidents (end_told_at) WHERE end_told_at IS NOT NULL;
CREATE INDEX incidents_state ON incidents (state, last_seen_at);
CREATE INDEX incidents_host ON incidents (host_id);
CREATE INDEX incidents_repository ON incidents (repository_id);

ALTER TABLE alerts ADD COLUMN incident_id TEXT REFERENCES incidents (id) ON DELETE SET NULL;
ALTER TABLE alerts ADD COLUMN snoozed_until TEXT;
ALTER TABLE alerts ADD COLUMN snoozed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN last_good_began_at TEXT;
ALTER TABLE source_groups ADD COLUMN retention_hold TEXT NOT NULL DEFAULT '';
-- all that the first page of ten thousand hosts is sorted by
DROP INDEX hosts_name;
CREATE INDEX hosts_list ON hosts (name, id, revoked_at, protected_until);
DROP INDEX host_tags_tag;
CREATE INDEX host_tags_tag ON host_tags (tag, host_id);
CREATE INDEX snapshots_host ON snapshots (repository_id, hostname, time DESC);
-- what is open is found by alerts_open, and ten thousand alerts at once have one index fewer to go into
DROP INDEX alerts_state;
CREATE INDEX alerts_over ON alerts (last_seen_at) WHERE state = 'resolved';
CREATE INDEX alerts_incident ON alerts (incident_id, state, host_id);
CREATE INDEX alerts_snoozed ON alerts (snoozed_until) WHERE snoozed_until IS NOT NULL;

CREATE TABLE alert_waits (
  kind TEXT NOT NULL,
  condition TEXT NOT NULL,
  host_id TEXT REFERENCES hosts (id) ON DELETE CASCADE,
  repository_id TEXT REFERENCES repositories (id) ON DELETE CASCADE,
  cause TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL,
  since TEXT NOT NULL,
  due_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL,
  count INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (kind, condition)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_waits_due ON alert_waits (due_at);
CREATE INDEX alert_waits_host ON alert_waits (host_id);
CREATE INDEX alert_waits_repository ON alert_waits (repository_id);

CREATE TABLE alert_events (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  alert_id TEXT REFERENCES alerts (id) ON DELETE CASCADE,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL
) STRICT;
CREATE INDEX alert_events_incident ON alert_events (incident_id, id);
CREATE INDEX alert_events_alert ON alert_events (alert_id);

CREATE TABLE channels (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  kind TEXT NOT NULL CHECK (kind IN ('apprise', 'webhook')),
  url_sealed BLOB NOT NULL,
  url_shown TEXT NOT NULL,
  secret_sealed BLOB,
  is_enabled INTEGER NOT NULL DEFAULT 1,
  min_severity TEXT NOT NULL DEFAULT 'warning' CHECK (min_severity IN ('warning', 'critical')),
  kinds TEXT NOT NULL DEFAULT '[]',
  tags TEXT NOT NULL DEFAULT '[]',
  tells_acknowledged INTEGER NOT NULL DEFAULT 1,
  tells_resolved INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  last_ok_at TEXT,
  failing_since TEXT,
  failures INTEGER NOT NULL DEFAULT 0,
  paused_until TEXT
) STRICT;

CREATE TABLE deliveries (
  id TEXT NOT NULL PRIMARY KEY,
  channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  incident_id TEXT REFERENCES incidents (id) ON DELETE CASCADE,
  event_id INTEGER,
  event TEXT NOT NULL,
  payload TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'given_up', 'dropped')),
  tries INTEGER NOT NULL DEFAULT 0,
  next_try_at TEXT,
  created_at TEXT NOT NULL,
  ended_at TEXT,
  reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX deliveries_event ON deliveries (channel_id, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (next_try_at) WHERE state = 'queued';
CREATE INDEX deliveries_channel ON deliveries (channel_id, id DESC);
CREATE INDEX deliveries_incident ON deliveries (incident_id);

CREATE INDEX audit_entries_actor ON audit_entries (actor_name);
CREATE INDEX audit_entries_action ON audit_entries (action);
CREATE INDEX audit_entries_target ON audit_entries (target_name);
CREATE INDEX audit_entries_address ON audit_entries (address);
-- REPLACE removes a row without a DELETE that a trigger would see.
CREATE TRIGGER audit_entries_no_replace BEFORE INSERT ON audit_entries
WHEN EXISTS (SELECT 1 FROM audit_entries WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END;

CREATE TABLE server_backups (
  id TEXT NOT NULL PRIMARY KEY,
  file TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  size_bytes INTEGER,
  sha256 TEXT NOT NULL DEFAULT '',
  is_ok INTEGER,
  message TEXT NOT NULL DEFAULT '',
  requested_by TEXT NOT NULL DEFAULT '',
  removed_at TEXT
) STRICT;
CREATE INDEX server_backups_started ON server_backups (started_at);

-- Each alert becomes an incident of its own, so that pages and notifications know nothing else. Late, failed and missed
-- are one matter of a group, and silence is one of its host: the cause says so for the newest that is open.
INSERT INTO incidents (id, cause, title, severity, state, repository_id, host_id, opened_at, last_seen_at, resolved_at,
    alert_count, open_count, kind, message, acknowledged_at, acknowledged_by, resolved_by, note)
  SELECT a.id,
    CASE
      WHEN a.kind = 'agent_offline' THEN a.condition
      WHEN a.kind IN ('backup_failed', 'backup_late', 'backup_missed') AND NOT EXISTS (
        SELECT 1 FROM alerts b WHERE b.condition = a.condition AND b.id > a.id AND b.state <> 'resolved'
          AND b.kind IN ('backup_failed', 'backup_late', 'backup_missed')
      ) THEN 'backup/' || a.condition
      ELSE a.kind || '/' || a.condition
    END,
    CASE a.kind
      WHEN 'certificate_or_key_problem' THEN 'Certificate or key problem'
      ELSE upper(substr(a.kind, 1, 1)) || replace(substr(a.kind, 2), '_', ' ')
    END || coalesce(': ' || h.name, ': ' || r.name, ''),
    a.severity, a.state, a.repository_id, a.host_id, a.first_seen_at, a.last_seen_at, a.resolved_at, 1,
    a.state <> 'resolved', a.kind, a.message, a.acknowledged_at, a.acknowledged_by, a.resolved_by, a.note
  FROM alerts a LEFT JOIN hosts h ON h.id = a.host_id LEFT JOIN repositories r ON r.id = a.repository_id;
UPDATE alerts SET incident_id = id;
INSERT INTO alert_events (incident_id, alert_id, at, kind, text)
  SELECT id, id, first_seen_at, 'raised', message FROM alerts ORDER BY first_seen_at;
INSERT INTO alert_events (incident_id, at, kind, actor, text)
  SELECT id, acknowledged_at, 'acknowledged', acknowledged_by, '' FROM alerts WHERE acknowledged_at IS NOT NULL;
INSERT INTO alert_events (incident_id, at, kind, actor, text)
  SELECT id, resolved_at, 'resolved', resolved_by, note FROM alerts WHERE resolved_at IS NOT NULL;

CREATE TABLE totals (
  name TEXT NOT NULL,
  first TEXT NOT NULL DEFAULT '',
  second TEXT NOT NULL DEFAULT '',
  third TEXT NOT NULL DEFAULT '',
  value REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (name, first, second, third)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_ended AFTER UPDATE OF outcome ON jobs WHEN new.outcome IS NOT NULL AND new.outcome IS NOT old.outcome
BEGIN
  INSERT INTO totals (name, first, second, value) VALUES ('jobs', new.kind, new.outcome, 1)
    ON CONFLICT DO UPDATE SET value = value + 1;
  INSERT INTO totals (name, first, value)
    SELECT 'job_seconds', new.kind, max(0, (julianday(new.finished_at) - julianday(new.started_at)) * 86400)
    WHERE new.outcome IN ('succeeded', 'warnings', 'failed') AND new.started_at IS NOT NULL
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
  INSERT INTO totals (name, first, second, value)
    SELECT 'job_seconds_within', new.kind, column1, 1
    FROM (VALUES ('10'), ('60'), ('300'), ('900'), ('3600'), ('14400'), ('43200'), ('86400'), ('+Inf'))
    WHERE new.outcome IN ('succeeded', 'warnings', 'failed') AND new.started_at IS NOT NULL
      AND (column1 = '+Inf' OR (julianday(new.finished_at) - julianday(new.started_at)) * 86400 <= CAST(column1 AS REAL))
    ON CONFLICT DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER update_attempts_ended AFTER UPDATE OF state ON update_attempts
  WHEN new.state IN ('succeeded', 'failed', 'rolled_back', 'refused', 'cancelled', 'lost') AND new.state <> old.state
BEGIN
  INSERT INTO totals (name, first, second, third, value)
    SELECT 'updates', iif(new.is_rollback, 'rollback', 'update'), new.state,
      -- Hosts choose these words; one gone wrong must not make a row of each.
      iif((SELECT count(*) FROM totals WHERE name = 'updates') < 100 OR EXISTS (
        SELECT 1 FROM totals WHERE name = 'updates' AND first = iif(new.is_rollback, 'rollback', 'update')
          AND second = new.state AND third = new.reason), new.reason, 'other'), 1
    WHERE true
    ON CONFLICT DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER update_attempts_judged AFTER UPDATE OF is_provisional, is_late ON update_attempts
BEGIN
  INSERT INTO totals (name, first, value) SELECT 'update_verdicts', 'provisional', 1
    WHERE new.is_provisional > old.is_provisional
    ON CONFLICT DO UPDATE SET value = value + 1;
  INSERT INTO totals (name, first, value) SELECT 'update_verdicts', 'corrected', 1
    WHERE new.is_late > old.is_late
    ON CONFLICT DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER alerts_raised AFTER INSERT ON alerts
BEGIN
  INSERT INTO totals (name, first, second, value) VALUES ('alerts', new.kind, new.severity, 1)
    ON CONFLICT DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER deliveries_ended AFTER UPDATE OF state ON deliveries WHEN new.state <> 'queued' AND new.state <> old.state
BEGIN
  INSERT INTO totals (name, first, value) VALUES ('deliveries', new.state, 1)
    ON CONFLICT DO UPDATE SET value = value + 1;
END;

-- What is known of the time before; what was removed with its host is not.
INSERT INTO totals (name, first, second, value)
  SELECT 'jobs', kind, outcome, count(*) FROM jobs WHERE outcome IS NOT NULL GROUP BY kind, outcome;
INSERT INTO totals (name, first, value)
  SELECT 'job_seconds', kind, sum(max(0, (julianday(finished_at) - julianday(started_at)) * 86400)) FROM jobs
  WHERE outcome IN ('succeeded', 'warnings', 'failed') AND started_at IS NOT NULL GROUP BY kind;
INSERT INTO totals (name, first, second, value)
  SELECT 'job_seconds_within', kind, column1, count(*)
  FROM jobs, (VALUES ('10'), ('60'), ('300'), ('900'), ('3600'), ('14400'), ('43200'), ('86400'), ('+Inf'))
  WHERE outcome IN ('succeeded', 'warnings', 'failed') AND started_at IS NOT NULL
    AND (column1 = '+Inf' OR (julianday(finished_at) - julianday(started_at)) * 86400 <= CAST(column1 AS REAL))
  GROUP BY kind, column1;
INSERT INTO totals (name, first, second, third, value)
  SELECT 'updates', kind, state, iif(place <= 100, reason, 'other'), sum(attempts)
  FROM (
    SELECT iif(is_rollback, 'rollback', 'update') AS kind, state, reason, count(*) AS attempts,
      row_number() OVER (ORDER BY count(*) DESC) AS place
    FROM update_attempts WHERE state IN ('succeeded', 'failed', 'rolled_back', 'refused', 'cancelled', 'lost')
    GROUP BY is_rollback, state, reason
  ) GROUP BY 2, 3, 4;
INSERT INTO totals (name, first, value)
  SELECT 'update_verdicts', 'provisional', count(*) FROM update_attempts WHERE is_provisional OR is_late;
INSERT INTO totals (name, first, value) SELECT 'update_verdicts', 'corrected', count(*) FROM update_attempts WHERE is_late;
INSERT INTO totals (name, first, second, value)
  SELECT 'alerts', kind, severity, count(*) FROM alerts GROUP BY kind, severity;
