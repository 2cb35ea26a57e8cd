"""What the server keeps about itself."""

from peewee import BooleanField, CompositeKey, FloatField, IntegerField, TextField

from rm.store.models.rows import InstantField, Row


class Setting(Row):
    name = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "settings"


class ServerBackup(Row):
    id = TextField(primary_key=True)
    file = TextField()
    started_at = InstantField()
    ended_at = InstantField(null=True)
    size_bytes = IntegerField(null=True)
    sha256 = TextField(default="")
    is_ok = BooleanField(null=True)
    message = TextField(default="")
    requested_by = TextField(default="")
    removed_at = InstantField(null=True)

    class Meta:
        table_name = "server_backups"


class Total(Row):
    name = TextField()
    first = TextField(default="")
    second = TextField(default="")
    third = TextField(default="")
    value = FloatField(default=0)

    class Meta:
        table_name = "totals"
        primary_key = CompositeKey("name", "first", "second", "third")
