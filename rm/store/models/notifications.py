"""Where notifications go, and what went there."""

from peewee import BlobField, BooleanField, ForeignKeyField, IntegerField, TextField

from rm.store.models.alerts import Incident
from rm.store.models.rows import InstantField, JsonField, Row


class Channel(Row):
    id = TextField(primary_key=True)
    name = TextField(unique=True)
    kind = TextField()
    url_sealed = BlobField()
    url_shown = TextField()
    secret_sealed = BlobField(null=True)
    is_enabled = BooleanField(default=True)
    min_severity = TextField(default="warning")
    kinds = JsonField(default=list)
    tags = JsonField(default=list)
    tells_acknowledged = BooleanField(default=True)
    tells_resolved = BooleanField(default=True)
    created_at = InstantField()
    changed_at = InstantField()
    last_ok_at = InstantField(null=True)
    failing_since = InstantField(null=True)
    failures = IntegerField(default=0)
    paused_until = InstantField(null=True)

    class Meta:
        table_name = "channels"


class Delivery(Row):
    id = TextField(primary_key=True)
    channel = ForeignKeyField(Channel, on_delete="CASCADE")
    incident = ForeignKeyField(Incident, null=True, on_delete="CASCADE")
    event_id = IntegerField(null=True)
    event = TextField()
    payload = JsonField()
    state = TextField(default="queued")
    tries = IntegerField(default=0)
    next_try_at = InstantField(null=True)
    created_at = InstantField()
    ended_at = InstantField(null=True)
    reason = TextField(default="")

    class Meta:
        table_name = "deliveries"
