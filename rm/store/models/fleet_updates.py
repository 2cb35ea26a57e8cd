"""Rolling updates of many hosts."""

from peewee import AutoField, CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.hosts import Host
from rm.store.models.releases import Release
from rm.store.models.rows import InstantField, JsonField, Row


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
