"""Releases and the keys that sign them."""

from peewee import BlobField, BooleanField, ForeignKeyField, IntegerField, TextField

from rm.store.models.rows import InstantField, JsonField, Row


class Keyset(Row):
    version = IntegerField(primary_key=True)
    bytes = BlobField()
    signature = BlobField()
    imported_at = InstantField()

    class Meta:
        table_name = "keysets"


class Release(Row):
    id = TextField(primary_key=True)
    version = TextField()
    seq = IntegerField()
    channel = TextField()
    manifest = BlobField()
    signature = BlobField()
    keyset = ForeignKeyField(Keyset, column_name="keyset_version")
    artifacts = JsonField()
    guard_min = IntegerField(default=0)
    min_from_seq = IntegerField(default=0)
    key_id = TextField(default="")
    released_at = InstantField()
    expires_at = InstantField()
    imported_at = InstantField()
    imported_by = TextField()
    promoted_at = InstantField(null=True)
    is_current = BooleanField(default=False)
    withdrawn_at = InstantField(null=True)
    withdrawn_why = TextField(default="")

    class Meta:
        table_name = "releases"
