"""Alerts and the incidents that they belong to."""

from peewee import AutoField, CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.hosts import Host
from rm.store.models.repositories import Repository
from rm.store.models.rows import InstantField, Row


class Incident(Row):
    id = TextField(primary_key=True)
    cause = TextField()
    title = TextField()
    severity = TextField()
    state = TextField(default="raised")
    repository = ForeignKeyField(Repository, null=True, on_delete="CASCADE")
    host = ForeignKeyField(Host, null=True, on_delete="CASCADE")
    opened_at = InstantField()
    last_seen_at = InstantField()
    resolved_at = InstantField(null=True)
    alert_count = IntegerField(default=0)
    open_count = IntegerField(default=0)
    kind = TextField(default="")
    message = TextField(default="")
    acknowledged_at = InstantField(null=True)
    acknowledged_by = TextField(default="")
    resolved_by = TextField(default="")
    note = TextField(default="")
    snoozed_until = InstantField(null=True)
    snoozed_by = TextField(default="")
    end_told_at = InstantField(null=True)

    class Meta:
        table_name = "incidents"


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
    incident = ForeignKeyField(Incident, null=True, on_delete="SET NULL")
    snoozed_until = InstantField(null=True)
    snoozed_by = TextField(default="")

    class Meta:
        table_name = "alerts"


class AlertWait(Row):
    kind = TextField()
    condition = TextField()
    host = ForeignKeyField(Host, null=True, on_delete="CASCADE")
    repository = ForeignKeyField(Repository, null=True, on_delete="CASCADE")
    cause = TextField(default="")
    message = TextField()
    since = InstantField()
    due_at = InstantField()
    last_seen_at = InstantField()
    count = IntegerField(default=1)

    class Meta:
        table_name = "alert_waits"
        primary_key = CompositeKey("kind", "condition")


class AlertEvent(Row):
    id = AutoField()
    incident = ForeignKeyField(Incident, on_delete="CASCADE")
    alert = ForeignKeyField(Alert, null=True, on_delete="CASCADE")
    at = InstantField()
    kind = TextField()
    actor = TextField(default="")
    text = TextField()

    class Meta:
        table_name = "alert_events"
