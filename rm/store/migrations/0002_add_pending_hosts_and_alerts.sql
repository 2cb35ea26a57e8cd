-- Announced hosts, alerts, re-enrolment, and why a job waits.

CREATE TABLE pending_hosts (
  id TEXT NOT NULL PRIMARY KEY,
  hostname TEXT NOT NULL,
  os TEXT NOT NULL,
  arch TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  agent_seq INTEGER NOT NULL,
  machine_id TEXT NOT NULL,
  public_key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  nonce TEXT NOT NULL,
  address TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'approved', 'rejected')),
  announced_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  decided_at TEXT,
  decided_by TEXT NOT NULL DEFAULT '',
  host_id TEXT REFERENCES hosts (id) ON DELETE SET NULL,
  claimed_at TEXT
) STRICT;
CREATE INDEX pending_hosts_state ON pending_hosts (state, expires_at);

CREATE TABLE alerts (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
  state TEXT NOT NULL DEFAULT 'raised' CHECK (state IN ('raised', 'acknowledged', 'resolved')),
  condition TEXT NOT NULL,
  host_id TEXT REFERENCES hosts (id) ON DELETE CASCADE,
  repository_id TEXT REFERENCES repositories (id) ON DELETE CASCADE,
  message TEXT NOT NULL,
  first_seen_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL,
  count INTEGER NOT NULL DEFAULT 1,
  acknowledged_at TEXT,
  acknowledged_by TEXT NOT NULL DEFAULT '',
  resolved_at TEXT,
  resolved_by TEXT NOT NULL DEFAULT '',
  note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (kind, condition) WHERE state <> 'resolved';
CREATE INDEX alerts_state ON alerts (state, last_seen_at);
CREATE INDEX alerts_host ON alerts (host_id);

ALTER TABLE hosts ADD COLUMN next_run_at TEXT;
ALTER TABLE host_credentials ADD COLUMN plain_sealed BLOB;
ALTER TABLE enrolment_tokens ADD COLUMN host_id TEXT REFERENCES hosts (id) ON DELETE CASCADE;
ALTER TABLE jobs ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';
ALTER TABLE repositories ADD COLUMN is_append_only INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN restic_id_seen TEXT;
ALTER TABLE repository_credentials ADD COLUMN location TEXT NOT NULL DEFAULT '';

DROP INDEX jobs_finished;
CREATE INDEX jobs_finished ON jobs (finished_at, outcome) WHERE finished_at IS NOT NULL;
