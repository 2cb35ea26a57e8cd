"""People, their sessions and links."""

from peewee import BlobField, BooleanField, CompositeKey, ForeignKeyField, IntegerField, TextField

from rm.store.models.rows import InstantField, Row


class User(Row):
    id = TextField(primary_key=True)
    username = TextField(unique=True)
    role = TextField()
    password_hash = TextField()
    is_enabled = BooleanField(default=True)
    created_at = InstantField()
    last_login_at = InstantField(null=True)
    created_by = TextField(default="")
    password_changed_at = InstantField(null=True)
    totp_sealed = BlobField(null=True)
    totp_confirmed_at = InstantField(null=True)
    totp_last_step = IntegerField(default=0)
    oidc_issuer = TextField(default="")
    oidc_subject = TextField(default="")

    class Meta:
        table_name = "users"


class Session(Row):
    token_hash = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE")
    address = TextField()
    created_at = InstantField()
    expires_at = InstantField()
    id = TextField(default="")
    user_agent = TextField(default="")
    last_seen_at = InstantField(null=True)
    method = TextField(default="password")

    class Meta:
        table_name = "sessions"


class SetupLink(Row):
    token_hash = TextField(primary_key=True)
    created_at = InstantField()
    expires_at = InstantField()

    class Meta:
        table_name = "setup_links"


class UserLink(Row):
    token_hash = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE")
    purpose = TextField()
    created_by = TextField()
    created_at = InstantField()
    expires_at = InstantField()
    used_at = InstantField(null=True)

    class Meta:
        table_name = "user_links"


class RecoveryCode(Row):
    user = ForeignKeyField(User, on_delete="CASCADE")
    code_hash = TextField()
    used_at = InstantField(null=True)

    class Meta:
        table_name = "recovery_codes"
        primary_key = CompositeKey("user", "code_hash")


class SignInStep(Row):
    token_hash = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE")
    address = TextField()
    created_at = InstantField()
    expires_at = InstantField()
    tries = IntegerField(default=0)

    class Meta:
        table_name = "sign_in_steps"


class OidcLogin(Row):
    state_hash = TextField(primary_key=True)
    browser_hash = TextField()
    nonce = TextField()
    verifier_sealed = BlobField()
    next_path = TextField(default="/")
    created_at = InstantField()
    expires_at = InstantField()

    class Meta:
        table_name = "oidc_logins"
