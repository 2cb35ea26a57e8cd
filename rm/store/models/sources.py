"""What is backed up and when, and how it stands."""

from peewee import BlobField, BooleanField, CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.hosts import Host
from rm.store.models.rows import InstantField, JsonField, Row


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
    retention_hold = TextField(default="")

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
