-- Schedules, verdicts, maintenance, templates.

CREATE TABLE templates (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  description TEXT NOT NULL DEFAULT '',
  body TEXT NOT NULL DEFAULT '{}',
  version INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL
) STRICT;

ALTER TABLE repositories ADD COLUMN checked_at TEXT;
ALTER TABLE repositories ADD COLUMN check_ok INTEGER;
ALTER TABLE repositories ADD COLUMN pruned_at TEXT;
ALTER TABLE hosts ADD COLUMN features TEXT NOT NULL DEFAULT '[]';
ALTER TABLE hosts ADD COLUMN hook_names TEXT NOT NULL DEFAULT '[]';
ALTER TABLE hosts ADD COLUMN hooks_policy TEXT NOT NULL DEFAULT 'local';
ALTER TABLE hosts ADD COLUMN allows_restore_in_place INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN restore_directory TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN schedule_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN schedule_applied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN schedule_problem TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN protected_until TEXT;
ALTER TABLE hosts ADD COLUMN verdict_code TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN verdict_text TEXT NOT NULL DEFAULT '';
CREATE INDEX hosts_unjudged ON hosts (id) WHERE verdict_code = '';
ALTER TABLE source_groups ADD COLUMN one_file_system INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_groups ADD COLUMN exclude_caches INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_groups ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE source_groups ADD COLUMN mode TEXT NOT NULL DEFAULT 'always_on' CHECK (mode IN ('always_on', 'intermittent'));
ALTER TABLE source_groups ADD COLUMN stale_after_hours INTEGER;
ALTER TABLE source_groups ADD COLUMN retention TEXT NOT NULL DEFAULT '{}';
ALTER TABLE source_groups ADD COLUMN retries INTEGER NOT NULL DEFAULT 2;
ALTER TABLE source_groups ADD COLUMN retry_minutes INTEGER NOT NULL DEFAULT 10;
ALTER TABLE source_groups ADD COLUMN upload_kib INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_groups ADD COLUMN download_kib INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_groups ADD COLUMN pre_hook TEXT NOT NULL DEFAULT '';
ALTER TABLE source_groups ADD COLUMN post_hook TEXT NOT NULL DEFAULT '';
ALTER TABLE source_groups ADD COLUMN pre_shell_sealed BLOB;
ALTER TABLE source_groups ADD COLUMN post_shell_sealed BLOB;
ALTER TABLE source_groups ADD COLUMN hook_seconds INTEGER NOT NULL DEFAULT 600;
ALTER TABLE source_groups ADD COLUMN template_id TEXT REFERENCES templates (id) ON DELETE SET NULL;
ALTER TABLE source_groups ADD COLUMN template_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_groups ADD COLUMN forgotten_at TEXT;
ALTER TABLE jobs ADD COLUMN schedule_id TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN due_at TEXT;
ALTER TABLE jobs ADD COLUMN why_late TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE snapshots ADD COLUMN utc_offset_minutes INTEGER;
ALTER TABLE backup_days ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;

CREATE TABLE schedules (
  id TEXT NOT NULL PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  cron TEXT NOT NULL DEFAULT '',
  every_minutes INTEGER NOT NULL DEFAULT 0,
  jitter_seconds INTEGER NOT NULL DEFAULT 0,
  is_enabled INTEGER NOT NULL DEFAULT 1,
  template_id TEXT REFERENCES templates (id) ON DELETE SET NULL,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  UNIQUE (host_id, name),
  CHECK ((cron = '') <> (every_minutes = 0))
) STRICT;

CREATE TABLE schedule_groups (
  schedule_id TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
  group_id TEXT NOT NULL REFERENCES source_groups (id) ON DELETE CASCADE,
  PRIMARY KEY (schedule_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_groups_group ON schedule_groups (group_id);

CREATE TABLE group_verdicts (
  group_id TEXT NOT NULL PRIMARY KEY REFERENCES source_groups (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  code TEXT NOT NULL,
  text TEXT NOT NULL,
  since TEXT NOT NULL,
  next_at TEXT,
  last_job_id TEXT,
  last_good_at TEXT,
  late_at TEXT,
  protected_until TEXT,
  reported TEXT NOT NULL DEFAULT '{}',
  reported_at TEXT,
  changed_at TEXT NOT NULL,
  turns_at TEXT,
  missed_on TEXT
) STRICT;
CREATE INDEX group_verdicts_host ON group_verdicts (host_id);
CREATE INDEX group_verdicts_turns ON group_verdicts (turns_at) WHERE turns_at IS NOT NULL;

CREATE TABLE skipped_runs (
  id TEXT NOT NULL PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  source_group TEXT NOT NULL,
  schedule_id TEXT NOT NULL,
  due_from TEXT NOT NULL,
  due_to TEXT NOT NULL,
  count INTEGER NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL DEFAULT '',
  job_id TEXT,
  at TEXT NOT NULL
) STRICT;
CREATE INDEX skipped_runs_host ON skipped_runs (host_id, due_to);

CREATE TABLE maintenance_policies (
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('forget', 'prune', 'check')),
  is_enabled INTEGER NOT NULL DEFAULT 1,
  every_hours INTEGER NOT NULL,
  window_from TEXT NOT NULL DEFAULT '',
  window_to TEXT NOT NULL DEFAULT '',
  timezone TEXT NOT NULL DEFAULT 'UTC',
  box_minutes INTEGER NOT NULL,
  parts INTEGER NOT NULL DEFAULT 0,
  next_part INTEGER NOT NULL DEFAULT 1,
  last_job_id TEXT,
  last_started_at TEXT,
  last_ended_at TEXT,
  last_outcome TEXT NOT NULL DEFAULT '',
  last_message TEXT NOT NULL DEFAULT '',
  yields INTEGER NOT NULL DEFAULT 0,
  round_started_at TEXT,
  changed_at TEXT NOT NULL,
  PRIMARY KEY (repository_id, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE repository_days (
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  day TEXT NOT NULL,
  total_bytes INTEGER,
  snapshot_count INTEGER,
  PRIMARY KEY (repository_id, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE restore_picks (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
  snapshot_id TEXT NOT NULL,
  path TEXT NOT NULL,
  is_folder INTEGER NOT NULL,
  picked_at TEXT NOT NULL,
  PRIMARY KEY (user_id, repository_id, snapshot_id, path)
) STRICT, WITHOUT ROWID;

-- Everything that hosts back up now shall reach their agents as a set of its own.
UPDATE hosts SET schedule_version = 1 WHERE id IN (SELECT host_id FROM source_groups);

-- A laptop's groups are a laptop's; and until its groups are judged, a host is protected as long as it was so far.
UPDATE source_groups SET mode = 'intermittent' WHERE host_id IN (SELECT id FROM hosts WHERE mode = 'intermittent');
UPDATE hosts SET protected_until = strftime('%Y-%m-%dT%H:%M:%f000Z', last_good_at, '+26 hours')
  WHERE last_good_at IS NOT NULL AND id IN (SELECT host_id FROM source_groups);
CREATE INDEX jobs_open_repository ON jobs (repository_id) WHERE state <> 'finished';
