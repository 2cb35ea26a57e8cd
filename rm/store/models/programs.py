"""What programs sign in with, and the answers kept for them."""

from peewee import CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.people import User
from rm.store.models.rows import InstantField, JsonField, Row


class ApiToken(Row):
    id = TextField(primary_key=True)
    name = TextField()
    token_hash = TextField(unique=True)
    role = TextField()
    tags = JsonField(default=list)
    user = ForeignKeyField(User, null=True, on_delete="CASCADE")
    created_by = TextField()
    created_at = InstantField()
    expires_at = InstantField(null=True)
    last_used_at = InstantField(null=True)
    last_address = TextField(default="")
    revoked_at = InstantField(null=True)

    class Meta:
        table_name = "api_tokens"


class IdempotencyKey(Row):
    owner = TextField()
    key = TextField()
    request_hash = TextField()
    status = IntegerField(null=True)
    body = TextField(default="")
    created_at = InstantField()

    class Meta:
        table_name = "idempotency_keys"
        primary_key = CompositeKey("owner", "key")
