-- The whole schema of a new database. The source of truth: models and migrations must agree with it (a test checks).
-- Instants are ISO 8601 in UTC, 27 characters, ending in Z; sizes are bytes; ids of things are ULIDs.

CREATE TABLE settings (                        -- what an operator changes at run time, and the server's own marks
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE users (
  id TEXT NOT NULL PRIMARY KEY,
  username TEXT NOT NULL UNIQUE COLLATE NOCASE,
  role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
  password_hash TEXT NOT NULL,                 -- argon2id; empty: no password signs in
  is_enabled INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  last_login_at TEXT,
  created_by TEXT NOT NULL DEFAULT '',
  password_changed_at TEXT,
  totp_sealed BLOB,                            -- AEAD, bound to this row and column; null: no second factor
  totp_confirmed_at TEXT,                      -- null: being set up, not asked for yet
  totp_last_step INTEGER NOT NULL DEFAULT 0,   -- of the last code that was taken; each is good once
  oidc_issuer TEXT NOT NULL DEFAULT '',
  oidc_subject TEXT NOT NULL DEFAULT ''        -- empty: never signed in through the provider
) STRICT;
CREATE UNIQUE INDEX users_oidc ON users (oidc_issuer, oidc_subject) WHERE oidc_subject <> '';

CREATE TABLE sessions (
  token_hash TEXT NOT NULL PRIMARY KEY,        -- sha256 of the cookie; the cookie itself is not stored
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  address TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  id TEXT NOT NULL DEFAULT '',                 -- to name it on pages; says nothing about the cookie
  user_agent TEXT NOT NULL DEFAULT '',
  last_seen_at TEXT,
  method TEXT NOT NULL DEFAULT 'password'      -- how it began: password, totp, oidc, setup
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE user_links (                      -- one-time links with which a user chooses a password
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  purpose TEXT NOT NULL CHECK (purpose IN ('setup', 'reset')),
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  used_at TEXT
) STRICT;
CREATE INDEX user_links_user ON user_links (user_id);

CREATE TABLE recovery_codes (                  -- in place of a second factor, each once
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  code_hash TEXT NOT NULL,
  used_at TEXT,
  PRIMARY KEY (user_id, code_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_in_steps (                   -- a password was right, the second factor is still asked for
  token_hash TEXT NOT NULL PRIMARY KEY,        -- sha256 of a cookie
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  address TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sign_in_steps_user ON sign_in_steps (user_id);

CREATE TABLE oidc_logins (                     -- a browser that was sent to the provider and is not back yet
  state_hash TEXT NOT NULL PRIMARY KEY,
  browser_hash TEXT NOT NULL,                  -- sha256 of a cookie: only the browser that began may end it
  nonce TEXT NOT NULL,
  verifier_sealed BLOB NOT NULL,               -- PKCE; AEAD, bound to this row and column
  next_path TEXT NOT NULL DEFAULT '/',
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;

CREATE TABLE api_tokens (                      -- programs sign in with these
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,             -- sha256; the token itself is not stored
  role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
  tags TEXT NOT NULL DEFAULT '[]',             -- only hosts with one of these; empty: all hosts
  user_id TEXT REFERENCES users (id) ON DELETE CASCADE, -- whose it is: it can never do more than they; null: the command line's
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT,                             -- null: never
  last_used_at TEXT,
  last_address TEXT NOT NULL DEFAULT '',
  revoked_at TEXT
) STRICT;
CREATE INDEX api_tokens_user ON api_tokens (user_id);

CREATE TABLE idempotency_keys (                -- answers to orders that may be repeated
  owner TEXT NOT NULL,                         -- who ordered: user:ID or token:ID
  key TEXT NOT NULL,
  request_hash TEXT NOT NULL,                  -- of method, path and body
  status INTEGER,                              -- null: being carried out
  body TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

CREATE TABLE setup_links (                     -- the first run's link; one row at most
  token_hash TEXT NOT NULL PRIMARY KEY,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;

CREATE TABLE repositories (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  location TEXT NOT NULL,                      -- as restic takes it, without user and password
  password_sealed BLOB NOT NULL,               -- AEAD, bound to this row and column
  restic_repository_id TEXT,                   -- the id in restic's own config, once seen
  total_bytes INTEGER,
  snapshot_count INTEGER,
  stats_at TEXT,
  tested_at TEXT,
  test_ok INTEGER,
  test_reason TEXT NOT NULL DEFAULT '',
  test_message TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  is_append_only INTEGER NOT NULL DEFAULT 0,   -- the everyday credential cannot delete
  restic_id_seen TEXT,                         -- another id that was found there since; null: as known
  checked_at TEXT,                             -- end of the last check that could judge
  check_ok INTEGER,                            -- null: never checked
  pruned_at TEXT                               -- end of the last prune that succeeded
) STRICT;

CREATE TABLE repository_credentials (          -- what the backend asks for; several slots leave room for maintenance
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  slot TEXT NOT NULL CHECK (slot IN ('everyday', 'maintenance')),
  username TEXT NOT NULL,
  secret_sealed BLOB NOT NULL,
  changed_at TEXT NOT NULL,
  location TEXT NOT NULL DEFAULT '',           -- empty: the repository's own
  PRIMARY KEY (repository_id, slot)
) STRICT;

CREATE TABLE hosts (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,                          -- as the host calls itself; a person may rename it
  hostname TEXT NOT NULL,
  os TEXT NOT NULL,
  os_name TEXT NOT NULL DEFAULT '',
  arch TEXT NOT NULL,
  init TEXT NOT NULL DEFAULT '',
  timezone TEXT NOT NULL DEFAULT '',
  machine_id TEXT NOT NULL DEFAULT '',         -- HMAC; shown as "looks like", never an identity
  mode TEXT NOT NULL DEFAULT 'always_on' CHECK (mode IN ('always_on', 'intermittent')),
  agent_version TEXT NOT NULL DEFAULT '',
  agent_seq INTEGER NOT NULL DEFAULT 0,
  running_sha256 TEXT,
  guard_version TEXT,
  restic_version TEXT,                         -- null: no restic was found
  restic_features TEXT NOT NULL DEFAULT '[]',
  boot_id TEXT NOT NULL DEFAULT '',
  is_pinned INTEGER NOT NULL DEFAULT 0,
  problems TEXT NOT NULL DEFAULT '[]',         -- what the agent knows to be wrong with itself
  repository_id TEXT REFERENCES repositories (id) ON DELETE SET NULL,
  config_version INTEGER NOT NULL DEFAULT 1,   -- wanted
  config_applied INTEGER NOT NULL DEFAULT 0,   -- acknowledged by the agent
  enrolled_at TEXT NOT NULL,
  enrolled_by TEXT NOT NULL DEFAULT '',
  first_hello_at TEXT,
  connected_at TEXT,                           -- null: no socket
  last_seen_at TEXT,
  last_address TEXT NOT NULL DEFAULT '',
  last_good_at TEXT,                           -- end of the last backup that succeeded, warnings included
  last_backup_id TEXT,                         -- the backup job that ended last
  revoked_at TEXT,
  next_run_at TEXT,                            -- of the host's own schedules, as it last said; null: none known
  update_epoch INTEGER NOT NULL DEFAULT 0,     -- of the last update order for this host
  held_reason TEXT NOT NULL DEFAULT '',        -- why an administrator keeps it from being updated; empty: not held
  features TEXT NOT NULL DEFAULT '[]',         -- what its agent can do beyond the first release
  hook_names TEXT NOT NULL DEFAULT '[]',       -- executables in its hooks.d, as it last said
  hooks_policy TEXT NOT NULL DEFAULT 'local',  -- set on the host only
  allows_restore_in_place INTEGER NOT NULL DEFAULT 0, -- set on the host only
  restore_directory TEXT NOT NULL DEFAULT '',
  schedule_version INTEGER NOT NULL DEFAULT 0, -- wanted; grows with each change of its groups and schedules
  schedule_applied INTEGER NOT NULL DEFAULT 0, -- acknowledged by the agent
  schedule_problem TEXT NOT NULL DEFAULT '',   -- why the agent could not apply the wanted set
  protected_until TEXT,                        -- the earliest end of protection over its groups; null: not protected
  verdict_code TEXT NOT NULL DEFAULT '',       -- of its worst group
  verdict_text TEXT NOT NULL DEFAULT '',
  last_good_began_at TEXT                      -- start of the backup that last_good_at is the end of
) STRICT;
CREATE INDEX hosts_list ON hosts (name, id, revoked_at, protected_until);
CREATE INDEX hosts_repository ON hosts (repository_id);
CREATE INDEX hosts_unjudged ON hosts (id) WHERE verdict_code = '';

CREATE TABLE host_tags (
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  tag TEXT NOT NULL,
  PRIMARY KEY (host_id, tag)
) STRICT;
CREATE INDEX host_tags_tag ON host_tags (tag, host_id);

CREATE TABLE host_credentials (
  credential_hash TEXT NOT NULL PRIMARY KEY,   -- sha256; the credential itself is not stored
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  first_used_at TEXT,                          -- null: no hello yet; the same enrolment may still be repeated
  revoked_at TEXT,
  plain_sealed BLOB                            -- a renewal on its way to the host; AEAD, gone at its first hello
) STRICT;
CREATE INDEX host_credentials_host ON host_credentials (host_id);

CREATE TABLE enrolment_tokens (
  id TEXT NOT NULL PRIMARY KEY,
  token_hash TEXT NOT NULL UNIQUE,
  max_uses INTEGER NOT NULL DEFAULT 1 CHECK (max_uses >= 1),
  uses INTEGER NOT NULL DEFAULT 0,
  tags TEXT NOT NULL DEFAULT '[]',
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  revoked_at TEXT,
  host_id TEXT REFERENCES hosts (id) ON DELETE CASCADE  -- set: re-enrols this host and keeps its history
) STRICT;

CREATE TABLE enrolments (                      -- one row per host that a token let in
  token_id TEXT NOT NULL REFERENCES enrolment_tokens (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  machine_id TEXT NOT NULL,
  address TEXT NOT NULL,
  enrolled_at TEXT NOT NULL,
  PRIMARY KEY (token_id, host_id)
) STRICT;
CREATE INDEX enrolments_host ON enrolments (host_id);

CREATE TABLE templates (                       -- source groups and schedules that can be applied to many hosts
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  description TEXT NOT NULL DEFAULT '',
  body TEXT NOT NULL DEFAULT '{}',             -- JSON: groups[], schedules[]
  version INTEGER NOT NULL DEFAULT 1,          -- grows with each change
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL
) STRICT;

CREATE TABLE source_groups (                   -- what to back up; the name is the restic tag
  id TEXT NOT NULL PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  includes TEXT NOT NULL DEFAULT '[]',
  excludes TEXT NOT NULL DEFAULT '[]',
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  one_file_system INTEGER NOT NULL DEFAULT 0,
  exclude_caches INTEGER NOT NULL DEFAULT 0,
  tags TEXT NOT NULL DEFAULT '[]',             -- more tags for its snapshots
  mode TEXT NOT NULL DEFAULT 'always_on' CHECK (mode IN ('always_on', 'intermittent')),
  stale_after_hours INTEGER,                   -- null: by mode and schedule
  retention TEXT NOT NULL DEFAULT '{}',        -- keep_last, keep_daily … keep_within; empty: keeps everything
  retries INTEGER NOT NULL DEFAULT 2,
  retry_minutes INTEGER NOT NULL DEFAULT 10,
  upload_kib INTEGER NOT NULL DEFAULT 0,       -- KiB/s; 0: no limit
  download_kib INTEGER NOT NULL DEFAULT 0,
  pre_hook TEXT NOT NULL DEFAULT '',           -- name of an executable in the host's hooks.d
  post_hook TEXT NOT NULL DEFAULT '',
  pre_shell_sealed BLOB,                       -- AEAD, bound to this row and column
  post_shell_sealed BLOB,
  hook_seconds INTEGER NOT NULL DEFAULT 600,
  template_id TEXT REFERENCES templates (id) ON DELETE SET NULL, -- the template that it was made from
  template_version INTEGER NOT NULL DEFAULT 0, -- the version that was applied
  forgotten_at TEXT,                           -- end of the last forget that succeeded
  retention_hold TEXT NOT NULL DEFAULT '',     -- why its first forget by this retention waits; empty: it need not
  UNIQUE (host_id, name)
) STRICT;

CREATE TABLE schedules (                       -- when a host backs up; its agent keeps and runs them
  id TEXT NOT NULL PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  cron TEXT NOT NULL DEFAULT '',               -- in the host's time zone; empty: by interval
  every_minutes INTEGER NOT NULL DEFAULT 0,    -- while the host is on; 0: by cron
  jitter_seconds INTEGER NOT NULL DEFAULT 0,
  is_enabled INTEGER NOT NULL DEFAULT 1,
  template_id TEXT REFERENCES templates (id) ON DELETE SET NULL,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  UNIQUE (host_id, name),
  CHECK ((cron = '') <> (every_minutes = 0))
) STRICT;

CREATE TABLE schedule_groups (                 -- which source groups a schedule runs
  schedule_id TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
  group_id TEXT NOT NULL REFERENCES source_groups (id) ON DELETE CASCADE,
  PRIMARY KEY (schedule_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_groups_group ON schedule_groups (group_id);

CREATE TABLE group_verdicts (                  -- one sentence for each source group: what is, why, and what comes next
  group_id TEXT NOT NULL PRIMARY KEY REFERENCES source_groups (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  code TEXT NOT NULL,
  text TEXT NOT NULL,
  since TEXT NOT NULL,
  next_at TEXT,                                -- next run or next try; null: none is known
  last_job_id TEXT,                            -- its backup that ended last
  last_good_at TEXT,
  late_at TEXT,                                -- when silence turns it late; null: nothing is expected
  protected_until TEXT,                        -- null: not protected
  reported TEXT NOT NULL DEFAULT '{}',         -- JSON: what its agent last said
  reported_at TEXT,
  changed_at TEXT NOT NULL,
  turns_at TEXT,                               -- when time alone changes it next; null: never
  missed_on TEXT                               -- the day of backup_days on which its lateness is counted
) STRICT;
CREATE INDEX group_verdicts_host ON group_verdicts (host_id);
CREATE INDEX group_verdicts_turns ON group_verdicts (turns_at) WHERE turns_at IS NOT NULL;

CREATE TABLE skipped_runs (                    -- runs that were due and did not take place, with the reason
  id TEXT NOT NULL PRIMARY KEY,                -- of the report
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  source_group TEXT NOT NULL,
  schedule_id TEXT NOT NULL,
  due_from TEXT NOT NULL,
  due_to TEXT NOT NULL,
  count INTEGER NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL DEFAULT '',
  job_id TEXT,                                 -- the run that stands for them
  at TEXT NOT NULL
) STRICT;
CREATE INDEX skipped_runs_host ON skipped_runs (host_id, due_to);

CREATE TABLE maintenance_policies (            -- how a repository is kept in order
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('forget', 'prune', 'check')),
  is_enabled INTEGER NOT NULL DEFAULT 1,
  every_hours INTEGER NOT NULL,
  window_from TEXT NOT NULL DEFAULT '',        -- 22:00; empty with window_to: at any time
  window_to TEXT NOT NULL DEFAULT '',
  timezone TEXT NOT NULL DEFAULT 'UTC',        -- of the window
  box_minutes INTEGER NOT NULL,                -- the agent ends the job after so long
  parts INTEGER NOT NULL DEFAULT 0,            -- check: t of n/t; 0 reads no data
  next_part INTEGER NOT NULL DEFAULT 1,
  last_job_id TEXT,
  last_started_at TEXT,
  last_ended_at TEXT,
  last_outcome TEXT NOT NULL DEFAULT '',
  last_message TEXT NOT NULL DEFAULT '',
  yields INTEGER NOT NULL DEFAULT 0,           -- how often in a row it gave way to a backup
  round_started_at TEXT,                       -- check: since when the present round over all parts runs
  changed_at TEXT NOT NULL,
  PRIMARY KEY (repository_id, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE repository_days (                 -- size over time; one row a day, the last of that day
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  day TEXT NOT NULL,
  total_bytes INTEGER,
  snapshot_count INTEGER,
  PRIMARY KEY (repository_id, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  id TEXT NOT NULL PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,                          -- no CHECK: kinds grow, and SQLite cannot widen one
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'finished')),
  outcome TEXT CHECK (outcome IN ('succeeded', 'warnings', 'failed', 'cancelled', 'lost')),
  reason TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  exit_code INTEGER,
  repository_id TEXT REFERENCES repositories (id) ON DELETE SET NULL,
  source_group TEXT NOT NULL DEFAULT '',       -- its name when the job was made
  parameters TEXT NOT NULL DEFAULT '{}',       -- what the order carries; holds no secret
  requested_by TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,                    -- a job still queued then is given up
  dispatched_at TEXT,
  started_at TEXT,
  finished_at TEXT,
  cancel_requested_at TEXT,
  cancel_requested_by TEXT NOT NULL DEFAULT '',
  last_sign_at TEXT,
  command TEXT NOT NULL DEFAULT '',            -- the restic command, without secrets
  progress TEXT NOT NULL DEFAULT '{}',
  summary TEXT NOT NULL DEFAULT '{}',
  waits_for TEXT NOT NULL DEFAULT '',              -- why a queued job has not been sent yet, in words
  schedule_id TEXT NOT NULL DEFAULT '',        -- of a run that the host's own schedule fired; empty: ordered
  due_at TEXT,                                 -- when that run was due
  why_late TEXT NOT NULL DEFAULT '',
  attempt INTEGER NOT NULL DEFAULT 1,          -- 2: the first retry of the same due run
  CHECK ((state = 'finished') = (outcome IS NOT NULL)),
  CHECK ((state = 'finished') = (finished_at IS NOT NULL))
) STRICT;
CREATE INDEX jobs_host ON jobs (host_id, id DESC);
CREATE INDEX jobs_open ON jobs (host_id, id) WHERE state <> 'finished';
CREATE INDEX jobs_open_repository ON jobs (repository_id) WHERE state <> 'finished';
CREATE INDEX jobs_finished ON jobs (finished_at, outcome) WHERE finished_at IS NOT NULL;

CREATE TABLE backup_days (                     -- roll-up for the 30-day strip; days are UTC, as 2026-11-23
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  day TEXT NOT NULL,
  succeeded INTEGER NOT NULL DEFAULT 0,
  warnings INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  missed INTEGER NOT NULL DEFAULT 0,           -- how many groups became late on this day
  PRIMARY KEY (host_id, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_log_lines (
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  at TEXT NOT NULL,
  stream TEXT NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (job_id, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_samples (                     -- throughput over time; thinner the longer a job runs
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  elapsed_seconds INTEGER NOT NULL,
  bytes_done INTEGER NOT NULL,
  PRIMARY KEY (job_id, elapsed_seconds)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  id TEXT NOT NULL,
  time TEXT NOT NULL,
  hostname TEXT NOT NULL,
  username TEXT NOT NULL DEFAULT '',
  paths TEXT NOT NULL DEFAULT '[]',
  tags TEXT NOT NULL DEFAULT '[]',
  total_bytes INTEGER,
  total_files INTEGER,
  data_added INTEGER,
  listing_id TEXT NOT NULL,                    -- the report that listed it last
  utc_offset_minutes INTEGER,                  -- of the time as restic recorded it; null: not told
  PRIMARY KEY (repository_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_time ON snapshots (repository_id, time DESC);
CREATE INDEX snapshots_host ON snapshots (repository_id, hostname, time DESC);

CREATE TABLE snapshot_listings (
  repository_id TEXT NOT NULL PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
  listing_id TEXT NOT NULL,
  taken_at TEXT NOT NULL,
  host_id TEXT NOT NULL,
  total INTEGER NOT NULL
) STRICT;

-- What a person has picked in a snapshot and not restored yet.
CREATE TABLE restore_picks (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  snapshot_id TEXT NOT NULL,
  path TEXT NOT NULL,
  is_folder INTEGER NOT NULL,
  picked_at TEXT NOT NULL,
  PRIMARY KEY (user_id, repository_id, snapshot_id, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE pending_hosts (                   -- hosts that announced themselves and wait for a person
  id TEXT NOT NULL PRIMARY KEY,
  hostname TEXT NOT NULL,
  os TEXT NOT NULL,
  arch TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  agent_seq INTEGER NOT NULL,
  machine_id TEXT NOT NULL,
  public_key TEXT NOT NULL,                    -- base64, 32 bytes of Ed25519
  fingerprint TEXT NOT NULL,
  nonce TEXT NOT NULL,
  address TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'approved', 'rejected')),
  announced_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  decided_at TEXT,
  decided_by TEXT NOT NULL DEFAULT '',
  host_id TEXT REFERENCES hosts (id) ON DELETE SET NULL,
  claimed_at TEXT                              -- when the host proved its key and became a host
) STRICT;
CREATE INDEX pending_hosts_state ON pending_hosts (state, expires_at);

CREATE TABLE incidents (                       -- alerts with one cause; what people are told of
  id TEXT NOT NULL PRIMARY KEY,
  cause TEXT NOT NULL,                         -- for example repository:ID; at most one open row each
  title TEXT NOT NULL,
  severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
  state TEXT NOT NULL DEFAULT 'raised' CHECK (state IN ('raised', 'acknowledged', 'resolved')),
  repository_id TEXT REFERENCES repositories (id) ON DELETE CASCADE,
  host_id TEXT REFERENCES hosts (id) ON DELETE CASCADE,
  opened_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL,
  resolved_at TEXT,
  alert_count INTEGER NOT NULL DEFAULT 0,      -- all that ever belonged to it
  open_count INTEGER NOT NULL DEFAULT 0,
  kind TEXT NOT NULL DEFAULT '',               -- of the alert that speaks for it
  message TEXT NOT NULL DEFAULT '',            -- of the same
  acknowledged_at TEXT,
  acknowledged_by TEXT NOT NULL DEFAULT '',
  resolved_by TEXT NOT NULL DEFAULT '',
  note TEXT NOT NULL DEFAULT '',
  snoozed_until TEXT,                          -- asks for nobody until then; null: not snoozed
  snoozed_by TEXT NOT NULL DEFAULT '',
  end_told_at TEXT                             -- its end is told then, unless it comes back; null: told, or not over
) STRICT;
CREATE UNIQUE INDEX incidents_open ON incidents (cause) WHERE state <> 'resolved';
CREATE INDEX incidents_snoozed ON incidents (snoozed_until) WHERE snoozed_until IS NOT NULL;
CREATE INDEX incidents_untold ON incidents (end_told_at) WHERE end_told_at IS NOT NULL;
CREATE INDEX incidents_state ON incidents (state, last_seen_at);
CREATE INDEX incidents_host ON incidents (host_id);
CREATE INDEX incidents_repository ON incidents (repository_id);

CREATE TABLE alerts (                          -- what a person must know; one open row per condition
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
  state TEXT NOT NULL DEFAULT 'raised' CHECK (state IN ('raised', 'acknowledged', 'resolved')),
  condition TEXT NOT NULL,                     -- what it is about, for example host:ID; at most one open row each
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
  note TEXT NOT NULL DEFAULT '',
  incident_id TEXT REFERENCES incidents (id) ON DELETE SET NULL,
  snoozed_until TEXT,                          -- asks for nobody until then; null: not snoozed
  snoozed_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (kind, condition) WHERE state <> 'resolved';
CREATE INDEX alerts_over ON alerts (last_seen_at) WHERE state = 'resolved';
CREATE INDEX alerts_host ON alerts (host_id);
CREATE INDEX alerts_incident ON alerts (incident_id, state, host_id);
CREATE INDEX alerts_snoozed ON alerts (snoozed_until) WHERE snoozed_until IS NOT NULL;

CREATE TABLE alert_waits (                     -- conditions that hold, but not yet for as long as their kind's patience
  kind TEXT NOT NULL,
  condition TEXT NOT NULL,
  host_id TEXT REFERENCES hosts (id) ON DELETE CASCADE,
  repository_id TEXT REFERENCES repositories (id) ON DELETE CASCADE,
  cause TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL,
  since TEXT NOT NULL,
  due_at TEXT NOT NULL,                        -- raised then, unless it ends before
  last_seen_at TEXT NOT NULL,
  count INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (kind, condition)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_waits_due ON alert_waits (due_at);
CREATE INDEX alert_waits_host ON alert_waits (host_id);
CREATE INDEX alert_waits_repository ON alert_waits (repository_id);

CREATE TABLE alert_events (                    -- the timeline of incidents and their alerts, append-only
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  alert_id TEXT REFERENCES alerts (id) ON DELETE CASCADE,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,                          -- raised, worsened, acknowledged, snoozed, snooze_ended, resolved …
  actor TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL
) STRICT;
CREATE INDEX alert_events_incident ON alert_events (incident_id, id);
CREATE INDEX alert_events_alert ON alert_events (alert_id);

CREATE TABLE channels (                        -- where notifications go
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  kind TEXT NOT NULL CHECK (kind IN ('apprise', 'webhook')),
  url_sealed BLOB NOT NULL,                    -- AEAD, bound to this row and column: such URLs hold secrets
  url_shown TEXT NOT NULL,                     -- the same without its secrets
  secret_sealed BLOB,                          -- with which a webhook is signed
  is_enabled INTEGER NOT NULL DEFAULT 1,
  min_severity TEXT NOT NULL DEFAULT 'warning' CHECK (min_severity IN ('warning', 'critical')),
  kinds TEXT NOT NULL DEFAULT '[]',            -- only alerts of these kinds; empty: all
  tags TEXT NOT NULL DEFAULT '[]',             -- only about hosts with one of these tags; empty: all
  tells_acknowledged INTEGER NOT NULL DEFAULT 1,
  tells_resolved INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  last_ok_at TEXT,
  failing_since TEXT,                          -- null: the last delivery arrived, or none was tried
  failures INTEGER NOT NULL DEFAULT 0,         -- in a row
  paused_until TEXT                            -- after a failure nothing is tried before then
) STRICT;

CREATE TABLE deliveries (                      -- what was or is to be told, at least once
  id TEXT NOT NULL PRIMARY KEY,
  channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  incident_id TEXT REFERENCES incidents (id) ON DELETE CASCADE, -- null: a test
  event_id INTEGER,                            -- of the timeline; tells of each event once
  event TEXT NOT NULL,                         -- raised, worsened, acknowledged, resolved, test
  payload TEXT NOT NULL,                       -- JSON: what is told
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'given_up', 'dropped')),
  tries INTEGER NOT NULL DEFAULT 0,            -- counted before each, so that 0 means: surely never sent
  next_try_at TEXT,
  created_at TEXT NOT NULL,
  ended_at TEXT,
  reason TEXT NOT NULL DEFAULT ''              -- of the last failure
) STRICT;
CREATE UNIQUE INDEX deliveries_event ON deliveries (channel_id, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (next_try_at) WHERE state = 'queued';
CREATE INDEX deliveries_channel ON deliveries (channel_id, id DESC);
CREATE INDEX deliveries_incident ON deliveries (incident_id);

CREATE TABLE server_backups (                  -- copies of this database
  id TEXT NOT NULL PRIMARY KEY,
  file TEXT NOT NULL,                          -- its whole path: the directory may be another one by now
  started_at TEXT NOT NULL,
  ended_at TEXT,
  size_bytes INTEGER,
  sha256 TEXT NOT NULL DEFAULT '',
  is_ok INTEGER,                               -- opened and found whole; null: being made
  message TEXT NOT NULL DEFAULT '',
  requested_by TEXT NOT NULL DEFAULT '',       -- empty: by schedule
  removed_at TEXT                              -- null: the file is kept
) STRICT;
CREATE INDEX server_backups_started ON server_backups (started_at);

CREATE TABLE keysets (                         -- which keys may sign releases; each version signed by a root key
  version INTEGER NOT NULL PRIMARY KEY,
  bytes BLOB NOT NULL,                         -- exactly as signed
  signature BLOB NOT NULL,                     -- the text of its .minisig file
  imported_at TEXT NOT NULL
) STRICT;

CREATE TABLE releases (                        -- what this server can hand out; the files lie in <data>/releases
  id TEXT NOT NULL PRIMARY KEY,                -- sha256 of the manifest's exact bytes
  version TEXT NOT NULL,
  seq INTEGER NOT NULL,
  channel TEXT NOT NULL,
  manifest BLOB NOT NULL,                      -- exactly as signed
  signature BLOB NOT NULL,                     -- the text of its .minisig file
  keyset_version INTEGER NOT NULL REFERENCES keysets (version),
  artifacts TEXT NOT NULL,                     -- JSON: os, arch, name, size, sha256 of each
  guard_min INTEGER NOT NULL DEFAULT 0,
  min_from_seq INTEGER NOT NULL DEFAULT 0,
  key_id TEXT NOT NULL DEFAULT '',             -- of the release key that signed it
  released_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  imported_at TEXT NOT NULL,
  imported_by TEXT NOT NULL,
  promoted_at TEXT,                            -- last made the one that hosts are to run
  is_current INTEGER NOT NULL DEFAULT 0,
  withdrawn_at TEXT,                           -- since when it is handed out no more
  withdrawn_why TEXT NOT NULL DEFAULT '' CHECK (withdrawn_why IN ('', 'yanked', 'key_retired', 'new_trust'))
) STRICT;
CREATE UNIQUE INDEX releases_current ON releases (is_current) WHERE is_current = 1;
CREATE INDEX releases_seq ON releases (seq);

CREATE TABLE fleet_updates (                   -- one rolling update of many hosts to one release
  id TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('planned', 'running', 'paused', 'halted', 'cancelling', 'cancelled',
    'completed', 'completed_with_exceptions')),
  release_id TEXT NOT NULL REFERENCES releases (id),
  to_version TEXT NOT NULL,
  to_seq INTEGER NOT NULL,
  options TEXT NOT NULL DEFAULT '{}',          -- JSON: tags, host_ids, canaries, waves, max_in_flight, soak_seconds, failure_policy
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  ended_at TEXT,
  estimate_seconds INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',             -- why it is paused, halted or cancelled, in words
  halted_host_id TEXT
) STRICT;
CREATE UNIQUE INDEX fleet_updates_open ON fleet_updates ((1))
  WHERE state IN ('running', 'paused', 'halted', 'cancelling');

CREATE TABLE fleet_update_hosts (
  fleet_update_id TEXT NOT NULL REFERENCES fleet_updates (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,                   -- the order within the fleet update, from 0
  wave INTEGER NOT NULL DEFAULT 0,             -- 0: canaries
  verdict TEXT NOT NULL,                       -- of the plan: will_update, current, ahead, offline, pinned, held …
  reason TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL CHECK (state IN ('waiting', 'updating', 'soaking', 'passed_over', 'succeeded', 'failed',
    'skipped', 'excluded')),
  attempt_id TEXT,                             -- the last attempt for this host in this fleet update
  changed_at TEXT NOT NULL,
  PRIMARY KEY (fleet_update_id, host_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX fleet_update_hosts_host ON fleet_update_hosts (host_id);

CREATE TABLE fleet_update_events (             -- what happened, append-only
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  fleet_update_id TEXT NOT NULL REFERENCES fleet_updates (id) ON DELETE CASCADE,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  host_id TEXT,
  actor TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL
) STRICT;
CREATE INDEX fleet_update_events_update ON fleet_update_events (fleet_update_id, id);

CREATE TABLE update_attempts (                 -- one attempt to change a host's agent; the job of the same id
  job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  is_rollback INTEGER NOT NULL DEFAULT 0,
  fleet_update_id TEXT REFERENCES fleet_updates (id) ON DELETE SET NULL,
  epoch INTEGER NOT NULL,                      -- grows with each order for the host
  release_id TEXT REFERENCES releases (id),    -- null: a rollback to the recorded previous artifact
  keyset_version INTEGER NOT NULL DEFAULT 0,
  artifact_sha256 TEXT NOT NULL,
  from_version TEXT NOT NULL,
  from_seq INTEGER NOT NULL,
  from_sha256 TEXT,
  to_version TEXT NOT NULL,
  to_seq INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'dispatched', 'running', 'soaking', 'succeeded', 'failed',
    'rolled_back', 'refused', 'deferred', 'cancelled', 'lost')),
  phase TEXT NOT NULL DEFAULT '',              -- as the host last said
  phase_since TEXT,
  percent REAL,
  detail TEXT NOT NULL DEFAULT '',
  fenced_at TEXT,                              -- when the server agreed to the swap
  deadline_at TEXT,                            -- when silence becomes a failure; null: none is counted
  total_deadline_at TEXT,                      -- the latest for everything before the swap
  soak_until TEXT,
  retry_at TEXT,                               -- a deferred attempt is sent again then
  not_after TEXT NOT NULL,
  timers TEXT NOT NULL DEFAULT '{}',
  is_forced INTEGER NOT NULL DEFAULT 0,
  force_reason TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',             -- short code
  message TEXT NOT NULL DEFAULT '',            -- one sentence for people
  failure_class TEXT NOT NULL DEFAULT '' CHECK (failure_class IN ('', 'release', 'integrity', 'infrastructure', 'host')),
  is_provisional INTEGER NOT NULL DEFAULT 0,   -- a verdict from silence, which evidence corrects
  is_late INTEGER NOT NULL DEFAULT 0,          -- corrected by evidence that came after the verdict
  is_proven INTEGER NOT NULL DEFAULT 0,        -- the hash of what runs was compared
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

CREATE TABLE update_events (                   -- what happened to an attempt, append-only
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  at TEXT NOT NULL,
  state TEXT NOT NULL,
  phase TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL
) STRICT;
CREATE INDEX update_events_job ON update_events (job_id, id);

CREATE TABLE orphan_results (                  -- of attempts that this database does not know: restored from a backup
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  attempt_id TEXT NOT NULL,
  at TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE audit_entries (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  actor_kind TEXT NOT NULL CHECK (actor_kind IN ('user', 'host', 'server', 'token')),
  actor_id TEXT NOT NULL DEFAULT '',
  actor_name TEXT NOT NULL,
  address TEXT NOT NULL DEFAULT '',
  action TEXT NOT NULL,
  target_kind TEXT NOT NULL DEFAULT '',
  target_id TEXT NOT NULL DEFAULT '',
  target_name TEXT NOT NULL DEFAULT '',
  payload TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX audit_entries_at ON audit_entries (at);
CREATE INDEX audit_entries_actor ON audit_entries (actor_name);
CREATE INDEX audit_entries_action ON audit_entries (action);
CREATE INDEX audit_entries_target ON audit_entries (target_name);
CREATE INDEX audit_entries_address ON audit_entries (address);
-- REPLACE removes a row without a DELETE that a trigger would see.
CREATE TRIGGER audit_entries_no_replace BEFORE INSERT ON audit_entries
WHEN EXISTS (SELECT 1 FROM audit_entries WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END;
CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END;
CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END;

CREATE TABLE totals (                          -- what /metrics counts; triggers add to it, and nothing takes away
  name TEXT NOT NULL,                          -- jobs, job_seconds, job_seconds_within, updates, update_verdicts, alerts, deliveries
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

PRAGMA user_version = 5;
