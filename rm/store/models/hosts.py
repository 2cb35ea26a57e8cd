"""Hosts, and how they come in."""

from peewee import BlobField, BooleanField, CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.repositories import Repository
from rm.store.models.rows import InstantField, JsonField, Row


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
    last_good_began_at = InstantField(null=True)

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
