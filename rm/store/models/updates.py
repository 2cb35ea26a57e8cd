"""Attempts to change a host's agent."""

from peewee import AutoField, BooleanField, FloatField, ForeignKeyField, IntegerField, TextField

from rm.store.models.fleet_updates import FleetUpdate
from rm.store.models.hosts import Host
from rm.store.models.jobs import Job
from rm.store.models.releases import Release
from rm.store.models.rows import InstantField, JsonField, Row


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
