"""The tables of schema.sql as peewee models; the schema test proves that both agree."""

import json
from datetime import datetime
from typing import Any

from peewee import (
    AutoField,
    BlobField,
    BooleanField,
    CompositeKey,
    Field,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

from rm.shared import instants
from rm.store.database import db


class InstantField(Field):
    """An aware datetime, stored as text that sorts as time does."""

    field_type = "TEXT"

    def db_value(self, value: datetime | str | None) -> str | None:
        return instants.to_text(value) if isinstance(value, datetime) else value

    def python_value(self, value: str | None) -> datetime | None:
        return instants.from_text(value) if value is not None else None


class JsonField(Field):
    """A list or dict, stored as JSON text."""

    field_type = "TEXT"

    def db_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def python_value(self, value: str | None) -> Any:
        return None if value is None else json.loads(value)


class Row(Model):
    class Meta:
        database = db
        # save() would write every field and so undo what another greenlet changed meanwhile
        only_save_dirty = True
        legacy_table_names = False


class Setting(Row):
    name = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "settings"


class User(Row):
    id = TextField(primary_key=True)
    username = TextField(unique=True)
    role = TextField()
    password_hash = TextField()
    is_enabled = BooleanField(default=True)
    created_at = InstantField()
    last_login_at = InstantField(null=True)

    class Meta:
        table_name = "users"


class Session(Row):
    token_hash = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE")
    address = TextField()
    created_at = InstantField()
    expires_at = InstantField()

    class Meta:
        table_name = "sessions"


class SetupLink(Row):
    token_hash = TextField(primary_key=True)
    created_at = InstantField()
    expires_at = InstantField()

    class Meta:
        table_name = "setup_links"


class Repository(Row):
    id = TextField(primary_key=True)
    name = TextField(unique=True)
    location = TextField()
    password_sealed = BlobField()
    restic_repository_id = TextField(null=True)
    total_bytes = IntegerField(null=True)
    snapshot_count = IntegerField(null=True)
    stats_at = InstantField(null=True)
    tested_at = InstantField(null=True)
    test_ok = BooleanField(null=True)
    test_reason = TextField(default="")
    test_message = TextField(default="")
    created_at = InstantField()
    changed_at = InstantField()
    is_append_only = BooleanField(default=False)
    restic_id_seen = TextField(null=True)
    checked_at = InstantField(null=True)
    check_ok = BooleanField(null=True)
    pruned_at = InstantField(null=True)

    class Meta:
        table_name = "repositories"


class RepositoryCredential(Row):
    repository = ForeignKeyField(Repository, on_delete="CASCADE")
    slot = TextField()
    username = TextField()
    secret_sealed = BlobField()
    changed_at = InstantField()
    location = TextField(default="")

    class Meta:
        table_name = "repository_credentials"
        primary_key = CompositeKey("repository", "slot")


class Host(Row):
    id = TextField(primary_key=True)
    name = TextField()
    hostname = TextField()
    os = TextField()
    os_name = TextField(default="")
    arch = TextField()
    init = TextField(default="")
    timezone = TextField(default="")
    machine_id = TextField(default="")
    mode = TextField(default="always_on")
    agent_version = TextField(default="")
    agent_seq = IntegerField(default=0)
    running_sha256 = TextField(null=True)
    guard_version = TextField(null=True)
    restic_version = TextField(null=True)
    restic_features = JsonField(default=list)
    boot_id = TextField(default="")
    is_pinned = BooleanField(default=False)
    problems = JsonField(default=list)
    repository = ForeignKeyField(Repository, null=True, on_delete="SET NULL")
    config_version = IntegerField(default=1)
    config_applied = IntegerField(default=0)
    enrolled_at = InstantField()
    enrolled_by = TextField(default="")
    first_hello_at = InstantField(null=True)
    connected_at = InstantField(null=True)
    last_seen_at = InstantField(null=True)
    last_address = TextField(default="")
    last_good_at = InstantField(null=True)
    last_backup_id = TextField(null=True)
    revoked_at = InstantField(null=True)
    next_run_at = InstantField(null=True)
    update_epoch = IntegerField(default=0)
    held_reason = TextField(default="")
    features = JsonField(default=list)
    hook_names = JsonField(default=list)
    hooks_policy = TextField(default="local")
    allows_restore_in_place = BooleanField(default=False)
    restore_directory = TextField(default="")
    schedule_version = IntegerField(default=0)
    schedule_applied = IntegerField(default=0)
    schedule_problem = TextField(default="")
    protected_until = InstantField(null=True)
    verdict_code = TextField(default="")
    verdict_text = TextField(default="")

    class Meta:
        table_name = "hosts"


class HostTag(Row):
    host = ForeignKeyField(Host, on_delete="CASCADE")
    tag = TextField()

    class Meta:
        table_name = "host_tags"
        primary_key = CompositeKey("host", "tag")


class HostCredential(Row):
    credential_hash = TextField(primary_key=True)
    host = ForeignKeyField(Host, on_delete="CASCADE")
    created_at = InstantField()
    first_used_at = InstantField(null=True)
    revoked_at = InstantField(null=True)
    plain_sealed = BlobField(null=True)

    class Meta:
        table_name = "host_credentials"


class EnrolmentToken(Row):
    id = TextField(primary_key=True)
    token_hash = TextField(unique=True)
    max_uses = IntegerField(default=1)
    uses = IntegerField(default=0)
    tags = JsonField(default=list)
    created_by = TextField()
    created_at = InstantField()
    expires_at = InstantField()
    revoked_at = InstantField(null=True)
    host = ForeignKeyField(Host, null=True, on_delete="CASCADE")

    class Meta:
        table_name = "enrolment_tokens"


class Enrolment(Row):
    token = ForeignKeyField(EnrolmentToken, on_delete="CASCADE")
    host = ForeignKeyField(Host, on_delete="CASCADE")
    machine_id = TextField()
    address = TextField()
    enrolled_at = InstantField()

    class Meta:
        table_name = "enrolments"
        primary_key = CompositeKey("token", "host")


class Template(Row):
    id = TextField(primary_key=True)
    name = TextField(unique=True)
    description = TextField(default="")
    body = JsonField(default=dict)
    version = IntegerField(default=1)
    created_at = InstantField()
    changed_at = InstantField()

    class Meta:
        table_name = "templates"


class SourceGroup(Row):
    id = TextField(primary_key=True)
    host = ForeignKeyField(Host, on_delete="CASCADE")
    name = TextField()
    includes = JsonField(default=list)
    excludes = JsonField(default=list)
    created_at = InstantField()
    changed_at = InstantField()
    one_file_system = BooleanField(default=False)
    exclude_caches = BooleanField(default=False)
    tags = JsonField(default=list)
    mode = TextField(default="always_on")
    stale_after_hours = IntegerField(null=True)
    retention = JsonField(default=dict)
    retries = IntegerField(default=2)
    retry_minutes = IntegerField(default=10)
    upload_kib = IntegerField(default=0)
    download_kib = IntegerField(default=0)
    pre_hook = TextField(default="")
    post_hook = TextField(default="")
    pre_shell_sealed = BlobField(null=True)
    post_shell_sealed = BlobField(null=True)
    hook_seconds = IntegerField(default=600)
    template = ForeignKeyField(Template, null=True, on_delete="SET NULL")
    template_version = IntegerField(default=0)
    forgotten_at = InstantField(null=True)

    class Meta:
        table_name = "source_groups"


class Schedule(Row):
    id = TextField(primary_key=True)
    host = ForeignKeyField(Host, on_delete="CASCADE")
    name = TextField()
    cron = TextField(default="")
    every_minutes = IntegerField(default=0)
    jitter_seconds = IntegerField(default=0)
    is_enabled = BooleanField(default=True)
    template = ForeignKeyField(Template, null=True, on_delete="SET NULL")
    created_at = InstantField()
    changed_at = InstantField()

    class Meta:
        table_name = "schedules"


class ScheduleGroup(Row):
    schedule = ForeignKeyField(Schedule, on_delete="CASCADE")
    group = ForeignKeyField(SourceGroup, on_delete="CASCADE")

    class Meta:
        table_name = "schedule_groups"
        primary_key = CompositeKey("schedule", "group")


class GroupVerdict(Row):
    group = ForeignKeyField(SourceGroup, primary_key=True, on_delete="CASCADE")
    host = ForeignKeyField(Host, on_delete="CASCADE")
    code = TextField()
    text = TextField()
    since = InstantField()
    next_at = InstantField(null=True)
    last_job_id = TextField(null=True)
    last_good_at = InstantField(null=True)
    late_at = InstantField(null=True)
    protected_until = InstantField(null=True)
    reported = JsonField(default=dict)
    reported_at = InstantField(null=True)
    changed_at = InstantField()
    turns_at = InstantField(null=True)
    missed_on = TextField(null=True)

    class Meta:
        table_name = "group_verdicts"


class SkippedRun(Row):
    id = TextField(primary_key=True)
    host = ForeignKeyField(Host, on_delete="CASCADE")
    source_group = TextField()
    schedule_id = TextField()
    due_from = InstantField()
    due_to = InstantField()
    count = IntegerField()
    reason = TextField()
    message = TextField(default="")
    job_id = TextField(null=True)
    at = InstantField()

    class Meta:
        table_name = "skipped_runs"


class MaintenancePolicy(Row):
    repository = ForeignKeyField(Repository, on_delete="CASCADE")
    kind = TextField()
    is_enabled = BooleanField(default=True)
    every_hours = IntegerField()
    window_from = TextField(default="")
    window_to = TextField(default="")
    timezone = TextField(default="UTC")
    box_minutes = IntegerField()
    parts = IntegerField(default=0)
    next_part = IntegerField(default=1)
    last_job_id = TextField(null=True)
    last_started_at = InstantField(null=True)
    last_ended_at = InstantField(null=True)
    last_outcome = TextField(default="")
    last_message = TextField(default="")
    yields = IntegerField(default=0)
    round_started_at = InstantField(null=True)
    changed_at = InstantField()

    class Meta:
        table_name = "maintenance_policies"
        primary_key = CompositeKey("repository", "kind")


class RepositoryDay(Row):
    repository = ForeignKeyField(Repository, on_delete="CASCADE")
    day = TextField()
    total_bytes = IntegerField(null=True)
    snapshot_count = IntegerField(null=True)

    class Meta:
        table_name = "repository_days"
        primary_key = CompositeKey("repository", "day")


class Job(Row):
    id = TextField(primary_key=True)
    host = ForeignKeyField(Host, on_delete="CASCADE")
    kind = TextField()
    state = TextField()
    outcome = TextField(null=True)
    reason = TextField(default="")
    message = TextField(default="")
    exit_code = IntegerField(null=True)
    repository = ForeignKeyField(Repository, null=True, on_delete="SET NULL")
    source_group = TextField(default="")
    parameters = JsonField(default=dict)
    requested_by = TextField(default="")
    created_at = InstantField()
    expires_at = InstantField()
    dispatched_at = InstantField(null=True)
    started_at = InstantField(null=True)
    finished_at = InstantField(null=True)
    cancel_requested_at = InstantField(null=True)
    cancel_requested_by = TextField(default="")
    last_sign_at = InstantField(null=True)
    command = TextField(default="")
    progress = JsonField(default=dict)
    summary = JsonField(default=dict)
    waits_for = TextField(default="")
    schedule_id = TextField(default="")
    due_at = InstantField(null=True)
    why_late = TextField(default="")
    attempt = IntegerField(default=1)

    class Meta:
        table_name = "jobs"


class BackupDay(Row):
    host = ForeignKeyField(Host, on_delete="CASCADE")
    day = TextField()
    succeeded = IntegerField(default=0)
    warnings = IntegerField(default=0)
    failed = IntegerField(default=0)
    missed = IntegerField(default=0)

    class Meta:
        table_name = "backup_days"
        primary_key = CompositeKey("host", "day")


class JobLogLine(Row):
    job = ForeignKeyField(Job, on_delete="CASCADE")
    n = IntegerField()
    at = InstantField()
    stream = TextField()
    text = TextField()

    class Meta:
        table_name = "job_log_lines"
        primary_key = CompositeKey("job", "n")


class JobSample(Row):
    job = ForeignKeyField(Job, on_delete="CASCADE")
    elapsed_seconds = IntegerField()
    bytes_done = IntegerField()

    class Meta:
        table_name = "job_samples"
        primary_key = CompositeKey("job", "elapsed_seconds")


class Snapshot(Row):
    repository = ForeignKeyField(Repository, on_delete="CASCADE")
    id = TextField()
    time = InstantField()
    hostname = TextField()
    username = TextField(default="")
    paths = JsonField(default=list)
    tags = JsonField(default=list)
    total_bytes = IntegerField(null=True)
    total_files = IntegerField(null=True)
    data_added = IntegerField(null=True)
    listing_id = TextField()
    utc_offset_minutes = IntegerField(null=True)

    class Meta:
        table_name = "snapshots"
        primary_key = CompositeKey("repository", "id")


class SnapshotListing(Row):
    repository = ForeignKeyField(Repository, primary_key=True, on_delete="CASCADE")
    listing_id = TextField()
    taken_at = InstantField()
    host_id = TextField()
    total = IntegerField()

    class Meta:
        table_name = "snapshot_listings"


class RestorePick(Row):
    user = ForeignKeyField(User, on_delete="CASCADE")
    repository = ForeignKeyField(Repository, on_delete="CASCADE")
    snapshot_id = TextField()
    path = TextField()
    is_folder = BooleanField()
    picked_at = InstantField()

    class Meta:
        table_name = "restore_picks"
        primary_key = CompositeKey("user", "repository", "snapshot_id", "path")


class PendingHost(Row):
    id = TextField(primary_key=True)
    hostname = TextField()
    os = TextField()
    arch = TextField()
    agent_version = TextField()
    agent_seq = IntegerField()
    machine_id = TextField()
    public_key = TextField()
    fingerprint = TextField()
    nonce = TextField()
    address = TextField()
    state = TextField(default="waiting")
    announced_at = InstantField()
    expires_at = InstantField()
    decided_at = InstantField(null=True)
    decided_by = TextField(default="")
    host = ForeignKeyField(Host, null=True, on_delete="SET NULL")
    claimed_at = InstantField(null=True)

    class Meta:
        table_name = "pending_hosts"


class Alert(Row):
    id = TextField(primary_key=True)
    kind = TextField()
    severity = TextField()
    state = TextField(default="raised")
    condition = TextField()
    host = ForeignKeyField(Host, null=True, on_delete="CASCADE")
    repository = ForeignKeyField(Repository, null=True, on_delete="CASCADE")
    message = TextField()
    first_seen_at = InstantField()
    last_seen_at = InstantField()
    count = IntegerField(default=1)
    acknowledged_at = InstantField(null=True)
    acknowledged_by = TextField(default="")
    resolved_at = InstantField(null=True)
    resolved_by = TextField(default="")
    note = TextField(default="")

    class Meta:
        table_name = "alerts"


class Keyset(Row):
    version = IntegerField(primary_key=True)
    bytes = BlobField()
    signature = BlobField()
    imported_at = InstantField()

    class Meta:
        table_name = "keysets"


class Release(Row):
    id = TextField(primary_key=True)
    version = TextField()
    seq = IntegerField()
    channel = TextField()
    manifest = BlobField()
    signature = BlobField()
    keyset = ForeignKeyField(Keyset, column_name="keyset_version")
    artifacts = JsonField()
    guard_min = IntegerField(default=0)
    min_from_seq = IntegerField(default=0)
    key_id = TextField(default="")
    released_at = InstantField()
    expires_at = InstantField()
    imported_at = InstantField()
    imported_by = TextField()
    promoted_at = InstantField(null=True)
    is_current = BooleanField(default=False)
    withdrawn_at = InstantField(null=True)
    withdrawn_why = TextField(default="")

    class Meta:
        table_name = "releases"


class FleetUpdate(Row):
    id = TextField(primary_key=True)
    state = TextField()
    release = ForeignKeyField(Release)
    to_version = TextField()
    to_seq = IntegerField()
    options = JsonField(default=dict)
    created_by = TextField()
    created_at = InstantField()
    started_at = InstantField(null=True)
    ended_at = InstantField(null=True)
    estimate_seconds = IntegerField(default=0)
    reason = TextField(default="")
    halted_host_id = TextField(null=True)

    class Meta:
        table_name = "fleet_updates"


class FleetUpdateHost(Row):
    fleet_update = ForeignKeyField(FleetUpdate, on_delete="CASCADE")
    host = ForeignKeyField(Host, on_delete="CASCADE")
    position = IntegerField()
    wave = IntegerField(default=0)
    verdict = TextField()
    reason = TextField(default="")
    state = TextField()
    attempt_id = TextField(null=True)
    changed_at = InstantField()

    class Meta:
        table_name = "fleet_update_hosts"
        primary_key = CompositeKey("fleet_update", "host")


class FleetUpdateEvent(Row):
    id = AutoField()
    fleet_update = ForeignKeyField(FleetUpdate, on_delete="CASCADE")
    at = InstantField()
    kind = TextField()
    host_id = TextField(null=True)
    actor = TextField(default="")
    text = TextField()

    class Meta:
        table_name = "fleet_update_events"


class UpdateAttempt(Row):
    job = ForeignKeyField(Job, primary_key=True, on_delete="CASCADE")
    host = ForeignKeyField(Host, on_delete="CASCADE")
    is_rollback = BooleanField(default=False)
    fleet_update = ForeignKeyField(FleetUpdate, null=True, on_delete="SET NULL")
    epoch = IntegerField()
    release = ForeignKeyField(Release, null=True)
    keyset_version = IntegerField(default=0)
    artifact_sha256 = TextField()
    from_version = TextField()
    from_seq = IntegerField()
    from_sha256 = TextField(null=True)
    to_version = TextField()
    to_seq = IntegerField()
    state = TextField()
    phase = TextField(default="")
    phase_since = InstantField(null=True)
    percent = FloatField(null=True)
    detail = TextField(default="")
    fenced_at = InstantField(null=True)
    deadline_at = InstantField(null=True)
    total_deadline_at = InstantField(null=True)
    soak_until = InstantField(null=True)
    retry_at = InstantField(null=True)
    not_after = InstantField()
    timers = JsonField(default=dict)
    is_forced = BooleanField(default=False)
    force_reason = TextField(default="")
    reason = TextField(default="")
    message = TextField(default="")
    failure_class = TextField(default="")
    is_provisional = BooleanField(default=False)
    is_late = BooleanField(default=False)
    is_proven = BooleanField(default=False)
    is_revert_failed = BooleanField(default=False)
    cancel_requested_at = InstantField(null=True)
    last_sign_at = InstantField(null=True)
    created_at = InstantField()
    ended_at = InstantField(null=True)

    class Meta:
        table_name = "update_attempts"


class UpdateEvent(Row):
    id = AutoField()
    job = ForeignKeyField(Job, on_delete="CASCADE")
    at = InstantField()
    state = TextField()
    phase = TextField(default="")
    text = TextField()

    class Meta:
        table_name = "update_events"


class OrphanResult(Row):
    id = AutoField()
    host = ForeignKeyField(Host, on_delete="CASCADE")
    attempt_id = TextField()
    at = InstantField()
    outcome = TextField()
    detail = TextField(default="")

    class Meta:
        table_name = "orphan_results"


class AuditEntry(Row):
    id = AutoField()
    at = InstantField()
    actor_kind = TextField()
    actor_id = TextField(default="")
    actor_name = TextField()
    address = TextField(default="")
    action = TextField()
    target_kind = TextField(default="")
    target_id = TextField(default="")
    target_name = TextField(default="")
    payload = JsonField(default=dict)

    class Meta:
        table_name = "audit_entries"


MODELS: tuple[type[Row], ...] = (
    Setting,
    User,
    Session,
    SetupLink,
    Repository,
    RepositoryCredential,
    Host,
    HostTag,
    HostCredential,
    EnrolmentToken,
    Enrolment,
    Template,
    SourceGroup,
    Schedule,
    ScheduleGroup,
    GroupVerdict,
    SkippedRun,
    MaintenancePolicy,
    RepositoryDay,
    Job,
    BackupDay,
    JobLogLine,
    JobSample,
    Snapshot,
    SnapshotListing,
    RestorePick,
    PendingHost,
    Alert,
    Keyset,
    Release,
    FleetUpdate,
    FleetUpdateHost,
    FleetUpdateEvent,
    UpdateAttempt,
    UpdateEvent,
    OrphanResult,
    AuditEntry,
)
