"""Snapshots as they were listed last, and what is picked in them."""

from peewee import BooleanField, CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.people import User
from rm.store.models.repositories import Repository
from rm.store.models.rows import InstantField, JsonField, Row


class Snapshot(Row):
    repository = ForeignKeyField(Repository, on_delete="CASCADE")
    id = TextField()
    time = InstantField()
    hostname = TextField()
    username = TextField(default="")
    paths = JsonField(default=list)
    tags = JsonField(default=list)
    total_bytes = IntegerField(null=True)
    total_files = IntegerField(null=True)
    data_added = IntegerField(null=True)
    listing_id = TextField()
    utc_offset_minutes = IntegerField(null=True)

    class Meta:
        table_name = "snapshots"
        primary_key = CompositeKey("repository", "id")


class SnapshotListing(Row):
    repository = ForeignKeyField(Repository, primary_key=True, on_delete="CASCADE")
    listing_id = TextField()
    taken_at = InstantField()
    host_id = TextField()
    total = IntegerField()

    class Meta:
        table_name = "snapshot_listings"


class RestorePick(Row):
    user = ForeignKeyField(User, on_delete="CASCADE")
    repository = ForeignKeyField(Repository, on_delete="CASCADE")
    snapshot_id = TextField()
    path = TextField()
    is_folder = BooleanField()
    picked_at = InstantField()

    class Meta:
        table_name = "restore_picks"
        primary_key = CompositeKey("user", "repository", "snapshot_id", "path")
