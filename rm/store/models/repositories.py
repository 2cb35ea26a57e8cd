"""Repositories, and how they are kept in order."""

from peewee import BlobField, BooleanField, CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.rows import InstantField, Row


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
