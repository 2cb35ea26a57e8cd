"""Who did what."""

from peewee import AutoField, TextField

from rm.store.models.rows import InstantField, JsonField, Row


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
