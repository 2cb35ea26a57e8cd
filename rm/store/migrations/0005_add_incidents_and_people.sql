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
  open_count INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX incidents_open ON incidents (cause) WHERE state <> 'resolved';
CREATE INDEX incidents_state ON incidents (state, last_seen_at);
CREATE INDEX incidents_host ON incidents (host_id);
CREATE INDEX incidents_repository ON incidents (repository_id);

ALTER TABLE alerts ADD COLUMN incident_id TEXT REFERENCES incidents (id) ON DELETE SET NULL;
ALTER TABLE alerts ADD COLUMN snoozed_until TEXT;
ALTER TABLE alerts ADD COLUMN snoozed_by TEXT NOT NULL DEFAULT '';
CREATE INDEX alerts_incident ON alerts (incident_id);
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
  failing_since TEXT
) STRICT;

CREATE TABLE deliveries (
  id TEXT NOT NULL PRIMARY KEY,
  channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  incident_id TEXT REFERENCES incidents (id) ON DELETE CASCADE,
  event_id INTEGER,
  event TEXT NOT NULL,
  payload TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'given_up')),
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

-- Each open alert becomes an incident of its own, so that pages and notifications know nothing else.
INSERT INTO incidents (id, cause, title, severity, state, repository_id, host_id, opened_at, last_seen_at, resolved_at,
    alert_count, open_count)
  SELECT id, kind || '/' || condition, replace(kind, '_', ' '), severity, state, repository_id, host_id, first_seen_at,
    last_seen_at, resolved_at, 1, state <> 'resolved' FROM alerts;
UPDATE alerts SET incident_id = id;
INSERT INTO alert_events (incident_id, alert_id, at, kind, text)
  SELECT id, id, first_seen_at, 'raised', message FROM alerts ORDER BY first_seen_at;
