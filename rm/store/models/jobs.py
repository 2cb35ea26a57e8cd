"""Jobs with their logs."""

from peewee import CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.hosts import Host
from rm.store.models.repositories import Repository
from rm.store.models.rows import InstantField, JsonField, Row


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
